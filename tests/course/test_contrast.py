"""Check what is said about wrong results that no mistake explains: how they differ from the right ones."""

import itertools

import numpy as np
import pytest
from judged import TASKS, wrong_as

from tinyllm.course.contrast import common_fact
from tinyllm.course.drawing import empty_axes, properties
from tinyllm.ops import OPS
from tinyllm.testing.catalog import draw_cases


@pytest.mark.parametrize("wrong, said", [
    (lambda y: y * 0.3, "{} times 0.3"), (lambda y: y + 3, "{} + 3"), (lambda y: y * 0, "0 in place of {}"),
    (lambda y: y[::-1, ::-1], "the numbers of {}, but not in their places"),
    (lambda y: np.where(y > 0, y, 17), "{}, but with 17 at some places"),
    (lambda y: np.where(y > 0, y, -np.inf), "{}, but with -inf at some places"),
    (lambda y: y + 0.005 * y.max() * np.arange(y.size).reshape(y.shape) / y.size,
     "{}, but only to 2 digits: is float16 used, or something small added?"),
    (lambda y: y * 0 - 2.0**70, "{}, but with -1.18059e+21 at some places"), (lambda y: y**2, None),
    (lambda y: y[..., None], None), (lambda y: "text", None), (lambda y: 10**400, None),
])
def test_facts_of_wrong_numbers(wrong, said):
    rng = np.random.default_rng(0)
    right = [rng.normal(size=shape) * 9 for shape in [(4, 3), (4, 3), (2, 5), (4, 3)]]
    assert common_fact([(wrong(y), y) for y in right]) == said
    assert common_fact([(wrong(y), y) for y in right[:2]]) is None  # of two cases, many facts are true


@pytest.mark.parametrize("got, want, said", [
    ([2, 1, 3], [1, 2, 3], "the elements of {}, but in another order"),
    ([1, 5], [1, 2, 3, 4, 5], "{} without some of its elements"), ("abcd", "ab", "{} with more elements"),
    ({(1, 2): 0}, {(1, 2): 256}, "the keys of {}, but other values"),
    ({"1,2": 7}, {(1, 2): 7}, "the values of {}, but other keys"), ([1, 7], [3, 4], None), (7, [3, 4], None),
])
def test_facts_of_wrong_lists_texts_and_dicts(got, want, said):
    assert common_fact([(got, want)] * 3) == said


def test_of_several_results_the_right_ones_are_said():
    def contrastive_loss(a, b, temperature):
        loss, logits, lse = OPS["contrastive_loss"].reference(a, b, temperature)
        return np.asarray((loss**2).sum() + 7, a.dtype), logits, lse

    said = wrong_as("contrastive_loss", contrastive_loss).mistake
    assert said == "another loss; logits is right; lse is right"


@pytest.mark.parametrize("result", [10**4000, -(10**400), {"a": 1}, "y", [1.0], True])
def test_results_that_are_no_numbers_are_judged_too(result):
    """They once ended in a verdict that nothing could be judged."""
    assert wrong_as("softmax", lambda x: result).state == "failed"


@pytest.mark.parametrize("op", sorted(TASKS))
def test_every_axis_that_can_be_empty_is_empty_in_some_case(op):
    """A layernorm that fails on a batch of no rows once passed."""
    can, tried = ({axis for args in cases for axis in empty_axes(args)}
                  for cases in (draw_cases(op, 150, 7), itertools.chain(*properties(op).values())))
    assert can - tried == ({(0, 3, True)} if op == "sum_to_shape" else set())  # of 15 ways in this one


def test_a_function_that_fails_on_an_empty_batch_is_rejected():
    verdict = wrong_as("add", lambda x, y: np.stack(list(map(np.add, x, y))) if x.ndim else x + y)
    assert verdict.message == "ValueError: need at least one array to stack"
