"""Bad files: what a loader of tokenizers is given loads and works, or gets one clear line; commands, too."""

import os
import random
import sys
import time

import pytest
import verify_files
from hypothesis import given
from hypothesis import strategies as st
from mutations import BESIDE, LEARN, LOADERS, mutate
from native import HERE, run

from tinyllm.errors import UserError
from tinyllm.tokenizer import load_tokenizer, save_tokenizer

LIMIT = 2  # seconds of one thread, for loading and all that is done then
LONGEST = 1 << 15  # bytes of a file
STRANGE = "  \u2581<s> [CLS] e\u0301\u0300ﬁ\u00a0\x00½ 中文 don't <unk>"
TEXTS = [LEARN, "", STRANGE, "ab" * 100, "the " * 60, "\U0001f468"]


def load(name, folder, data):
    path = folder / "file"
    if name == "gpt2":
        vocab, _, merges = data.partition(BESIDE)
        path = folder / ("merges.txt" if len(data) % 2 else "vocab.json")
        (folder / "vocab.json").write_bytes(vocab)
        (folder / "merges.txt").write_bytes(merges)
    else:
        path.write_bytes(data)
    return load_tokenizer(path, pattern="gpt2" if name == "tiktoken" else None)


def check_text(tokenizer, text, allowed):
    try:
        ids = tokenizer.encode(text, allowed)
    except UserError as e:  # a char tokenizer, for one, does not know every character
        return check_line(e)
    assert all(type(i) is int and 0 <= i < tokenizer.vocab_size for i in ids), "an id that is none"
    try:
        assert isinstance(tokenizer.decode(ids), str), "decode gives no text"
    except UserError as e:  # a decoder that makes a book of a word
        return check_line(e)
    if tokenizer.kind != "huggingface" and not tokenizer.normalizer:
        assert tokenizer.decode_bytes(ids) == text.encode(), "decode_bytes gives other bytes"
    if not allowed and tokenizer.kind != "huggingface":  # there an unknown text may become a special token
        assert not set(ids) & set(tokenizer.special_tokens.values()), "a special id that nobody allowed"


def check_line(error):
    text = str(error)
    assert text and len(text) < 600 and text.isprintable(), f"not one clear line: {text[:900]!r}"


def check(name, folder, data):
    """Load a file and use the tokenizer, if it is one. Raises AssertionError, or whatever the code does."""
    began = time.thread_time()
    try:
        tokenizer = load(name, folder, data)
    except UserError as e:
        check_line(e)
    else:
        for text in TEXTS:
            check_text(tokenizer, text, ())
            check_text(tokenizer, text, "all")
        save_tokenizer(tokenizer, folder / "again")
        again = load_tokenizer(folder / "again")
        assert again.fingerprint() == tokenizer.fingerprint(), "saved, it is another"
    took = time.thread_time() - began
    assert took < LIMIT, f"{took:.1f} seconds"


@pytest.fixture(scope="module", params=LOADERS)
def loader(request, tmp_path_factory):
    """The name of a loader, a folder, and valid files."""
    folder = tmp_path_factory.mktemp(request.param)
    seeds = list(LOADERS[request.param](folder))
    for seed in seeds:
        load(request.param, folder, seed)  # they are valid
    return request.param, folder, seeds


@given(seed=st.integers(0, 2**32), times=st.integers(0, 3))
def test_a_mutated_file_loads_and_works_or_gets_one_line(loader, seed, times):
    name, folder, seeds = loader
    for rng in (random.Random(f"{seed} {i}") for i in range(6)):
        data = rng.choice(seeds)
        for _ in range(times):
            data = mutate(rng, data)[:LONGEST]
        check(name, folder, data)


def broken(change, whole=load_tokenizer):
    """Return a loader whose tokenizers are changed."""

    def load(path, pattern=None):
        tokenizer = whole(path, pattern)
        change(tokenizer)
        return tokenizer

    return load


def refuse(tokenizer):
    raise UserError("")


@pytest.mark.parametrize("change, seen", [
    (lambda t: [][1], "IndexError"), (refuse, "not one clear line"),
    (lambda t: setattr(t, "decode_bytes", lambda ids: b""), "decode_bytes gives other bytes"),
    (lambda t: setattr(t, "encode", lambda text, allowed: [t.vocab_size]), "an id that is none"),
    (lambda t: setattr(t, "fingerprint", lambda: id(t)), "saved, it is another"),
])
def test_a_broken_loader_is_noticed(change, seen, tmp_path, monkeypatch):
    (data, *_) = LOADERS["tiktoken"](tmp_path)
    monkeypatch.setitem(globals(), "load_tokenizer", broken(change))
    with pytest.raises((AssertionError, IndexError)) as found:
        check("tiktoken", tmp_path, data)
    assert seen in f"{found.type.__name__}: {found.value}"


def test_a_slow_loader_is_noticed(tmp_path, monkeypatch):
    (data, *_) = LOADERS["tiktoken"](tmp_path)
    monkeypatch.setitem(globals(), "LIMIT", 0)
    with pytest.raises(AssertionError, match="seconds"):
        check("tiktoken", tmp_path, data)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_bad_files_end_in_one_line():
    code, text = run([sys.executable, HERE / "verify_files.py", "--share", 40], TINYLLM_THREADS="1")
    assert code == 0 and " 0 findings" in text, text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("command, seen", [
    (lambda words: 1 / 0, "ZeroDivisionError"), (lambda words: 0, "accepted"),
    (lambda words: sys.exit(2), "SystemExit"), (lambda words: print("a\nb", file=sys.stderr) or 2, "a\nb"),
    (lambda words: time.sleep(60), "a limit"),
])
def test_what_a_command_must_not_do_is_a_finding(command, seen, monkeypatch):
    monkeypatch.setattr(verify_files, "tinyllm", command)
    monkeypatch.setattr(verify_files, "CLOCK", 0.5)
    assert seen in verify_files.run("report run", sure=True)
    monkeypatch.setattr(verify_files, "tinyllm", lambda words: print("one line", file=sys.stderr) or 2)
    assert verify_files.run("report run", sure=True) == ""
