"""Tokenizer files: what is saved comes back, and whatever is wrong with a file is said in one line."""

import copy
import hashlib
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm.errors import UserError
from tinyllm.tokenizer import BPETokenizer, ByteTokenizer, CharTokenizer, files, load_tokenizer

TEXT = "the cat sat on the mat, naïve 😀 " * 4
TOKENIZERS = [
    CharTokenizer.train(TEXT),
    CharTokenizer.train("a\"\\\n\u2028\ud83d\ude00", ["<|end|>"]),  # two lone surrogates, not one emoji
    ByteTokenizer(),
    ByteTokenizer(["<|end|>", "é\n"]),
    BPETokenizer.train(TEXT, 270),
    BPETokenizer.train(TEXT, 270, "gpt4", ["<|end|>"]),
    BPETokenizer.train(TEXT, 260, r"[^\s'\"]+|é"),
]
SAVED = [json.loads(tokenizer._json()) for tokenizer in TOKENIZERS]


def load_bytes(tmp_path, data):
    path = tmp_path / "t.json"
    path.write_bytes(data)
    return load_tokenizer(path)


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=repr)
def test_what_is_saved_comes_back(tokenizer, tmp_path):
    path = tmp_path / "t.json"
    tokenizer.save(path)
    loaded = load_tokenizer(path)
    assert type(loaded) is type(tokenizer)
    assert loaded.vocab_size == tokenizer.vocab_size and loaded.special_tokens == tokenizer.special_tokens
    everything = range(tokenizer.vocab_size)
    assert loaded.decode_bytes(everything) == tokenizer.decode_bytes(everything)
    text = TEXT if tokenizer is not TOKENIZERS[1] else "a\n\ud83d\ude00"
    assert loaded.encode(text, "all") == tokenizer.encode(text, "all")
    loaded.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert loaded.fingerprint() == tokenizer.fingerprint() == hashlib.sha256(path.read_bytes()).hexdigest()
    assert os.listdir(tmp_path).sort() == ["again.json", "t.json"].sort()


def test_different_tokenizers_have_different_fingerprints():
    assert len({tokenizer.fingerprint() for tokenizer in TOKENIZERS}) == len(TOKENIZERS)


def test_saving_where_one_cannot(tmp_path):
    for path in (tmp_path / "nowhere" / "t.json", tmp_path):
        with pytest.raises(UserError, match="cannot write"):
            ByteTokenizer().save(path)
    assert os.listdir(tmp_path) == []


def test_a_vocabulary_too_large_to_load_is_not_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGEST", 50)
    with pytest.raises(UserError, match="too large"):
        ByteTokenizer().save(tmp_path / "t.json")
    (tmp_path / "large").write_bytes(b" " * 101)
    with pytest.raises(UserError, match="larger"):
        load_tokenizer(tmp_path / "large")


BPE, CHAR = SAVED[5], SAVED[0]
DOUBLING = [[97, 97], *([256 + i, 256 + i] for i in range(40))]  # tokens of 2, 4, 8... 2**41 bytes
BAD_FIELDS = [  # a good file, what is changed in it, what the message says; ... takes the field away
    (BPE, {"format": "other"}, "format"),
    (BPE, {"format": ...}, "format"),
    (BPE, {"version": 2}, "tokens.*missing"),
    (BPE, {"version": 3}, "version 2, not 3"),
    (BPE, {"version": True}, "version"),
    (BPE, {"version": ...}, "version"),
    (BPE, {"kind": "word"}, "kind"),
    (BPE, {"kind": ["bpe"]}, "kind"),
    (BPE, {"kind": ...}, "kind"),
    (BPE, {"merges": ...}, "merges.*missing"),
    (BPE, {"extra": 1}, "extra.*unknown"),
    (CHAR, {"merges": []}, "merges.*unknown"),
    (BPE, {"merges": {}}, "merges"),
    (BPE, {"merges": None}, "merges"),
    (BPE, {"merges": [[97, 256]]}, r"merges\[0\].*0 to 255"),  # its own result: a loop
    (BPE, {"merges": [[97, 98], [258, 97], [97, 257]]}, r"merges\[1\].*0 to 256"),
    (BPE, {"merges": [[97, 98], [98, 97], [97, 98]]}, r"\[97, 98\].*twice"),
    (BPE, {"merges": [[97, -1]]}, r"merges\[0\]"),
    (BPE, {"merges": [[97, 10**300]]}, r"merges\[0\]"),
    (BPE, {"merges": [[97, 1e300]]}, r"merges\[0\]"),
    (BPE, {"merges": [[97, 98.0]]}, r"merges\[0\]"),
    (BPE, {"merges": [[97, True]]}, r"merges\[0\]"),
    (BPE, {"merges": [[97, "98"]]}, r"merges\[0\]"),
    (BPE, {"merges": [[97]]}, r"merges\[0\]"),
    (BPE, {"merges": [[97, 98, 99]]}, r"merges\[0\]"),
    (BPE, {"merges": ["ab"]}, r"merges\[0\]"),
    (BPE, {"merges": DOUBLING}, "64 MB"),
    (BPE, {"pattern": "("}, "pattern"),
    (BPE, {"pattern": 7}, "pattern"),
    (BPE, {"special_tokens": []}, "special_tokens"),
    (BPE, {"special_tokens": {"<|end|>": 268}}, "must have the id 269"),
    (BPE, {"special_tokens": {"<|end|>": 10**20}}, "must have the id 269"),
    (BPE, {"special_tokens": {"<|end|>": 269.0}}, "must have the id 269"),
    (BPE, {"special_tokens": {"<|end|>": None}}, "must have the id 269"),
    (BPE, {"special_tokens": {"": 269}}, "special token"),
    (BPE, {"special_tokens": {"\ud800": 269}}, "special token"),
    (CHAR, {"characters": "abc"}, "characters"),
    (CHAR, {"characters": []}, "at least one"),
    (CHAR, {"characters": ["b", "a"]}, r"characters\[1\]"),
    (CHAR, {"characters": ["a", "a"]}, r"characters\[1\]"),
    (CHAR, {"characters": ["a", "bc"]}, r"characters\[1\]"),
    (CHAR, {"characters": ["a", None]}, r"characters\[1\]"),
]


def assert_refused(tmp_path, data, match=None):
    with pytest.raises(UserError, match=match) as error:
        load_bytes(tmp_path, data)
    message = str(error.value)
    assert message.startswith(str(tmp_path / "t.json")) and "\n" not in message and len(message) < 400


@pytest.mark.parametrize("fields, change, match", BAD_FIELDS, ids=range(len(BAD_FIELDS)))
def test_a_wrong_field_is_named(fields, change, match, tmp_path):
    fields = {key: value for key, value in {**fields, **change}.items() if value is not ...}
    assert_refused(tmp_path, json.dumps(fields).encode(), match)


BAD_BYTES = [
    (b"", "no JSON"),
    (b"{", "no JSON at line 1, column 2"),
    (b"\xff\xfe{\x00}\x00", "byte 0 is not UTF-8"),
    (b"\xef\xbb\xbf{}", "no JSON"),
    (b"[]", "format"),
    (b"null", "format"),
    (b'"tinyllm-tokenizer"', "format"),
    (b"7", "format"),
    (b"NaN", "NaN"),
    (b"[-Infinity]", "-Infinity"),
    (b"9" * 10_000, "number"),
    (b"[" * 100_000, "nested"),
    (b"[" * 100_000 + b"]" * 100_000, "nested"),
    (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested"),
    (b'{"kind": "bpe", "kind": "char"}', "twice"),
    (b"\x00" * 100, "no JSON"),
]


@pytest.mark.parametrize("data, match", BAD_BYTES, ids=range(len(BAD_BYTES)))
def test_what_is_no_tokenizer_file_is_refused(data, match, tmp_path):
    assert_refused(tmp_path, data, match)


@pytest.mark.parametrize("field", ["version", "kind", "merges", "pattern", "special_tokens"])
def test_deep_values_in_any_field_are_refused(field, tmp_path):
    for depth in (10, 300, *range(900, 1000, 7)):
        fields = json.dumps({key: value for key, value in BPE.items() if key != field})
        deep = fields[:-1] + f', "{field}": ' + "[" * depth + "]" * depth + "}"
        assert_refused(tmp_path, deep.encode())


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=repr)
def test_a_cut_file_is_refused(tokenizer, tmp_path):
    data = tokenizer._json().rstrip()
    for end in {*range(0, len(data), 7), *range(len(data) - 5, len(data))}:
        assert_refused(tmp_path, data[:end])


def replace_one(draw, value, new):
    """Put a new value somewhere into a nest of lists and dicts."""
    if isinstance(value, dict | list) and value and draw(st.booleans()):
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = draw(st.sampled_from(keys))
        value[key] = replace_one(draw, value[key], new)
        return value
    return new


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
)


@given(st.data(), st.sampled_from(SAVED), junk)
def test_junk_anywhere_loads_or_gets_one_line(tmp_path_factory, data, fields, new):
    fields = replace_one(data.draw, copy.deepcopy(fields), new)
    path = tmp_path_factory.mktemp("junk") / "t.json"
    path.write_text(json.dumps(fields))
    try:
        tokenizer = load_tokenizer(path)
    except UserError as error:
        assert "\n" not in str(error)
    else:  # it happened to be sound, so it must work
        assert tokenizer._json() and json.loads(tokenizer._json()) == fields
        if not isinstance(tokenizer, CharTokenizer):
            assert tokenizer.decode(tokenizer.encode(TEXT, "all")) == TEXT


@given(st.data(), st.sampled_from(TOKENIZERS))
def test_flipped_bytes_load_or_get_one_line(tmp_path_factory, data, tokenizer):
    content = bytearray(tokenizer._json())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("flipped") / "t.json"
    path.write_bytes(content)
    try:
        load_tokenizer(path)
    except UserError as error:
        assert "\n" not in str(error)


def test_missing_files_and_folders(tmp_path):
    for path in (tmp_path / "nothing.json", tmp_path, "a\0b"):
        with pytest.raises(UserError, match="cannot read"):
            load_tokenizer(path)
