"""Several mistakes in one function, and the input that shows one."""

import math
import re

import numpy as np
import pytest
from judged import wrong_as

from tinyllm.course import checker
from tinyllm.course.matching import Suspect
from tinyllm.ops import OPS
from tinyllm.testing import MISTAKES


def test_each_result_may_have_a_mistake_of_its_own():
    def swiglu_backward(dy, gate, up):
        s = OPS["sigmoid"].reference(gate)
        return dy * s * (1 + gate * (1 - s)), dy * s

    said = wrong_as("swiglu_backward", swiglu_backward).mistake
    assert re.fullmatch("for dgate: .*up .*taken as 1.*; for dup: .*sigmoid where silu belongs.*", said)


@pytest.mark.parametrize("effort", [0, 10])
def test_the_smallest_input_has_no_axis_that_could_be_shorter(effort):
    """Sizes of 2 are the first that are drawn: once the smallest attention had 30 numbers."""
    said = "attention without the 1/sqrt(D) factor"
    verdict = wrong_as("attention", dict(MISTAKES["attention"])[said], effort)
    assert verdict.mistake == said
    assert len(re.findall(r"\d\.\d", verdict.smallest_input)) <= 10


def test_a_mistake_is_named_where_the_function_rounds_less_than_the_specification():
    """Of 1 + erf(x) little is left in float32 for negative x; a function in float64 has all its digits."""

    def gelu_tanh(x):
        phi = (1 + np.vectorize(math.erf, otypes=[float])(x.astype(np.float64) * 0.5**0.5)) / 2
        return (x * phi).astype(np.float32)

    assert wrong_as("gelu_tanh", gelu_tanh).mistake == "exact gelu, where the tanh form was asked for"


@pytest.mark.parametrize("op, result", [
    *(("add", result) for result in ({"y": 1}, "y", [1, [2]], None, 10**400)), ("balance_loss", -(2**70)),
    ("count_cache_bytes", ()), ("count_cache_bytes", 10**400),
])
def test_results_of_another_kind_have_no_name(op, result):
    verdict = wrong_as(op, lambda *args: result)
    assert verdict.state == "failed" and verdict.mistake is None and verdict.smallest_input


def test_a_verdict_stands_though_the_search_for_its_cause_fails(monkeypatch):
    monkeypatch.setattr(checker, "diagnose", lambda *args: 1 / 0)
    assert "failed: ZeroDivisionError" in wrong_as("add", lambda x, y: x).message


def test_results_of_a_wrong_shape_are_compared_with_those_of_a_mistake():
    """Both may have a shape that does not fit the tolerance of the right result; that raised an error."""

    def matmul_backward(dy, a, b, transpose_a=False, transpose_b=False):
        da, db = OPS["matmul_backward"].reference(dy, a, b, transpose_a, transpose_b)
        return da.swapaxes(-1, -2) if transpose_a else da, db

    assert wrong_as("matmul_backward", matmul_backward).state == "failed"


def test_errors_that_differ_by_a_tenth_are_two_mistakes():
    """Within the tolerance, eps = 1e-6 was once called eps outside of the root."""
    args = np.float32([[1, 2]]), np.float32([[3, 4]])
    suspect = Suspect("add", lambda x, y: x + y + np.float32(1e-3))
    (theirs,) = suspect.results(args)
    assert suspect.explains(args, [theirs])
    assert not suspect.same_errors(args, [theirs + np.float32(1e-4)], [theirs])


def test_errors_of_python_numbers_are_compared_too():
    """1e-8 added to a divisor was once called 1e-6 added."""
    args = (3, 10, 0.1, 2, 0.1)
    right = OPS["lr_schedule"].reference(*args)
    suspect = Suspect("lr_schedule", lambda *args, **more: right + 1e-6)
    assert not suspect.same_errors(args, [right + 1e-8], [right + 1e-6])


def test_a_name_for_few_equal_cases_is_denied_by_others():
    """In the first step m is 0, and what is stored was once called beta1 taken as 0."""

    def adamw_step(w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, grad_scale=1.0):
        OPS["adamw_step"].reference(w, g, m, v, step, lr, beta1, beta2, eps, weight_decay, grad_scale)
        m /= np.float32(1 - beta1**step)

    assert "beta1 ignored" not in str(wrong_as("adamw_step", adamw_step).mistake)


def test_a_name_is_denied_by_unusual_cases_where_the_function_is_right():
    """Only rows of very negative numbers fail, but those of large ones do not overflow."""

    def softmax(x):
        e = np.exp(x - x.max(axis=-1, keepdims=True, initial=1e-38))
        return e / e.sum(axis=-1, keepdims=True)

    assert "without subtracting" not in str(wrong_as("softmax", softmax).mistake)


@pytest.mark.parametrize("op, wrong", [
    ("clip_grads", lambda grads, norm, limit: [g * np.float64(min(1, limit / norm)) for g in grads]),
    ("count_parameters", lambda *sizes: float(OPS["count_parameters"].reference(*sizes))),
    ("bigram_counts", lambda *args: np.float32(OPS["bigram_counts"].reference(*args))),
])
def test_right_numbers_of_another_type_are_no_wrong_numbers(op, wrong):
    """np.abs makes NumPy's float64 of a Python number: it was once the mistake that was named."""
    assert wrong_as(op, wrong).mistake is None


@pytest.mark.parametrize("op, wrong", [
    ("grouped_linear", lambda x, w, counts: OPS["grouped_linear"].reference(x, w.view(), counts)),  # no list
    ("scaled_rope_tables", lambda positions, width, base, scaling: OPS["scaled_rope_tables"].reference(
        positions, width, base, {key: value for key, value in scaling.items() if key != "truncate"})),
])
def test_what_only_one_setting_shows_is_rejected(op, wrong):
    """No case had a list of matrices, or ends of YaRN where rounding makes a difference."""
    assert wrong_as(op, wrong).state == "failed"
