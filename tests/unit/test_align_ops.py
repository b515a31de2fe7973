"""Check the laws of returns, advantages, and losses of policies and of pairs."""

import numpy as np
import pytest

from tinyllm import Random, ops
from tinyllm.data import rows


def normal(*shape, seed=0):
    return Random(seed, *shape).normal(shape)


def test_with_lam_1_advantages_are_returns_minus_values_and_with_lam_0_one_step_is_seen():
    rewards, values, lengths = normal(3, 5), normal(3, 5, seed=1), np.array([5, 3, 0])
    inside = np.arange(5) < lengths[:, None]
    advantages, returns = ops.gae(rewards, values, lengths, 0.9, 1.0)
    wanted = ops.discounted_returns(rewards, lengths, 0.9)
    assert wanted[1, 1] == rewards[1, 1] + np.float32(0.9) * rewards[1, 2] and not wanted[~inside].any()
    np.testing.assert_allclose(returns, wanted, atol=1e-6)
    np.testing.assert_allclose(advantages, np.where(inside, wanted - values, 0), atol=1e-6)
    advantages, _ = ops.gae(rewards, values, lengths, 0.9, 0.0)
    assert advantages[1, 2] == rewards[1, 2] - values[1, 2]  # nothing is expected after the end


def test_groups_are_compared_with_themselves_and_equal_rewards_give_exactly_0():
    rewards = normal(4, 5)
    plain, others = (ops.group_advantages(rewards, divide=False, leave_one_out=x) for x in (False, True))
    np.testing.assert_allclose(others, plain * 5 / 4, rtol=1e-6)
    np.testing.assert_allclose(others[:, 0], rewards[:, 0] - rewards[:, 1:].mean(axis=1), atol=1e-6)
    assert abs(ops.group_advantages(rewards).std(axis=1, ddof=1) - 1).max() < 1e-3
    for group in (np.full((2, 7), 0.1, np.float32), rewards[:, :1], rewards[:, :0]):
        for settings in ((True, True), (True, False), (False, True), (False, False)):
            assert not ops.group_advantages(group, *settings).any()


@pytest.mark.parametrize("moved, advantage, clipped", [
    (0.3, 1, True), (0.3, -1, False), (-0.3, 1, False), (-0.3, -1, True), (0.1, 1, False), (0.3, 0, False)])
def test_only_tokens_that_moved_far_in_the_wanted_direction_are_clipped(moved, advantage, clipped):
    new, old, A = (np.float32([x]) for x in (moved, 0, advantage))
    assert ops.clipped_loss(new, old, A)[1].tolist() == [clipped]
    assert (ops.clipped_loss_backward(A * 0 + 1, new, old, A) == 0).tolist() == [clipped or not advantage]
    loss, found = ops.clipped_loss(new, old, A, np.inf, np.inf)
    assert not found.any() and loss == -np.exp(new) * A


def test_a_value_that_moved_too_far_has_no_slope_and_no_clip_is_a_plain_square():
    values, old, returns = np.ones(4, np.float32), np.float32([0.9, 0, 2, 2]), np.float32([3, 3, 3, -3])
    assert ops.value_loss_backward(0 * values + 1, values, old, returns).tolist() == [-2, 0, -2, 0]
    assert ops.value_loss(values, old, returns, np.inf).tolist() == [2, 2, 2, 8]
    np.testing.assert_allclose(ops.value_loss(values, old, returns), [2, 3.92, 2, 11.52], rtol=1e-6)


def test_k3_is_never_negative_and_all_three_estimate_the_divergence():
    small = normal(100_000) * np.float32(10) ** -np.abs(normal(100_000, seed=1))
    assert np.all(ops.kl_estimate(small, np.zeros_like(small)) >= 0)
    with ops.use("numpy"):
        p, q = ops.softmax(normal(2, 6).astype(np.float64) / 9)
        k1, k2, k3 = (p @ ops.kl_estimate(np.log(p), np.log(q), kind) for kind in ("k1", "k2", "k3"))
    assert abs(k1 - k3) < 1e-12 and abs(k2 - k1) < 0.1 * k1


def test_three_ways_to_count_tokens():
    losses, lengths = np.float32([[1, 1, 1, 1], [3, 0, 0, 0]]), np.array([4, 1])
    for how, wanted in (("sequence", 2), ("token", 7 / 5), ("constant", 7 / 16)):
        weights, counts = ops.answer_weights(lengths, 4, how, 8)
        assert (weights * losses).sum() / counts.sum() == np.float32(wanted)
    assert ops.answer_weights(np.array([0, 2]), 2, "token", 8)[1].tolist() == [0, 2]


@pytest.mark.parametrize("kind", ["sigmoid", "ipo"])
def test_gradients_of_a_pair_cancel_and_the_reference_is_a_zero(kind):
    pairs, ones = normal(4, 9), np.ones(9, np.float32)
    dchosen, drejected = ops.dpo_loss_backward(ones, *pairs, 0.1, kind)
    assert np.array_equal(dchosen, -drejected) and dchosen.any()
    loss, margins = ops.dpo_loss(pairs[0], pairs[1], pairs[0], pairs[1], 0.1, kind)
    assert not margins.any() and np.allclose(loss, np.log(2) if kind == "sigmoid" else 25)
    if kind == "ipo":  # least at h = 1 / (2 beta)
        best = pairs[0] + np.float32(5), pairs[1], pairs[0], pairs[1], 0.1, kind
        assert ops.dpo_loss(*best)[0].max() < 1e-4
        assert abs(ops.dpo_loss_backward(ones, *best)[0]).max() < 1e-4


def test_dpo_is_bradley_terry_on_scores_that_count_from_the_reference():
    a, b, c, d = normal(4, 9)
    beta = np.float32(0.5)
    np.testing.assert_allclose(ops.dpo_loss(a, b, c, d, 0.5)[0],
                               ops.bradley_terry_loss(beta * (a - c), beta * (b - d)), rtol=1e-5)
    assert ops.bradley_terry_loss(np.float32([-1e4]), np.float32([1e4])).tolist() == [2e4]


def test_batches_take_their_targets_from_the_op():
    pairs = [[1, 2], [5]], [[3, 4], [6, 7, 8]]
    for packed, targets in ((False, [[-100, 3, 4], [6, 7, 8]]), (True, [[-100, 3, 4, -100, 6, 7, 8]])):
        assert rows(*pairs, 9, packed).targets.tolist() == targets
    with ops.override(answer_targets=lambda rows, begins, ends: rows[:, 1:]):
        assert rows(*pairs, 9).targets.tolist() == [[2, 3, 4], [6, 7, 8]]
