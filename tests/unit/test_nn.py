"""Check modules: names, state, modes, initial weights and dropout streams."""

import numpy as np
import pytest

import tinyllm.functional as F
from tinyllm import nn
from tinyllm.errors import UserError
from tinyllm.ops.elementwise import keep_mask
from tinyllm.tensor import Tensor


class Net(nn.Module):
    """Hold parameters before and after modules, a list, a tied weight, and other attributes."""

    def __init__(self):
        self.scale = nn.Parameter(np.ones(3, np.float32))
        self.h = [nn.Linear(3, 4), "not a module", nn.Linear(4, 3, bias=False)]
        self.norm = nn.LayerNorm(3)
        self.tied = self.h[0].weight
        self.size = 3

    def forward(self, x):
        return self.norm(self.h[2](self.h[0](x))) * self.scale


NAMES = ["scale", "tied", "h.0.bias", "h.2.weight", "norm.weight", "norm.bias"]


def filled(seed=0, std=0.5):
    net = Net()
    nn.init_normal(net, seed, std)
    return net


def copied(net):
    return {name: a.copy() for name, a in net.state_dict().items()}


def same(one, other):
    return all(np.array_equal(a, other[name]) for name, a in one.items())


def test_names_follow_the_order_of_definition_and_a_tied_parameter_comes_once():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert net.num_parameters() == 3 + 12 + 4 + 12 + 3 + 3
    assert [name for name, _ in net.named_modules()] == ["", "h.0", "h.2", "norm"]
    assert net.parameters()[1] is net.h[0].weight
    assert all(p.requires_grad and p.dtype == np.float32 for p in net.parameters())
    assert [name for name, _ in nn.SelfAttention(4, 2, bias=False).named_parameters()] == [
        "c_attn.weight", "c_proj.weight"]


GOOD = copied(filled(1))


@pytest.mark.parametrize("changes, message", [
    ({"h.2.weight": None, "norm.bias": None}, r"lack h\.2\.weight \(4, 3\)"),
    ({"h.9.weight": GOOD["scale"]}, r"hold h\.9\.weight"),
    ({"h.2.weight": GOOD["h.2.weight"].T}, r"h\.2\.weight has shape \(3, 4\) .* \(4, 3\) in the model"),
    ({"norm.bias": np.array([0, np.nan, 0], np.float32)}, r"norm\.bias holds numbers that are not finite"),
    ({"h.0.bias": np.array([-np.inf, 0, 0, 0], np.float32)}, r"h\.0\.bias holds numbers that are not finite"),
    ({"scale": np.arange(3)}, r"scale is int64"),
])
def test_a_state_is_copied_and_a_bad_one_is_named_and_changes_nothing(changes, message):
    net, state = filled(2), {name: a.copy() for name, a in GOOD.items()}
    before = copied(net)
    with pytest.raises(UserError, match=message):
        net.load_state_dict({name: a for name, a in (state | changes).items() if a is not None})
    assert same(before, net.state_dict())
    net.load_state_dict(state)
    state["scale"][:] = 9
    assert same(GOOD, net.state_dict())


def test_train_and_eval_reach_every_module_and_inference_puts_back_what_was():
    net, x = Net(), Tensor(np.ones((2, 3), np.float32))
    assert net.eval() is net and not any(m.training for _, m in net.named_modules())
    net.train()
    net.h[0].training = False
    with pytest.raises(ZeroDivisionError), nn.inference(net):
        assert not any(m.training for _, m in net.named_modules()) and not net(x).requires_grad
        raise ZeroDivisionError
    assert [m.training for _, m in net.named_modules()] == [True, False, True, True]
    assert net(x).requires_grad


def test_initial_weights_depend_on_seed_and_deviation_and_leave_vectors_alone():
    net, again, other = filled(3), filled(3), filled(4)
    for name, a in net.state_dict().items():
        assert np.array_equal(a, again.state_dict()[name])
        assert np.array_equal(a, other.state_dict()[name]) == (a.ndim == 1)
    wide = nn.Linear(200, 300)
    nn.init_normal(wide, 0, std=lambda name: {"weight": 0.02}[name])
    assert abs(wide.weight.data.std() - 0.02) < 2e-4 and abs(wide.weight.data.mean()) < 2e-4
    assert not wide.bias.data.any()


@pytest.mark.parametrize("p", [0.1, 0.25, 0.9])
def test_dropout_acts_in_training_only_and_keeps_the_mean(p):
    drop, x = nn.Dropout(p), Tensor(np.ones((50, 400), np.float32))
    y = drop(x).data
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / (1 - p))}
    assert abs((y > 0).mean() - (1 - p)) < 5 * (p * (1 - p) / y.size) ** 0.5
    assert drop.eval()(x) is x and nn.Dropout(0.0)(x) is x


@pytest.mark.parametrize("make, message", [
    *[(lambda p=p: nn.Dropout(p), "a probability in") for p in (1.0, -0.1, float("nan"))],
    (lambda: nn.SelfAttention(8, 3), "3 heads cannot share a width of 8"),
])
def test_impossible_layers_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("own", [{}, {"window": 3}, {"causal": False}], ids=str)
@pytest.mark.parametrize("seen", [{}, {"window": 2}, {"window": 4}, {"causal": False}], ids=str)
def test_a_query_sees_what_both_the_layer_and_the_caller_allow(own, seen):
    q = Tensor(np.random.default_rng(0).normal(size=(1, 6, 4)).astype(np.float32))
    both = {"causal": own.get("causal", True) and seen.get("causal", True),
            "window": min((x["window"] for x in (own, seen) if "window" in x), default=None)}
    alone = F.attention(*[q.reshape(1, 6, 1, 4)] * 3, **both).data.reshape(1, 6, 4)
    given = nn.Seen(**seen)
    assert np.array_equal(nn.Attention(4, 1, **own).mix(q, q, q, seen=given).data, alone)
    assert vars(given) == vars(nn.Seen(**seen))  # other layers use it, too


def test_dropout_streams_depend_on_key_piece_and_layer_and_count_within_a_piece():
    """All began with one stream: two layers of a user's model dropped the same numbers at every step."""
    net, x = nn.Sequential(nn.Dropout(0.5), F.gelu, nn.Dropout(0.5)), Tensor(np.ones((8, 8), np.float32))
    assert not np.array_equal(net[0](x).data, net[2](x).data)

    def draws(*key, piece=0):
        net.dropout_stream(*key, piece=piece)
        return [net(x).data.tobytes() for _ in range(2)]

    assert draws(7, 100) == draws(7, 100)  # a resumed run draws the same
    assert len({*draws(7, 100), *draws(7, 100, piece=1), draws(7, 101)[0], draws(8, 100)[0]}) == 6
    masks = [keep_mask(net[i].random.reserve(0), (64,), 0.5) for i in (0, 2)]
    assert not np.array_equal(*masks)
