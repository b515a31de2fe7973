"""Check that kernels are called as their specifications are, and refuse wrong arguments.

In each case one argument gets another type, shape or number, or is replaced by any other object.
"""

import inspect
import re

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tinyllm.ops import OPS
from tinyllm.testing import CASES, check
from tinyllm.testing.arrays import LAYOUTS, arrange
from tinyllm.testing.check import bits, run
from tinyllm.testing.relations import bind

TWINS = [name for name, o in OPS.items() if o.compiled is not None]
__test__ = bool(TWINS)  # nothing to test without kernels
REFUSALS = (TypeError, ValueError, IndexError, ArithmeticError, MemoryError)
OTHER_FLOATS = re.compile(r"must be float32.*float(16|64).*use")  # the message says what to do


@pytest.mark.parametrize("name", TWINS)
def test_twins_are_called_as_the_specification_is(name):
    spec, twin = (inspect.signature(f).parameters.values() for f in (OPS[name].reference, OPS[name].compiled))
    assert [(p.name, p.default, p.kind) for p in twin] == [(p.name, p.default, p.kind) for p in spec]


DTYPES = ("f8", "f2", ">f4", "i8", "i4", ">i8", "u1", "u8", "?", "c8", "O")
SHAPES = (lambda a: a[None], lambda a: a[0], lambda a: a.reshape(-1)[0], lambda a: a.reshape(-1),
          lambda a: a[..., :-1], lambda a: np.concatenate([a, a[:1]]), lambda a: a[..., :0], lambda a: a[:0],
          lambda a: a.swapaxes(0, -1), lambda a: np.concatenate([a, a], axis=-1))
NUMBERS = (0, -1, 1, 2, -100, 2**40, 2**62, 2**70, -(2**63), 0.5, 1.5, float("nan"), float("inf"), True)
OTHERS = (None, "text", b"bytes", [], [1.0], [[1, 2], [3]], (), {}, object(), np.float32(1), np.zeros(3))


@st.composite
def spoilt(draw, value):
    """Draw a wrong value to replace a good argument."""
    if isinstance(value, list) and value and draw(st.booleans()):
        i = draw(st.integers(0, len(value) - 1))
        return [*value[:i], draw(spoilt(value[i])), *value[i + 1:]]
    if not isinstance(value, np.ndarray):
        return draw(st.sampled_from(NUMBERS + OTHERS))
    how = draw(st.sampled_from(("floats", "dtype", "shape", "shape", "number", "other")))
    if how in ("floats", "dtype"):
        with np.errstate(all="ignore"):
            return value.astype(draw(st.sampled_from(DTYPES[:2] if how == "floats" else DTYPES)))
    if how == "shape":
        try:
            return draw(st.sampled_from(SHAPES))(value)
        except (IndexError, ValueError):  # an array without axes, or without rows
            return value[None]
    if how == "number" and value.dtype.kind in "iu" and value.size:  # such as an id outside the table
        value, number = np.array(value), draw(st.sampled_from((-1, -100, 2**30, value.size)))
        value.flat[draw(st.integers(0, value.size - 1))] = np.array(number).astype(value.dtype)
        return value
    return draw(st.sampled_from((*NUMBERS, *OTHERS, value.tolist())))


# Accepted arguments must give right results, except these, with which good implementations may differ.
UNJUDGED = {
    "attention_backward": {"causal", "lengths"},  # y and lse were computed with another mask
    "attention_ranges_backward": {"starts", "ends", "bias"},
    "adamw_step": {"lr", "beta1", "beta2", "eps", "weight_decay", "grad_scale"},  # any number is allowed
    "sample": {"u"},  # undefined outside [0, 1)
}


@pytest.mark.parametrize("name", TWINS)
@given(data=st.data())
def test_wrong_arguments_are_refused_or_right(name, data):
    args = bind(name, data.draw(CASES[name]))
    spoilt_one = data.draw(st.sampled_from(tuple(args)))
    good, bad = args[spoilt_one], data.draw(spoilt(args[spoilt_one]))
    args[spoilt_one] = bad
    recast = [getattr(x, "dtype", None) for x in (good, bad)] in (["f4", "f8"], ["f4", "f2"])
    recast = recast and isinstance(bad, np.ndarray) and good.shape == bad.shape  # now float64 or float16
    before = bits(list(args.values()))
    try:
        OPS[name].compiled(*args.values())
    except REFUSALS as error:
        assert str(error) and "\n" not in str(error), f"not one line: {error}"
        assert bits(list(args.values())) == before, "it was refused, but had already changed its input"
        assert not recast or OTHER_FLOATS.search(str(error)), f"it says no way out: {error}"
        return
    other = not isinstance(bad, np.ndarray) or bad.dtype == object
    if other and bad is not None and isinstance(good, np.ndarray):
        args[spoilt_one] = np.asarray(bad, good.dtype)  # a twin may take a list for an array
    empty = any(isinstance(a, np.ndarray) and a.size == 0 for a in args.values())
    if spoilt_one not in UNJUDGED.get(name, ()) and not empty:
        check(name, OPS[name].compiled, tuple(args.values()))


@pytest.mark.parametrize("name", [name for name in TWINS if OPS[name].mutates])
@given(data=st.data())
def test_what_cannot_be_changed_in_place_is_refused(name, data):
    """Strided or read-only arrays are changed in place or refused unchanged; a copy must never be changed."""
    twin, args = OPS[name].compiled, bind(name, data.draw(CASES[name]))
    for argument in OPS[name].mutates:
        args[argument] = arrange(np.array(args[argument]), data.draw(st.sampled_from(tuple(LAYOUTS))))
    written = [args[argument] for argument in OPS[name].mutates]
    before, after = bits(written), bits(run(name, twin, args.values()))
    try:
        twin(*args.values())
    except ValueError as error:
        assert "\n" not in str(error) and bits(written) == before
        assert not all(a.flags.carray for a in written)
    else:
        assert bits(written) == after
