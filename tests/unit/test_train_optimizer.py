"""Compare optimizers with plain Python: AdamW, SGD, Muon's singular values, decay groups, clipping."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import same

import tinyllm as tl
from tinyllm import ops
from tinyllm.errors import UserError
from tinyllm.nn import Parameter
from tinyllm.rng import Random
from tinyllm.train.muon import Muon, muon_groups, orthogonalize
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


def small_model():
    return tl.build({"model_type": "llama", "vocab_size": 11, "layers": 1, "heads": 2, "kv_heads": 2,
                     "width": 8, "hidden": 12, "context": 8})


def with_gradients(model, step=0):
    for i, p in enumerate(model.parameters()):
        p.grad = Random(step, "grad", i).normal(p.shape)
    return model


KINDS = {"adamw": lambda model: AdamW(model.parameters()),
         "sgd": lambda model: SGD(model.parameters(), momentum=0.9),
         "muon": lambda model: Muon(muon_groups(model, 0.1))}


@pytest.mark.parametrize("kind", KINDS)
def test_an_optimizer_goes_on_from_its_state_and_takes_no_other(kind):
    def steps(optimizer, model, numbers):
        for step in numbers:
            with_gradients(model, step)
            optimizer.step()
        return optimizer.state_dict()

    whole, half = small_model(), small_model()
    steps(KINDS[kind](whole), whole, range(6))
    state = steps(KINDS[kind](half), half, range(3))
    again = KINDS[kind](half)
    again.load_state_dict(state)
    steps(again, half, range(3, 6))
    assert same(whole, half) and state["steps"] == 3
    for other in KINDS.keys() - {kind}:
        with pytest.raises(UserError, match="make the optimizer from the same model"):
            KINDS[other](whole).load_state_dict(state)


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


# Muon: singular values, and which parameters it moves.


SIDES = st.integers(1, 40)


def matrix(rows, columns, values, seed):
    """Return a matrix with these singular values -> (it, U, V^T)."""
    u = np.linalg.qr(Random(seed, "u").normal((rows, rows)).astype(np.float64))[0]
    v = np.linalg.qr(Random(seed, "v").normal((columns, columns)).astype(np.float64))[0]
    u, v = u[:, : len(values)], v[:, : len(values)].T
    return np.float32((u * values) @ v), u, v


@given(SIDES, SIDES, st.floats(1e-6, 1e6), st.integers(0, 99))
def test_singular_values_come_near_to_one_and_directions_stay(rows, columns, scale, seed):
    values = 10 ** (-1.5 * np.float64(Random(seed, "values").uniform(min(rows, columns))))
    values = np.maximum(values, 0.011 * np.sqrt((values**2).sum()))
    m, u, v = matrix(rows, columns, values * scale, seed)
    inner = u.T @ orthogonalize(m) @ v.T
    assert np.allclose(inner, np.diag(np.diag(inner)), atol=2e-3)
    assert (np.diag(inner) > 0.7).all() and (np.diag(inner) < 1.3).all()


@given(SIDES, SIDES, st.integers(0, 99))
def test_the_transpose_and_the_scale_do_not_matter(rows, columns, seed):
    m = Random(seed).normal((rows, columns))
    assert np.allclose(orthogonalize(m.T), orthogonalize(m).T, atol=1e-4)
    assert np.allclose(orthogonalize(1024 * m), orthogonalize(m), atol=1e-4)


def test_a_zero_gradient_moves_nothing():
    assert not orthogonalize(np.zeros((3, 5), np.float32)).any()


def test_linear_layers_are_moved_along_orthogonal_matrices_and_all_others_as_by_adamw():
    ours, adams = with_gradients(small_model()), with_gradients(small_model())
    before = {name: p.data.copy() for name, p in ours.named_parameters()}
    groups = muon_groups(ours, 0.1)
    assert sum(len(group["params"]) for group in groups) == len(ours.parameters())
    Muon(groups, lr=0.01).step()
    adamw = {p: g["weight_decay"] for g in tl.decay_groups(adams.parameters(), 0.1) for p in g["params"]}
    AdamW([{"params": [p], "weight_decay": decay} for p, decay in adamw.items()], lr=0.01).step()
    for (name, p), q in zip(ours.named_parameters(), adams.parameters(), strict=True):
        if "_proj" in name:
            moved = (p.data - before[name] * np.float32(1 - 0.01 * 0.1)) / (0.01 * 0.3 * max(p.shape) ** 0.5)
            values = np.linalg.svd(-moved, compute_uv=False)
            assert (values < 1.3).all() and np.median(values) > 0.7
            assert (moved * p.grad).sum() < 0  # downhill
        else:
            assert np.array_equal(p.data, q.data)


def test_frozen_parameters_are_left_out():
    model = small_model()
    model.model.layers[0].mlp.freeze()
    moved = [p for group in muon_groups(model, 0.1) for p in group["params"]]
    assert all(p.requires_grad for p in moved) and len(moved) == len(model.parameters()) - 3


def test_no_memory_for_squares_that_it_does_not_need():
    optimizer = Muon(muon_groups(small_model(), 0.1))
    assert [v.size == 0 for v in optimizer.v] == optimizer.use_muon and any(optimizer.use_muon)


def test_parameters_without_groups_are_refused():
    with pytest.raises(ValueError, match="muon_groups"):
        Muon(small_model().parameters())


def test_matrices_moved_together_get_the_bits_of_matrices_moved_alone(monkeypatch):
    together, alone = with_gradients(small_model()), with_gradients(small_model())
    Muon(muon_groups(together, 0.1)).step(0.5)
    monkeypatch.setattr("tinyllm.train.muon.TOGETHER", 1)
    Muon(muon_groups(alone, 0.1)).step(0.5)
    assert same(together, alone)
