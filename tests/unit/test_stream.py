"""Check texts larger than memory: read in blocks, they train and encode as the whole text does."""

import io
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm.data import load_corpus, token_array, token_file
from tinyllm.errors import UserError
from tinyllm.ops.registry import _compiled, override, use
from tinyllm.runs import make_config, prepare
from tinyllm.tokenizer import PATTERNS, BPETokenizer, ByteTokenizer, CharTokenizer, save_tokenizer, strings
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


@pytest.mark.parametrize("tokenizer", [
    BPETokenizer.train(TEXT, 330, "gpt4"), ByteTokenizer(), CharTokenizer.train(TEXT)], ids=repr)
def test_a_file_is_encoded_as_its_bytes(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(strings, "BLOCK", 700)
    path, calls = tmp_path / "text.txt", []
    path.write_bytes(TEXT)
    tokens = token_file(path, tokenizer, tmp_path / "t", lambda done, total: calls.append((done, total)))
    assert isinstance(tokens, np.memmap) and tokens.tolist() == tokenizer.encode(TEXT)
    assert len(calls) > 3 and calls[-1] == (len(TEXT), len(TEXT)) and calls == sorted(calls)
    path.write_bytes(b"")
    assert token_file(path, tokenizer, tmp_path / "t").shape == (0,)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_file_trains_as_its_bytes(monkeypatch, backend):
    monkeypatch.setattr(strings, "BLOCK", 700)
    with use(backend):
        streamed = BPETokenizer.train(io.BytesIO(TEXT), 330, "gpt4")
        assert streamed.merges == BPETokenizer.train(TEXT, 330, "gpt4").merges


def test_training_reads_the_tokens_of_a_file(tmp_path):
    tokenizer, path = BPETokenizer.train(TEXT, 330, "gpt4"), tmp_path / "text.tokens"
    (tmp_path / "text").write_bytes(TEXT)
    save_tokenizer(tokenizer, tmp_path / "t.json")
    tokens = token_file(tmp_path / "text", tokenizer, path)
    made = {"data": str(path), "model.context": 8}
    setup = prepare(make_config(made | {"tokenizer": str(tmp_path / "t.json")}))
    cut = setup.facts.train_tokens
    assert cut + setup.facts.val_tokens == len(tokens) and 0 < cut < len(tokens)
    rows = np.lib.stride_tricks.sliding_window_view(tokens[:cut], setup.model.config.context)
    assert all((rows == row).all(axis=1).any() for row in setup.plan.batches(0).tokens)
    assert setup.facts.bytes == tokens.nbytes
    save_tokenizer(BPETokenizer.train(TEXT, 330, "gpt2"), tmp_path / "other.json")  # other meanings
    for other in ("byte", str(tmp_path / "other.json")):
        with pytest.raises(UserError, match="made by another tokenizer"):
            prepare(make_config(made | {"tokenizer": other}))
    with pytest.raises(UserError, match="holds token"):
        token_array(tokens, ByteTokenizer())
    with pytest.raises(UserError, match="tokens, not text"):
        prepare(make_config(made | {"tokenizer": "char"}))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="damaged, or not a token file"):
        load_corpus(path)


def test_token_file_names_what_it_cannot_read_or_write(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        token_file(tmp_path / "nothing", ByteTokenizer(), tmp_path / "t")
    (tmp_path / "text").write_bytes(b"text")
    with pytest.raises(UserError, match="cannot write"):
        token_file(tmp_path / "text", ByteTokenizer(), tmp_path / "text" / "t")
