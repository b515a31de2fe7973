"""Check modules: names, state, modes, initial weights and dropout streams."""

import numpy as np
import pytest

import tinyllm.functional as F
from tinyllm.errors import UserError
from tinyllm.nn import (
    Attention,
    Dropout,
    LayerNorm,
    Linear,
    Module,
    Parameter,
    Seen,
    SelfAttention,
    Sequential,
    inference,
    init_normal,
)
from tinyllm.nn.attention import attention_with_dropout
from tinyllm.ops.elementwise import keep_mask
from tinyllm.rng import Random
from tinyllm.tensor import Tensor


class Net(Module):
    """Hold parameters before and after modules, a list, a tied weight, and other attributes."""

    def __init__(self):
        self.scale = Parameter(np.ones(3, np.float32))
        self.h = [Linear(3, 4), "not a module", Linear(4, 3, bias=False)]
        self.norm = LayerNorm(3)
        self.tied = self.h[0].weight
        self.size = 3

    def forward(self, x):
        return self.norm(self.h[2](self.h[0](x))) * self.scale


NAMES = ["scale", "tied", "h.0.bias", "h.2.weight", "norm.weight", "norm.bias"]


def filled(module, seed=0, std=0.5):
    init_normal(module, seed, std)
    return module


def test_names_follow_the_order_of_definition_and_a_tied_parameter_comes_once():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert net.num_parameters() == 3 + 12 + 4 + 12 + 3 + 3
    assert [name for name, _ in net.named_modules()] == ["", "h.0", "h.2", "norm"]
    assert net.parameters()[1] is net.h[0].weight
    assert all(p.requires_grad and p.dtype == np.float32 for p in net.parameters())


def test_state_dict_round_trip_copies():
    source, target = filled(Net(), 1), filled(Net(), 2)
    state = {name: a.copy() for name, a in source.state_dict().items()}
    target.load_state_dict(state)
    state["scale"][:] = 9
    assert all(np.array_equal(a, target.state_dict()[name]) for name, a in source.state_dict().items())


GOOD = filled(Net(), 1).state_dict()


@pytest.mark.parametrize("changes, message", [
    ({"h.2.weight": None, "norm.bias": None}, r"lack h\.2\.weight \(4, 3\)"),
    ({"h.9.weight": GOOD["scale"], "z": GOOD["scale"]}, r"hold h\.9\.weight"),
    ({"h.2.weight": GOOD["h.2.weight"].T}, r"h\.2\.weight has shape \(3, 4\) .* \(4, 3\) in the model"),
    ({"norm.bias": np.array([0, np.nan, 0], np.float32)}, r"norm\.bias holds numbers that are not finite"),
    ({"h.0.bias": np.array([-np.inf, 0, 0, 0], np.float32)}, r"h\.0\.bias holds numbers that are not finite"),
    ({"scale": np.arange(3)}, r"scale is int64"),
])
def test_a_bad_state_is_named_and_changes_nothing(changes, message):
    net = filled(Net(), 2)
    before = {name: a.copy() for name, a in net.state_dict().items()}
    with pytest.raises(UserError, match=message):
        net.load_state_dict({name: a for name, a in (GOOD | changes).items() if a is not None})
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


def test_without_bias_there_is_no_bias_to_train():
    names = [name for name, _ in SelfAttention(4, 2, bias=False).named_parameters()]
    assert names == ["c_attn.weight", "c_proj.weight"]
    norm = LayerNorm(3, bias=False)
    norm(Tensor(np.arange(6, dtype=np.float32).reshape(2, 3))).sum().backward()
    assert [name for name, p in norm.named_parameters() if p.grad is not None] == ["weight"]


def test_attention_refuses_heads_that_do_not_divide():
    with pytest.raises(ValueError, match="3 heads cannot share a width of 8"):
        SelfAttention(8, 3)


@pytest.mark.parametrize("p", [0.1, 0.25, 0.9])
def test_dropout_acts_in_training_only_and_keeps_the_mean(p):
    drop, x = Dropout(p), Tensor(np.ones((50, 400), np.float32))
    y = drop(x).data
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / (1 - p))}
    assert abs((y > 0).mean() - (1 - p)) < 5 * (p * (1 - p) / y.size) ** 0.5
    assert drop.eval()(x) is x and Dropout(0.0)(x) is x


@pytest.mark.parametrize("p", [1.0, -0.1, float("nan")])
def test_a_probability_that_is_none_is_refused(p):
    with pytest.raises(ValueError, match="probability"):
        Dropout(p)


@pytest.mark.parametrize("where", [
    {}, {"causal": False}, {"window": 2}, {"lengths": np.array([5, 3])}, {"starts": np.full((2, 4), 1)},
    {"bias": np.arange(80.0, dtype=np.float32).reshape(4, 4, 5) / 40},
], ids=lambda where: " ".join(where))
def test_attention_with_dropout_is_attention_whose_weights_are_dropped(where):
    q, k, v = (Tensor(np.random.default_rng(heads).normal(size=(2, size, heads, 6)).astype(np.float32), True)
               for size, heads in ((4, 4), (5, 2), (5, 2)))
    results = []
    for y in (F.attention(q, k, v, **where), attention_with_dropout(q, k, v, Dropout(0.0), Seen(**where))):
        (y * y).sum().backward()
        results.append([y.data, q.grad, k.grad, v.grad])
        q.grad = k.grad = v.grad = None
    for plain, stored in zip(*results, strict=True):
        np.testing.assert_allclose(plain, stored, rtol=1e-4, atol=1e-5)
    ones = Tensor(np.ones(v.shape, np.float32))
    drop = Dropout(0.3)
    drop.random = Random("dropout")
    kept = attention_with_dropout(q, k, ones, drop, Seen(**where)).data  # each, the sum of its weights
    assert abs(kept.mean() - 1) < 0.3 and np.ptp(kept) > 0.3


@pytest.mark.parametrize("own", [{}, {"window": 3}, {"causal": False}], ids=str)
@pytest.mark.parametrize("seen", [{}, {"window": 2}, {"window": 4}, {"causal": False}], ids=str)
def test_a_query_sees_what_both_the_layer_and_the_caller_allow(own, seen):
    q = Tensor(np.random.default_rng(0).normal(size=(1, 6, 4)).astype(np.float32))
    both = {"causal": own.get("causal", True) and seen.get("causal", True),
            "window": min((x["window"] for x in (own, seen) if "window" in x), default=None)}
    alone = F.attention(*[q.reshape(1, 6, 1, 4)] * 3, **both).data.reshape(1, 6, 4)
    given = Seen(**seen)
    assert np.array_equal(Attention(4, 1, **own).mix(q, q, q, seen=given).data, alone)
    assert vars(given) == vars(Seen(**seen))  # other layers use it, too


class Dropped(Module):
    def __init__(self):
        self.h = [Linear(8, 8), Linear(8, 8)]
        self.a, self.b = Dropout(0.5), Dropout(0.5)
        init_normal(self, 0, 0.5)

    def forward(self, x):
        return self.b(F.gelu(self.h[1](self.a(F.gelu(self.h[0](x))))))


def test_dropout_streams_depend_on_key_piece_and_layer_and_count_within_a_piece():
    net, x = Dropped(), Tensor(np.ones((4, 8), np.float32))

    def draws(*key, piece=0):
        net.dropout_stream(*key, piece=piece)
        return [net(x).data.tobytes() for _ in range(2)]

    assert draws(7, 100) == draws(7, 100)  # a resumed run draws the same
    assert len({*draws(7, 100), *draws(7, 100, piece=1), draws(7, 101)[0], draws(8, 100)[0]}) == 6
    masks = [keep_mask(drop.random.reserve(0), (64,), 0.5) for drop in (net.a, net.b)]
    assert not np.array_equal(*masks)


def test_dropout_layers_of_a_model_have_streams_of_their_own():
    """All began with one stream: two layers of a user's model dropped the same numbers at every step."""
    x = Tensor(np.ones((8, 8), np.float32))
    one, other = (drop(x).data for drop in Sequential(Dropout(0.5), Dropout(0.5)).layers)
    assert not np.array_equal(one, other)
