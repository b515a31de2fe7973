"""Check texts larger than memory: read in blocks, they have the pieces and merges of the whole text."""

import io
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm.errors import UserError
from tinyllm.ops.registry import _compiled, override, use
from tinyllm.tokenizer import PATTERNS, BPETokenizer, strings
from tinyllm.tokenizer.patterns import Splitter

TEXT = ("It's the cat's 12345 naïve “mats” \n\n\t and   spaces\r\n, 你好 😀😀 " * 40).encode()
scraps = [b"a", b"it's", b" ", b"  ", b"\n", b"12", b"!", "é".encode(), b"\xf0\x9f", "\u0301".encode()]
BACKENDS = ["numpy", "compiled"] if _compiled else ["numpy"]
texts = st.lists(st.sampled_from(scraps), max_size=60).map(b"".join)


def blocks_of(text, splitter, size):
    with mock.patch.object(strings, "BLOCK", size):
        return list(strings.blocks(io.BytesIO(text), splitter.last_cut))


def pieces_of(splitter, parts):
    return [piece for part in parts for piece in splitter.pieces(part.decode("utf-8", "surrogateescape"))]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("pattern", [*PATTERNS, "[ae]+"])
@given(texts, st.integers(1, 40))
def test_blocks_have_the_pieces_of_the_whole(backend, pattern, text, size):
    splitter = Splitter(pattern)
    with use(backend):
        parts = blocks_of(text, splitter, size)
    assert b"".join(parts) == text and all(parts)
    assert pieces_of(splitter, parts) == pieces_of(splitter, [text])


@pytest.mark.parametrize("backend", BACKENDS)
def test_blocks_end_where_the_pattern_allows_cuts(backend):
    def count(pattern):
        return len(blocks_of(TEXT, Splitter(pattern), 500))

    with use(backend):
        assert count("gpt4") > 5 and count("[ae]+") == 1
        with override(split_pieces=lambda text, pattern: np.arange(1, len(text) + 1)):
            assert count("gpt4") == 1


def test_a_block_without_a_cut_is_bounded(monkeypatch):
    monkeypatch.setattr(strings, "LARGEST_BLOCK", 1000)
    with pytest.raises(UserError, match="no place to cut it"):
        blocks_of(b"a" * 2000, Splitter("gpt2"), 100)
    with pytest.raises(TypeError, match="binary mode"):
        list(strings.blocks(io.StringIO("text"), Splitter("gpt2").last_cut))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_file_trains_as_its_bytes(monkeypatch, backend):
    monkeypatch.setattr(strings, "BLOCK", 700)
    with use(backend):
        streamed = BPETokenizer.train(io.BytesIO(TEXT), 330, "gpt4")
        assert streamed.merges == BPETokenizer.train(TEXT, 330, "gpt4").merges
