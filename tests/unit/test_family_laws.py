"""Check properties of the models of all families; a line in `MODELS` is enough to check a new family."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from helpers import refuses
from hypothesis import given, strategies as st
from tiny_gpt import check_slopes, softmax
from tiny_models import DECODERS, WRITERS, V, each_family, lively, reads, refilled

import tinyllm as tl
from tinyllm import nn, ops
from tinyllm.nn.passes import around
from tinyllm.ops.registry import _compiled

EXACT = _compiled is not None  # only the kernels promise the same bits in any batch
seeds = st.integers(0, 9)
each_writer = pytest.mark.parametrize("name", WRITERS)


def assert_same(x, y, exact=EXACT):
    np.testing.assert_allclose(x, y, **({"rtol": 0, "atol": 0} if exact else {"rtol": 1e-4, "atol": 1e-4}))


def targets_of(reading, seed=0):
    """Draw targets; ignore some of them, and all for padding."""
    rng, (out, real) = np.random.default_rng(seed), reading.out
    return np.where(real & (rng.random(out.shape) < 0.7), rng.integers(0, V, out.shape), -100)


def begin(model, reading):
    """Return a cache for all tokens of the decoder, and how many of these must be read at once."""
    if model.is_encoder_decoder:
        cache = model.read([row[:n] for row, n in zip(reading.tokens, reading.lengths, strict=True)])
        for layer in cache:
            layer.reserve(0, model.config.context)
        return cache, 0
    return model.new_cache(len(reading.tokens)), 5 if reading.more else 0  # all tokens of the picture


def in_pieces(model, reading, cuts):
    """Return the logits of the decoder's tokens, read through a cache in pieces that begin at `cuts`."""
    out, (cache, first) = reading.out[0], begin(model, reading)
    edges = [0, *(cut for cut in sorted(set(cuts)) if first <= cut < out.shape[1] and cut), out.shape[1]]
    with tl.no_grad():
        parts = [model.hidden(out[:, a:b], cache, **(reading.more if a == 0 else {}))
                 for a, b in itertools.pairwise(edges)]
        return np.concatenate([model.head(x).data for x in parts], axis=1), cache


@each_family
@given(seed=seeds, fill=st.integers(8, V - 1))
def test_other_rows_and_padding_change_nothing(name, seed, fill):
    model = lively(name, seed)
    reading = reads(model, seed)
    whole, (_, real) = reading.logits(model), reading.out
    assert_same(refilled(reading, fill).logits(model)[real], whole[real])
    for b in range(len(whole)):
        alone = reading.row(b).logits(model)[0]
        assert_same(alone, whole[b, : len(alone)], EXACT and model.objective != "masked")


@each_writer
@given(seed=seeds, cuts=st.lists(st.integers(1, 7), max_size=4))
def test_pieces_read_through_a_cache_give_the_same_logits(name, seed, cuts):
    """The last token is also read alone, after rows of one cache have read different numbers of tokens."""
    model = lively(name, seed)
    reading = reads(model, seed)
    whole, (out, real) = reading.logits(model), reading.out
    exact = EXACT and not model.is_encoder_decoder  # T5's sums with biases round differently
    pieces, cache = in_pieces(model, reading, cuts)
    assert_same(pieces[real], whole[real], exact)
    ends = np.random.default_rng(seed).integers(5 if reading.more else 0, real.sum(axis=1))
    for layer in cache:
        layer.rewind(ends)
        for array in layer.arrays:
            array[np.arange(array.shape[1]) >= ends[:, None]] = 9  # overwrite what was rewound
    rows = np.arange(len(ends))
    with tl.no_grad():
        last = model.head(model.hidden(out[rows, ends][:, None], cache)).data[:, 0]
    assert_same(last, whole[rows, ends], exact)


@each_family
@given(seed=seeds, t=st.integers(5, 6), far=st.booleans())
def test_positions_see_what_stands_before_them_and_encoders_see_all(name, seed, t, far):
    model = lively(name, seed)
    reading = reads(model, seed, rows=1)
    before = reading.logits(model)[0]
    changed = reading.tokens if far and model.is_encoder_decoder else reading.out[0]
    changed[0, t] = (changed[0, t] + 1 - 8) % (V - 8) + 8  # never the token of a picture
    after = reading.logits(model)[0]
    causal = model.objective != "masked" and changed is reading.out[0]
    if causal:
        assert_same(before[:t], after[:t])
        assert not np.allclose(before[t], after[t])
    else:
        assert (np.abs(before - after).max(axis=-1) > 1e-6).all()


@each_family
def test_the_gradient_is_the_slope_of_the_loss(name):
    with ops.use("numpy"):
        model = lively(name, 1, np.float64)
        reading = reads(model, 1, rows=2, length=6)
        targets = targets_of(reading)
        check_slopes(lambda: reading.of(model.loss, targets), model.named_parameters())


@each_family
def test_losses_are_those_of_the_targets(name):
    model = lively(name)
    reading = reads(model)
    targets = targets_of(reading)
    if model.is_encoder_decoder:  # the decoder reads the start token, then the targets but the last
        start = model.config.start
        reading.written[:] = np.insert(np.where(targets < 0, start, targets), 0, start, axis=1)[:, :-1]
    counted, weights = targets >= 0, np.random.default_rng(1).random(targets.shape)
    p = softmax(reading.logits(model).astype(np.float64))
    nats = np.where(counted, -np.log(np.take_along_axis(p, targets.clip(0)[..., None], -1)[..., 0]), 0)
    np.testing.assert_allclose(reading.of(model.token_losses, targets).data, nats, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(reading.of(model.log_probs, targets).data,
                                  -reading.of(model.token_losses, targets).data)
    assert np.isclose(reading.of(model.loss, targets).item(), nats.sum() / counted.sum(), rtol=1e-4)
    mean = (nats * weights).sum() / weights[counted].sum()
    assert np.isclose(reading.of(model.loss, targets, weights).item(), mean, rtol=1e-4)
    assert reading.of(model.loss, targets, weights * 0).item() == 0
    for wrong in (weights - 0.5, weights * np.nan, weights[:, :3]):
        refuses(r"at least 0|must have the shape", reading.of, model.loss, targets, wrong, error=ValueError)
    if not model.is_encoder_decoder:
        refuses("must have the shape", reading.of, model.loss, targets[:, :3], error=ValueError)
    with tl.no_grad():
        near = reading.of(nn.quantize(model, 8).token_losses, targets).data
    assert np.abs(near - nats).mean() < 0.3


@each_family
def test_passes_and_copies_change_no_bit_of_loss_and_gradients(name):
    """Pickle is how other processes get a model; tinyllm itself reads no pickles."""
    made = lively(name)
    reading = reads(made)
    targets = targets_of(reading)

    def run(model):
        loss = reading.of(model.loss, targets)
        loss.backward()
        return [loss.data.tobytes(), *(p.grad.tobytes() for p in model.parameters())]

    plain = copy.deepcopy(made)
    for module in [part for _, part in plain.named_modules()]:
        module.hooks = ()
        if isinstance(module, nn.Linear):  # forbids kernels with a fused activation
            around(module, lambda call, part, x: call(x))
    expected = run(plain)
    for model in (nn.recompute(lively(name), large=0), pickle.loads(pickle.dumps(made)), made):
        assert type(model) is type(plain) and run(model) == expected


@pytest.mark.parametrize("name", DECODERS)
def test_packed_documents_and_prefixes_see_what_they_should(name):
    model, rng = lively(name), np.random.default_rng(0)
    tokens = rng.integers(8, V, (1, 8))
    with tl.no_grad():
        plain = model(tokens).data
        starts = np.array([[0, 0, 0, 3, 3, 3, 3, 3]])
        packed, changed = model(tokens, seen=nn.Seen(starts=starts)).data, tokens.copy()
        changed[0, :3] = (changed[0, :3] + 1) % V
        assert_same(packed[0, :3], plain[0, :3])
        assert_same(model(changed, seen=nn.Seen(starts=starts)).data[0, 3:], packed[0, 3:])
        seen, changed[:] = nn.Seen(ends=np.array([[4, 4, 4, 4, 5, 6, 7, 8]])), tokens
        changed[0, 3] = (changed[0, 3] + 1) % V
        whole, other = model(tokens, seen=seen).data, model(changed, seen=seen).data
        assert not np.allclose(whole[0, 0], other[0, 0]) and not np.allclose(whole[0, 0], plain[0, 0])


@each_writer
def test_a_cache_has_room_for_what_was_asked_and_refuses_more(name):
    model = lively(name)
    c, one = model.config, {"deepseek_v3": (1, 10 + 6), "falcon": (1, 8)}  # latent, with rotary part
    heads = one.get(name, (getattr(c, "kv_heads", c.heads), getattr(c, "head_width", None) or c.width // 4))
    assert all(layer.keys.shape == (3, 5, *heads) for layer in model.new_cache(3, length=5))
    cache = model.read([[1]]) if model.is_encoder_decoder else model.new_cache()
    for layer in cache:
        layer.reserve(0, 12)
    model.hidden([1] * 10, cache)
    refuses("13 tokens exceed the model's context of 12", model.hidden, [1, 2, 3], cache)
    assert {layer.length for layer in cache} == {10}
    model.hidden([1, 2], cache)


@each_family
@pytest.mark.parametrize("tokens, error, message", [
    ([], tl.UserError, "at least one token"), ([[[1]]], tl.UserError, "shape"),
    ([1, V], tl.UserError, f"token {V} is outside of the model's vocabulary of {V}"),
    ([1, -1], tl.UserError, "token -1 is outside"), ([1.0, 2.0], TypeError, "whole numbers"),
    ([0] * 13, tl.UserError, "13 tokens exceed the model's context of 12"),
])
def test_tokens_that_cannot_be_read_are_named(name, tokens, error, message):
    model = lively(name)
    both = [(tokens, [1]), ([1], tokens)] if model.is_encoder_decoder else [(tokens,)]
    for given_tokens in both:
        refuses(message, model, *given_tokens, error=error)
