"""Check that splitting drops no text, and that training keeps its promises."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_texts import TEXT, any_text

from tinyllm.errors import UserError
from tinyllm.ops.bpe import bpe_merge, bpe_pair_counts
from tinyllm.ops.registry import _compiled, override, use
from tinyllm.tokenizer import BPETokenizer, bpe, patterns
from tinyllm.tokenizer.patterns import PATTERNS, compile_pattern, split

STRANGE_PATTERNS = ["", "x", r"\w", r"\b", "(a)(b)?", r"a\Kb", "(?=a)", "(?<=a)b", "(?V1)a|", ".", r"\X"]


# Splitting


@given(st.one_of(any_text, st.text("ab x")), st.sampled_from(STRANGE_PATTERNS))
def test_no_pattern_drops_text(text, pattern):
    pieces = list(split(compile_pattern(pattern), text))
    assert "".join(pieces) == text
    assert all(pieces)


@pytest.mark.parametrize("name, text, pieces", [
    ("gpt2", "Hello world's   end12345!!\n", ["Hello", " world", "'s", "  ", " end", "12345", "!!", "\n"]),
    ("gpt4", "Hello world's   end12345!!\n", ["Hello", " world", "'s", "  ", " end", "123", "45", "!!\n"]),
    ("gpt2", "HE'S I'll", ["HE", "'", "S", " I", "'ll"]),
    ("gpt4", "HE'S I'll", ["HE", "'S", " I", "'ll"]),
    ("gpt4", "\tif (x)\r\n\r\n  y", ["\tif", " (", "x", ")\r\n\r\n", " ", " y"]),
    ("gpt2", "né 12½", ["né", " 12½"]),
    ("b", "abba", ["a", "b", "b", "a"]),
])
def test_splits_by_example(name, text, pieces):
    assert list(split(compile_pattern(name), text)) == pieces


@pytest.mark.parametrize(
    "pattern", ["(?:a|a)+c|.", "(?:a|a)*c|", r"(?:a|a|a\\)+c|.", r"(a?)(?:\1|a)+c|.", "(?x) (?:a|a) + c|."]
)
def test_a_pattern_that_would_try_for_ever_is_given_up(pattern, monkeypatch):
    monkeypatch.setattr(patterns, "PATIENCE", 0.1)
    compiled = compile_pattern(pattern)
    assert list(split(compiled, "aac"))
    with pytest.raises(UserError, match="repeated group"):
        list(split(compiled, "b" + "a" * 60))


@pytest.mark.parametrize("pattern", [*PATTERNS, patterns.QWEN2, *STRANGE_PATTERNS])
def test_only_published_patterns_are_not_timed(pattern):
    limits = []

    def finditer(text, **limit):
        limits.append(limit)
        return ()

    search = SimpleNamespace(pattern=compile_pattern(pattern).pattern, finditer=finditer)
    assert not list(patterns._matches(search, "ab"))
    assert bool(limits[0]) == (pattern in STRANGE_PATTERNS)


BAD_PATTERNS = ["(", "(?r)a", "*", "\ud800", "(" * 5000, "a" * 20_000, r"\p{Nonsense}", None, b"a"]


@pytest.mark.parametrize("pattern", BAD_PATTERNS, ids=range(len(BAD_PATTERNS)))
def test_bad_patterns_are_refused(pattern):
    with pytest.raises(UserError, match="pattern"):
        BPETokenizer.train("text", 300, pattern)


# Training


def test_training_keeps_its_promises():
    tokenizer = BPETokenizer.train(TEXT, 300, special_tokens=["<|end|>"])
    assert tokenizer.vocab_size == 300 and tokenizer.special_tokens == {"<|end|>": 299}
    assert len(tokenizer.encode(TEXT)) < len(TEXT.encode()) / 1.5
    assert BPETokenizer.train("", 300).vocab_size == BPETokenizer.train([], 300).vocab_size == 256
    assert BPETokenizer.train("ab", 300).vocab_size == 257  # the text has no more pairs
    halves = [TEXT.encode()[:200], TEXT.encode()[200:]]
    assert BPETokenizer.train(reversed(halves), 320).merges == BPETokenizer.train(halves, 320).merges
    assert BPETokenizer.train(TEXT, 300).merges == BPETokenizer.train(TEXT.encode(), 300).merges
    with pytest.raises(UserError, match="too small"):
        BPETokenizer.train("ab", 256, special_tokens=["x"])
    with pytest.raises(TypeError):
        BPETokenizer.train("ab", 300.0)


BACKENDS = pytest.mark.parametrize("backend", ["numpy", "compiled"] if _compiled else ["numpy"])


@BACKENDS
def test_progress_is_reported(backend):
    calls = []
    with use(backend):
        BPETokenizer.train(TEXT, 266, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(i, 10) for i in range(1, 11)]


@BACKENDS
def test_every_merge_is_told(backend):
    told = []
    with use(backend):
        tokenizer = BPETokenizer.train(TEXT, 300, on_merge=lambda *merge: told.append(merge))
    assert {(left, right): new for left, right, new, _ in told} == tokenizer.merges
    pieces = list(tokenizer.pieces(TEXT))
    counts = [1] * len(pieces)
    for left, right, new, count in told:
        assert bpe_pair_counts(pieces, counts)[left, right] == count
        pieces = [bpe_merge(ids, (left, right), new) for ids in pieces]


def test_one_huge_piece_is_no_trouble():
    """One letter, no spaces: the specification would look at everything 2,000 times."""
    for text in ("a" * 20_000, "ab" * 10_000, "abcdefgh" * 2_500):
        tokenizer = BPETokenizer.train(text, 2_000)
        assert tokenizer.decode(tokenizer.encode(text)) == text
        assert len(tokenizer.encode(text)) <= 2


def test_the_cache_is_bounded_and_changes_nothing(monkeypatch):
    text = " ".join(map(str, range(1000))) + TEXT
    with use("numpy"):
        tokenizer = BPETokenizer.train(TEXT, 300)
        fresh = tokenizer.encode(text)
        assert len(tokenizer._cache) > 900
        monkeypatch.setattr(bpe, "CACHE_PIECES", 100)
        tokenizer = BPETokenizer.train(TEXT, 300)
        assert tokenizer.encode(text) == fresh
        assert 0 < len(tokenizer._cache) <= 100
        tokenizer.encode("cat cat").clear()
        assert tokenizer.decode(tokenizer.encode("cat cat")) == "cat cat"


def test_a_plugged_in_op_is_neither_hidden_by_the_cache_nor_remembered():
    tokenizer = BPETokenizer.train(TEXT, 300)
    before = tokenizer.encode("the cat")
    with override(bpe_encode=lambda ids, merges: list(ids)):
        assert tokenizer.encode("the cat") == list(b"the cat")
        assert tokenizer.encode("new words") == list(b"new words")
    assert tokenizer.encode("the cat") == before
    assert tokenizer.encode("the the") != list(b"the the")
