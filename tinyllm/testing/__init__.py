"""Test implementations of ops with difficult arrays, error bounds and lists of common mistakes.

Each file of `ops` has a file of the same name here with cases, error bounds, common mistakes and correct
variants. Only `course` and its commands import this package, so that training need not load Hypothesis.
"""

from tinyllm.testing.catalog import CASES, MISTAKES, VARIANTS
from tinyllm.testing.check import check
from tinyllm.testing.edits import mistake, variant

__all__ = ["CASES", "MISTAKES", "VARIANTS", "check", "mistake", "variant"]
