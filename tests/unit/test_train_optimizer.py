"""AdamW and SGD against their algorithms in plain Python, decay groups, and clipping."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm import ops
from tinyllm.errors import UserError
from tinyllm.nn import Parameter
from tinyllm.rng import Random
from tinyllm.train.optimizer import SGD, AdamW, clip_grad_norm, clipped_step, decay_groups, gradient_norm


def parameters(*shapes, seed=0):
    return [Parameter(Random(seed, i).normal(shape)) for i, shape in enumerate(shapes)]


def adamw_by_hand(w, grads, lr, beta1, beta2, eps, decay):
    """Loshchilov and Hutter 2019, algorithm 2, for one number."""
    m = v = 0.0
    for t, g in enumerate(grads, 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        w = w - lr * decay * w
        w = w - lr * (m / (1 - beta1**t)) / (math.sqrt(v / (1 - beta2**t)) + eps)
    return w


@given(st.floats(-3, 3), st.lists(st.floats(-100, 100), min_size=1, max_size=8), st.floats(1e-4, 0.1),
       st.floats(0, 0.99), st.floats(0, 0.999), st.floats(0, 0.5))
def test_step_is_the_papers(start, grads, lr, beta1, beta2, decay):
    p = Parameter(np.array([start], np.float32))
    optimizer = AdamW([p], lr=lr, betas=(beta1, beta2), weight_decay=decay)
    for g in grads:
        p.grad = np.array([g], np.float32)
        optimizer.step()
    expected = adamw_by_hand(start, np.float32(grads).tolist(), lr, beta1, beta2, 1e-8, decay)
    assert p.data[0] == pytest.approx(expected, rel=1e-3, abs=1e-4)


@given(st.floats(-3, 3), st.lists(st.floats(-100, 100), min_size=1, max_size=8), st.floats(1e-4, 0.1),
       st.floats(0, 0.99), st.floats(0, 0.5))
def test_a_step_of_sgd_is_pytorchs(start, grads, lr, momentum, decay):
    p, w, m = Parameter(np.array([start], np.float32)), start, 0.0
    optimizer = SGD([{"params": [p], "lr": 0.5}], lr=2 * lr, momentum=momentum, weight_decay=decay)
    for g in np.float32(grads).tolist():
        p.grad = np.array([2 * g], np.float32)
        optimizer.step(0.5)
        m = momentum * m + g + decay * w
        w -= lr * m
    assert p.data[0] == pytest.approx(w, rel=1e-3, abs=1e-4)


def test_sgd_continues_from_its_state():
    def steps(optimizer, p, count):
        for _ in range(count):
            p.grad = p.data + 1
            optimizer.step()
        return optimizer

    whole, half = parameters((3, 2)) + parameters((3, 2))
    steps(SGD([whole], momentum=0.9), whole, 6)
    state = steps(SGD([half], momentum=0.9), half, 3).state_dict()
    assert state.keys() == {"steps", "m.0"} and state["steps"] == 3
    again = SGD([half], momentum=0.9)
    again.load_state_dict(state)
    steps(again, half, 3)
    assert np.array_equal(whole.data, half.data)
    with pytest.raises(UserError, match="holds 2 arrays and this optimizer 3"):
        AdamW([half]).load_state_dict(state)


def test_only_matrices_decay():
    ps = parameters((3, 4), (4,), (2, 3, 4), ())
    before = [p.data.copy() for p in ps]
    optimizer = AdamW(decay_groups(ps, 0.5), lr=0.1)
    for p in ps:
        p.grad = np.zeros_like(p.data)
    optimizer.step()
    for p, old in zip(ps, before, strict=True):
        np.testing.assert_allclose(p.data, old * (0.95 if p.ndim >= 2 else 1.0), rtol=1e-6)


def test_a_parameter_without_gradient_stays():
    ps = parameters((3,), (3,))
    before = ps[1].data.copy()
    ps[0].grad = np.ones(3, np.float32)
    optimizer = AdamW(ps)
    optimizer.step()
    assert np.array_equal(ps[1].data, before)
    optimizer.zero_grad()
    assert all(p.grad is None for p in ps)


@pytest.mark.parametrize("shapes", [((3, 2),), ((2, 3), (2,))])
def test_a_state_of_other_parameters_is_refused(shapes):
    with pytest.raises(ValueError, match="same model"):
        AdamW(parameters(*shapes)).load_state_dict(AdamW(parameters((2, 3))).state_dict())


@pytest.mark.parametrize("name, value, words", [
    ("m.0", np.nan, "not finite"), ("v.0", np.inf, "not finite"),
    ("v.0", -1, "below 0"), ("steps", -1, "below 0"),
])
def test_a_state_that_no_training_leaves_behind_is_refused(name, value, words):
    optimizer = AdamW([Parameter(np.zeros(3, np.float32))])
    state = {key: array.copy() for key, array in optimizer.state_dict().items()}
    state[name][...] = value
    with pytest.raises(UserError, match=f"{name} holds .*{words}"):
        optimizer.load_state_dict(state)


@pytest.mark.parametrize("kind", [AdamW, SGD])
@pytest.mark.parametrize("nothing", [[], [{"params": []}, {"params": []}]])
def test_no_parameters_are_refused(kind, nothing):
    with pytest.raises(ValueError, match=f"{kind.__name__} got no parameters"):
        kind(nothing)


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=6), st.floats(0, 100))
def test_clipping_keeps_the_direction_and_bounds_the_length(values, limit):
    ps = [Parameter(np.zeros(1, np.float32)) for _ in values]
    for p, value in zip(ps, values, strict=True):
        p.grad = np.array([value], np.float32)
    norm = clip_grad_norm([*ps, Parameter(np.zeros(2, np.float32))], limit)  # the last has no gradient
    assert norm == pytest.approx(math.sqrt(sum(v * v for v in values)), rel=1e-5)
    after = [float(p.grad[0]) for p in ps]
    factor = limit / norm if 0 < limit < norm else 1.0
    assert after == pytest.approx([v * factor for v in values], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("limit", [0.5, 2.0, 1e9, 0.0])
def test_a_step_that_clips_has_the_bits_of_clipping_and_a_step(limit):
    clipped, scaled = parameters((5, 7), (300,)), parameters((5, 7), (300,))
    optimizers = [AdamW(ps, lr=0.1) for ps in (clipped, scaled)]
    for step in range(3):
        for p, q in zip(clipped, scaled, strict=True):
            p.grad = q.grad = Random("clip", step).normal(p.shape)
        clip_grad_norm(clipped, limit)
        optimizers[0].step()
        clipped_step(optimizers[1], gradient_norm(scaled), limit)
    for p, q in zip(clipped, scaled, strict=True):
        assert np.array_equal(p.data, q.data) and not np.array_equal(p.data, parameters(p.shape)[0].data)


@pytest.mark.parametrize("limit", [0.5, 0.0])
def test_clipping_that_was_plugged_in_is_called(limit):
    p, seen = Parameter(np.zeros(3, np.float32)), []
    p.grad = np.full(3, 2, np.float32)

    def clip_grads(grads, norm, limit):
        seen.append((norm, limit))
        return [g * 0 for g in grads]

    with ops.override(clip_grads=clip_grads):
        clipped_step(AdamW([p], weight_decay=0), gradient_norm([p]), limit)
    assert seen == ([(pytest.approx(12**0.5), 0.5)] if limit else [])
    assert p.data.any() == (not limit)


def test_a_negative_limit_is_refused_and_no_gradient_divides_by_zero():
    p = Parameter(np.zeros(3, np.float32))
    p.grad = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match="at least 0, got -1"):
        clip_grad_norm([p], -1.0)
    with pytest.raises(ValueError, match="at least 0, got -1"):
        ops.clip_grads([p.grad], 0.0, -1.0)
    assert clip_grad_norm([p], 1.0) == 0 and not p.grad.any()


@pytest.mark.parametrize("backend", ["numpy"] + ["compiled"] * (ops.matmul.compiled is not None))
@pytest.mark.parametrize("kind", [AdamW, SGD])
def test_a_single_number_can_be_trained(kind, backend):
    """A learnt temperature: its gradient was no array, which the kernels refused."""
    with ops.use(backend):
        p = Parameter(np.float32(2))
        optimizer = kind([p], lr=0.1)
        for limit in (0.0, 0.5):
            (p * p).backward()
            clip_grad_norm([p], limit)
            optimizer.step()
            optimizer.zero_grad()
        assert 0 < float(p) < 2 and p.shape == ()
