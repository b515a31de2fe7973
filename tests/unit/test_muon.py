"""Muon: singular values, which parameters it moves, and the state that goes on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyllm as tl
from tinyllm.rng import Random
from tinyllm.train.muon import Muon, muon_groups, orthogonalize
from tinyllm.train.optimizer import AdamW

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


def small_model():
    return tl.build({"model_type": "llama", "vocab_size": 11, "layers": 1, "heads": 2, "kv_heads": 2,
                     "width": 8, "hidden": 12, "context": 8})


def with_gradients(model, step=0):
    for i, p in enumerate(model.parameters()):
        p.grad = Random(step, "grad", i).normal(p.shape)
    return model


def same_weights(a, b):
    return all(np.array_equal(p.data, q.data) for p, q in zip(a.parameters(), b.parameters(), strict=True))


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


def test_muon_goes_on_from_its_state():
    whole, half = small_model(), small_model()
    one, two = Muon(muon_groups(whole, 0.1)), Muon(muon_groups(half, 0.1))
    for step in range(4):
        with_gradients(whole, step)
        one.step()
    for step in range(2):
        with_gradients(half, step)
        two.step()
    again = Muon(muon_groups(half, 0.1))
    again.load_state_dict(two.state_dict())
    for step in range(2, 4):
        with_gradients(half, step)
        again.step()
    assert same_weights(whole, half)


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
    assert same_weights(together, alone)
