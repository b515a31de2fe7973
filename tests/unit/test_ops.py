"""Compare every implementation of every op with its specification.

The NumPy body is tried in float32, and the kernel if it is built. Wrong arguments: test_ops_twins.py. Equal
bits: test_bits.py.
"""

import ast
import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyllm import ops
from tinyllm.ops import OPS, registry, round_bf16
from tinyllm.testing import CASES, check
from tinyllm.testing.check import bits
from tinyllm.testing.relations import parameters

WAYS = [(name, backend) for name, o in OPS.items() for backend in o.implementations if backend != "bf16"]


REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "tinyllm"
USERS = [REPOSITORY / "lessons", *(PACKAGE / name for name in ("nn", "models", "train", "tokenizer", "data")),
         *(path for path in PACKAGE.glob("*.py") if path.stem != "functional")]


def mentions(path):
    """Return the names that each function of a module uses: {function: names}."""
    tree = ast.parse(path.read_text())
    return {f.name: {getattr(node, "attr", getattr(node, "id", "")) for node in ast.walk(f)}
            for f in tree.body if isinstance(f, ast.FunctionDef)}


def test_every_op_has_a_user():
    """Its name is in the code of a model, a loop, a tokenizer or a lesson, or of a function with a user.

    round_bf16 is the arithmetic of matmul's bf16 where no kernels are built.
    """
    files = [path for user in USERS for path in (user.rglob("*.*") if user.is_dir() else [user])]
    text = "".join(path.read_text() for path in files if path.suffix in (".py", ".toml", ".c", ".pyx"))
    text = re.sub(r"(?m)^\s*(#|//).*$", "", text)  # a comment is no user, nor is the prose of a lesson
    beginnings = tuple(re.findall(r'f"(\w+_)\w*\{', text))
    used, new = {"round_bf16"}, {*re.findall(r"\w+", text), *(x for x in OPS if x.startswith(beginnings))}
    functions = mentions(PACKAGE / "functional.py")
    while new:
        used |= new
        new = set().union(*(functions.get(name, ()) for name in new))
        new |= {op.__name__ for name in used & set(OPS) for op in OPS[name].calls}
        new |= {name for name in OPS if name.removesuffix("_backward") in used}
        new -= used
    assert set(OPS) - used == set(), "these ops have no user: delete them"


def test_the_kernels_are_there_when_they_must_be():
    assert registry._compiled is not None or os.environ.get("TINYLLM_REQUIRE_EXT") != "1"
    assert any(backend == "compiled" for _, backend in WAYS) or registry._compiled is None


@pytest.mark.parametrize("name, backend", WAYS)
@given(data=st.data())
def test_agrees_with_the_specification(name, backend, data):
    check(name, OPS[name].checked(backend), data.draw(CASES[name]), contiguous=backend == "compiled")


# Ops that rank numbers, and so drop or refuse NaN, and ops that round weights, which refuse it.
RANKS_NAN = ("top_k", "top_p", "min_p", "sample", "quantize_int8", "quantize_int4")


def is_float32(value):
    return isinstance(value, np.ndarray) and value.dtype == np.float32


def poisonable(name, args):
    """Return the positions of the arguments that may hold NaN: in attention no hidden or saved arrays."""
    hidden = name == "attention_backward" and (args[6] or args[7] is not None)
    names = {"attention": ("q",), "attention_backward": () if hidden else ("dy", "q")}
    names |= {"attention_ranges": ("q",), "attention_ranges_backward": ()}
    if name.endswith("_block"):
        return []
    return [i for i, (argument, value) in enumerate(zip(parameters(name), args, strict=False))
            if argument in names.get(name, (argument,)) and is_float32(value) and value.size]


@pytest.mark.parametrize("name, backend", [way for way in WAYS if way[0] not in RANKS_NAN])
@settings(max_examples=8)
@given(data=st.data())
def test_nan_comes_out_where_it_does_in_the_specification(name, backend, data):
    """Check this because otherwise a run that diverges would go unnoticed."""
    args = data.draw(CASES[name])
    arrays = poisonable(name, args)
    if arrays:
        i = data.draw(st.sampled_from(arrays))
        args = (*args[:i], np.array(args[i]), *args[i + 1:])
        args[i].flat[data.draw(st.integers(0, args[i].size - 1))] = np.nan
    check(name, OPS[name].checked(backend), args)


def rounded(args):
    return tuple(round_bf16.reference(a) if is_float32(a) else a for a in args)


# Both round a gradient that they compute themselves: see the last two tests.
BENT, LAST = ROUND_INSIDE = "linear_gelu_backward", "linear_token_losses_backward"


BF16 = [name for name, o in OPS.items() if "bf16" in o.implementations]


@pytest.mark.parametrize("name", [name for name in BF16 if name not in ROUND_INSIDE])
@given(data=st.data())
def test_bf16_is_the_specification_on_rounded_numbers(name, data):
    """On numbers that bfloat16 can hold, rounding does nothing: float32's error bound must hold."""
    check(name, OPS[name].checked("bf16"), rounded(data.draw(CASES[name])))


@pytest.mark.parametrize("name", ["matmul", "matmul_backward", "linear", "linear_backward", "linear_gelu"])
@given(data=st.data())
def test_bf16_rounds_every_factor(name, data):
    """Rounding beforehand changes no bit of a product; the bias, and its gradient, a sum, stay as is."""
    args = data.draw(CASES[name])
    if name in ("linear", "linear_gelu"):
        args = args[:2]
    with ops.use(matmul="bf16"):
        got, want = (bits(list(as_tuple(OPS[name](*each)))) for each in (args, rounded(args)))
    assert got[:2] == want[:2]


@given(data=st.data())
def test_bf16_takes_the_two_steps_of_linear_gelu_backward(data):
    """Compare with gelu_tanh in float32, and then a product of rounded operands."""
    dy, x, w, h = args = data.draw(CASES[BENT])
    with ops.use(matmul="bf16"):
        want = ops.linear_backward(ops.gelu_tanh_backward(dy, h), x, w)
        assert bits(list(OPS[BENT](*args))) == bits(list(want))


@given(args=CASES[LAST])
def test_bf16_rounds_every_factor_of_the_last_layer(args):
    """Compare the output layer with three products of matmul in bf16."""
    dlosses, x, w, targets, lse, ignore_index = args
    x, *flat = x.reshape(targets.size, w.shape[1]), *(a.reshape(-1) for a in (dlosses, targets, lse))
    with ops.use("numpy"), np.errstate(all="ignore"):
        logits = ops.matmul.checked("bf16")(x, w, transpose_b=True)
        dlogits = ops.token_losses_backward(flat[0], logits, *flat[1:], ignore_index)
        want = ops.matmul_backward.checked("bf16")(dlogits, x, w, transpose_b=True)
        with ops.use(matmul="bf16"):
            got = ops.linear_token_losses_backward(*args)
            losses, _ = ops.linear_token_losses(*args[1:4], ignore_index)
        want_losses, _ = ops.token_losses(logits, flat[1], ignore_index)
    assert bits([losses.reshape(-1)]) == bits([want_losses])
    assert bits([got[0].reshape(x.shape), got[1]]) == bits(list(want))


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("scaling, message", [
    ({"rope_type": "dynamic", "factor": 2.0}, "choose one of linear, ntk, llama3, yarn"),
    ({"rope_type": "llama3", "factor": 8.0}, "lacks rope_scaling.high_freq_factor"),
    ({"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 9, "mscale": 1.0},
     "does not know 'mscale'"),
    ({"rope_type": "linear", "factor": "x"}, "a text as rope_scaling.factor, where a number, above 0"),
    ({"rope_type": "linear", "factor": -8.0}, "-8.0 as rope_scaling.factor"),
])
def test_scalings_that_are_not_known_are_refused(scaling, message):
    with pytest.raises(ValueError, match=message):
        ops.scaled_rope_tables(np.arange(3), 8, 1e4, scaling)
