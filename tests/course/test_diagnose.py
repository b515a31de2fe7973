"""Check what is said about a failure: the mistake by its name, the property of its input, and what to do."""

import functools
import re
from unittest import mock

import numpy as np
import pytest
from hypothesis import Phase, given, seed, settings
from hypothesis.internal.conjecture import providers
from judged import TASKS, wrong_as
from verify_names import QUICK, try_names, unnamed

from tinyllm.course import diagnose
from tinyllm.course.drawing import CASES_PER_TASK, LEAST, PLAIN, case_kind, properties
from tinyllm.ops import OPS
from tinyllm.testing import CASES, MISTAKES
from tinyllm.testing.by_rule import every_edit
from tinyllm.testing.catalog import QUIET, draw_cases
from tinyllm.testing.check import bits, describe
from tinyllm.testing.edits import edited
from tinyllm.testing.properties import ARGUMENTS, EXTREME, FORM, INFINITE, ORDINARY, PURE
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


@pytest.mark.parametrize("op", ["add", "softmax", "rope_tables"])
def test_numbers_that_are_right_are_called_no_mistake(op):
    """Only their type is wrong: a mistake that gives other numbers elsewhere is not theirs."""

    def in_float64(*args):
        results = OPS[op].reference(*args)
        wide = [x.astype(np.float64) for x in (results if isinstance(results, tuple) else (results,))]
        return tuple(wide) if len(wide) > 1 else wide[0]

    verdict = wrong_as(op, in_float64)
    assert "should be float32, got float64: float32 in, float32 out" in verdict.message
    assert verdict.broken[0] == FORM
    assert verdict.mistake is None or re.search("float64 and left there|astype missing", verdict.mistake)


@pytest.mark.parametrize("op", sorted(TASKS)[::2])
def test_every_listed_mistake_is_named(op):
    """Of every second exercise; `verify_names.py --quick`, which CI runs, tries those of all ops."""
    assert unnamed(op) == []


@pytest.mark.parametrize("op", QUICK[:2])
def test_mistakes_made_by_rule_are_named(op):
    """Most of those that give numbers: by their own name, or by that of a mistake with the same numbers."""
    named, tried, wrongly = try_names(op, every=16)
    assert named >= 0.75 * tried and not wrongly, f"{named} of {tried}: {wrongly}"


STRANGERS = {
    ("gelu_tanh", "with 0.44715 where 0.044715 belongs"):  # a number that the specification does not contain
        lambda x: np.float32(0.5) * x * (1 + np.tanh(np.float32((2 / np.pi) ** 0.5) * (x + 0.44715 * x**3))),
    ("sample", "along the first axis"):
        lambda probs, u: (np.cumsum(probs, axis=0, dtype=np.float64)
                          > u[..., None] * np.cumsum(probs, axis=0, dtype=np.float64)[..., -1:]).argmax(-1),
    ("sample", "dtype missing"):  # sums in float32: of many small numbers after a large one
        edited("sample", "np.cumsum(probs, axis=-1, dtype=np.float64)", "np.cumsum(probs, axis=-1)"),
    ("lr_schedule", "alone, without the guard"):
        edited("lr_schedule", "min(1.0, (step - warmup) / max(1, steps - warmup))",
               "(step - warmup) / max(1, steps - warmup)"),
    ("cross_entropy_backward", "ignore_index ignored and taken as -100"):
        lambda dloss, logits, targets, lse, ignored: OPS["cross_entropy_backward"].reference(
            dloss, logits, np.where(targets == -100, -100, targets % logits.shape[-1]), lse),
    ("top_k", "softmax of the right y"): lambda logits, k: OPS["softmax"].reference(
        OPS["top_k"].reference(logits, k)),
    ("linear", "negative numbers of the right y set to 0"): lambda x, w, b=None: np.maximum(
        OPS["linear"].reference(x, w, b), 0),
    ("latent_scores", "q everywhere as it is at the first place along axis -2"): lambda q, c, w:
        OPS["latent_scores"].reference(np.repeat(q[..., :1, :], q.shape[-2], -2), c, w),
    ("bpe_encode", "with nothing done to ids"): lambda ids, merges: list(ids),
}


@pytest.mark.parametrize("op, words", STRANGERS)
def test_bugs_of_strangers_are_named(op, words):
    assert words in str(wrong_as(op, STRANGERS[op, words]).mistake)


def test_a_mistake_that_is_right_in_half_of_the_cases_with_nan_is_not_named():
    """The scale is 0 for a row with NaN but not for one with an infinity, as the name says."""

    def without_nan(x):
        q, scales = OPS["pack_int8"].reference(x)
        return q, np.where(np.isinf(x).any(-1), np.float32(np.inf), np.nan_to_num(scales))

    assert "infinity" not in str(wrong_as("pack_int8", without_nan).mistake)


def test_a_mistake_that_other_ordinary_cases_deny_is_not_named(monkeypatch):
    """Scaled by sqrt(T), which on a case of T = 4 and D = 2 is the known 1 / D."""
    monkeypatch.setattr("tinyllm.course.naming.every_edit", lambda name: [])  # the listed mistakes only

    def scaled_by_keys(q, k, v, causal=True, lengths=None):
        wide = np.float32((q.shape[3] / max(k.shape[1], 1)) ** 0.5)
        return OPS["attention"].reference(q * wide, k, v, causal, lengths)

    verdict = wrong_as("attention", scaled_by_keys, effort=1)
    assert verdict.state == "failed" and verdict.mistake is None


def test_two_mistakes_at_once_are_called_by_no_single_name():
    def both(x):
        e = np.exp(2 * (x - x.max(axis=-1, keepdims=True, initial=-np.inf)))
        return e / (e.sum(axis=-1, keepdims=True) + 1)

    assert wrong_as("softmax", both).mistake is None


@pytest.mark.parametrize("said", ["the right formula with the first of grads alone",
                                  "the largest of the arrays' norms"])
def test_mistakes_that_small_cases_do_not_tell_apart_are_told_apart(said):
    function = dict([*MISTAKES["grad_norm"], *every_edit("grad_norm")])[said]
    assert wrong_as("grad_norm", function).mistake == said


def test_the_difference_is_not_its_negative(check):
    """They agree where x equals y, as on the smallest input."""
    verdict = check("def add(x, y):\n    return x - y", TASKS["add"])
    assert verdict.mistake == "the right formula with the sign of y turned"


def test_a_second_mistake_on_unusual_numbers_hides_no_first():
    def both(x):
        e = np.exp(x)  # overflows, and
        return e / e.sum()  # the sum of the whole array

    assert wrong_as("softmax", both).mistake == "softmax over the whole array, not row by row"


BY_HAND = {
    "attention without the 1/sqrt(D) factor": ("attention", """
import numpy as np
def attention(q, k, v, causal=True, lengths=None):
    (B, S, H, D), (_, T, K, _) = q.shape, k.shape
    y, lse = np.zeros_like(q), np.full((B, H, S), -np.inf, q.dtype)
    for b in range(B):
        n = T if lengths is None else int(lengths[b])
        for h in range(H):
            scores = q[b, :, h] @ k[b, :, h // (H // K)].T
            for s in range(S):
                seen = min(n, n - S + s + 1) if causal else n
                if seen > 0:
                    weights = np.exp(scores[s, :seen] - scores[s, :seen].max())
                    y[b, s, h] = weights @ v[b, :seen, h // (H // K)] / weights.sum()
                    lse[b, h, s] = scores[s, :seen].max() + np.log(weights.sum())
    return y, lse
"""),
    "the right formula with nothing done to x": ("rope", "def rope(x, cos, sin):\n    return x.copy()"),
    "the right formula with the rest missing after `dlogits = np.exp(logits - lse[..., None])`": (
        "cross_entropy_backward", """
import numpy as np
def cross_entropy_backward(dloss, logits, targets, lse, ignore_index=-100):
    return np.exp(logits - lse[..., None])
"""),
    "softmax without subtracting the maximum, so that exp overflows": ("softmax", """
import numpy as np
def softmax(x):
    e = np.exp(x)
    total = e.sum(axis=-1, keepdims=True)
    total[total == 0] = 1
    return e / total
"""),
    "the mean over all targets, the ignored ones too": ("cross_entropy", """
import numpy as np
def cross_entropy(logits, targets, ignore_index=-100):
    top = logits.max(axis=-1, keepdims=True, initial=-np.inf)
    lse = top[..., 0] + np.log(np.exp(logits - top).sum(axis=-1))
    kept = targets != ignore_index
    picked = np.take_along_axis(logits, np.where(kept, targets, 0)[..., None], axis=-1)[..., 0]
    return np.asarray((lse - picked)[kept].sum() / targets.size, np.float32), lse
"""),
    "a merge that steps over the token after each new one, which may begin a pair": ("bpe_merge", """
def bpe_merge(ids, pair, new_id):
    ids, i = list(ids), 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) == pair:
            ids[i : i + 2] = [new_id]
            i += 1
        i += 1
    return ids
"""),
    "a merge after which the index moves by one, not by two": ("bpe_merge", """
def bpe_merge(ids, pair, new_id):
    found = []
    for i in range(len(ids)):
        if tuple(ids[i : i + 2]) == pair:
            found.append(new_id)
            i += 2
        else:
            found.append(ids[i])
    return found
"""),
    "the right formula with = where += belongs in `gradients[:i] += gradients[i] * local[i, :i]`": (
        "backpropagate", """
import numpy as np
def backpropagate(local):
    g = np.zeros(len(local), np.float32)
    g[-1:] = 1
    for i in range(len(local) - 1, -1, -1):
        for j in range(i):
            g[j] = g[i] * local[i, j]
    return g
"""),
    "every token that ties with the k-th kept: ties keep the smaller id": ("top_k", """
import numpy as np
def top_k(logits, k):
    least = np.sort(logits, axis=-1)[..., -min(k, logits.shape[-1])][..., None]
    return np.where(logits >= least, logits, np.float32(-np.inf))
"""),
    "the token that crosses p dropped, so that the kept ones do not reach p": ("top_p", """
import numpy as np
def top_p(logits, p):
    order = np.argsort(-logits, axis=-1, kind="stable")
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    likely = np.take_along_axis(e / e.sum(axis=-1, keepdims=True), order, axis=-1)
    kept = np.where(likely.cumsum(axis=-1) <= p, np.take_along_axis(logits, order, axis=-1), -np.inf)
    y = np.empty_like(logits)
    np.put_along_axis(y, order, kept.astype(np.float32), axis=-1)
    return y
"""),
}


SEARCHED = [(said, 100) for said in [*BY_HAND][::3]]  # a few, also for the smallest input


@pytest.mark.parametrize("said, effort", [*((said, 0) for said in BY_HAND), *SEARCHED])
def test_a_student_who_did_more_right_than_the_mistake_is_told_its_name(check, said, effort):
    """With a guard against 0 / 0, say: there are inputs where their numbers are not the mistake's."""
    op, text = BY_HAND[said]
    verdict = check(text, TASKS[op], effort=effort)
    assert verdict.mistake == said


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


def test_a_mask_must_replace_numbers_not_multiply_them(check):
    """What is replaced may be infinite, and 0 times infinity is NaN."""
    text = "def place_backward(dy, at):\n    return dy * ~at[..., None], dy[at]"
    assert "which keeps NaN and infinity" in check(text, TASKS["place_backward"]).mistake


def test_writing_into_an_input_is_called_by_no_other_name(check):
    verdict = check("def add(x, y):\n    x += y\n    return x", TASKS["add"])
    assert verdict.broken[0] == PURE and verdict.mistake is None


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
