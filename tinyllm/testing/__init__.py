"""What judges an op: cases that break numeric code, one `check` for every implementation, and known mistakes.

One file for each file of `ops`, of the same name, holds its cases, error bounds, mistakes and right variants.
Nothing in tinyllm imports this package but `course`, so that nobody waits for Hypothesis who only trains.
"""

from tinyllm.testing.catalog import CASES, MISTAKES, VARIANTS
from tinyllm.testing.check import check
from tinyllm.testing.gradcheck import gradcheck
from tinyllm.testing.operators import made

__all__ = ["CASES", "MISTAKES", "VARIANTS", "check", "gradcheck", "made"]
