"""Compare optimizers with plain Python: AdamW, Muon's singular values, decay, clipping, rates."""

import copy
import math
import pickle
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import refuses
from hypothesis import given, strategies as st
from tiny_run import same

import tinyllm as tl
from tinyllm import Random, learning_rate, nn, ops
from tinyllm.nn import Parameter
from tinyllm.train import MasterAdamW
from tinyllm.train.muon import Muon, muon_groups, orthogonalize
from tinyllm.train.optimizer import AdamW, clip_grad_norm, clipped_step, decay_groups, gradient_norm


def parameter(value, grad=None):
    p = Parameter(np.array(value, np.float32))
    p.grad = None if grad is None else np.array(grad, np.float32)
    return p


def adamw_by_hand(w, grads, lr, beta1, beta2, eps, decay):
    """Run AdamW on one number: Loshchilov and Hutter 2019, algorithm 2."""
    m = v = 0.0
    for t, g in enumerate(grads, 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        w = w - lr * decay * w
        w = w - lr * (m / (1 - beta1**t)) / (math.sqrt(v / (1 - beta2**t)) + eps)
    return w


@given(st.floats(-3, 3), st.lists(st.floats(-100, 100), min_size=1, max_size=8), st.floats(1e-4, 0.1),
       st.floats(0, 0.99), st.floats(0, 0.999), st.floats(0, 0.5))
def test_steps_are_those_of_the_paper(start, grads, lr, beta1, beta2, decay):
    p = parameter([start])
    optimizer = AdamW([p], lr, betas=(beta1, beta2), weight_decay=decay)
    grads = np.float32(grads).tolist()
    for g in grads:
        p.grad = np.array([2 * g], np.float32)
        optimizer.step(0.5)
    expected = adamw_by_hand(start, grads, lr, beta1, beta2, 1e-8, decay)
    assert p.data[0] == pytest.approx(expected, rel=1e-3, abs=1e-4)


def small_model():
    return tl.build({"model_type": "llama", "vocab_size": 11, "layers": 1, "heads": 2, "kv_heads": 2,
                     "width": 8, "hidden": 12, "context": 8})


def with_gradients(model, step=0):
    for i, p in enumerate(model.parameters()):
        p.grad = Random(step, "grad", i).normal(p.shape)
    return model


KINDS = {"adamw": lambda model: AdamW(model.parameters()),
         "muon": lambda model: Muon(muon_groups(model, 0.1)),
         "masters": lambda model: MasterAdamW(nn.store_bf16(model).parameters())}


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
    others = [KINDS[other](whole) for other in KINDS.keys() - {kind}]
    wider = {name: array.astype(np.float64) for name, array in state.items()}
    for optimizer, found in [*((other, state) for other in others), (again, wider)]:
        refuses("make the optimizer from the same model", optimizer.load_state_dict, found)


def test_only_matrices_decay_and_a_parameter_without_gradient_stays():
    ps = [Parameter(Random(i).normal(shape)) for i, shape in enumerate(((3, 4), (4,), (2, 3, 4), (), (5, 5)))]
    before = [p.data.copy() for p in ps]
    optimizer = AdamW(decay_groups(ps, 0.5), lr=0.1)
    for p in ps[:-1]:
        p.grad = np.zeros_like(p.data)
    optimizer.step()
    for p, old, kept in zip(ps, before, (0.95, 1, 0.95, 1, 1), strict=True):
        np.testing.assert_allclose(p.data, old * np.float32(kept), rtol=1e-6)


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=6), st.sampled_from([0, 0.5, 2, 1e9]))
def test_clipping_keeps_the_direction_bounds_the_length_and_has_the_bits_of_a_clipped_step(values, limit):
    clipped, scaled = ([parameter(0, value) for value in values] for _ in range(2))
    norm = clip_grad_norm([*clipped, parameter([0, 0])], limit)  # the last parameter has no gradient
    assert norm == pytest.approx(math.sqrt(sum(v * v for v in values)), rel=1e-5)
    factor = limit / norm if 0 < limit < norm else 1.0
    grads = [float(p.grad) for p in clipped]
    assert grads == pytest.approx([v * factor for v in values], rel=1e-4, abs=1e-6)
    AdamW(clipped, lr=0.1).step()
    clipped_step(AdamW(scaled, lr=0.1), gradient_norm(scaled), limit)
    assert all(np.array_equal(p.data, q.data) for p, q in zip(clipped, scaled, strict=True))


@pytest.mark.parametrize("limit", [0.5, 0.0])
def test_clipping_that_was_plugged_in_is_called(limit):
    p, seen = parameter([0, 0, 0], [2, 2, 2]), []

    def clip_grads(grads, norm, limit):
        seen.append((norm, limit))
        return [g * 0 for g in grads]

    with ops.override(clip_grads=clip_grads):
        clipped_step(AdamW([p], weight_decay=0), gradient_norm([p]), limit)
    assert seen == ([(pytest.approx(12**0.5), 0.5)] if limit else [])
    assert p.data.any() == (not limit)


SHARES = {"cosine": lambda done: 0.5 + 0.5 * math.cos(math.pi * done), "linear": lambda done: 1 - done}


@pytest.mark.parametrize("schedule, share", SHARES.items())
def test_rates_are_those_of_nanogpts_get_lr_or_on_a_straight_line(schedule, share):
    def rates(low, *steps, warmup=100):
        config = SimpleNamespace(steps=2000, warmup=warmup, lr=1e-3, min_lr_ratio=low, schedule=schedule)
        return [learning_rate(step, config) for step in steps]

    falling = [1e-4 + 9e-4 * share(done) for done in (0, 1 / 1900, 1 / 4, 1 / 2, 1, 1)]
    expected = [1e-3 / 101, 0.1 / 101, *falling]
    assert rates(0.1, 0, 99, 100, 101, 575, 1050, 2000, 2009) == pytest.approx(expected)
    assert rates(1, 100, 1777) == [1e-3, 1e-3] and rates(0.1, 2000, warmup=2000) == [1e-3]
    assert all(rate == float(f"{rate:.9g}") for rate in rates(0.3, *range(200)))


# Muon: singular values, and which parameters it moves.

SIDES = st.integers(1, 40)


@given(SIDES, SIDES, st.floats(1e-6, 1e6), st.integers(0, 99))
def test_singular_values_come_near_to_one_and_directions_stay(rows, columns, scale, seed):
    values = 10 ** (-1.5 * np.float64(Random(seed, "values").uniform(n := min(rows, columns))))
    values = np.maximum(values, 0.011 * np.sqrt((values**2).sum()))
    u, v = (np.linalg.qr(Random(seed, side).normal((side, side)).astype(np.float64))[0][:, :n]
            for side in (rows, columns))
    m = np.float32((u * values * scale) @ v.T)
    found = orthogonalize(m)
    inner = u.T @ found @ v
    assert np.allclose(inner, np.diag(np.diag(inner)), atol=2e-3)
    assert (np.diag(inner) > 0.7).all() and (np.diag(inner) < 1.3).all()
    assert np.allclose(orthogonalize(m.T), found.T, atol=2e-3)
    assert not orthogonalize(0 * m).any()


def test_linear_layers_are_moved_along_orthogonal_matrices_and_all_others_as_by_adamw(monkeypatch):
    ours, alone, adams = (with_gradients(small_model()) for _ in range(3))
    before = {name: p.data.copy() for name, p in ours.named_parameters()}
    groups = muon_groups(ours, 50.0)
    assert sum(len(group["params"]) for group in groups) == len(ours.parameters())
    Muon(groups, lr=0.01).step()
    adamw = {p: g["weight_decay"] for g in tl.decay_groups(adams.parameters(), 50.0) for p in g["params"]}
    AdamW([{"params": [p], "weight_decay": decay} for p, decay in adamw.items()], lr=0.01).step()
    for (name, p), q in zip(ours.named_parameters(), adams.parameters(), strict=True):
        if "_proj" in name:
            moved = (p.data - before[name] * np.float32(1 - 0.01 * 50)) / (0.01 * 0.3 * max(p.shape) ** 0.5)
            values = np.linalg.svd(-moved, compute_uv=False)
            assert (values < 1.3).all() and np.median(values) > 0.7
            assert (moved * p.grad).sum() < 0  # downhill
        else:
            assert np.array_equal(p.data, q.data)
    monkeypatch.setattr("tinyllm.train.muon.TOGETHER", 1)  # one matrix at a time: the same bits
    Muon(muon_groups(alone, 50.0), lr=0.01).step()
    assert same(ours, alone)


def test_what_muon_does_not_need_or_move_is_left_out_and_what_cannot_be_optimized_is_refused():
    model = small_model()
    for p in model.model.layers[0].mlp.parameters():
        p.requires_grad = False
    optimizer = Muon(muon_groups(model, 0.1))
    assert all(p.requires_grad for p in optimizer.parameters)
    assert len(optimizer.parameters) == len(model.parameters()) - 3
    assert [v.size == 0 for v in optimizer.v] == optimizer.use_muon and any(optimizer.use_muon)
    for kind in (AdamW, Muon):
        refuses(f"{kind.__name__} got no parameters.*nn.Parameter", kind, [{"params": []}], error=ValueError)
    refuses("at least 0, got -1", clip_grad_norm, [parameter([0], [0])], -1.0, error=ValueError)
    refuses("muon_groups", Muon, small_model().parameters(), error=ValueError)


def test_weights_of_16_bits_are_rounded_masters_and_masters_add_up_small_steps():
    plain, stored = small_model(), nn.store_bf16(small_model())
    rounded = plain.state_dict()
    for name, p in stored.named_parameters():
        assert p.shape == rounded[name].shape and p.dtype == p.data.dtype == np.float32
        assert np.array_equal(p.data, ops.round_bf16(rounded[name]) if p.ndim > 1 else rounded[name])
    assert nn.store_bf16(stored) is stored  # once more: no change
    plain.load_state_dict(stored.state_dict())
    one, two = AdamW(plain.parameters(), 1e-5), MasterAdamW(stored.parameters(), 1e-5)
    for step in range(40):
        for model, optimizer in ((plain, one), (stored, two)):
            with_gradients(model, step)
            optimizer.step(0.5)
    for p, q, w in zip(plain.parameters(), stored.parameters(), two.w, strict=True):
        assert np.array_equal(p.data, w)  # the masters have the bits of training in float32
        assert np.array_equal(q.data, ops.round_bf16(w) if q.ndim > 1 else w)
    assert same(pickle.loads(pickle.dumps(copy.deepcopy(stored))), stored)


def test_weights_of_16_bits_take_two_bytes_each():
    tracemalloc.start()
    layer = nn.store_bf16(nn.Linear(512, 512, bias=False))
    assert 2 * layer.num_parameters() <= tracemalloc.get_traced_memory()[0] < 3 * layer.num_parameters()
    tracemalloc.stop()


def test_without_masters_an_optimizer_of_rounded_weights_refuses_to_write():
    optimizer = AdamW(nn.store_bf16(with_gradients(small_model())).parameters())
    refuses("read-only", optimizer.step, error=ValueError)
