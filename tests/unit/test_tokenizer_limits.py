"""Files and texts that mean harm: what a tokenizer costs grows with both, and has a limit."""

import json
import tracemalloc
from contextlib import suppress

import pytest
from test_families import BERT, LLAMA, T5, document, special

from tinyllm.errors import UserError
from tinyllm.tokenizer import BPETokenizer, files, load_tokenizer
from tinyllm.tokenizer.added import AddedToken
from tinyllm.tokenizer.families import PipelineTokenizer, from_huggingface
from tinyllm.tokenizer.families.decoders import make_decoder
from tinyllm.tokenizer.families.normalize import make_normalizer
from tinyllm.tokenizer.formats import gpt2


def test_special_tokens_are_not_compared_with_every_token():
    compared = 0

    class Id(int):  # refused in the end, because it is no plain number
        def __eq__(self, other):
            nonlocal compared
            compared += 1
            return int(self) == int(other)

        __hash__ = int.__hash__

    added = [AddedToken(f"<{i}>", Id(i), special=True) for i in range(200)]
    with suppress(UserError):
        PipelineTokenizer({}, None, [token.content for token in added], added, None, None, None)
    assert compared < 10 * len(added)


def unigram(*tokens):
    return document({"type": "Unigram", "unk_id": None, "vocab": [[token, -1.0] for token in tokens]})


@pytest.mark.parametrize("fields", [
    unigram("a" * 513),
    unigram(*(f"{i:05}" + "a" * 507 for i in range(2**13 + 1))),
    document({**BERT["model"], "vocab": {"[UNK]": 0, "a" * 513: 1}}),
    {**T5, "added_tokens": [*T5["added_tokens"], special(14, "a" * 513)]},
], ids=["one token", "all tokens", "wordpiece", "added"])  # fmt: skip
def test_tokens_that_would_fill_the_memory_are_refused(fields):
    with pytest.raises(UserError, match=r"characters( together)?; at most \d+ are read"):
        from_huggingface(fields)


def test_names_of_special_tokens_have_a_limit_too():
    with pytest.raises(UserError, match="513 characters"):
        BPETokenizer([], special_tokens=["a" * 513])
    with pytest.raises(UserError, match="0 to 4194303"):
        BPETokenizer([], special_tokens={"a": 2**22})


@pytest.mark.parametrize("name, data, match", [
    ("t", b"[" + b"[]," * 2**21 + b"[]]", "4194304 values"),
    ("t", b"[" + b'"",' * 2**22 + b"0]", "4194304 values"),
    ("t", b"[" + b"{}," * 2**21 + b"{}]", "4194304 values"),
    ("merges.txt", b"a b\n" * (2**20 + 1), "1048576 lines"),
], ids=["lists", "texts", "objects", "lines"])  # fmt: skip
def test_files_that_would_fill_the_memory_are_refused(name, data, match, tmp_path):
    (tmp_path / name).write_bytes(data)
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(UserError, match=match):
        load_tokenizer(tmp_path / name)


@pytest.mark.parametrize("names", [
    {"9" * 500: 65}, {"9" * 500: -1}, ["9" * 500, "9" * 500], ["\ud800" * 500],
])  # fmt: skip
def test_a_long_name_makes_no_long_message(names):
    with pytest.raises(UserError) as error:
        BPETokenizer([], special_tokens=names)
    assert len(str(error.value)) < 400


def test_half_a_character_anywhere_in_a_file_is_refused(tmp_path):
    """A text that such a normalizer changes could not be written as bytes; found by fuzzing."""
    path = tmp_path / "tokenizer.json"
    for where in ("a", "\ud800"):
        normalizer = {"type": "Prepend", "prepend": where}
        path.write_text(json.dumps({**LLAMA, "normalizer": normalizer}))
        if where == "a":
            load_tokenizer(path).encode("x")
    with pytest.raises(UserError, match="half a character"):
        load_tokenizer(path)


def test_what_has_too_many_values_to_be_read_is_not_saved(tmp_path, monkeypatch):
    tokenizer = BPETokenizer.train("to be or not to be", 260)
    monkeypatch.setattr(files, "MOST", 10)
    monkeypatch.setattr(gpt2, "MOST", 4)
    for form in ("tinyllm", "huggingface", "gpt2"):
        with pytest.raises(UserError, match=r"10 values|4 lines"):
            tokenizer.save(tmp_path / "t", form)
    assert not any(tmp_path.iterdir())


def test_what_is_refused_in_the_end_has_taken_little_memory():
    grow = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 64}
    normalize = make_normalizer({"type": "Sequence", "normalizers": [grow] * 3})
    decode = make_decoder({"type": "Sequence", "decoders": [grow] * 3})
    for run in (lambda: normalize("a" * 40_000), lambda: decode(["a"] * 40_000)):
        tracemalloc.start()
        with pytest.raises(UserError, match="times longer"):
            run()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 40 * 2**20  # 160 MB, where the step is taken first
