"""Check fill-in-the-middle: no text is lost, other rows keep their bits, and a command fills a gap."""

import json
from unittest.mock import Mock

import numpy as np
import pytest
from helpers import refuses
from hypothesis import given, strategies as st
from tiny_run import SETTINGS, write_text

import tinyllm as tl
from tinyllm.data import Batch, Corpus
from tinyllm.data.middle import cut_lines, documents, fill_in_the_middle, middle_prompt, middles
from tinyllm.ops.loss import IGNORED
from tinyllm.tokenizer.text import MARKERS, add_markers, markers_of

PRE, SUF, MID, END = 256, 257, 258, 259
BYTES = tl.ByteTokenizer()
add_markers(BYTES)
TEXTS = st.text(alphabet="ab\n \u00e9\u4e2d\U0001f642", max_size=20)


def put_back(ids):
    """Return the text of ids in order, and True if the suffix came first; each part must be valid UTF-8."""
    suffix, middle, end = ids.index(SUF), ids.index(MID), ids.index(END)
    assert ids[0] == PRE and end == len(ids) - 1
    if suffix == 1:  # SPM order: prefix and middle adjoin
        parts = ids[middle + 1 : end], ids[2:middle]
    else:
        parts = ids[1:suffix], ids[middle + 1 : end], ids[suffix + 1 : middle]
    return "".join(BYTES.decode_bytes(part).decode() for part in parts), suffix == 1


def whole(tokens, targets):
    """Return the ids of a row of a batch: its first token, then its targets."""
    ids = [int(tokens[0]), *targets[targets != IGNORED].tolist()]
    assert ids[: len(tokens)] == tokens[: len(ids)].tolist()
    return ids


@given(text=TEXTS, draws=st.tuples(*[st.floats(0, 1, exclude_max=True)] * 2))
def test_a_cut_between_lines_loses_nothing_and_does_not_depend_on_which_draw_comes_first(text, draws):
    parts = cut_lines(text, draws)
    assert "".join(parts) == text and cut_lines(text, draws[::-1]) == parts
    assert all(part == "" or part.endswith("\n") or text.endswith(part) for part in parts)


def moved(text, count, **options):
    return [fill_in_the_middle(text, BYTES.encode, (PRE, SUF, MID, END), i, **options) for i in range(count)]


@given(text=TEXTS, share=st.sampled_from([0.0, 0.5, 1.0]))
def test_the_middle_can_be_put_back(text, share):
    assert {put_back(ids)[0] for ids in moved(text, 9, lines=share)} == {text}


def test_half_of_the_suffixes_come_first_and_lines_are_whole_if_that_was_asked_for():
    found = moved("a" * 99, 400)
    assert np.mean([put_back(ids)[1] for ids in found]) == pytest.approx(0.5, abs=0.08)
    assert len({ids.index(MID) for ids in found}) > 40  # middles begin in many places
    found = moved("aa\nbb\ncc\n", 400, lines=1)
    middles = {BYTES.decode(ids[ids.index(MID) + 1 : -1]) for ids in found}
    assert middles == {"", "aa\n", "bb\n", "cc\n", "aa\nbb\n", "bb\ncc\n", "aa\nbb\ncc\n"}


@pytest.mark.parametrize("rate, least, most", [(0.0, 0, 0), (0.5, 11, 29)])
def test_rows_that_are_not_chosen_keep_their_bits_and_documents_their_own_middles(rate, least, most):
    text = "def f(x):\n\n    x\n\ndef g\u00e9(y): 1\n\n"
    tokens = BYTES.encode_to_numpy(text * 300)[np.arange(40)[:, None] * 7 + np.arange(91)]
    batch = Batch(tokens[:, :-1], tokens[:, 1:])
    found, again = (middles(batch, BYTES, markers_of(BYTES), 5, rate=rate, separator="\n\n") for _ in "ab")
    assert np.array_equal(found.tokens, again.tokens)
    changed = (found.tokens == PRE).any(axis=1)
    assert least <= changed.sum() <= most
    for mine, old in ((found.tokens, batch.tokens), (found.targets, batch.targets)):
        assert np.array_equal(mine[~changed], old[~changed])
    for i in np.flatnonzero(changed):
        pieces = " ".join(map(str, whole(found.tokens[i], found.targets[i]))).split(f" {END}")
        assert pieces[-1] == "" and len(pieces) > 2  # even the last document is complete
        text = "".join(put_back([*map(int, piece.split()), END])[0] for piece in pieces[:-1])
        assert text in BYTES.decode(tokens[i].tolist(), "ignore") and len(text) > 30


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_each_row_is_a_whole_document(rate):
    data = {"data": "world:program,n=60,examples=2", "tokenizer": "byte", "model.context": 400}
    options = {"pretrain.documents": True, "pretrain.middle": rate, "pretrain.lines": 0.5}
    setup = tl.prepare(tl.make_config(SETTINGS | data | options))
    texts, moved = documents(setup.corpus.text(), "\n\n"), 0
    assert len(texts) == 60
    for step in range(4):
        batch = setup.plan.batches(step)
        for ids in map(whole, batch.tokens, batch.targets):
            moved += ids[0] == PRE
            assert (put_back(ids)[0] if ids[0] == PRE else BYTES.decode(ids)) in texts
    assert (moved > 0) == (rate > 0) and (moved < 4 * len(batch.tokens)) == (rate < 1)
    assert setup.plan.evaluate(setup.model)["val_loss"] > 0


def test_documents_end_at_a_separator_and_each_must_have_something_to_learn():
    assert documents("a\n\n    b\n\nc\n\n", "\n\n") == ["a\n\n    b\n\n", "c\n\n"]
    assert documents("a\n\nc", "") == ["a\n\nc"] and documents("", "\n\n") == [""]
    config = tl.make_config(SETTINGS | {
        "tokenizer": "byte", "pretrain.documents": True, "train.val_fraction": 0.04})
    for data, separator, message in ((b"abc\n\n" * 5, b"", "nothing says where the documents of"),
                                     (b"abc\n\n" * 5 + b"c", b"\n\n", "no example of short to validate on")):
        refuses(message, tl.prepare, config, corpus=Corpus("short", data, separator=separator))


def test_a_prompt_is_what_training_showed_and_the_far_ends_are_left_out():
    model = Mock(config=Mock(context=64))
    assert middle_prompt(model, BYTES, "ab", "c", 9) == [PRE, 97, 98, SUF, 99, MID]
    assert middle_prompt(model, BYTES, "ab", "c", 9, suffix_first=True) == [PRE, SUF, 99, MID, 97, 98]
    long = middle_prompt(model, BYTES, "a" * 50 + "b", "c" + "d" * 99, 10)
    assert len(long) == 64 - 10 - 1 and long[25:28] == [98, SUF, 99]
    for tokenizer, count, message in ((BYTES, 60, "a gap of 60 tokens leaves no room"),
                                      (tl.ByteTokenizer(), 9, "no markers for a gap")):
        refuses(message, middle_prompt, model, tokenizer, "a", "b", count)


def test_markers_that_a_tokenizer_has_are_kept():
    """Qwen2.5-Coder has these markers among its ordinary added tokens."""
    tokenizer = tl.ByteTokenizer(special_tokens=MARKERS[3:])
    tokenizer.add_tokens(dict(zip(MARKERS[:3], (257, 258, 259), strict=True)))
    add_markers(tokenizer)
    assert markers_of(tokenizer) == (257, 258, 259, 256) and tokenizer.vocab_size == 260


def test_a_run_learns_gaps_and_the_command_fills_one(here, printed):
    write_text(here / "text.txt")
    sizes = SETTINGS | {"data": "text.txt", "model.context": 24}
    plain, same, gaps = (tl.prepare(tl.make_config(sizes | more))
                         for more in ({}, {"pretrain.middle": 0.0}, {"pretrain.middle": 0.5}))
    for step in range(3):  # rate 0 changes no bit of a batch
        assert np.array_equal(same.plan.batches(step).tokens, plain.plan.batches(step).tokens)
        assert np.isin(markers_of(gaps.tokenizer)[0], gaps.plan.batches(step).tokens)
    assert same.tokenizer.fingerprint() == plain.tokenizer.fingerprint()
    flags = [word for name, value in sizes.items() for word in ("--set", f"{name}={value}")]
    printed("train", *flags, "--set", "pretrain.middle=0.5", "--out", "run")
    words = ["generate", "run", "--prompt", "a", "--tokens", "5"]
    found = json.loads(printed(*words, "--suffix", "c", "--samples", "2", "--json"))
    assert found["suffix"] == "c" and len(found["samples"]) == 2
    shown = printed(*words, "--suffix", "c\n", "--beams", "2")
    assert shown.startswith("a") and shown.endswith("c\n\n")
