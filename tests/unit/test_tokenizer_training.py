"""Check that splitting drops no text, and that training keeps its promises."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_texts import TEXT, any_text

from tinyllm.errors import UserError
from tinyllm.ops.registry import _compiled, override, use
from tinyllm.tokenizer import BPETokenizer, patterns
from tinyllm.tokenizer.patterns import PATTERNS, compile_pattern, split

STRANGE_PATTERNS = ["", "x", r"\w", r"\b", "(a)(b)?", r"a\Kb", "(?=a)", "(?<=a)b", "(?V1)a|", ".", r"\X"]


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


@pytest.mark.parametrize("pattern", ["(?:a|a)+c|.", r"(a?)(?:\1|a)+c|.", "(?x) (?:a|a) + c|."])
def test_a_pattern_that_would_try_for_ever_is_given_up(pattern, monkeypatch):
    monkeypatch.setattr(patterns, "PATIENCE", 0.1)
    compiled = compile_pattern(pattern)
    assert list(split(compiled, "aac"))
    with pytest.raises(UserError, match="repeated group"):
        list(split(compiled, "b" + "a" * 60))


@pytest.mark.parametrize("pattern", [*PATTERNS, patterns.QWEN2, "x"])
def test_only_published_patterns_are_not_timed(pattern):
    limits = []
    finditer = lambda text, **limit: limits.append(limit) or ()  # noqa: E731  (it stands in for a method)
    assert list(split(SimpleNamespace(pattern=compile_pattern(pattern).pattern, finditer=finditer), "ab"))
    assert bool(limits[0]) == (pattern == "x")


BAD_PATTERNS = ["(", "(?r)a", "*", "\ud800", "(" * 5000, "a" * 20_000, r"\p{Nonsense}", None, b"a"]


@pytest.mark.parametrize("pattern", BAD_PATTERNS, ids=range(len(BAD_PATTERNS)))
def test_bad_patterns_are_refused(pattern):
    with pytest.raises(UserError, match="pattern"):
        BPETokenizer.train("text", 300, pattern)


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


@pytest.mark.skipif(_compiled is None, reason="only the kernels tell of progress")
def test_progress_is_reported_and_an_error_in_it_ends_the_training():
    calls = []
    BPETokenizer.train(TEXT, 266, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(i, 10) for i in range(1, 11)]
    with pytest.raises(ZeroDivisionError):
        BPETokenizer.train(TEXT, 300, progress=lambda done, total: 1 // 0)


def test_one_huge_piece_is_no_trouble():
    """One letter, no spaces: the specification would look at everything 2,000 times."""
    for text in ("a" * 20_000, "ab" * 10_000, "abcdefgh" * 2_500):
        tokenizer = BPETokenizer.train(text, 2_000)
        assert tokenizer.decode(tokenizer.encode(text)) == text
        assert len(tokenizer.encode(text)) <= 2


def test_what_an_op_replaced_is_neither_hidden_nor_remembered():
    tokenizer = BPETokenizer.train(TEXT, 300)
    before = tokenizer.encode("the cat")
    for backend in ("numpy", "compiled") if _compiled else ("numpy",):
        with use(backend):
            with override(bpe_encode=lambda ids, merges: list(ids)):
                assert tokenizer.encode("the cat") == list(b"the cat")
            assert tokenizer.encode("the cat") == before != list(b"the cat")
