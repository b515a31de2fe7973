"""Check that `check` runs the function that it is given, and says in a few lines what is wrong."""

import copy
import itertools

import numpy as np
import pytest
from helpers import refuses

from tinyllm.ops import OPS, override, use
from tinyllm.testing import check
from tinyllm.testing.catalog import draw_cases
from tinyllm.testing.check import as_text, bits, describe, require_form
from tinyllm.testing.relations import parameters

X = np.array([[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]], np.float32)
softmax = OPS["softmax"].reference
calls = itertools.count()


def complaint(name, function, *args):
    with pytest.raises(AssertionError) as error:
        check(name, function, args)
    return str(error.value)


def planted(x):
    raise RuntimeError("planted")


@pytest.mark.parametrize("words, name, function, args", [
    ("y[0, 1] should be 0.2447285, got 0.4894569", "softmax",
     lambda x: softmax(x) * np.array([1, 2, 1], np.float32), (X,)),
    ("y[0, 0] should be 0.09003057, got nan", "softmax", lambda x: softmax(x) + np.float32(np.nan), (X,)),
    ("should be 1, got nan", "softmax", lambda x: np.full_like(x, np.nan), (np.float32([[0, -np.inf]]),)),
    ("y should be float32, got float64", "softmax", lambda x: softmax(x.astype(float)), (X,)),
    ("y should have shape (2, 3), got (2, 3, 1)", "softmax", lambda x: softmax(x)[..., None], (X,)),
    ("it returned nothing (None): is a `return` missing?", "softmax", lambda x: None, (X,)),
    ("it should return an array, not a list", "softmax", lambda x: softmax(x).tolist(), (X,)),
    ("it should return an array, not a tuple: is there a comma too many?", "softmax",
     lambda x: (softmax(x),), (X,)),
    ("it should return 1 result, not 2", "softmax", lambda x: (softmax(x), x.copy()), (X,)),
    ("it should return a tuple, not a list", "split_middle",  # though the library takes a list for one result
     lambda text, draws: ["", text, ""], ("ab", (0.0, 0.9))),
    ("y shares memory with an input", "softmax", lambda x: x, (X,)),
    ("dup shares memory", "swiglu_backward",
     lambda *args: 2 * OPS["swiglu_backward"].reference(*args)[:1], (X, X, X)),
    ("it changed its input x", "softmax", lambda x: (softmax(x), x.fill(1))[0], (X,)),
    ("must return None, not ndarray", "adamw_step",
     lambda w, *args: OPS["adamw_step"].reference(w, *args) or w, (X, X, 0 * X, 0 * X, 1, 0.1)),
    ("two runs on one input differ", "softmax", lambda x: softmax(x) * np.float32(1 + 1e-7 * next(calls)),
     (X,)),
    ("124439808, got 124439809", "count_parameters", lambda *sizes: 124_439_809, (50257, 1024, 12, 768)),
])
def test_each_property_is_checked(words, name, function, args):
    assert words in complaint(name, function, *map(copy.deepcopy, args))


def test_the_case_is_shown_in_a_few_short_lines():
    check("softmax", lambda x: np.asfortranarray(softmax(x)), (X,))  # any memory layout is right
    said = complaint("softmax", lambda x: x * 0, np.zeros((40, 50), np.float32)[:, ::2])
    assert said.startswith("softmax: y[0, 0] should be 0.04, got 0, more than")
    assert "x = float32 (40, 25): [[" in said and "# x is a view: not contiguous" in said
    assert len(said.splitlines()) == 3 and max(map(len, said.splitlines())) < 220


def test_the_judge_is_the_specification_whatever_is_plugged_in():
    """A wrong softmax in use must not change the check of attention, nor replace the one that is checked."""
    refuses("planted", check, "softmax", planted, (X,), error=RuntimeError)
    q = np.ones((1, 2, 1, 2), np.float32)
    with override(softmax=planted), use("numpy"):
        check("attention", OPS["attention"].reference, (q, q, q))
        check("softmax", softmax, (X,))
        assert OPS["softmax"].override is planted


def test_a_count_may_be_an_integer_of_numpy_and_no_other_number():
    require_form("n", np.int64(3), 3)
    for wrong in (np.float64(3), np.array([3]), "3", None):
        refuses("n should be an int, got", require_form, "n", wrong, 3, error=AssertionError)
    refuses("should be a str", require_form, "n", np.zeros(0), "3", error=AssertionError)


@pytest.mark.parametrize("op", ["softmax", "bpe_merge", "bpe_train", "embedding", "grad_norm", "linear",
                                "repetition_penalty", "sum_to_shape", "cross_entropy"])
def test_what_is_shown_can_be_pasted_into_python(op):
    """Pasting it gives the same types, shapes and bits; only cases that are too long are shortened."""
    short = [args for args in draw_cases(op) if max(len(as_text(x, 10**9)) for x in args) < 400]
    assert len(short) > 10
    for args in short:
        pasted = {"np": np}
        exec("\n".join(line[2:] for line in describe(op, args).splitlines()), pasted)
        for name, value in zip(parameters(op), args, strict=True):
            plain = np.array(value, order="C") if isinstance(value, np.ndarray) and value.ndim else value
            assert bits(pasted[name]) == bits(plain), (name, value)
