"""Check the corruption of texts: nothing is lost, and as much is hidden as was asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyllm as tl
from tinyllm.data import two_texts
from tinyllm.data.corruption import prefix, span_corruption
from tinyllm.train import next_token

SENTINELS = list(range(999, 700, -1))


@given(n=st.integers(2, 200), seed=st.integers(0, 99), rate=st.floats(0.01, 0.9), mean=st.floats(1, 9))
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


def test_a_prefix_does_not_count_and_can_be_seen_both_ways():
    x, y = np.arange(32).reshape(4, 8), np.arange(1, 33).reshape(4, 8)
    batch = tl.Batch(x, y)
    one, both = (prefix(batch, np.array([0, 1, 3, 8]), both_ways=ways) for ways in (False, True))
    assert np.array_equal(one.targets, both.targets) and one.ends is None
    assert [int((row != -100).sum()) for row in one.targets] == [8, 8, 6, 1]  # the first target is token 1
    assert np.array_equal(one.targets[2, 2:], y[2, 2:])
    assert both.ends[:, :4].tolist() == [[1, 2, 3, 4], [1, 2, 3, 4], [3, 3, 3, 4], [8, 8, 8, 8]]
    sizes = {"vocab_size": 50, "context": 8, "layers": 2, "heads": 1, "width": 8, "init_std": 0.5}
    model = tl.build({"model_type": "gpt", **sizes})
    assert next_token(model, both).item() != next_token(model, one).item()


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
