"""Check what is said about wrong results without a named mistake: how, and on which inputs, they differ."""

import itertools

import numpy as np
import pytest
from judged import TASKS, wrong_as

from tinyllm.course import diagnose
from tinyllm.course.contrast import guesses, relation
from tinyllm.course.drawing import empty_axes, properties
from tinyllm.ops import OPS
from tinyllm.testing.catalog import draw_cases


def test_a_condition_that_most_right_results_meet_too_is_not_said():
    """da is not summed over broadcast axes; that most such cases were transposed is an accident."""

    def half_summed(dy, a, b, transpose_a=False, transpose_b=False):
        right = b if transpose_b else b.swapaxes(-1, -2)
        da = dy @ right
        db = OPS["matmul_backward"].reference(dy, a, b, transpose_a, transpose_b)[1]
        return (da.swapaxes(-1, -2) if transpose_a else da), db

    assert "where" not in str(wrong_as("matmul_backward", half_summed).mistake)


@pytest.mark.parametrize("op, wrong", [
    ("sample", lambda probs, u: OPS["sample"].reference(-np.sort(-probs, axis=-1), u)),
    ("trim_sides", lambda prefix, suffix, room: (OPS["trim_sides"].reference(
        prefix, [0] * max(len(suffix), room - (room + 1) // 2), room)[0],
        OPS["trim_sides"].reference(prefix, suffix, room)[1])),
    ("balance_bias", lambda bias, counts, rate: OPS["balance_bias"].reference(bias, counts, 2 * rate)),
    ("softmax_backward", lambda dy, y: dy * y - y * y * (dy * y).sum(-1, keepdims=True)),
])
def test_a_condition_that_other_cases_deny_is_not_said(op, wrong):
    """One fitted all of the first 60 cases by chance, as "probs holds a zero"."""
    assert "where" not in str(wrong_as(op, wrong).mistake)


def test_a_guess_of_huge_numbers_is_not_near_everything():
    """np.nan_to_num makes 1e308 of infinity, beside which all other numbers are rounding."""

    logits = np.float32([[4, 1, 3]])
    triples = [((logits, 0.5), logits - i, np.float32([[4, -np.inf, 3]])) for i in range(4)]
    assert "infinity" not in str(relation("top_p", triples))


@pytest.mark.parametrize("body, said", [
    ("return -right(x)", "the sign of the right y turned"),
    ("return 1 - right(x)", "1 - the right y where the right y belongs"),
    ("return right(x)[..., ::-1]", "the right y in reverse order along axis -1"),
    ("return right(x) * 0.125", "the right y times 0.125"),
    ("return right(x) + np.float32(0.001) * right(x).max(initial=0)",
     "the right y, but only to 2 digits: is float16 used, or something small added?"),
    ("return right(x) * x.shape[-1]", "the right y multiplied by x.shape[-1]"),
    ("y = right(x); return np.where(y > 0.3, 0, y)", "the right y, but with 0 at some places"),
    ("y = right(x); return np.random.default_rng(y.size).permuted(y)",
     "the numbers of the right y, but not in their places"),
    ("y = right(x); return y * 0 + y.mean(axis=-1, keepdims=True)",
     "1 / n everywhere in place of the right y"),
    ("return right(x) if x.ndim < 3 else x", "x itself, where x has more than two axes"),
    ("return right(x) if x.ndim < 3 else x * x + 7",
     "the right result on the inputs tried, except where x has more than two axes"),
])
def test_wrong_results_are_described_by_how_and_where_they_differ(body, said, monkeypatch):
    """Without a known mistake: as facts of all cases."""
    monkeypatch.setattr(diagnose, "name_mistake", lambda *args, **more: None)
    space = {"np": np, "right": OPS["softmax"].reference}
    exec(f"def softmax(x):\n    {body}", space)
    assert wrong_as("softmax", space["softmax"]).mistake == said


def test_a_mean_that_is_not_one_share_of_one_is_said():
    rng = np.random.default_rng(0)
    cases = [((x,), x * 0 + x.mean(axis=-1, keepdims=True), x) for x in rng.normal(size=(8, 3, 4))]
    assert relation("softmax", cases) == "the mean of {} everywhere along axis -1"


def test_of_several_results_the_right_ones_are_said():
    def contrastive_loss(a, b, temperature):
        loss, logits, lse = OPS["contrastive_loss"].reference(a, b, temperature)
        return np.asarray((loss**2).sum() + 7, a.dtype), logits, lse

    said = wrong_as("contrastive_loss", contrastive_loss).mistake
    assert said == "the right logits and lse, but another loss"


@pytest.mark.parametrize("got, want, said", [
    ([1, 2], [1, 2, 3], "{} without its last element"), ([3, 2, 1], [1, 2, 3], "{} in reverse order"),
    ([2, 1, 3], [1, 2, 3], "the elements of {}, but in another order"), ("", "ab", "nothing in place of {}"),
    ("abcd", "ab", "{} and more behind it"), ([1, 5], [1, 2, 3, 4, 5], "{} without some of its elements"),
    ({256: (1, 2)}, {(1, 2): 256}, "keys and values of {} exchanged"),
    ({(1, 2): 0}, {(1, 2): 256}, "the keys of {}, but other values"),
    ({"1,2": 7}, {(1, 2): 7}, "the values of {}, but other keys"), ([1, 7], [3, 4], None), (7, [3, 4], None),
])
def test_wrong_lists_texts_and_dicts_are_described(got, want, said):
    assert relation("bpe_merge", [(([], (1, 2), 256), got, want)] * 3) == said


@pytest.mark.parametrize("wrong, said", [
    (lambda y: y + 3, "{} + 3"), (lambda y: np.where(y > 0, y, y + 1), "{}, but with 1 more at some places"),
    (lambda y: np.where(y > 0, y, 17), "{}, but with 17 at some places"),
    (lambda y: y * 0 + y[:, :1], "{} everywhere as it is at the first place along axis -1"),
    (lambda y: np.concatenate([y[:, :1] - 9, y[:, 1:]], 1), "{} but for the first element along axis -1"),
])
def test_wrong_numbers_are_described(wrong, said):
    shapes = [(4, 3), (4, 3), (2, 5), (4, 3), (3, 1)]
    rng = np.random.default_rng(0)
    cases = [((y * 0.7,), wrong(y), y) for y in (rng.normal(size=shape) * 9 for shape in shapes)]
    cases = [each for each in cases if not np.array_equal(*each[1:])]
    assert relation("softmax", cases) == said


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
    assert verdict.mistake == "the right result on the inputs tried, except where an input is empty"


@pytest.mark.filterwarnings("error")
def test_guesses_about_empty_results_do_not_warn():
    empty = np.ones((0, 3))
    with np.errstate(all="ignore"):
        assert all(np.size(value) == 0 for _, value in guesses("softmax", (empty,), empty))
