"""Check filling in the middle: nothing is lost, other rows keep their bits, and a command fills a gap."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import SETTINGS, write_text

import tinyllm as tl
from tinyllm.data import Batch, Corpus
from tinyllm.data.middle import cut_lines, documents, fill_in_the_middle, middles
from tinyllm.decode.middle import fill_middle, middle_prompt
from tinyllm.errors import UserError
from tinyllm.ops import move_middle, pass_at_k, split_middle, trim_sides
from tinyllm.ops.loss import IGNORED
from tinyllm.tokenizer.middle import MARKERS, add_markers, markers_of

PRE, SUF, MID, END = 256, 257, 258, 259
BYTES = tl.ByteTokenizer()
add_markers(BYTES)
TEXTS = st.text(alphabet="ab\n \u00e9\u4e2d\U0001f642", max_size=20)


def put_back(ids):
    """Return the text of ids, and True if the suffix came first; no part ends inside a character."""
    suffix, middle, end = ids.index(SUF), ids.index(MID), ids.index(END)
    assert ids[0] == PRE and end == len(ids) - 1
    if suffix == 1:  # SPM: prefix and middle are one run
        parts = ids[middle + 1 : end], ids[2:middle]
    else:
        parts = ids[1:suffix], ids[middle + 1 : end], ids[suffix + 1 : middle]
    return "".join(BYTES.decode_bytes(part).decode() for part in parts), suffix == 1


@pytest.mark.parametrize("cut", [split_middle, cut_lines])
@given(text=TEXTS, draws=st.tuples(*[st.floats(0, 1, exclude_max=True)] * 2))
def test_a_cut_loses_nothing_and_does_not_depend_on_which_draw_comes_first(cut, text, draws):
    parts = cut(text, draws)
    assert "".join(parts) == text and cut(text, draws[::-1]) == parts
    if cut is cut_lines:
        assert all(part == "" or part.endswith("\n") or text.endswith(part) for part in parts)


def test_every_pair_of_places_is_equally_likely():
    steps = [i / 12 for i in range(12)]  # each of the 4 places 3 times
    cuts = [tuple(map(len, split_middle("abc", draws))) for draws in itertools.product(steps, steps)]
    counts = {sizes: cuts.count(sizes) for sizes in cuts}
    assert len(counts) == 10  # of which four have an empty middle, and come about in one way
    assert all(n == 9 * (1 + (middle > 0)) for (_, middle, _), n in counts.items())


IDS = st.lists(st.integers(0, 99), max_size=8)


@given(prefix=IDS, middle=IDS, suffix=IDS)
def test_spm_is_psm_rearranged(prefix, middle, suffix):
    psm, spm = (move_middle(prefix, middle, suffix, (100, 101, 102, 103), first) for first in (False, True))
    assert sorted(psm) == sorted(spm)
    before, rest = psm[1:].index(101) + 1, psm.index(102)
    assert spm == [100, 101, *psm[before + 1 : rest], 102, *psm[1:before], *psm[rest + 1 :]]
    assert psm[rest + 1 : -1] == middle and psm[-1] == spm[-1] == 103


@given(prefix=IDS, suffix=IDS, room=st.integers(0, 20))
def test_what_is_next_to_the_gap_is_kept(prefix, suffix, room):
    before, after = trim_sides(prefix, suffix, room)
    assert prefix[len(prefix) - len(before) :] == before and suffix[: len(after)] == after
    assert len(before) + len(after) == min(room, len(prefix) + len(suffix))
    assert len(before) >= min(len(prefix), (room + 1) // 2) and len(after) >= min(len(suffix), room // 2)


@given(n=st.integers(1, 7), data=st.data())
def test_pass_at_k_is_the_share_of_all_choices_of_k(n, data):
    passed, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    choices = [any(sample < passed for sample in some) for some in itertools.combinations(range(n), k)]
    assert math.isclose(pass_at_k([passed], n, k), np.mean(choices))
    assert math.isclose(pass_at_k([passed, n], n, k), (np.mean(choices) + 1) / 2)


@pytest.mark.parametrize("call, message", [
    (lambda: split_middle("abc", (0.5,)), "split_middle needs two draws"),
    (lambda: split_middle("abc", (0.5, 1.0)), "split_middle needs two draws in"),
    (lambda: move_middle([], [], [], (1, 2, 3), False), "move_middle needs markers"),
    (lambda: trim_sides([1], [2], -1), "trim_sides needs room"),
    (lambda: pass_at_k([1], 5, 6), "needs 1 <= k <= n, got k = 6, n = 5"),
    (lambda: pass_at_k([6], 5, 1), "needs problems of which 0 to 5"),
    (lambda: pass_at_k([], 5, 1), "needs problems"),
])
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def moved(text, count, **options):
    return [fill_in_the_middle(text, BYTES.encode, (PRE, SUF, MID, END), i, **options) for i in range(count)]


@given(text=TEXTS, share=st.sampled_from([0.0, 0.5, 1.0]))
def test_the_middle_can_be_put_back(text, share):
    assert {put_back(ids)[0] for ids in moved(text, 9, lines=share)} == {text}


def test_half_of_the_suffixes_come_first_and_lines_are_whole_if_that_was_asked_for():
    found = moved("a" * 99, 400)
    assert np.mean([put_back(ids)[1] for ids in found]) == pytest.approx(0.5, abs=0.08)
    assert len({ids.index(MID) for ids in found}) > 40  # the middle is anywhere
    found = moved("aa\nbb\ncc\n", 400, lines=1)
    middles = {BYTES.decode(ids[ids.index(MID) + 1 : -1]) for ids in found}
    assert middles == {"", "aa\n", "bb\n", "cc\n", "aa\nbb\n", "bb\ncc\n", "aa\nbb\ncc\n"}


def windows(text, width=60, rows=40):
    tokens = BYTES.encode_to_numpy(text * (1 + width * rows // len(text) * 2))
    x = tokens[np.arange(rows)[:, None] * 7 + np.arange(width + 1)]
    return Batch(x[:, :-1], x[:, 1:])


def test_rows_that_are_not_chosen_keep_their_bits():
    batch = windows("def f(x):\n    return x\n\n")
    for rate, low, high in ((0.0, 0, 0), (0.5, 11, 29)):
        found = middles(batch, BYTES, markers_of(BYTES), 0, rate=rate)
        again = middles(batch, BYTES, markers_of(BYTES), 0, rate=rate)
        assert np.array_equal(found.tokens, again.tokens)
        changed = (found.tokens != batch.tokens).any(axis=1)
        assert low <= changed.sum() <= high and np.array_equal(changed, (found.tokens == PRE).any(axis=1))
        assert np.array_equal(found.targets[~changed], batch.targets[~changed])


def test_each_document_of_a_chosen_row_holds_its_own_middle_and_ends():
    text = "def f(x):\n\n    x\n\ndef g\u00e9(y): 1\n\n"
    batch = windows(text, width=90)
    found = middles(batch, BYTES, markers_of(BYTES), 5, rate=1.0, separator="\n\n")
    windows_before = np.concatenate([batch.tokens, batch.targets[:, -1:]], axis=1).tolist()
    rows = zip(found.tokens.tolist(), found.targets.tolist(), windows_before, strict=True)
    for row, targets, before in rows:
        counted = [token for token in targets if token != IGNORED]
        line = [row[0], *counted]
        assert line[: len(row)] == row[: len(line)]
        pieces = " ".join(map(str, line)).split(f" {END}")
        assert pieces[-1] == "" and len(pieces) > 2  # the last one is whole, too: there was room
        whole = "".join(put_back([*map(int, piece.split()), END])[0] for piece in pieces[:-1])
        assert whole in BYTES.decode(before, "ignore") and len(whole) > 30


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_each_row_is_a_whole_document(rate):
    data = {"data": "world:program,n=60,examples=2", "tokenizer": "byte", "model.context": 400}
    options = {"pretrain.documents": True, "pretrain.middle": rate, "pretrain.lines": 0.5}
    setup = tl.prepare(tl.make_config(SETTINGS | data | options))
    texts, moved = documents(setup.corpus.text(), "\n\n"), 0
    assert len(texts) == 60
    for step in range(4):
        batch = setup.plan.batches(step)
        for tokens, targets in zip(batch.tokens.tolist(), batch.targets.tolist(), strict=True):
            ids = [tokens[0], *(token for token in targets if token != IGNORED)]
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
        with pytest.raises(UserError, match=message):
            tl.prepare(config, corpus=Corpus("short", data, separator=separator))


def tiny_model(context=64):
    sizes = {"vocab_size": BYTES.vocab_size, "context": context, "layers": 1, "heads": 1, "width": 16}
    return tl.build({"model_type": "gpt", **sizes}, seed=1).eval()


def test_a_prompt_is_what_training_showed_and_the_far_ends_are_left_out():
    model = tiny_model()
    assert middle_prompt(model, BYTES, "ab", "c", 9) == [PRE, 97, 98, SUF, 99, MID]
    assert middle_prompt(model, BYTES, "ab", "c", 9, suffix_first=True) == [PRE, SUF, 99, MID, 97, 98]
    long = middle_prompt(model, BYTES, "a" * 50 + "b", "c" + "d" * 99, 10)
    assert len(long) == 64 - 10 - 1 and long[25:28] == [98, SUF, 99]
    for tokenizer, count, message in ((BYTES, 60, "a gap of 60 tokens leaves no room"),
                                      (tl.ByteTokenizer(), 9, "no markers for a gap")):
        with pytest.raises(UserError, match=message):
            middle_prompt(model, tokenizer, "a", "b", count)


def test_a_middle_ends_at_its_marker():
    model, drawn = tiny_model(), {"max_tokens": 5, "sampling": tl.Sampling(0)}
    (text,) = fill_middle(model, BYTES, [("ab", "c")], **drawn)
    assert text == BYTES.decode(tl.generate(model, middle_prompt(model, BYTES, "ab", "c", 5), **drawn))
    model.lm_head.weight.data[:] = 0
    model.lm_head.weight.data[END] = model.hidden(np.array([[PRE, SUF, MID]])).data[0, -1]
    assert fill_middle(model, BYTES, [("", "")], **drawn) == [""]
    assert len(fill_middle(model, BYTES, [("a", "b"), ("", "c")], 5, n=3)) == 6


@pytest.mark.parametrize("names", MARKERS)
def test_markers_of_other_families_are_known(names):
    tokenizer = tl.ByteTokenizer(special_tokens=names)
    add_markers(tokenizer)
    assert markers_of(tokenizer) == (256, 257, 258, 259) and tokenizer.vocab_size == 260


def test_a_run_learns_gaps_and_the_command_fills_one(here, refused, printed):
    write_text(here / "text.txt")
    sizes = SETTINGS | {"data": "text.txt", "model.context": 24}
    plain, same, gaps = (tl.prepare(tl.make_config(sizes | more))
                         for more in ({}, {"pretrain.middle": 0.0}, {"pretrain.middle": 0.5}))
    for step in range(3):  # with rate 0 the same bits as without
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
    assert "no markers for a gap" in refused("generate", "shipped", "--suffix", "b")
