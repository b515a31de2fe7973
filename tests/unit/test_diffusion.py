"""Check masked diffusion: what is hidden, the bound that its loss is, and texts written from masks."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_gpt import shaken

import tinyllm as tl
from tinyllm import ops
from tinyllm.data.corruption import diffused
from tinyllm.decode.fill import unmask, write
from tinyllm.errors import UserError
from tinyllm.models import build
from tinyllm.ops import cross_entropy
from tinyllm.rng import Random
from tinyllm.train.objectives import diffusion

MASK, V = 3, 7
SIZES = {"vocab_size": V, "context": 12, "layers": 1, "heads": 2, "width": 16, "hidden": 20}
GREEDY = tl.Sampling(temperature=0)


def made(seed=0):
    """Build a model whose weights are large enough for every part of it to matter."""
    return shaken(build({"model_type": "bert", **SIZES}, seed=None), 0.5, seed).eval()


def texts(seed, rows, length=8):
    tokens = np.random.default_rng(seed).integers(0, V - 1, (rows, length))
    return tokens + (tokens >= MASK)  # without masks


@given(rows=st.integers(1, 5), seed=st.integers(0, 99))
def test_a_share_of_every_text_is_hidden_and_only_that_counts(rows, seed):
    tokens = texts(seed, rows)
    batch, again = diffused(tokens, MASK, seed), diffused(tokens, MASK, seed)
    assert np.array_equal(batch.tokens, again.tokens) and batch.count == tokens.size
    gone = batch.tokens == MASK
    assert np.array_equal(np.where(gone, batch.targets, batch.tokens), tokens)
    assert (batch.targets[~gone] == -100).all()
    shares = 1 / batch.weights[:, 0]
    assert (batch.weights == batch.weights[:, :1]).all()
    parts = np.sort(np.ceil(shares * rows - 1e-5))
    assert np.array_equal(parts, np.arange(1, rows + 1))  # one share from each equal part of (0, 1]


def test_the_share_is_the_chance_to_be_hidden():
    shares = np.tile([0.05, 0.5, 1.0], 2000)
    batch = diffused(texts(0, 6000), MASK, 1, shares=shares)
    found = (batch.tokens == MASK).reshape(2000, 3, 8).mean((0, 2))
    np.testing.assert_allclose(found, [0.05, 0.5, 1.0], atol=0.02)


@given(share=st.floats(0.2, 1.0), seed=st.integers(0, 99))
def test_at_one_share_the_loss_is_the_masked_cross_entropy_times_hidden_over_expected(share, seed):
    model, tokens = made(seed), texts(seed, 3)
    batch = diffused(tokens, MASK, seed, shares=np.full(3, share))
    loss, numbers = diffusion(model, batch)
    hidden = int((batch.targets >= 0).sum())
    if not hidden:
        assert loss.item() == 0 == numbers["accuracy"]
        return
    expected, _ = cross_entropy(model(batch.tokens).data, batch.targets)
    assert np.isclose(loss.item(), expected * hidden / (share * tokens.size), rtol=1e-4)
    parts = [(diffusion(model, part)[0].item(), part.count) for part in batch.split(2)]
    assert np.isclose(sum(x * n for x, n in parts) / batch.count, loss.item(), rtol=1e-4)


def test_the_mean_loss_is_an_upper_bound_of_the_surprise_at_whole_texts():
    """Two tokens: the bound is the mean over both orders in which they may be uncovered."""
    model, tokens = made(2), texts(3, 1, 2)
    log_p = {}
    for seen in itertools.product((False, True), repeat=2):
        given_tokens = np.where(seen, tokens[0], MASK)
        log_p[seen] = ops.log_softmax(model(given_tokens).data[0])[[0, 1], tokens[0]]
    orders = [log_p[False, False][0] + log_p[True, False][1], log_p[False, False][1] + log_p[False, True][0]]
    batch = diffused(np.repeat(tokens, 40_000, 0), MASK, 0)
    assert np.isclose(diffusion(model, batch)[0].item(), -np.mean(orders) / 2, rtol=0.02)
    assert -np.mean(orders) >= -np.log(np.mean(np.exp(orders)))  # Jensen: random orders as a whole


def test_it_learns_a_text_down_to_its_entropy():
    """Eight equally likely texts of 16 letters: the bound cannot be below ln 8 / 16 for each letter."""
    sizes = {"context": 16, "layers": 1, "heads": 4, "width": 64, "hidden": 128, "init_std": 0.125}
    model = build({"model_type": "bert", "vocab_size": 10, "dropout": 0.0, **sizes})

    def batches(step):
        first = Random(1, step).integers(8, 32)
        return diffused((first[:, None] + np.arange(16)) % 8, 9, 2, step)

    losses = tl.fit(model, batches, steps=200, lr=4e-3, loss=diffusion)
    assert losses[0] > 2 and np.log(8) / 16 < np.mean(losses[-40:]) < 0.3
    written = unmask(model.eval(), np.full((20, 16), 9), 9, seed=0)
    steps = np.diff(written, axis=1) % 8
    assert (steps == 1).mean() > 0.9 and len(set(written[:, 0].tolist())) > 2


@given(rows=st.integers(1, 4), per_step=st.integers(1, 9), seed=st.integers(0, 9), rate=st.floats(0, 1),
       temperature=st.sampled_from((0, 0.5, 1)))
def test_all_masks_are_filled_and_nothing_else_changes(rows, per_step, seed, rate, temperature):
    model, tokens = made(seed), texts(seed, rows)
    gone = np.random.default_rng(seed).random(tokens.shape) < rate
    shown = np.where(gone, MASK, tokens)
    options = {"per_step": per_step, "sampling": tl.Sampling(temperature=temperature), "never": [0]}
    written = unmask(model, shown, MASK, seed=seed, **options)
    assert np.array_equal(written[~gone], tokens[~gone])
    assert not np.isin(written[gone], [MASK, 0]).any() and ((written >= 0) & (written < V)).all()
    assert np.array_equal(written, unmask(model, shown, MASK, seed=seed, **options))
    if ops.matmul.compiled:  # the same bits in any batch
        assert np.array_equal(unmask(model, shown[:1], MASK, seed=seed, **options), written[:1])


def test_a_step_keeps_the_surest_tokens_and_looks_at_what_stands_already():
    model, tokens = made(5), np.full((1, 6), MASK)
    by_hand, calls = tokens.copy(), 0
    while (by_hand == MASK).any():
        p = ops.softmax(np.where(np.arange(V) == MASK, -np.inf, model(by_hand).data[0]))
        places = np.flatnonzero(by_hand[0] == MASK)
        for place in sorted(places, key=lambda t: -p[t].max())[:2]:
            by_hand[0, place] = p[place].argmax()
        calls += 1
    assert calls == 3
    assert np.array_equal(unmask(model, tokens, MASK, per_step=2, sampling=GREEDY), by_hand)


def test_no_token_in_a_step_is_refused():
    with pytest.raises(UserError, match="per_step must be at least 1, got 0"):
        unmask(made(), np.full((1, 2), MASK), MASK, per_step=0)


def test_a_run_learns_to_write_and_writes(tmp_path):
    sizes = {f"model.{name}": SIZES[name] for name in ("layers", "width", "heads", "hidden", "context")}
    settings = {"model.type": "bert", "data": "pydocs", "train.steps": 3, "recipe": "diffusion", **sizes}
    setup = tl.prepare(tl.make_config(settings))
    events = list(setup.train())
    losses = [event.val_loss for event in events if hasattr(event, "val_loss")]
    assert losses[-1] < losses[0] and np.isclose(losses[0], np.log(setup.tokenizer.vocab_size), rtol=0.1)
    batch = setup.plan.batches(0)
    ids = setup.tokenizer.special_tokens
    assert (batch.tokens[:, 0] == ids["[CLS]"]).all() and (batch.tokens[:, -1] == ids["[SEP]"]).all()
    assert batch.count == batch.tokens.size - 2 * len(batch.tokens)
    model = setup.model.eval()
    for text, written in write(model, setup.tokenizer, "Once", 5, rows=2, per_step=2):
        assert text.startswith("Once") and len(written) == 9 and not set(written) & set(ids.values())
    [(text, written)] = write(model, setup.tokenizer, "[MASK]nce", 5)
    assert text.endswith("nce") and len(written) == 4
    with pytest.raises(UserError, match="the prompt has 11 tokens, and the model sees 10: leave room"):
        write(model, setup.tokenizer, "Once upon a", 10)


def test_the_command_writes_with_an_encoder(here, printed, refused):
    sizes = [f"--set=model.{name}={SIZES[name]}" for name in ("layers", "width", "heads", "hidden")]
    more = ["--out", "run", "--model", "bert", "--set", "model.context=60", *sizes]
    assert "it writes:\n" in printed("train", "diffusion", "--data", "pydocs", "--steps", "2", *more)
    words = ["generate", "run", "--prompt", "The", "--tokens", "20", "--unmask", "4"]
    text = printed(*words)
    assert text.startswith("The") and len(text) == 24
    first, second = json.loads(printed(*words, "--samples", "2", "--json"))["samples"]
    assert first["text"] == text[:-1] != second["text"] and len(second["tokens"]) == 23
    assert "per_step must be at least 1" in refused(*words[:-1], "-1")
    assert "--unmask is for encoders" in refused("generate", "shipped", "--unmask", "3")
    for useless in (["--suffix", "x"], ["--beams", "2", "--unmask", "4"], ["--samples", "2"]):
        assert "an encoder has no" in refused("generate", "run", "--prompt", "The", *useless)
