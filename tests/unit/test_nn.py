"""Check modules, and models built from them: names, initial weights, modes, states, training."""

import copy
import pickle

import numpy as np
import pytest
from helpers import MLP, refuses
from hypothesis import given, strategies as st

import tinyllm as tl
import tinyllm.functional as F
from tinyllm import Tensor, nn
from tinyllm.models.mixtral import Experts
from tinyllm.nn.init import without_memory
from tinyllm.ops.elementwise import keep_mask


class Block(nn.Module):
    def __init__(self):
        self.norm, self.attn, self.mlp = nn.RMSNorm(16), nn.SelfAttention(16, 2), nn.MLP(16, 32)

    def forward(self, x):
        return x + self.mlp(self.attn(self.norm(x)))


class Transformer(nn.Module):
    def __init__(self):
        self.tokens, self.blocks, self.norm = nn.Embedding(11, 16), [Block(), Block()], nn.LayerNorm(16)
        self.head = nn.Head(self.tokens.weight)

    def forward(self, ids):
        first, second = self.blocks
        return self.head(self.norm(second(first(self.tokens(ids)))))


class Backwards(Transformer):
    """Make the layers of `Transformer` in another order, after an extra layer."""

    def __init__(self):
        self.extra = nn.Linear(5, 5)
        super().__init__()
        self.blocks = [Block(), Block()][::-1]


class Net(nn.Module):
    """Hold parameters before and after modules, a tuple, a dict, a tied weight, and other attributes."""

    def __init__(self):
        self.scale = nn.Parameter(np.ones(3, np.float32))
        self.h = nn.Linear(3, 4), "not a module", nn.Linear(4, 3, bias=False)
        self.heads = {"a": nn.Linear(3, 3, bias=False)}
        self.norm = nn.LayerNorm(3)
        self.tied = self.h[0].weight
        self.size = 3

    def forward(self, x):
        return self.norm(self.heads["a"](self.h[2](self.h[0](x)))) * self.scale


def numbers(model):
    return {name: a.copy() for name, a in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(a, other[name]) for name, a in one.items())


def filled(seed):
    net = Net()
    nn.init_normal(net, seed, 0.5)
    return net


def unread(model):
    return [name for name, p in model.named_parameters() if p._known is p.make]


def test_names_follow_the_order_of_definition_and_a_tied_parameter_comes_once():
    net, row = Net(), nn.Sequential(nn.Linear(2, 3), F.relu, nn.Linear(3, 1))
    assert [name for name, _ in net.named_parameters()] == [
        "scale", "tied", "h.0.bias", "h.2.weight", "heads.a.weight", "norm.weight", "norm.bias"]
    assert net.num_parameters() == 3 + 12 + 4 + 12 + 9 + 3 + 3
    assert [name for name, _ in net.named_modules()] == ["", "h.0", "h.2", "heads.a", "norm"]
    assert net.parameters()[1] is net.h[0].weight and repr(net) == "<Net with 46 parameters>"
    nn.quantize(net, 8)
    assert isinstance(net.heads["a"], nn.Int8Linear) and isinstance(net.h[2], nn.Int8Linear)
    assert len([*row]) == 3 and row[1] is F.relu and row[2] is row[-1] and nn.Sequential()(3) == 3


@pytest.mark.parametrize("make, error, message", [
    *[(lambda p=p: nn.Dropout(p), ValueError, "a probability in") for p in (1.0, -0.1, float("nan"))],
    (lambda: nn.SelfAttention(8, 3), ValueError, "3 heads cannot share a width of 8"),
    (lambda: nn.Module()(1), NotImplementedError, "Module must define forward"),
    (lambda: nn.DecoderLM().embed([1], [0]), NotImplementedError, "DecoderLM must define embed"),
])
def test_impossible_layers_are_refused(make, error, message):
    refuses(message, make, error=error)


GOOD, IN_BYTES = numbers(filled(1)), numbers(nn.quantize(filled(1), 8))
Q, SCALES = IN_BYTES["h.2.q"], IN_BYTES["h.2.scales"]


@pytest.mark.parametrize("good, changes, message", [*((GOOD, *row) for row in (
    ({"h.2.weight": None, "norm.bias": None}, r"lack h\.2\.weight \(4, 3\)"),
    ({"h.9.weight": GOOD["scale"]}, r"hold h\.9\.weight"),
    ({"h.2.weight": GOOD["h.2.weight"].T}, r"h\.2\.weight has shape \(3, 4\) .* \(4, 3\) in the model"),
    ({"norm.bias": np.array([0, np.nan, 0], np.float32)}, r"norm\.bias holds numbers that are not finite"),
    ({"scale": np.arange(3)}, r"scale is int64"),
)), *((IN_BYTES, *row) for row in (
    ({"h.2.q": Q[:-1]}, r"h\.2\.q has shape"), ({"h.2.q": Q.view(np.uint8)}, r"h\.2\.q.* must be int8"),
    *(({"h.2.scales": np.full_like(SCALES, bits)}, r"h\.2\.scales.* not finite")
      for bits in (0x7F80, 0x7FC0, 0xFF80)),
))])
def test_a_state_is_copied_and_a_bad_one_is_named_and_changes_nothing(good, changes, message):
    net, state = filled(2), {name: a.copy() for name, a in good.items()}
    net = nn.quantize(net, 8) if good is IN_BYTES else net
    before = numbers(net)
    refuses(message, net.load_state_dict, {name: a for name, a in (state | changes).items() if a is not None})
    assert same(before, net.state_dict())
    net.load_state_dict(state)
    state["scale"][:] = 9
    assert same(good, net.state_dict())


def test_train_and_eval_reach_every_module_and_inference_puts_back_what_was():
    net, x = Net(), Tensor(np.ones((2, 3), np.float32))
    assert net.eval() is net and not any(m.training for _, m in net.named_modules())
    net.train()
    net.h[0].training = False
    with pytest.raises(ZeroDivisionError), nn.inference(net):
        assert not any(m.training for _, m in net.named_modules()) and not net(x).requires_grad
        raise ZeroDivisionError
    assert [m.training for _, m in net.named_modules()] == [True, False, True, True, True]
    assert net(x).requires_grad


# Initial weights: they depend on the seed and a parameter's name, not on when they are read.


@pytest.mark.parametrize("make", [MLP, Transformer, lambda: nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))])
@pytest.mark.parametrize("twin", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_new_model_holds_the_numbers_of_seed_0_and_its_names(make, twin):
    model, filled, other = make(), make(), make()
    nn.init_normal(filled, 0)
    nn.init_normal(other, 1)
    assert same(numbers(twin(model)), numbers(filled))
    for name, a in numbers(model).items():
        assert np.array_equal(a, other.state_dict()[name]) == (a.ndim == 1)  # a seed changes no vector
    matrices = [a for a in numbers(model).values() if a.ndim == 2]
    assert all(a.any() for a in matrices)
    assert len({a.tobytes() for a in matrices}) == len(matrices)  # no two layers are equal


@given(order=st.permutations(range(4)), listed=st.sets(st.integers(0, 3)))
def test_the_order_in_which_layers_are_made_listed_and_read_does_not_matter(order, listed):
    model, adapted = Backwards(), nn.adapt(Transformer(), rank=2)
    for i in listed:
        list((model.blocks[i % 2].named_parameters, model.blocks[i % 2].parameters)[i // 2]())
    parameters = model.parameters()
    for i in order:
        parameters[-i].data.sum()
    found = numbers(model)
    for name, a in numbers(Transformer()).items():
        assert np.array_equal(found[name], a)
    base = numbers(adapted)["blocks.1.mlp.c_fc.base_layer.weight"]
    assert np.array_equal(base, found["blocks.1.mlp.c_fc.weight"])


def test_reading_and_writing_fix_the_numbers():
    layer = nn.Linear(3, 3)
    before, x = layer.weight.data.copy(), np.ones((1, 3), np.float32)
    y = layer(x).data
    model = nn.Sequential(layer, nn.Linear(3, 3))
    assert np.array_equal(layer.weight.data, before) and np.array_equal(model[0](x).data, y)
    assert not np.array_equal(model[1].weight.data, before)
    layer = nn.Linear(3, 3)
    layer.weight.data[...] = 0
    assert not nn.Sequential(layer)[0].weight.data.any()


def test_layers_keep_the_size_of_their_input_and_a_free_router_uses_all_experts():
    """A past bug: the weights of a router were zero, so all tokens went to experts 0 and 1."""
    x, wide = tl.Random("x").normal((50, 200)), nn.Linear(200, 300)
    for layer in (wide, nn.Sequential(nn.Linear(200, 400), nn.Linear(400, 100))):
        assert layer(x).data.std() == pytest.approx(1, abs=0.05)
    assert nn.Embedding(50, 64).weight.data.std() == pytest.approx(1 / 8, rel=0.1)
    assert nn.Linear(0, 3)(np.ones((2, 0), np.float32)).data.tolist() == [[0, 0, 0]] * 2
    nn.init_normal(wide, 0, std=lambda name: {"weight": 0.02}[name])
    assert abs(wide.weight.data.std() - 0.02) < 2e-4 and not wide.bias.data.any()
    experts = Experts(16, 8, count=4, top=2)
    experts(Tensor(tl.Random("x").normal((1, 50, 16))))
    assert (experts.counts > 0).all()


def test_shapes_counts_and_reprs_read_nothing_and_families_are_filled_at_once():
    model = Transformer()
    names = unread(model)
    assert names[0] == "tokens.weight" and len(names) == 9
    assert model.num_parameters() == 11 * 16 + 2 * (16 + 4 * 16 * 17 + 32 * 17 + 16 * 33) + 32
    weight = model.tokens.weight
    assert (weight.shape, weight.ndim, weight.dtype) == ((11, 16), 2, np.float32) and repr(model)
    assert unread(model) == names
    model(np.zeros((1, 3), int))
    config = tl.GPTConfig(vocab_size=7, context=4, layers=1, heads=1, width=8)
    assert unread(model) == unread(tl.GPT(config)) == unread(tl.GPT(config, seed=None)) == []
    with without_memory():
        assert nn.Linear(3, 4).weight.data.strides == (0, 0)


def test_layers_take_plain_arrays_and_lists():
    """Layers must take them like Tensors; test_functional.py checks the same of functions."""
    x, w = tl.Random("x").normal((2, 3)), Tensor(tl.Random("w").normal((3, 4)))
    for layer in (nn.LayerNorm(3), nn.RMSNorm(3), nn.Linear(3, 2), nn.MLP(3, 4), nn.SelfAttention(3, 1),
                  nn.Head(w.T), nn.Sequential(nn.Linear(3, 2), F.relu)):
        batch = x[None] if isinstance(layer, nn.SelfAttention) else x
        y = layer(Tensor(batch)).data
        assert y.dtype == np.float32
        for plain in (batch, batch.astype(np.float64), batch.tolist()):
            assert np.array_equal(layer(plain).data, y)


def test_dropout_streams_depend_on_key_piece_and_layer_and_count_within_a_piece():
    """A past bug: all layers began with one stream, so two layers dropped the same elements at every step."""
    net, x = nn.Sequential(nn.Dropout(0.5), F.gelu, nn.Dropout(0.5)), Tensor(np.ones((8, 8), np.float32))
    assert set(np.unique(net[0](x).data)) == {0, 2} and nn.Dropout(0.0)(x) is x
    assert not np.array_equal(net[0](x).data, net[2](x).data)

    def draws(*key, piece=0):
        net.dropout_stream(*key, piece=piece)
        return [net(x).data.tobytes() for _ in range(2)]

    assert draws(7, 100) == draws(7, 100)  # so a resumed run repeats its masks
    assert len({*draws(7, 100), *draws(7, 100, piece=1), draws(7, 101)[0], draws(8, 100)[0]}) == 6
    masks = [keep_mask(net[i].random.reserve(0), (64,), 0.5) for i in (0, 2)]
    assert not np.array_equal(*masks) and net[0].eval()(x) is x


@pytest.mark.parametrize("own", [{}, {"window": 3}, {"causal": False}], ids=str)
@pytest.mark.parametrize("seen", [{}, {"window": 2}, {"window": 4}, {"causal": False}], ids=str)
def test_a_query_sees_what_both_the_layer_and_the_caller_allow(own, seen):
    q = Tensor(np.random.default_rng(0).normal(size=(1, 6, 4)).astype(np.float32))
    both = {"causal": own.get("causal", True) and seen.get("causal", True),
            "window": min((x["window"] for x in (own, seen) if "window" in x), default=None)}
    alone = F.attention(*[q.reshape(1, 6, 1, 4)] * 3, **both).data.reshape(1, 6, 4)
    assert np.array_equal(nn.Attention(4, 1, **own).mix(q, q, q, seen=nn.Seen(**seen)).data, alone)


def test_reprs_say_what_a_thing_is():
    for value, shown in (
        (Tensor([1.0, 2.0]), "Tensor([1., 2.], (2,))"), (nn.Linear(1, 1).weight, "Parameter([["),
        (tl.load_corpus("stories"), "Corpus('stories', 7,"), (tl.ByteTokenizer(), "<ByteTokenizer with 256"),
    ):
        assert repr(value).startswith(shown)
    large = nn.Parameter(np.ones((1000, 1000), np.float32))
    assert len(repr(large)) < 300 and len(repr((large + large)._node)) < 300
