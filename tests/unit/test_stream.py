"""Check texts larger than memory: reading them in blocks gives the pieces and merges of the whole text."""

import io
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm.errors import UserError
from tinyllm.ops.registry import _compiled, override, use
from tinyllm.tokenizer import PATTERNS, BPETokenizer, strings

TEXT = ("It's the cat's 12345 naïve “mats” \n\n\t and   spaces\r\n, 你好 😀😀 " * 40).encode()
scraps = [b"a", b"it's", b" ", b"  ", b"\n", b"12", b"!", "é".encode(), b"\xf0\x9f", "\u0301".encode()]
texts = st.lists(st.sampled_from(scraps), max_size=60).map(b"".join)


def blocks_of(text, tokenizer, size):
    with mock.patch.object(strings, "BLOCK", size):
        return list(strings.blocks(io.BytesIO(text), tokenizer._last_cut))


@pytest.mark.parametrize("tokenizer", [BPETokenizer([], pattern) for pattern in PATTERNS], ids=PATTERNS)
@given(texts, st.integers(1, 40))
def test_blocks_have_the_pieces_of_the_whole(tokenizer, text, size):
    parts = blocks_of(text, tokenizer, size)
    assert b"".join(parts) == text and all(parts)
    assert [piece for part in parts for piece in tokenizer.pieces(part)] == list(tokenizer.pieces(text))


def test_blocks_end_where_the_pattern_allows_cuts_and_are_bounded(monkeypatch):
    tokenizer = BPETokenizer([], "gpt4")
    assert _compiled is None or len(blocks_of(TEXT, tokenizer, 500)) > 5
    with override(split_pieces=lambda text, pattern: np.arange(1, len(text) + 1)):
        assert len(blocks_of(TEXT, tokenizer, 500)) == 1
    monkeypatch.setattr(strings, "LARGEST_BLOCK", 1000)
    with pytest.raises(UserError, match="no place to cut it"):
        blocks_of(b"a" * 2000, tokenizer, 100)


@pytest.mark.parametrize("backend", ["numpy", "compiled"] if _compiled else ["numpy"])
def test_a_file_trains_as_its_bytes(monkeypatch, backend):
    monkeypatch.setattr(strings, "BLOCK", 700)
    with use(backend):
        streamed = BPETokenizer.train(io.BytesIO(TEXT), 330, "gpt4")
        assert streamed.merges == BPETokenizer.train(TEXT, 330, "gpt4").merges
