"""Test ops: draw cases that break numeric code, check any implementation, and know common mistakes.

For each file of `ops`, a file of the same name here holds cases, error bounds, common mistakes and correct
variants. In tinyllm only `course` and its commands import this package: training never waits for Hypothesis.
"""

from tinyllm.testing.by_rule import made
from tinyllm.testing.catalog import CASES, MISTAKES, VARIANTS
from tinyllm.testing.check import check
from tinyllm.testing.edits import mistake, variant
from tinyllm.testing.gradcheck import gradcheck

__all__ = ["CASES", "MISTAKES", "VARIANTS", "check", "gradcheck", "made", "mistake", "variant"]
