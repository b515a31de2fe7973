"""Where known mistakes are kept, and how one is recognised in somebody's output."""

import copy
import warnings

import numpy as np

from tinyllm.ops import OPS
from tinyllm.testing.check import as_array, require_expected, run
from tinyllm.testing.properties import RIGHT
from tinyllm.testing.relations import bind

MISTAKES: dict = {}  # op -> list of (sentence, function)
CLOSE = 1e-6  # an output is recognised when it differs by less than this, of its largest number


def mistake(name, sentence, breaks=RIGHT):
    """Register a function as a mistake that people really make in an op.

    The sentence completes "your output equals ...", so that a student understands what to look for.
    breaks: the property that is meant to reject it, from `properties`; without it, any that looks at numbers.
    """

    def register(function):
        function.breaks = breaks
        MISTAKES.setdefault(name, []).append((sentence, function))
        return function

    return register


def diagnose(name, args, output):
    """Name the mistake that an output shows: the first that gives the same numbers on the same input.

    output: what somebody's function returned, or, of an op that works in place, a tuple of the changed
    arrays -> the mistake's sentence, or None when the output is right or shows no known mistake.
    """
    args = tuple(bind(name, args).values())
    got = list(output) if isinstance(output, tuple | list) else [output]
    if is_right(name, got, args) or same(got, outcome(name, OPS[name].reference, args)):
        return None
    for sentence, function in MISTAKES.get(name, ()):
        if same(got, outcome(name, function, args)):
            return sentence
    return None


def is_right(name, got, args):
    """Whether results are within the op's error bound, which may be wider than `CLOSE`."""
    try:
        require_expected(name, got, args)
    except AssertionError:
        return False
    return True


def outcome(name, function, args):
    """The results of a function, or None when it fails on this input, as a mistake may."""
    own = copy.deepcopy(list(args))  # lists too: a mistake may write into one
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):  # of somebody else's mistake
            warnings.simplefilter("ignore")
            return run(name, function, own)
    except Exception:  # whatever it is, such a run can explain no output
        return None


def same(got, other, close=CLOSE):
    """Whether two lists of results agree in shape and numbers, to a share of the largest number."""
    if other is None or len(got) != len(other):
        return False
    return all(agree(a, b, close) for a, b in zip(got, other, strict=True))


def agree(a, b, close=CLOSE):
    """Whether two results agree; NaN agrees with NaN."""
    a, b = as_array(a), np.asarray(b)
    if a.dtype.kind not in "fiub" or b.dtype.kind not in "fiub":
        return a.tolist() == b.tolist()
    scale = np.max(np.abs(b), where=np.isfinite(b), initial=0)
    return a.shape == b.shape and np.allclose(a, b, rtol=close, atol=close * float(scale), equal_nan=True)
