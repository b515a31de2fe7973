"""Check what is said about a failure: the mistake by its name, the property of its input, and what to do."""

import functools
import itertools
import re
from unittest import mock

import numpy as np
import pytest
from hypothesis import Phase, given, seed, settings
from hypothesis.internal.conjecture import providers
from judged import TASKS, wrong_as

from tinyllm.course import checker, diagnose
from tinyllm.course.drawing import CASES_PER_TASK, LEAST, PLAIN, case_kind, empty_axes, properties
from tinyllm.ops import OPS
from tinyllm.testing import CASES, MISTAKES
from tinyllm.testing.catalog import QUIET, draw_cases
from tinyllm.testing.check import bits, describe
from tinyllm.testing.properties import ARGUMENTS, EXTREME, INFINITE, ORDINARY, PURE
from tinyllm.testing.relations import bind


@pytest.fixture
def check(judge):
    """Judge a text as a student's file, without a search for the smallest input."""
    return functools.partial(judge, effort=0, count=CASES_PER_TASK)


MISSING, PYTHON = "ModuleNotFoundError: No module named", "a check lets your code use Python and NumPy"


@pytest.mark.parametrize("body, words", [
    ("return x, x, x", "it should return 1 result, not 3"),
    ("return x.tolist()", "it should return an array, not a list"),
    ("y = x", "it returned nothing (None): is a `return` missing?"),
    ("return np.exp(x)", "NameError: name 'np' is not defined: is `import numpy as np` missing?"),
    ("return math.exp(x)", "NameError: name 'math' is not defined: is `import math` missing?"),
    ("return y", "NameError: name 'y' is not defined"),
    ("import tinyllm", f"{MISSING} 'tinyllm': {PYTHON} only, not the library itself"),
    ("import torch", f"{MISSING} 'torch': {PYTHON} only"),
    ("while True: pass", "softmax ran for more than 1 second of processor time. Is there an endless loop?"),
])
def test_messages_of_failures_tell_what_to_do(check, body, words):
    assert check(f"def softmax(x):\n    {body}").message == words


def test_a_result_is_not_called_by_the_name_of_an_input(check):
    verdict = check("def add(x, y):\n    return x", TASKS["add"])
    assert verdict.message.startswith("the result should be 2, got 1")


@pytest.mark.parametrize("said, about", [
    ("attention without the causal mask", ORDINARY),
    ("a causal mask that is off by one and shows the next token", ORDINARY),
    ("attention without subtracting the largest score, so that exp overflows", EXTREME),
    ("softmax without subtracting the maximum, so that exp overflows", EXTREME),
    ("softmax that gives NaN for a row of nothing but -inf, where every token is masked", INFINITE),
])
def test_the_property_that_is_named_is_that_of_the_input(said, about, monkeypatch):
    """And ordinary numbers are named before any others, where they fail too."""
    op, function = next((op, function) for op in TASKS for each, function in MISTAKES[op] if each == said)
    shown = []
    monkeypatch.setattr(diagnose, "describe", lambda name, args: shown.append(args) or describe(name, args))
    verdict = wrong_as(op, function)
    assert verdict.broken[0] == about == case_kind(shown[-1])
    assert verdict.mistake == said


@pytest.mark.parametrize("op", ["attention", "rope", "layernorm_backward"])
def test_every_op_has_ordinary_cases(op):
    """Their sizes are seldom so plain that nothing else is special about a case."""
    cases = [args for title in PLAIN for args in properties(op).get(title, ())]
    assert len(cases) >= LEAST


@pytest.mark.parametrize("name", ["softmax", "attention"])
def test_cases_are_the_same_whatever_hypothesis_drew_before(name):
    """It keeps the constants that it found in our modules, and once a wrong kernel passed for them."""
    found = providers.Constants(floats={i + 0.5 for i in range(100)}, integers=set(range(100)))
    with mock.patch.object(providers, "_get_local_constants", lambda: found):
        providers.CONSTANTS_CACHE.cache.clear()
        others = list(drawn(name))
        assert bits_of(others) != bits_of(draw_cases(name))
        assert bits_of(draw_cases.__wrapped__(name)) == bits_of(draw_cases(name))
        assert bits_of(draw_cases(name)) != bits_of(draw_cases(name, 60, 1))
    providers.CONSTANTS_CACHE.cache.clear()


def drawn(name):
    """Cases as Hypothesis draws them for anybody."""
    found = []

    @settings(max_examples=60, phases=[Phase.generate], **QUIET)
    @seed(0)
    @given(args=CASES[name])
    def draw(args):
        found.append(args)

    draw()
    return [tuple(bind(name, args).values()) for args in found]


def bits_of(cases):
    return [bits(args) for args in map(list, cases)]


def test_a_loss_may_be_a_float_of_python_and_one_of_numpy_is_told_in_words_what_widened_it(check):
    """np.float64 is a float of Python too, and the sum of a mask is what makes it."""
    text = "import numpy as np\ndef perplexity(p):\n    return {}(np.exp(-np.log(p).sum() / max(p.size, 1)))"
    assert check(text.format("float"), TASKS["perplexity"]).state == "passed"
    verdict = check(text.format("np.float64"), TASKS["perplexity"])
    assert "float32 in, float32 out" in verdict.message and "mask.sum()" in verdict.message
    assert verdict.mistake is None or "astype missing" in verdict.mistake


@pytest.mark.parametrize("effort", [0, 10])
def test_the_smallest_input_has_no_axis_that_could_be_shorter(effort):
    """Sizes of 2 are the first that are drawn: once the smallest attention had 30 numbers."""
    said = "attention without the 1/sqrt(D) factor"
    verdict = wrong_as("attention", dict(MISTAKES["attention"])[said], effort)
    assert verdict.mistake == said
    assert len(re.findall(r"\d\.\d", verdict.smallest_input)) <= 10


def test_writing_into_an_input_is_called_by_no_other_name(check):
    verdict = check("def add(x, y):\n    x += y\n    return x", TASKS["add"])
    assert verdict.broken[0] == PURE and verdict.mistake is None


@pytest.mark.parametrize("op", sorted(TASKS))
def test_every_axis_that_can_be_empty_is_empty_in_some_case(op):
    """A layernorm that fails on a batch of no rows once passed."""
    can, tried = ({axis for args in cases for axis in empty_axes(args)}
                  for cases in (draw_cases(op, 150, 7), itertools.chain(*properties(op).values())))
    assert can - tried == ({(0, 3, True)} if op == "sum_to_shape" else set())  # of 15 ways in this one


@pytest.mark.parametrize("op, wrong", [
    ("add", lambda x, y: np.stack(list(map(np.add, x, y))) if x.ndim else x + y),  # an empty batch
    ("grouped_linear", lambda x, w, counts: OPS["grouped_linear"].reference(x, w.view(), counts)),  # no list
    ("scaled_rope_tables", lambda positions, width, base, scaling: OPS["scaled_rope_tables"].reference(
        positions, width, base, {key: value for key, value in scaling.items() if key != "truncate"})),
])
def test_what_only_rare_cases_show_is_rejected(op, wrong):
    """No case had no rows, a list of matrices, or ends of YaRN where rounding makes a difference."""
    assert wrong_as(op, wrong).state == "failed"


def test_a_verdict_stands_though_the_search_for_its_cause_fails(monkeypatch):
    monkeypatch.setattr(checker, "diagnose", lambda *args: 1 / 0)
    assert "failed: ZeroDivisionError" in wrong_as("add", lambda x, y: x).message


@pytest.mark.parametrize("outputs, doubt", [
    ([1, 1, 1, 0, 0, 0], ""), ([1, 1, 1, 0, 0, 0, 0], " (perhaps: this explains 3 of 7 wrong results)"),
    ([1, 1], " (perhaps: this explains 2 of 2 wrong results)"),
])
def test_a_name_that_explains_few_results_is_said_with_doubt(outputs, doubt):
    mistake = "a name", lambda args, out: out == 1
    assert diagnose.with_doubt(mistake, [((), out) for out in outputs]) == "a name" + doubt


@pytest.mark.parametrize("op, text, words", [
    ("layernorm", "def layernorm(x, w, b, eps=1e-3):", "without its optional arguments it gives other"),
    ("layernorm", "def layernorm(x, w, b, eps):", "missing 1 required positional argument: 'eps'"),
    ("layernorm", "def layernorm(x, w, shift, eps=1e-5):\n    b = shift", "unexpected keyword argument"),
])
def test_defaults_and_names_of_arguments_are_tried(check, op, text, words):
    body = """
    mean = x.mean(-1)
    rstd = 1 / np.sqrt(x.var(-1) + np.float32(eps))
    return (x - mean[..., None]) * rstd[..., None] * w + b, mean, rstd"""
    verdict = check(f"import numpy as np\n{text}{body}", TASKS[op])
    assert words in verdict.message and verdict.broken == (ARGUMENTS,)


def test_what_is_to_change_in_place_but_does_not_is_said(check):
    arguments = "w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, grad_scale=1.0"
    verdict = check(f"def adamw_step({arguments}):\n    w = w - lr * g", TASKS["adamw_step"])
    assert verdict.message.startswith("it leaves w, m, v as they were; change them in place")


def test_the_cases_of_another_seed_leave_those_of_the_first_as_they_were():
    """Graded after a student with other hidden inputs, a right adamw_step was once rejected."""
    before = [bits(list(args)) for args in draw_cases("adamw_step", CASES_PER_TASK)]
    properties("adamw_step", variant=12345)
    assert [bits(list(args)) for args in draw_cases("adamw_step", CASES_PER_TASK)] == before


def test_the_steps_of_an_op_that_works_in_place_leave_the_case_as_it_was():
    """The input that is shown was once what the specification had made of it, and other checks failed."""
    (args,) = draw_cases("adamw_step", 1)
    before = bits(list(args))
    assert diagnose.steps_of(OPS["adamw_step"].reference, args) and bits(list(args)) == before


@pytest.mark.parametrize("op, wrong, words", [
    ("split_middle", lambda text, draws: ("b", "", "a"), "prefix should be ''"),
    ("trim_sides", lambda prefix, suffix, room: (prefix, suffix),
     r"the returned \w+ should be \[.*\], got \["),
])
def test_several_lists_and_texts_are_shown_as_a_whole(op, wrong, words):
    """Once lists of other lengths could not be compared, and a text "should be , got b"."""
    assert re.match(words, wrong_as(op, wrong).message)


def test_lists_are_shown_as_a_whole(check):
    verdict = check("def bpe_merge(ids, pair, new_id):\n    return list(ids)", TASKS["bpe_merge"])
    assert re.match(r"it should return \[.*\], got \[.*\]", verdict.message)
    verdict = check("def bpe_merge(ids, pair, new_id):\n    return tuple(ids)", TASKS["bpe_merge"])
    assert verdict.message == "it should return a list, not a tuple"
