"""Check models that a user builds from parts: first numbers, reprs and training."""

import copy
import pickle

import numpy as np
import pytest
from helpers import MLP
from hypothesis import given
from hypothesis import strategies as st

import tinyllm as tl
import tinyllm.functional as F
from tinyllm import nn, ops
from tinyllm.models.mixtral import Experts
from tinyllm.nn.init import without_memory
from tinyllm.tensor import Tensor


class Block(nn.Module):
    def __init__(self, width, heads):
        self.norm_1, self.attn = nn.LayerNorm(width), nn.SelfAttention(width, heads)
        self.norm_2, self.mlp = nn.RMSNorm(width), nn.MLP(width, 2 * width)

    def forward(self, x):
        x = x + self.attn(self.norm_1(x))
        return x + self.mlp(self.norm_2(x))


class Transformer(nn.Module):
    def __init__(self, vocab_size=11, context=8, width=16, layers=2):
        self.tokens, self.places = nn.Embedding(vocab_size, width), nn.Embedding(context, width)
        self.blocks = [Block(width, 2) for _ in range(layers)]
        self.norm = nn.LayerNorm(width)
        self.head = nn.Head(self.tokens.weight)

    def forward(self, ids):
        x = self.tokens(ids) + self.places(np.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Backwards(Transformer):
    """Make the same layers in another order, after one that only this model has."""

    def __init__(self):
        self.extra = nn.Linear(5, 5)
        super().__init__()
        self.blocks = [Block(16, 2), Block(16, 2)][::-1]


def numbers(model):
    return {name: a.copy() for name, a in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(a, other[name]) for name, a in one.items())


def unread(model):
    return [name for name, p in model.named_parameters() if p._known is p.make]


# First numbers: they depend on the seed and a parameter's name, whenever they are read.


@pytest.mark.parametrize("make", [MLP, Transformer, lambda: nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))])
@pytest.mark.parametrize("twin", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_new_model_holds_the_numbers_of_seed_0_and_its_names(make, twin):
    model, filled, other = make(), make(), make()
    nn.init_normal(filled, 0)
    nn.init_normal(other, 1)
    assert same(numbers(twin(model)), numbers(filled)) and not same(numbers(model), numbers(other))
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


def test_a_free_router_sends_tokens_to_all_experts():
    """Its matrix was zero, so all tokens went to experts 0 and 1."""
    experts = Experts(16, 8, count=4, top=2)
    assert experts.gate.weight.data.std() == pytest.approx(1 / 4, rel=0.3)
    experts(Tensor(tl.Random("x").normal((1, 50, 16))))
    assert (experts.counts > 0).all()


def test_layers_keep_the_size_of_their_input():
    x = tl.Random("x").normal((50, 200))
    for layer in (nn.Linear(200, 300), nn.Sequential(nn.Linear(200, 400), nn.Linear(400, 100))):
        assert layer(x).data.std() == pytest.approx(1, abs=0.05)
    assert nn.Embedding(50, 64).weight.data.std() == pytest.approx(1 / 8, rel=0.1)
    assert nn.Linear(0, 3)(np.ones((2, 0), np.float32)).data.tolist() == [[0, 0, 0]] * 2


def test_shapes_counts_and_reprs_read_nothing_and_families_are_filled_at_once():
    model = Transformer()
    names = unread(model)
    assert names[:2] == ["tokens.weight", "places.weight"] and len(names) == 10
    assert model.num_parameters() == 11 * 16 + 8 * 16 + 2 * (32 + 4 * 16 * 17 + 16 + 32 * 17 + 16 * 33) + 32
    weight = model.tokens.weight
    assert (weight.shape, weight.ndim, weight.dtype) == ((11, 16), 2, np.float32) and repr(model)
    assert unread(model) == names
    model(np.zeros((1, 3), int))
    config = tl.GPTConfig(vocab_size=7, context=4, layers=1, heads=1, width=8)
    assert unread(model) == unread(tl.GPT(config)) == unread(tl.GPT(config, seed=None)) == []
    with without_memory():
        assert nn.Linear(3, 4).weight.data.strides == (0, 0)


# Training and modules


@pytest.mark.parametrize("optimizer", [
    lambda ps: tl.AdamW(ps, lr=0.02), lambda ps: tl.SGD(ps, lr=0.2),
    lambda ps: tl.SGD(ps, lr=0.05, momentum=0.9),
], ids=["AdamW", "SGD", "momentum"])
def test_self_built_models_train(optimizer):
    """Each parameter gets a gradient in each step, and moves."""
    x = tl.Random("xor").uniform((64, 2)).astype(np.float32) * 2 - 1
    y = np.sign(x[:, :1] * x[:, 1:])  # no linear model can do this
    ids = np.arange(36).reshape(4, 9) * 4 % 11  # each token follows from the one before
    mlp, row, transformer = MLP(), nn.Sequential(nn.Linear(2, 16), F.relu, nn.Linear(16, 1)), Transformer()
    for model, loss, steps, least in (
        (mlp, lambda: ((mlp(x) - y) ** 2).mean(), 300, 0.35),
        (row, lambda: ((row(x) - y) ** 2).mean(), 300, 0.35),
        (transformer, lambda: F.cross_entropy(transformer(ids[:, :-1]), ids[:, 1:]), 60, 2.0),
    ):
        before, moving, first = numbers(model), optimizer(model.parameters()), float(loss())
        for _ in range(steps):
            step_loss = loss()
            step_loss.backward()
            assert all(p.grad is not None and p.grad.any() for p in model.parameters())
            moving.step()
            moving.zero_grad()
        assert all(not np.array_equal(a, before[name]) for name, a in numbers(model).items())
        assert float(step_loss) < min(least, first)


def test_lists_and_dicts_of_layers_belong_to_a_model_and_what_is_no_layer_is_refused():
    class Heads(nn.Module):
        def __init__(self):
            self.heads = {"a": nn.Linear(2, 3), "b": nn.Linear(2, 3, bias=False)}

    model, row = Heads(), nn.Sequential(nn.Linear(2, 3), F.relu, nn.Linear(3, 1))
    assert [name for name, _ in model.named_parameters()] == [
        "heads.a.weight", "heads.a.bias", "heads.b.weight"]
    nn.quantize(model, 8)
    assert all(isinstance(head, nn.Int8Linear) for head in model.heads.values())
    assert len(row) == 3 and row[1] is F.relu and list(row)[2] is row[-1] and nn.Sequential()(3) == 3
    with pytest.raises(TypeError, match="a layer is a Module or a function, got 'x'"):
        nn.Sequential(nn.Linear(2, 3), "x")
    with pytest.raises(NotImplementedError, match="Module must define forward"):
        nn.Module()(1)


def test_reprs_are_short_and_say_what_a_thing_is():
    for value, shown in (
        (nn.Linear(2, 3), "<Linear with 9 parameters>"),
        (Tensor([1.0, 2.0]), "Tensor([1., 2.], (2,))"), (nn.Linear(1, 1).weight, "Parameter([["),
        (nn.Parameter(np.float32(2)), "Parameter(2., (), requires_grad=True)"),
        (tl.load_corpus("stories"), "Corpus('stories', 7,"),
        (tl.ByteTokenizer(), "<ByteTokenizer with 256 tokens>"),
    ):
        assert repr(value).startswith(shown)
    assert len(repr(Tensor(np.ones((1000, 1000), np.float32)))) < 300


# Tensors


def test_layers_take_plain_arrays_and_lists_in_the_dtype_of_their_weights():
    """Functions do, too: see test_functional.py."""
    x, w = tl.Random("x").normal((2, 3)), Tensor(tl.Random("w").normal((3, 4)))
    for layer in (nn.LayerNorm(3), nn.RMSNorm(3), nn.Linear(3, 2), nn.MLP(3, 4), nn.SelfAttention(3, 1),
                  nn.Head(w.T), nn.Sequential(nn.Linear(3, 2), F.relu)):
        batch = x[None] if isinstance(layer, nn.SelfAttention) else x
        y = layer(Tensor(batch)).data
        assert y.dtype == np.float32
        for plain in (batch, batch.astype(np.float64), batch.tolist()):
            assert np.array_equal(layer(plain).data, y)
    assert np.array_equal((x @ w).data, (Tensor(x) @ w).data)
    assert np.array_equal((x + w[:, 0]).data, (Tensor(x) + w[:, 0]).data)
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.RMSNorm(4))
    for p in model.parameters():
        p.data = p.data.astype(np.float64)
    with ops.use("numpy"):
        assert model(np.ones((2, 3), np.float32)).dtype == np.float64


def test_tensors_are_read_as_numbers_and_arrays():
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    assert x.T.data.tolist() == [[1, 3], [2, 4]] and float(x.sum()) == 10 and f"{float(x[0, 0]):.1f}" == "1.0"
    assert np.asarray(x) is x.data and np.asarray(x, np.float64).dtype == np.float64
    assert np.array(x) is not x.data and np.stack([x, x]).shape == (2, 2, 2)
    with pytest.raises(ValueError):
        float(x)
