"""Check the report of a failure: the name of the mistake, the property of the input, and what to do."""

import contextlib
import itertools
import re
from unittest import mock

import numpy as np
import pytest
from hypothesis.internal.conjecture import providers
from judged import TASKS, wrong_as

from tinyllm.course import checker, diagnose, naming
from tinyllm.course.drawing import CASES_PER_TASK, LEAST, PLAIN, case_kind, empty_axes, properties
from tinyllm.ops import OPS
from tinyllm.testing import MISTAKES, catalog
from tinyllm.testing.catalog import draw_cases
from tinyllm.testing.check import bits, describe
from tinyllm.testing.properties import ARGUMENTS, EXTREME, INFINITE, ORDINARY
from tinyllm.testing.relations import bind

LAYERNORM = """
    mean = x.mean(-1)
    rstd = 1 / np.sqrt(x.var(-1) + np.float32(eps))
    return (x - mean[..., None]) * rstd[..., None] * w + b, mean, rstd"""
ADAMW = "w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, grad_scale=1.0"
IMPORT = "ModuleNotFoundError: No module named '{}': a check lets your code use Python and NumPy only"


@pytest.mark.parametrize("op, text, words", [
    ("softmax", "(x): return x, x, x", "it should return 1 result, not 3"),
    ("softmax", "(x): return x.tolist()", "it should return an array, not a list"),
    ("softmax", "(x): y = x", "it returned nothing (None): is a `return` missing?"),
    ("softmax", "(x): return y", "NameError: name 'y' is not defined"),
    ("softmax", "(x): import tinyllm", IMPORT.format("tinyllm") + ", not the library itself"),
    ("softmax", "(x): import torch", IMPORT.format("torch")),
    ("softmax", "(x):\n  while True: pass",
     "softmax ran for more than 1 second of processor time. Is there an endless loop?"),
    ("add", "(x, y): return x", "the result should be 2, got 1"),  # the result has no name; y is an input
    ("bpe_merge", "(ids, pair, new_id): return list(ids)", r"it should return \[.*\], got \[.*\]"),
    ("bpe_merge", "(ids, pair, new_id): return tuple(ids)", "it should return a list, not a tuple"),
    ("bpe_train", "(*args): return []", "it should return a dict, not a list"),
    ("adamw_step", f"({ADAMW}): w = w - lr * g", "it leaves w, m, v as they were; change them in place, .*"),
    ("layernorm", f"(x, w, b, eps=1e-3): {LAYERNORM}", "without its optional arguments it gives other .*"),
    ("layernorm", f"(x, w, b, eps): {LAYERNORM}", ".*missing 1 required positional argument: 'eps'"),
    ("layernorm", f"(x, w, c, eps=1e-5):\n    b = c{LAYERNORM}", ".*unexpected keyword argument 'b'.*"),
    ("split_middle", "(text, draws): return 'b', '', 'a'", "prefix should be ''.*"),  # it was "should be ,"
    ("trim_sides", "(prefix, suffix, room): return prefix, suffix",  # of different lengths
     r"the returned \w+ should be \[.*\], got \[.*"),
    ("perplexity", "(p): return np.exp(-np.log(p).sum() / max(p.size, 1)).astype(float)",
     ".*float32 in, float32 out.*mask.sum().*"),
])
def test_messages_of_failures_tell_what_to_do(judge, op, text, words):
    text, explain = f"import numpy as np\ndef {op}{text}", op != "layernorm"
    verdict = judge(text, TASKS[op], count=CASES_PER_TASK, explain=explain)
    message = verdict.message
    assert message == words or message.startswith(f"{words}, ") or re.fullmatch(words, message)
    assert op != "layernorm" or verdict.broken == (ARGUMENTS,)


@pytest.mark.parametrize("said, about", [
    ("attention without the causal mask", ORDINARY), ("attention without the 1/sqrt(D) factor", ORDINARY),
    ("softmax without subtracting the maximum, so that exp overflows", EXTREME),
    ("softmax that gives NaN for a row of nothing but -inf, where every token is masked", INFINITE),
])
def test_the_property_that_is_named_is_that_of_the_input(said, about, monkeypatch):
    """If ordinary numbers fail too, they are named first.

    Sizes of 2 are drawn first, so that examples are small: one of attention once had 30 numbers.
    """
    op, function = next((op, function) for op in TASKS for each, function in MISTAKES[op] if each == said)
    shown = []
    monkeypatch.setattr(diagnose, "describe", lambda name, args: shown.append(args) or describe(name, args))
    verdict = wrong_as(op, function)
    assert verdict.broken[0] == about == case_kind(shown[-1])
    assert verdict.mistake == said
    assert "factor" not in said or len(re.findall(r"\d\.\d", verdict.smallest_input)) <= 10


def test_a_verdict_stands_though_the_search_for_its_cause_fails(monkeypatch):
    monkeypatch.setattr(checker, "diagnose", lambda *args: 1 / 0)
    assert "failed: ZeroDivisionError" in wrong_as("add", lambda x, y: x).message


@pytest.mark.parametrize("outputs, doubt", [
    ([1, 1, 1, 0, 0, 0], ""), ([1, 1, 1, 0, 0, 0, 0], " (perhaps: this explains 3 of 7 wrong results)"),
    ([1, 1], " (perhaps: this explains 2 of 2 wrong results)"),
])
def test_a_name_that_explains_few_results_is_said_with_doubt(outputs, doubt):
    mistake = "a name", lambda args, out: out == [1]
    assert naming.doubt(mistake, [((), [out]) for out in outputs]) == doubt


@pytest.mark.parametrize("op", sorted(TASKS))
def test_every_axis_that_can_be_empty_is_empty_and_many_cases_are_ordinary(op):
    """A layernorm that fails on a batch without rows once passed. Random cases are rarely ordinary."""
    ordinary = [args for title in PLAIN for args in properties(op).get(title, ())]
    assert len(ordinary) >= LEAST
    drawn = draw_cases(op, 30, 7) + draw_cases(op, 30, 7, empty=True)
    can, tried = ({axis for args in cases for axis in empty_axes(args)}
                  for cases in (drawn, itertools.chain(*properties(op).values())))
    assert can - tried == ({(0, 3, True)} if op == "sum_to_shape" else set())  # this op has 15 such axes


@pytest.mark.parametrize("op, wrong", [
    ("add", lambda x, y: np.stack(list(map(np.add, x, y))) if x.ndim else x + y),  # an empty batch
    ("grouped_linear", lambda x, w, counts: OPS["grouped_linear"].reference(x, w.view(), counts)),  # no list
    ("scaled_rope_tables", lambda positions, width, base, scaling: OPS["scaled_rope_tables"].reference(
        positions, width, base, {key: value for key, value in scaling.items() if key != "truncate"})),
])
def test_what_only_rare_cases_show_is_rejected(op, wrong):
    """Once no case had zero rows, a list of matrices, or bounds of YaRN that rounding changes."""
    assert wrong_as(op, wrong).state == "failed"


def bits_of(cases):
    return [bits(list(args)) for args in cases]


@pytest.mark.parametrize("name", ["softmax", "attention"])
def test_cases_are_the_same_whatever_hypothesis_drew_before(name, monkeypatch):
    """Hypothesis draws constants that it finds in our modules; a wrong kernel once passed because of them."""
    usual, draw = bits_of(draw_cases(name)), draw_cases.__wrapped__
    found = providers.Constants(floats={i + 0.5 for i in range(100)}, integers=set(range(100)))
    with mock.patch.object(providers, "_get_local_constants", lambda: found):
        providers.CONSTANTS_CACHE.cache.clear()
        assert bits_of(draw(name)) == usual != bits_of(draw_cases(name, 60, 1))
        monkeypatch.setattr(catalog, "without_found_constants", contextlib.nullcontext)
        assert bits_of(draw(name)) != usual
    providers.CONSTANTS_CACHE.cache.clear()


def test_cases_stay_as_they_were():
    """Cases must not be changed in place: a right adamw_step was once rejected after that."""
    (args, *_), name = draw_cases("adamw_step", CASES_PER_TASK), "adamw_step"
    before = bits_of(draw_cases(name, CASES_PER_TASK))
    properties(name, variant=12345)
    assert diagnose.steps_of(OPS[name].reference, args)
    assert bits_of(draw_cases(name, CASES_PER_TASK)) == before and tuple(bind(name, args).values()) == args
