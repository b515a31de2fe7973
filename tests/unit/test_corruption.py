"""Check hidden spans and masks: no token is lost, the rate is right, and the loss is a bound."""

from functools import partial

import numpy as np
import pytest
from hypothesis import example, given, strategies as st
from tiny_models import MODELS, lively

import tinyllm as tl
from tinyllm.data import two_texts
from tinyllm.data.corruption import diffused, span_corruption
from tinyllm.decode.fill import write
from tinyllm.train.objectives import diffusion

SENTINELS = list(range(999, 700, -1))


@given(n=st.integers(2, 200), seed=st.integers(0, 99), rate=st.floats(0.01, 0.9), mean=st.floats(1, 9))
@example(n=2, seed=0, rate=0.9, mean=1)
def test_hidden_spans_can_be_put_back(n, seed, rate, mean):
    text = np.random.default_rng(seed).integers(0, 50, (3, n))
    batch = span_corruption(text, SENTINELS, seed, end=[60], rate=rate, mean=mean)
    hidden = max(1, min(n - 1, round(n * rate)))
    for row, read, written in zip(text.tolist(), batch.tokens.tolist(), batch.targets.tolist(), strict=True):
        assert read.pop() == written.pop() == 60 and read[0] < 60
        marks = [token for token in read if token > 60]
        assert marks == SENTINELS[: len(marks)] and len(marks) in (1, round(hidden / mean), n - hidden)
        edges = [written.index(mark) for mark in SENTINELS[: len(marks) + 1]]
        assert edges[0] == 0 and edges[-1] == len(written) - 1  # the next sentinel ends the last span
        spans = {m: written[a + 1 : b] for m, a, b in zip(marks, edges, edges[1:], strict=False)}
        assert all(spans.values()) and sum(map(len, spans.values())) == hidden
        assert [x for token in read for x in spans.get(token, [token])] == row
    again = span_corruption(text, SENTINELS, seed, end=[60], rate=rate, mean=mean)
    assert np.array_equal(batch.tokens, again.tokens) and np.array_equal(batch.targets, again.targets)


def test_the_last_span_ends_the_text_the_others_are_anywhere_and_sentinels_must_suffice():
    batch = span_corruption(np.tile(np.arange(40), (4000, 1)), [99, 98, 97], 3)
    shares = np.array([(batch.targets == token).sum() / 4000 for token in range(40)])
    assert shares.sum() == pytest.approx(6) and (shares[0], shares[39]) == (0, 1)
    assert shares[2:34].min() > 0.05 and shares[2:34].max() < 0.2
    with pytest.raises(ValueError, match="5 spans of 100 tokens need 6 sentinels, got 5"):
        span_corruption(np.zeros((1, 100), int), [9, 8, 7, 6, 5], 0)


IDS = st.lists(st.integers(1, 9), min_size=1, max_size=9)


@given(pairs=st.lists(st.tuples(IDS, IDS), min_size=1, max_size=5), context=st.integers(1, 9))
def test_what_is_read_and_what_is_written_are_padded_apart(pairs, context):
    batch = two_texts(*zip(*pairs, strict=True), context)
    each = zip(pairs, batch.tokens, batch.targets, batch.lengths, strict=True)
    for (prompt, answer), read, written, n in each:
        assert read[:n].tolist() == prompt[:context] and not read[n:].any()
        assert written[written != -100].tolist() == answer[:context]
    assert batch.count == sum(min(len(answer), context) for _, answer in pairs)
    (last,) = list(batch.split(1))
    assert np.array_equal(last.lengths, batch.lengths)


MASK, V = 3, 7
made = partial(lively, "bert", vocab_size=V)


def texts(seed, rows, length=8):
    tokens = np.random.default_rng(seed).integers(0, V - 1, (rows, length))
    return tokens + (tokens >= MASK)  # all ids but that of the mask


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
    many = diffused(texts(seed, 1000), MASK, seed)
    assert ((many.tokens == MASK).mean(axis=1) - 1 / many.weights[:, 0]).mean() == pytest.approx(0, abs=0.02)


@given(seed=st.integers(0, 99))
def test_the_loss_is_the_weighted_sum_of_hidden_tokens_and_adds_up_over_parts(seed):
    model, tokens = made(seed), texts(seed, 3)
    batch = diffused(tokens, MASK, seed)
    logits = model(batch.tokens).data
    losses = -np.take_along_axis(tl.ops.log_softmax(logits), tokens[..., None], axis=-1)[..., 0]
    loss = diffusion(model, batch)[0].item()
    assert np.isclose(loss, (losses * batch.weights * (batch.targets >= 0)).sum() / tokens.size, rtol=1e-4)
    parts = [(diffusion(model, part)[0].item(), part.count) for part in batch.split(2)]
    assert np.isclose(sum(x * n for x, n in parts) / batch.count, loss, rtol=1e-4)


LETTERS = tl.CharTokenizer.train("abcd")
LETTERS.add_special_tokens(["[MASK]", "[CLS]", "[SEP]"])  # ids 4, 5 and 6


@given(seed=st.integers(0, 9), temperature=st.sampled_from((0, 0.5, 1)),
       shown=st.lists(st.sampled_from("abcd"), max_size=8), hidden=st.sets(st.integers(0, 7), min_size=1))
def test_all_masks_are_filled_and_nothing_else_changes(seed, temperature, shown, hidden):
    options = {"sampling": tl.Sampling(temperature=temperature), "seed": seed}
    prompt = "".join("[MASK]" if i in hidden else letter for i, letter in enumerate(shown))
    text, ids = write(made(seed), LETTERS, prompt, 2, **options)
    assert (text, ids) == write(made(seed), LETTERS, prompt, 2, **options) and LETTERS.decode(ids) == text
    assert len(text) == len(shown) + 2 * ("[MASK]" not in prompt) and set(text) <= set("abcd")
    assert all(letter == text[i] for i, letter in enumerate(shown) if i not in hidden)


def test_a_step_keeps_the_surest_token_and_looks_at_what_stands_already():
    model, mask = made(1), 4
    by_hand = np.array([[5, *[mask] * 6, 6]])
    while (by_hand == mask).any():
        p = tl.ops.softmax(np.where(np.arange(V) >= mask, -np.inf, model(by_hand).data[0]))
        surest = max(np.flatnonzero(by_hand[0] == mask), key=lambda t: p[t].max())
        by_hand[0, surest] = p[surest].argmax()
    found = write(model, LETTERS, "", 6, sampling=tl.Sampling(temperature=0))[1]
    assert found == by_hand[0, 1:-1].tolist()


def test_a_run_learns_to_write_and_writes():
    sizes = {f"model.{x}": MODELS["bert"][x] for x in ("layers", "width", "heads", "hidden", "context")}
    settings = {"model.type": "bert", "data": "pydocs", "train.steps": 3, "recipe": "diffusion",
                "train.eval_windows": 1000, **sizes}  # a few windows vary, as rarely hidden ones count most
    setup = tl.prepare(tl.make_config(settings))
    events = list(setup.train())
    losses = [event.val_loss for event in events if hasattr(event, "val_loss")]
    assert losses[-1] < losses[0] and np.isclose(losses[0], np.log(setup.tokenizer.vocab_size), rtol=0.1)
    batch = setup.plan.batches(0)
    ids = setup.tokenizer.special_tokens
    assert (batch.tokens[:, 0] == ids["[CLS]"]).all() and (batch.tokens[:, -1] == ids["[SEP]"]).all()
    assert batch.count == batch.tokens.size - 2 * len(batch.tokens)
    assert (batch.targets[:, [0, -1]] == -100).all()
    assert setup.plan.evaluate(setup.model)["val_loss_per_char"] is None
    model = setup.model.eval()
    text, written = write(model, setup.tokenizer, "Once", 5)
    assert text.startswith("Once") and len(written) == 9 and not set(written) & set(ids.values())
    text, written = write(model, setup.tokenizer, "[MASK]nce", 5)
    assert text.endswith("nce") and len(written) == 4
    with pytest.raises(tl.UserError, match="the prompt has 11 tokens, and the model sees 10: leave room"):
        write(model, setup.tokenizer, "Once upon a", 10)
