"""Check corpora, files of tokens, and batches."""

import gzip
import hashlib
import io
import os
import sys
import sysconfig
import types
from contextlib import suppress

import numpy as np
import pytest
from helpers import refuses
from hypothesis import example, given, strategies as st

import tinyllm as tl
from tinyllm.cli.tokenizer import train
from tinyllm.data import Corpus, eval_windows, get_batch, load_corpus, reading, token_array, token_file
from tinyllm.data.sources import SOURCES
from tinyllm.tokenizer import BPETokenizer, ByteTokenizer, CharTokenizer, save_tokenizer, strings
from tinyllm.world import stories


def write_files(folder, contents):
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


@given(st.text(max_size=200).map(str.encode) | st.binary(max_size=200), st.floats(0.01, 0.99))
@example(b"a" + "\u4e2d".encode() * 4, 0.5)
def test_split_loses_nothing_and_cuts_no_character(data, fraction):
    try:
        train, val = Corpus("x", data).split(fraction)
    except tl.UserError as error:
        assert "too short" in str(error) and (len(data) * fraction < 4 or len(data) * (1 - fraction) < 5)
        return
    assert train + val == data and train and val and abs(len(val) - fraction * len(data)) <= 3.5
    with suppress(UnicodeDecodeError):
        data = data.decode()
    assert isinstance(data, bytes) or train.decode() + val.decode() == data


@given(st.lists(st.text("ab\n", max_size=9), min_size=1, max_size=20))
def test_split_cuts_between_documents(documents):
    data = "".join(d.replace("\n\n", "\n").strip("\n") + "\n\n" for d in documents).encode()
    with suppress(tl.UserError):  # the text is too short
        train, val = Corpus("x", data, separator=b"\n\n").split(0.25)
        assert train + val == data
        assert train.endswith(b"\n\n") or b"\n\n" not in data[: int(len(data) * 0.75)]


def test_stories_have_an_entropy_and_end_at_a_blank_line(monkeypatch):
    real = stories.generate
    monkeypatch.setattr(stories, "generate", lambda seed: real(seed, 40))
    corpus = load_corpus("stories")
    assert corpus.split()[0].endswith(b"\n\n") and corpus.entropy_per_char == stories.entropy_per_char() < 0.2


def test_a_corpus_of_this_python_is_the_same_twice_and_is_listed(printed):
    corpus = load_corpus("pydocs")
    assert corpus.size == len(corpus.text().encode()) > 100_000 and corpus.entropy_per_char is None
    assert load_corpus("pydocs").sha256 == corpus.sha256 == hashlib.sha256(corpus.data).hexdigest()
    assert all(said in printed("data", "list") for said, *_ in SOURCES.values())


def test_the_standard_library_is_read_without_tests(tmp_path, monkeypatch):
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    for name, problem in (("stdlib-code", "is empty"), ("pydocs", "without pydoc_data")):
        refuses(problem, load_corpus, name)
    write_files(tmp_path, {"b.py": b"b = 1\n", "a.py": b"a = 1", "pkg/z.py": b"z = 1", "test/t.py": b"t = 1",
                           "site-packages/p.py": b"p", "d.txt": b"d", "latin.py": b'"""caf\xe9"""'})
    monkeypatch.setattr(os, "scandir", lambda at, scan=os.scandir: 1 / 0 if "site-" in str(at) else scan(at))
    assert load_corpus("stdlib-code").data == b"a = 1\nb = 1\nz = 1"


def test_a_file_and_standard_input_are_read_as_they_are(here, monkeypatch):
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(b"piped")))
    assert load_corpus("-").data == b"piped"
    (here / "pydocs").write_bytes(b"caf\xc3\xa9\r\n")  # a name wins over a file
    assert load_corpus("pydocs").size > 100_000
    corpus = load_corpus("./pydocs")
    assert (corpus.data, corpus.text(), corpus.name) == (b"caf\xc3\xa9\r\n", "café\r\n", "./pydocs")
    assert corpus.entropy is None and corpus.sha256 == hashlib.sha256(corpus.data).hexdigest()


def test_folders_and_patterns_are_read_in_order(here):
    write_files(here, {"b.txt": b"b", "a.txt": b"a\n", "c/d.txt": b"d", "picture.png": b"\x89PNG\0",
                       ".hidden": b"h", ".git/x": b"x", "z.txt.gz": gzip.compress(b"z\n")})
    corpus = load_corpus(here)
    assert corpus.data == b"a\nb\nd\nz\n"
    assert load_corpus(".").data == corpus.data
    for pattern, found in {"*.txt": b"a\nb", "**/*.txt": b"a\nb\nd", "[ab].txt": b"a\nb"}.items():
        assert load_corpus(pattern).data == found
    (here / "[ab].txt").write_bytes(b"itself")  # this is also the name of a file
    assert load_corpus("[ab].txt").data == b"itself"
    refuses("no text files", load_corpus, "*.nothing")
    assert reading.join([b"ab"] * 3) == b"ab\nab\nab"  # equal parts are told apart by their place


def test_what_is_too_long_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    half = b"x" * 6_000
    write_files(tmp_path, {"bomb.gz": gzip.compress(b"\0" * 10_001), "two/a": half, "two/b": half,
                           "long.txt": b"y" * 10_001})
    monkeypatch.setattr(reading, "MAX_BYTES", 10_001)
    assert len(load_corpus(tmp_path / "bomb.gz").data) == 10_001
    monkeypatch.setattr(reading, "MAX_BYTES", 10_000)
    for name in ("bomb.gz", "two"):
        refuses("holds more than", load_corpus, tmp_path / name)
    monkeypatch.setattr(reading, "read_stream", lambda *more: pytest.fail("it was read"))
    refuses("take a part of it", load_corpus, tmp_path / "long.txt")


def test_a_corpus_that_cannot_be_read_is_one_line(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "hollow").mkdir()
    whole = gzip.compress(b"hello" * 99)
    cases = {tmp_path / "missing.txt": "no file", "a" * 5000: "name too long", "": "is empty",
             tmp_path / "empty": "is empty", tmp_path / "hollow": "no text files",
             "nul\0byte": "cannot read", os.devnull: "not a regular",
             tmp_path / "pipe": "not a regular"}  # a pipe without a writer never ends
    os.mkfifo(tmp_path / "pipe")
    for end in (0, 5, 15, -9, -1):
        cases[tmp_path / f"{end}.gz"] = "not a gzip file|empty"
        (tmp_path / f"{end}.gz").write_bytes(whole[:end])
    for name, message in cases.items():
        refuses(message, load_corpus, name)


TEXT = ("It's the cat's 12345 naïve “mats” \n\n\t and   spaces\r\n, 你好 😀😀 " * 40).encode()


LARGE = ByteTokenizer()
LARGE.vocab_size = 2**16 + 1


@pytest.mark.parametrize("tokenizer", [
    BPETokenizer.train(TEXT, 330, "gpt4"), ByteTokenizer(), CharTokenizer.train(TEXT), LARGE], ids=repr)
def test_a_file_is_encoded_as_its_bytes(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(strings, "BLOCK", 700)
    path, calls = tmp_path / "text.txt", []
    path.write_bytes(TEXT)
    tokens = token_file(path, tokenizer, tmp_path / "t", lambda done, total: calls.append((done, total)))
    assert np.asarray(tokens).tolist() == tokenizer.encode(TEXT)
    wide = np.uint32 if tokenizer is LARGE else np.uint16
    assert tokens.dtype == token_array(TEXT, tokenizer).dtype == wide
    assert np.array_equal(token_array(TEXT.decode(), tokenizer), tokens)
    assert len(calls) > 3 and calls[-1] == (len(TEXT), len(TEXT)) and calls == sorted(calls)
    path.write_bytes(b"")
    assert token_file(path, tokenizer, tmp_path / "t").shape == (0,)
    for text, out, message in ((tmp_path / "no", "t", "No such file"), (path, "text.txt/t", "cannot write")):
        refuses(message, token_file, text, tokenizer, tmp_path / out)


@given(st.slices(40), st.slices(40), st.integers(0, 5))
def test_a_token_file_is_read_like_an_array(tmp_path_factory, one, other, seed):
    path = tmp_path_factory.mktemp("tokens") / "text"
    path.write_bytes(bytes(range(40)))
    file, array = token_file(path, ByteTokenizer(), path.with_name("t")), np.arange(40)
    one, other = (slice(x.start, x.stop) for x in (one, other))
    assert np.asarray(file[one][other]).tolist() == array[one][other].tolist()
    assert (len(file[one]), file[-1], file[one].nbytes) == (len(array[one]), 39, 2 * len(array[one]))
    for found, expected in zip(get_batch(file, seed, 1, 3, 8), get_batch(array, seed, 1, 3, 8), strict=True):
        assert found.tolist() == expected.tolist() and found.dtype == np.int32


@pytest.mark.parametrize("change", [
    lambda path: os.truncate(path, path.stat().st_size - 9), lambda path: path.write_bytes(path.read_bytes()),
    lambda path: path.unlink(), lambda path: (path.unlink(), path.mkdir()),
    lambda path: os.replace(path.with_name("text"), path),
], ids=["shorter", "written again", "gone", "a folder", "another file"])
def test_a_token_file_that_changes_during_a_training_ends_it_in_one_line(tmp_path, change):
    """A file that was mapped, and then shortened, once ended the process by SIGBUS."""
    (tmp_path / "text").write_bytes(TEXT)
    save_tokenizer(ByteTokenizer(), tmp_path / "bytes.json")
    token_file(tmp_path / "text", ByteTokenizer(), tmp_path / "t")
    setup = tl.prepare(tl.make_config({"data": str(tmp_path / "t"), "tokenizer": str(tmp_path / "bytes.json"),
                                 "preset": "nano", "model.context": 16, "train.batch": 2}))
    steps = setup.steps()
    next(steps)
    change(tmp_path / "t")
    refuses(r"t has changed since it was opened|cannot read .*t: ", lambda: next(steps))


@pytest.mark.parametrize("change", [
    lambda path: path.write_bytes(path.read_bytes() * 2), lambda path: os.truncate(path, 9),
    lambda path: (path.write_bytes(bytes(reversed(path.read_bytes()))), os.utime(path, (1, 1))),
], ids=["longer", "shorter", "another text"])
@pytest.mark.parametrize("read", [
    lambda text, out: token_file(text, BPETokenizer([]), out), lambda text, out: load_corpus(str(text)),
    lambda text, out: train(str(text), vocab=300, out=str(out)),
], ids=["tokens", "corpus", "vocabulary"])
def test_a_text_that_changes_while_it_is_read_leaves_nothing_behind(tmp_path, read, change, monkeypatch):
    text, changes = tmp_path / "text", [change]
    text.write_bytes(TEXT)

    def changing(function):
        def changed(*args):
            while changes:
                changes.pop()(text)
            return function(*args)

        return changed

    monkeypatch.setattr(BPETokenizer, "_last_cut", changing(BPETokenizer._last_cut))
    monkeypatch.setattr(reading, "read_stream", changing(reading.read_stream))
    refuses("text has changed since it was opened: leave it alone", read, text, tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["text"]


@given(st.binary(max_size=60), st.data())
def test_any_damage_to_a_token_file_is_refused(tmp_path_factory, data, draw):
    path = tmp_path_factory.mktemp("tokens") / "text"
    path.write_bytes(data)
    token_file(path, ByteTokenizer(), path.with_name("t"))
    whole = path.with_name("t").read_bytes()
    at = draw.draw(st.integers(0, len(whole) - 1))
    changed = bytes([whole[at] ^ draw.draw(st.integers(1, 255))]) + whole[at + 1 :]
    path.write_bytes(whole[:at] + draw.draw(st.sampled_from([b"", changed])))
    refuses("is damaged, or not a token file", tl.load_tokens, path)


def test_training_reads_the_tokens_of_a_file(tmp_path):
    tokenizer, path = BPETokenizer.train(TEXT, 330, "gpt4"), tmp_path / "text.tokens"
    (tmp_path / "text").write_bytes(TEXT)
    save_tokenizer(tokenizer, tmp_path / "t.json")
    tokens = token_file(tmp_path / "text", tokenizer, path)
    made = {"data": str(path), "model.context": 8}
    setup = tl.prepare(tl.make_config(made | {"tokenizer": str(tmp_path / "t.json")}))
    cut = setup.facts.train_tokens
    assert cut + setup.facts.val_tokens == len(tokens) and 0 < cut < len(tokens)
    rows = np.lib.stride_tricks.sliding_window_view(tokens[:cut], setup.model.config.context)
    assert all((rows == row).all(axis=1).any() for row in setup.plan.batches(0).tokens)
    assert setup.facts.bytes == tokens.nbytes
    assert setup.facts.sha256 == hashlib.sha256(np.asarray(tokens).tobytes()).hexdigest()
    save_tokenizer(BPETokenizer.train(TEXT, 330, "gpt2"), tmp_path / "other.json")  # another tokenizer
    others = {"byte": "made by another tokenizer", str(tmp_path / "other.json"): "made by another tokenizer",
              "char": "tokens, not text"}
    for other, message in others.items():
        refuses(message, tl.prepare, tl.make_config(made | {"tokenizer": other}))
    refuses("holds token", token_array, np.array([ByteTokenizer().vocab_size]), ByteTokenizer())


@given(st.integers(2, 200), st.integers(1, 9), st.integers(0, 2**31), st.integers(0, 10**6), st.data())
def test_batches_are_windows_and_depend_on_seed_and_step_alone(n, batch, seed, step, data):
    context = data.draw(st.integers(1, n - 1))
    tokens = np.arange(n, dtype=data.draw(st.sampled_from([np.uint16, np.uint32])))
    even = data.draw(st.booleans())
    x, y = get_batch(tokens, seed, step, batch, context, even)
    for a in (x, y):
        assert a.shape == (batch, context) and a.dtype == np.int32 and a.flags.c_contiguous
    assert (y == x + 1).all() and (np.diff(x, axis=1) == 1).all()
    again = get_batch(tokens, seed, step, batch, context, even)
    assert (again[0] == x).all() and (again[1] == y).all()


@given(st.integers(1, 500), st.integers(1, 9), st.integers(1, 60), st.integers(0, 2**31))
def test_even_windows_leave_no_gap_after_any_number_of_steps(n, batch, steps, seed):
    """Two neighbours of k windows, also the last and the first, are at most 2 / k of the text apart."""
    tokens = np.arange(n + 1, dtype=np.uint16)
    drawn = [get_batch(tokens, seed, step, batch, 1, even=True)[0] for step in range(steps)]
    starts = np.sort(np.concatenate(drawn), axis=0)
    assert np.diff(starts, axis=0, append=starts[:1] + n).max() <= 2 * n / len(starts) + 1


@pytest.mark.parametrize("preset, even", [("laptop", True), ("nano", False)])
def test_the_windows_of_the_default_training_are_even(tmp_path, preset, even):
    (tmp_path / "text").write_text("A text of letters that are all drawn at some time. " * 100)
    settings = {"data": str(tmp_path / "text"), "preset": preset, "tokenizer": "char", "model.context": 32}
    setup = tl.prepare(tl.make_config(settings))
    tokens, train = token_array(setup.corpus.split()[0], setup.tokenizer), setup.config.train
    assert (setup.plan.batches(3).tokens == get_batch(tokens, 0, 3, train.batch, 32, even)[0]).all()


def test_every_window_is_drawn_and_batches_are_pinned():
    tokens = np.arange(12, dtype=np.uint16)
    x = np.concatenate([get_batch(tokens, 3, step, 50, 8)[0] for step in range(4)])
    assert set(x[:, 0].tolist()) == {0, 1, 2, 3}  # the last target is the last token
    x, _ = get_batch(np.arange(1000, dtype=np.uint16), 5, 7, 6, 3, even=True)
    assert x[:, 0].tolist() == [478, 97, 714, 333, 949, 568]


@given(st.integers(2, 300), st.integers(1, 40), st.integers(1, 20))
@example(4, 2, 5)
def test_eval_windows_are_spread_and_do_not_overlap(n, context, limit):
    tokens = np.arange(max(n, context + 1), dtype=np.uint16)
    x, y = eval_windows(tokens, context, limit)
    assert len(x) == min(limit, (len(tokens) - 1) // context) and x.dtype == np.int32
    assert (y == x + 1).all() and len(set(y.ravel().tolist())) == y.size
    if len(x) > 1:
        gaps = np.diff(x[:, 0])
        assert gaps.max() - gaps.min() <= context
        assert len(tokens) - x[-1, 0] <= gaps.max() + 2 * context  # the last gap is like the others


SHORT = np.zeros(5, np.uint16)


@pytest.mark.parametrize("call, problem", [
    *((lambda x=x: Corpus("x", b"abc" * 100).split(x), "between 0 and 1") for x in (0, 1, -0.1, 2, np.nan)),
    *((lambda data=data: Corpus("x", data).text(), r"is not text.*--tokenizer byte")
      for data in (b"a\0b", b"caf\xe9", b"\xff\xfe", b"\xed\xa0\x80")),
    (lambda: get_batch(SHORT[:0], 0, 0, 1, 1), "at least 2:"),
    (lambda: get_batch(SHORT, 0, 0, 1, 5), "at least 6:"),
    (lambda: get_batch(SHORT, 0, 0, 0, 2), "at least 1,"),
    (lambda: get_batch(SHORT, 0, 0, 2, 0), "at least 1,"),
    (lambda: eval_windows(SHORT, 5, 1), "at least 6:"),
])
def test_what_is_impossible_is_one_line(call, problem):
    refuses(problem, call)
