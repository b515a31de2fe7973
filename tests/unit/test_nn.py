"""Modules: names, state, modes, dropout streams; and layers against plain NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyllm.functional as F
from tinyllm import ops
from tinyllm.errors import UserError
from tinyllm.nn import (
    MLP,
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    Module,
    Parameter,
    RMSNorm,
    SelfAttention,
    checkpoint,
    inference,
    init_normal,
)
from tinyllm.ops.elementwise import keep_mask
from tinyllm.rng import Random
from tinyllm.tensor import Tensor


class Net(Module):
    """Parameters before and after modules, a list, a tied weight, and attributes that are none of these."""

    def __init__(self):
        self.scale = Parameter(np.ones(3, np.float32))
        self.h = [Linear(3, 4), "not a module", Linear(4, 3, bias=False)]
        self.norm = LayerNorm(3)
        self.tied = self.h[0].weight
        self.size = 3

    def __call__(self, x):
        return self.norm(self.h[2](self.h[0](x))) * self.scale


NAMES = ["scale", "tied", "h.0.bias", "h.2.weight", "norm.weight", "norm.bias"]


def filled(module, seed=0, std=0.5):
    init_normal(module, seed, std)
    return module


def as_float64(module):
    for p in module.parameters():
        p.data = p.data.astype(np.float64)
    return module


def test_names_follow_the_order_of_definition_and_a_tied_parameter_comes_once():
    assert [name for name, _ in Net().named_parameters()] == NAMES
    assert Net().num_parameters() == 3 + 12 + 4 + 12 + 3 + 3
    assert [name for name, _ in Net().named_modules()] == ["", "h.0", "h.2", "norm"]


def test_parameters_are_the_objects_themselves():
    net = Net()
    assert net.parameters()[1] is net.h[0].weight
    assert all(p.requires_grad and p.dtype == np.float32 for p in net.parameters())


def test_state_dict_round_trip_copies():
    source, target = filled(Net(), 1), filled(Net(), 2)
    state = {name: a.copy() for name, a in source.state_dict().items()}
    target.load_state_dict(state)
    state["scale"][:] = 9
    assert all(
        np.array_equal(a, b.data)
        for a, b in zip(source.state_dict().values(), target.parameters(), strict=True)
    )


def bad_states():
    good = filled(Net(), 1).state_dict()
    nan, inf = good["norm.bias"].copy(), good["h.0.bias"].copy()
    nan[1], inf[0] = np.nan, -np.inf
    return [
        (
            {k: v for k, v in good.items() if k not in ("h.2.weight", "norm.bias")},
            r"lack h\.2\.weight \(4, 3\)",
        ),
        (good | {"h.9.weight": good["scale"], "z": good["scale"]}, r"hold h\.9\.weight"),
        (
            good | {"h.2.weight": good["h.2.weight"].T},
            r"h\.2\.weight has shape \(3, 4\) .* \(4, 3\) in the model",
        ),
        (good | {"norm.bias": nan}, r"norm\.bias holds numbers that are not finite"),
        (good | {"h.0.bias": inf}, r"h\.0\.bias holds numbers that are not finite"),
        (good | {"scale": np.arange(3)}, r"scale holds int64"),
    ]


@pytest.mark.parametrize("state, message", bad_states())
def test_a_bad_state_is_named_and_changes_nothing(state, message):
    net = filled(Net(), 2)
    before = {name: a.copy() for name, a in net.state_dict().items()}
    with pytest.raises(UserError, match=message):
        net.load_state_dict(state)
    assert all(np.array_equal(a, net.state_dict()[name]) for name, a in before.items())


def test_train_and_eval_reach_every_module_and_inference_puts_back_what_was():
    net = Net()
    assert net.eval() is net
    assert not any(m.training for _, m in net.named_modules())
    net.train()
    net.h[0].training = False
    with pytest.raises(ZeroDivisionError), inference(net):
        assert not any(m.training for _, m in net.named_modules())
        assert not net(Tensor(np.ones((2, 3), np.float32))).requires_grad
        raise ZeroDivisionError
    assert [m.training for _, m in net.named_modules()] == [True, False, True, True]
    assert net(Tensor(np.ones((2, 3), np.float32))).requires_grad


def test_initial_weights_depend_on_seed_and_name_only():
    class Bigger(Net):
        def __init__(self):
            self.first = Linear(5, 5)
            super().__init__()

    class Pair(Module):
        def __init__(self):
            self.h = [Linear(3, 3), Linear(3, 3)]

    net, again, bigger, other = filled(Net(), 3), filled(Net(), 3), filled(Bigger(), 3), filled(Net(), 4)
    for name, a in net.state_dict().items():
        assert np.array_equal(a, again.state_dict()[name])
        assert np.array_equal(a, bigger.state_dict()[name])
        assert np.array_equal(a, other.state_dict()[name]) == (a.ndim == 1)  # vectors are left as they are
    one, two = (block.weight.data for block in filled(Pair(), 3).h)
    assert not np.array_equal(one, two)  # equal shapes, different names
    wide = filled(Linear(200, 300), 0, std=lambda name: {"weight": 0.02}[name])
    assert abs(wide.weight.data.std() - 0.02) < 2e-4 and abs(wide.weight.data.mean()) < 2e-4
    assert not wide.bias.data.any()


def test_layers_compute_their_formulas():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 5, 6))
    with ops.use("numpy"):
        linear, mlp = as_float64(filled(Linear(6, 4))), as_float64(filled(MLP(6, 24)))
        norm, rms, table = (
            as_float64(LayerNorm(6)),
            as_float64(RMSNorm(6)),
            as_float64(filled(Embedding(7, 6))),
        )
        for p in (linear.bias, norm.weight, norm.bias, rms.weight):
            p.data = rng.normal(size=p.shape)
        np.testing.assert_allclose(linear(Tensor(x)).data, x @ linear.weight.data + linear.bias.data)
        centred = x - x.mean(-1, keepdims=True)
        expected = (
            centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * norm.weight.data + norm.bias.data
        )
        np.testing.assert_allclose(norm(Tensor(x)).data, expected)
        expected = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * rms.weight.data
        np.testing.assert_allclose(rms(Tensor(x)).data, expected)
        h = x @ mlp.c_fc.weight.data
        h = 0.5 * h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))
        np.testing.assert_allclose(mlp(Tensor(x)).data, h @ mlp.c_proj.weight.data)
        ids = np.array([[0, 6], [3, 3]])
        np.testing.assert_array_equal(table(ids).data, table.weight.data[ids])


def test_without_bias_there_is_no_bias_to_train():
    assert [name for name, _ in LayerNorm(3, bias=False).named_parameters()] == ["weight"]
    assert [name for name, _ in SelfAttention(4, 2, bias=False).named_parameters()] == [
        "c_attn.weight",
        "c_proj.weight",
    ]
    norm = LayerNorm(3, bias=False)
    norm(Tensor(np.arange(6, dtype=np.float32).reshape(2, 3))).sum().backward()
    assert norm.weight.grad is not None and norm.bias.grad is None


def test_attention_refuses_heads_that_do_not_divide():
    with pytest.raises(ValueError, match="3 heads cannot share a width of 8"):
        SelfAttention(8, 3)


@given(st.integers(0, 50), st.sampled_from([0.0, 0.1, 0.5, 0.9]), st.integers(0, 9))
def test_keep_masks_have_the_shape_and_the_rate(n, p, seed):
    keep = keep_mask(Random(seed).reserve(0), (n, 400), p)
    assert keep.shape == (n, 400) and keep.dtype == bool
    if n >= 10:
        assert abs(keep.mean() - (1 - p)) < 5 * (p * (1 - p) / keep.size) ** 0.5 + 1e-5
    if p == 0:
        assert keep.all()


def test_dropout_acts_in_training_only_and_keeps_the_mean():
    drop, x = Dropout(0.25), Tensor(np.ones((50, 400), np.float32))
    y = drop(x).data
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs(y.mean() - 1) < 0.02
    assert drop.eval()(x) is x
    assert Dropout(0.0)(x) is x
    for p in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="probability"):
            Dropout(p)


class Dropped(Module):
    def __init__(self):
        self.h = [Linear(8, 8), Linear(8, 8)]
        self.a, self.b = Dropout(0.5), Dropout(0.5)
        init_normal(self, 0, 0.5)

    def __call__(self, x):
        return self.b(F.gelu(self.h[1](self.a(F.gelu(self.h[0](x))))))


def test_dropout_streams_depend_on_key_and_layer_and_count_within_a_step():
    net, x = Dropped(), Tensor(np.ones((4, 8), np.float32))

    def step(*key, micro_batches=2):
        net.dropout_stream(*key)
        return [net(x).data.copy() for _ in range(micro_batches)]

    first, second = step(7, 100)
    again = step(7, 100)
    assert np.array_equal(first, again[0]) and np.array_equal(
        second, again[1]
    )  # a resumed run draws the same
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, step(7, 101)[0])
    assert not np.array_equal(first, step(8, 100)[0])
    net.dropout_stream(7, 100)
    masks = [keep_mask(drop.random.reserve(0), (64,), 0.5) for drop in (net.a, net.b)]
    assert not np.array_equal(*masks)


def test_checkpoint_draws_the_same_dropout_again_and_then_goes_on():
    x = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    results = []
    for run in (lambda net, t: net(t), checkpoint):
        net, inputs = Dropped(), Tensor(x, requires_grad=True)
        net.dropout_stream(1, 2)
        run(net, run(net, inputs)).sum().backward()  # used twice: the second use draws other masks
        after = [m.random.counter for m in (net.a, net.b)]
        results.append([inputs.grad, *(p.grad for p in net.parameters()), np.array(after)])
    for plain, again in zip(*results, strict=True):
        assert np.array_equal(plain, again)
