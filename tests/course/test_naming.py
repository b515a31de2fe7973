"""Check that wrong functions get the right names of mistakes, and that some get none."""

import functools
import math
import re

import numpy as np
import pytest
from judged import TASKS, wrong_as
from verify_names import QUICK, try_names, unnamed

from tinyllm.course.contrast import common_fact
from tinyllm.course.matching import Suspect
from tinyllm.ops import OPS
from tinyllm.testing import MISTAKES, VARIANTS
from tinyllm.testing.properties import FORM

SAID, NOT_SAID = [], []  # (op, pattern, wrong function): the mistake's name must or must not match
SPEC = {name: op.reference for name, op in OPS.items()}
LISTED = {said: function for pairs in MISTAKES.values() for said, function in pairs}


def named(op, words, table=SAID):
    """Register a wrong function of an op, and a pattern for the name of its mistake, in a table."""
    return lambda function: table.append((op, words, function)) or function


@pytest.mark.parametrize("op", sorted(TASKS)[::8])
def test_every_listed_mistake_is_named(op):
    """Try every eighth exercise; `verify_names.py --quick` in .ci/run tries the mistakes of all ops."""
    assert unnamed(op) == []


@pytest.mark.parametrize("op", QUICK[:2])
def test_mistakes_made_by_rule_are_named(op):
    """Require that three quarters are named, by their own name or one with the same results."""
    tried_names, tried, wrongly = try_names(op, every=16)
    assert tried_names >= 0.75 * tried and not wrongly, f"{tried_names} of {tried}: {wrongly}"


named("sample", "along the first axis")(  # this one and some below were found by testers
    lambda probs, u: (np.cumsum(probs, axis=0, dtype=np.float64)
                      > u[..., None] * np.cumsum(probs, axis=0, dtype=np.float64)[..., -1:]).argmax(-1))
named("cross_entropy_backward", "ignore_index ignored and taken as -100")(
    lambda dloss, logits, targets, lse, ignored: SPEC["cross_entropy_backward"](
        dloss, logits, np.where(targets == -100, -100, targets % logits.shape[-1]), lse))
named("swiglu_backward", "for dgate: .*up .*taken as 1.*; for dup: .*sigmoid where silu belongs")(
    lambda dy, gate, up: (SPEC["silu_backward"](dy, gate), dy * SPEC["sigmoid"](gate)))
ELSEWHERE = r" \(elsewhere more is wrong\)$"  # beginners err twice: everywhere, and in a corner
named("entropy", "the sign of .* turned" + ELSEWHERE)(lambda p: (p * np.log(p)).sum(-1))
named("cross_entropy_backward", "softmax alone, without the 1.*" + ELSEWHERE)(
    lambda dloss, logits, targets, lse, ignored:  # and NaN where all are ignored
        dloss * np.exp(logits - lse[..., None]) * (np.float32(targets != ignored)
                                                   / np.float32((targets != ignored).sum()))[..., None])
named("lr_schedule", "two mistakes: a straight line down.*; and a cosine that rises again")(
    lambda step, steps, lr, warmup, low: lr * min(1, (step + 1) / (warmup + 1)) if step < warmup
    else lr * (low + (1 - low) * (1 - (step - warmup) / max(1, steps - warmup))))
named("gelu_tanh", "x squared inside tanh.*" + ELSEWHERE)(  # and a constant with three digits
    lambda x: np.float32(0.5) * x * (1 + np.tanh(np.float32(0.798) * (x + np.float32(0.044715) * x * x))))
named("mean_pool_backward", "two mistakes: a gradient multiplied by the length.*; and x times 0")(
    lambda dy, x, lengths: np.where((np.arange(x.shape[1]) < lengths[:, None])[..., None],
                                    (dy * np.float32(lengths)[:, None])[:, None], x * 0))
named("bpe_pair_counts", "two mistakes: .*overlapping.*; and counts ignored")(lambda pieces, counts: (
    LISTED["counts without overlapping pairs: aaa holds the pair aa twice"](pieces, [1] * len(counts))))
named("bpe_encode", "text, not in the order of learning$")(  # and nothing for an empty piece, in many cases
    lambda *x: LISTED["tokens merged in the order of the text, not in the order of learning"](*x) or None)
named("count_cache_bytes", "keys alone.*" + ELSEWHERE)(  # and bits of a token rounded down to bytes
    lambda tokens, layers, heads, width, bits: heads * width * bits // 8 * tokens * layers)
named("top_p", "unless it is first" + ELSEWHERE)(  # and ties read backwards; it was "`p` twice"
    lambda x, p: LISTED["the token that crosses p dropped unless it is first"](x[..., ::-1], p)[..., ::-1])
named("contrastive_loss", "a softmax over the rows of a")(  # it was "a and b exchanged", but logits are right
    lambda a, b, t: (SPEC["contrastive_loss"](b, a, t)[0], SPEC["contrastive_loss"](a, b, t)[1],
                     SPEC["contrastive_loss"](b, a, t)[2]))
named("softmax_backward", "two mistakes: the sum over the row added.*; and the sum along the first axis")(
    lambda dy, y: y * (dy + (dy * y).sum(axis=0, keepdims=True)))
named("rmsnorm", "the right rstd with one axis more")(  # it was "the running sum" where x is one row
    lambda x, w, eps: (SPEC["rmsnorm"](x, w, eps)[0], SPEC["rmsnorm"](x, w, eps)[1][..., None]))
named("cross_entropy_backward", "but with nan where it should be 0")(  # not everywhere: if all are ignored
    lambda *args: SPEC["cross_entropy_backward"](*args)
    + np.where((args[2] != args[4]).any(), np.float32(0), np.float32(np.nan)))
named("place_backward", "which keeps NaN and infinity")(lambda dy, at: (dy * ~at[..., None], dy[at]))
named("add", "with the sign of y turned")(lambda x, y: x - y)  # not y - x: they agree where x equals y
named("contrastive_loss", "the right logits and lse; wrong numbers for loss")(
    lambda *args: (np.asarray((SPEC["contrastive_loss"](*args)[0] ** 2).sum() + 7, np.float32),
                   *SPEC["contrastive_loss"](*args)[1:]))


@named("gelu_tanh", "gelu where gelu_tanh belongs")
def more_exact_than_the_specification(x):
    """Compute 1 + erf(x) in float64: for negative x, float32 loses most of its digits."""
    phi = (1 + np.vectorize(math.erf, otypes=[float])(x.astype(np.float64) * 0.5**0.5)) / 2
    return (x * phi).astype(np.float32)


@named("softmax", "softmax over the whole array, not row by row")
def another_mistake_on_large_numbers(x):
    e = np.exp(x)  # overflows, which is a second mistake
    return e / e.sum()


# Each function below has a listed mistake, but is right on more cases, for example by a guard against 0 / 0.
@named("attention", "attention without the 1/sqrt.D. factor")
def attention_in_loops(q, *more):
    """Round otherwise than the listed mistake: exp magnifies errors of scores that are not scaled."""
    return VARIANTS["attention"][-1](q * np.float32(q.shape[-1] ** 0.5), *more)


@named("softmax", "softmax without subtracting the maximum, so that exp overflows")
def softmax_with_a_guard(x):
    e = np.exp(x)
    total = e.sum(axis=-1, keepdims=True)
    total[total == 0] = 1
    return e / total


@named("cross_entropy", "the mean over all targets, the ignored ones too")
def cross_entropy_of_all(logits, targets, ignore_index=-100):
    """Give 0, not NaN, where all targets are ignored."""
    loss, lse = SPEC["cross_entropy"](logits, targets, ignore_index)
    return np.asarray(loss * (targets != ignore_index).sum() / max(targets.size, 1), np.float32), lse


@named("bpe_merge", "a merge that steps over the token after each new one, which may begin a pair")
def merge_in_place(ids, pair, new_id):
    ids, i = list(ids), 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) == pair:
            ids[i : i + 2] = [new_id]
            i += 1
        i += 1
    return ids


@named("backpropagate", re.escape("= where += belongs in `gradients[:i] += gradients[i] * local[i, :i]`"))
def last_path_only(local):
    g = np.zeros(len(local), np.float32)
    g[-1:] = 1
    for i in range(len(local) - 1, -1, -1):
        for j in range(i):
            g[j] = g[i] * local[i, j]
    return g


@named("top_k", "every token that ties with the k-th kept: ties keep the smaller id")
def top_k_by_threshold(logits, k):
    least = np.sort(logits, axis=-1)[..., -min(k, logits.shape[-1])][..., None]
    return np.where(logits >= least, logits, np.float32(-np.inf))


@named("cross_entropy", "1e-9", NOT_SAID)  # it explained 4 of 14 results, as one of two mistakes
def cross_entropy_of_all_that_overflows(logits, targets, ignore_index=-100):
    lse, kept = np.log(np.exp(logits).sum(axis=-1)), targets != ignore_index
    return np.float32((lse[kept] - logits[kept, targets[kept]]).sum() / max(targets.size, 1)), lse


@named("pack_int8", "infinity", NOT_SAID)
def scales_without_nan(x):
    """Give the scale 0 to a row with NaN, but not to one with an infinity."""
    q, scales = SPEC["pack_int8"](x)
    return q, np.where(np.isinf(x).any(-1), np.float32(np.inf), np.nan_to_num(scales))


@named("softmax", ".", NOT_SAID)
def two_mistakes(x):
    e = np.exp(2 * (x - x.max(axis=-1, keepdims=True, initial=-np.inf)))
    return e / (e.sum(axis=-1, keepdims=True) + 1)


@named("softmax", "without subtracting", NOT_SAID)
def right_on_large_numbers(x):
    """Fail only on rows of very negative numbers; rows of large numbers do not overflow."""
    e = np.exp(x - x.max(axis=-1, keepdims=True, initial=1e-38))
    return e / e.sum(axis=-1, keepdims=True)


@named("adamw_step", "beta1 ignored", NOT_SAID)
def stored_with_correction(w, g, m, v, step, lr, beta1=0.9, *more):
    """In the first step m is 0, so only a few similar cases contradict the name."""
    SPEC["adamw_step"](w, g, m, v, step, lr, beta1, *more)
    m /= np.float32(1 - beta1**step)


@named("matmul_backward", " where ", NOT_SAID)
def results_of_a_wrong_shape(dy, a, b, transpose_a=False, transpose_b=False):
    """Give results whose shape does not fit the error bounds; comparing them once raised an error."""
    da = dy @ (b if transpose_b else b.swapaxes(-1, -2))
    db = SPEC["matmul_backward"](dy, a, b, transpose_a, transpose_b)[1]
    return (da.swapaxes(-1, -2) if transpose_a else da), db


named("add", ".", NOT_SAID)(lambda x, y: np.add(x, y, out=x))  # the only fault: it writes into an input
for op, wrong in {  # the numbers are right, only their type is wrong
    "clip_grads": lambda grads, norm, limit: [g * np.float64(min(1, limit / norm)) for g in grads],
    "count_parameters": lambda *sizes: float(SPEC["count_parameters"](*sizes)),
    "bigram_counts": lambda *args: np.float32(SPEC["bigram_counts"](*args)),
}.items():
    named(op, ".", NOT_SAID)(wrong)
for op, result in [*(("add", each) for each in ({"y": 1}, "y", [1, [2]], None, 10**400)),
                   ("count_cache_bytes", ()), ("count_cache_bytes", 10**400), ("softmax", -(10**400))]:
    named(op, ".", NOT_SAID)(lambda *args, result=result: result)


@pytest.mark.parametrize("op, words, function", SAID)
def test_what_is_wrong_is_said(op, words, function):
    assert re.search(words, str(wrong_as(op, function).mistake))


@pytest.mark.parametrize("op, words, function", NOT_SAID)
def test_what_is_not_true_is_not_said(op, words, function):
    verdict = wrong_as(op, function)
    assert verdict.state == "failed" and not re.search(words, verdict.mistake or "")
    assert verdict.smallest_input and "search for the cause failed" not in verdict.message


def test_numbers_that_are_right_are_called_no_mistake():
    """Only the type is wrong, so no mistake that gives other numbers may be named."""
    verdict = wrong_as("add", lambda x, y: SPEC["add"](x, y).astype(np.float64))
    assert "should be float32, got float64: float32 in, float32 out" in verdict.message
    assert verdict.broken[0] == FORM
    assert verdict.mistake is None or re.search("float64 and left there|astype missing", verdict.mistake)


def test_a_mistake_that_other_ordinary_cases_deny_is_not_named(monkeypatch):
    """Scores scaled by 1 / sqrt(T) equal a known mistake, 1 / D, on a case with T = 4 and D = 2."""
    monkeypatch.setattr("tinyllm.course.naming.every_edit", lambda *args: [])  # the listed mistakes only

    def scaled_by_keys(q, k, v, causal=True, lengths=None):
        wide = np.float32((q.shape[3] / max(k.shape[1], 1)) ** 0.5)
        return SPEC["attention"](q * wide, k, v, causal, lengths)

    verdict = wrong_as("attention", scaled_by_keys)
    assert verdict.state == "failed" and "scaled" not in str(verdict.mistake)


def test_words_in_place_of_numbers_are_compared():
    """Lists of words, as many as there are documents, were once taken for numbers."""
    args = [["a", "b"], ["b", "a"]], ["a"], 1.5, 0.75
    assert Suspect("bm25_scores", lambda documents, *rest: documents).explains(args, args[0])


def test_errors_that_differ_by_a_tenth_are_two_mistakes():
    """Errors below the tolerance were once not told apart: adding 1e-8 was named as adding 1e-6."""
    args = np.float32([[1, 2]]), np.float32([[3, 4]])
    suspect = Suspect("add", lambda x, y: x + y + np.float32(1e-3))
    (theirs,) = suspect.results(args)
    assert suspect.explains(args, [theirs])
    assert not suspect.same_errors(args, [theirs + np.float32(1e-4)], [theirs])
    args, right = (3, 10, 0.1, 2, 0.1), SPEC["lr_schedule"](3, 10, 0.1, 2, 0.1)
    suspect = Suspect("lr_schedule", functools.partial(float, right + 1e-6))
    assert not suspect.same_errors(args, [right + 1e-8], [right + 1e-6])


NUMBERS = np.random.default_rng(0).normal(size=(3, 4, 3)) * 9


@pytest.mark.parametrize("wrong, said", [
    (lambda y: y * 0.3, "{} times 0.3"), (lambda y: y + 3, "{} + 3"), (lambda y: y * 0, "0 in place of {}"),
    (lambda y: y[::-1, ::-1], "the numbers of {}, but not in their places"),
    (lambda y: np.where(y > 0, y, 17), "{}, but with 17 where it should be negative"),
    (lambda y: np.where(y > 0, y, -np.inf), "{}, but with -inf where it should be negative"),
    (lambda y: y + 0.005 * y.max() * np.arange(y.size).reshape(y.shape) / y.size,
     "{}, but only to 2 digits: is a type with fewer digits used, or something small added?"),
    (lambda y: np.where(np.arange(y.size).reshape(y.shape) % 5, y, 17), None), (lambda y: y**2, None),
    (lambda y: y * 0 - 2.0**70, "-1.18059e+21 everywhere in place of {}"), (lambda y: 10**400, None),
    (lambda y: y[..., None], "the numbers of {}, but in another shape"), (lambda y: "text", None),
])
def test_facts_of_wrong_numbers(wrong, said):
    assert common_fact([(wrong(y), y) for y in NUMBERS]) == said
    assert common_fact([(wrong(y), y) for y in NUMBERS[:2]]) is None  # many facts are true of only two cases


def test_facts_of_wrong_lists_and_texts():
    for got, want, said in [
        ([2, 1, 3], [1, 2, 3], "the elements of {}, but in another order"), ([5, 1], [1, 2, 5], None),
        ([1, 5], [1, 2, 3, 4, 5], "{} without some of its elements"), ([1, 7], [3, 4], None),
        ("abcd", "ab", "{} with more elements"), (7, [3, 4], None), ({1: 0}, {1: 256}, None),
    ]:
        assert common_fact([(got, want)] * 3) == said
