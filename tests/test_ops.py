"""Every hand of every op obeys its specification: the NumPy body in float32, and the compiled twin if built.

Wrong arguments are the matter of test_ops_wrong.py, the same bits everywhere that of test_bits.py.
"""

import inspect
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyllm.ops import OPS, registry, round_bf16
from tinyllm.testing import CASES, check
from tinyllm.testing.arrays import LAYOUTS, arrange
from tinyllm.testing.check import bits, run
from tinyllm.testing.relations import bind, parameters

HANDS = [(name, hand) for name, o in OPS.items() for hand in o.variants if hand != "bf16"]
TWINS = [name for name, hand in HANDS if hand == "compiled"]


def test_every_op_has_cases():
    assert set(CASES) == set(OPS)


def test_the_kernels_are_there_when_they_must_be():
    assert registry._compiled is not None or os.environ.get("TINYLLM_REQUIRE_EXT") != "1"
    assert TWINS or registry._compiled is None


@pytest.mark.parametrize("name, hand", HANDS)
@settings(max_examples=50)
@given(data=st.data())
def test_agrees_with_the_specification(name, hand, data):
    check(name, OPS[name].variants[hand], data.draw(CASES[name]), contiguous=hand == "compiled")


RANKS_NAN = ("top_k", "top_p", "min_p", "sample")  # and so they drop or refuse it


def is_float32(value):
    return isinstance(value, np.ndarray) and value.dtype == np.float32


def poisonable(name, args):
    """The positions of the arrays that may hold NaN: in attention nothing hidden, and no saved results."""
    hidden = name == "attention_backward" and (args[6] or args[7] is not None)
    names = {"attention": ("q",), "attention_backward": () if hidden else ("dy", "q")}
    return [i for i, (argument, value) in enumerate(zip(parameters(name), args, strict=False))
            if argument in names.get(name, (argument,)) and is_float32(value) and value.size]


@pytest.mark.parametrize("name, hand", [hand for hand in HANDS if hand[0] not in RANKS_NAN])
@settings(max_examples=15)
@given(data=st.data())
def test_nan_comes_out_where_it_does_in_the_specification(name, hand, data):
    """Otherwise a run that diverges goes unnoticed."""
    args = data.draw(CASES[name])
    arrays = poisonable(name, args)
    if arrays:
        i = data.draw(st.sampled_from(arrays))
        args = (*args[:i], np.array(args[i]), *args[i + 1:])
        args[i].flat[data.draw(st.integers(0, args[i].size - 1))] = np.nan
    check(name, OPS[name].variants[hand], args)


def rounded(args):
    return tuple(round_bf16.reference(a) if is_float32(a) else a for a in args)


@pytest.mark.parametrize("name", [name for name, o in OPS.items() if "bf16" in o.variants])
@settings(max_examples=50)
@given(data=st.data())
def test_bf16_is_the_specification_on_rounded_numbers(name, data):
    """On numbers that bfloat16 can hold, rounding does nothing: float32's error bound must hold."""
    check(name, OPS[name].variants["bf16"], rounded(data.draw(CASES[name])))


@pytest.mark.parametrize("name", ["matmul", "matmul_backward", "linear", "linear_backward"])
@settings(max_examples=50)
@given(data=st.data())
def test_bf16_rounds_every_factor(name, data):
    """Rounding beforehand changes no bit of a product; the bias, and its gradient, a sum, stay as is."""
    args = data.draw(CASES[name])
    if name == "linear":
        args = args[:2]
    got, want = (bits(list(as_tuple(OPS[name].variants["bf16"](*each)))) for each in (args, rounded(args)))
    assert got[:2] == want[:2]


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("name", TWINS)
def test_twins_are_called_as_the_specification_is(name):
    spec, twin = (inspect.signature(f).parameters.values() for f in (OPS[name].reference, OPS[name].compiled))
    assert [(p.name, p.default, p.kind) for p in twin] == [(p.name, p.default, p.kind) for p in spec]


@pytest.mark.parametrize("name", [name for name in TWINS if OPS[name].mutates])
@given(data=st.data())
def test_what_cannot_be_changed_in_place_is_refused(name, data):
    """A strided or read-only array is changed where it lies or refused whole, never copied and forgotten."""
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
