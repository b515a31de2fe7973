"""Files of every format that somebody cut, changed or made up: they load, or get one clear line."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm.errors import UserError
from tinyllm.tokenizer import BPETokenizer, load_tokenizer
from tinyllm.tokenizer.formats import tiktoken
from tinyllm.tokenizer.formats.express import ranks_of

TEXT = "the cat's 12 naïve hats sat on the mat, the mat the cat sat \n\n  on 😀😀 <|end|> " * 3
LEARNT = BPETokenizer.train(TEXT, 320, special_tokens=["<|end|>"])


def files_of(tmp_path_factory):
    """A valid file of each format: (name, bytes, what loading it takes, the files beside it)."""
    folder = tmp_path_factory.mktemp("valid")
    ranked = BPETokenizer.from_ranks(ranks_of(LEARNT.vocabulary), "gpt2", {"<|end|>": 400})
    LEARNT.save(folder / "hf", "huggingface")
    LEARNT.save(folder / "ranks", "tiktoken")
    LEARNT.save(folder / "gpt2", "gpt2")
    ranked.save(folder / "ranked")
    load_tokenizer(folder / "hf").save(folder / "wrapped")
    load_tokenizer(folder / "gpt2").save(folder / "merged")
    pattern = {"pattern": "gpt2"}
    plain = [("t", (folder / name).read_bytes(), {}, {}) for name in ("hf", "ranked", "wrapped", "merged")]
    vocab, merges = (
        (folder / "gpt2" / "vocab.json").read_bytes(),
        (folder / "gpt2" / "merges.txt").read_bytes(),
    )
    return [
        *plain,
        ("t", (folder / "ranks").read_bytes(), pattern, {}),
        ("vocab.json", vocab, {}, {"merges.txt": merges}),
        ("merges.txt", merges, {}, {"vocab.json": vocab}),
    ]


@pytest.fixture(scope="session")
def valid(tmp_path_factory):
    return files_of(tmp_path_factory)


def load_or_one_line(folder, name, data, extra, beside):
    for other, content in {name: data, **beside}.items():
        (folder / other).write_bytes(content)
    try:
        tokenizer = load_tokenizer(folder / name, **extra)
    except UserError as error:
        assert "\n" not in str(error) and len(str(error)) < 500
        return None
    assert tokenizer.decode_bytes(tokenizer.encode(TEXT)) == TEXT.encode()
    return tokenizer


@given(st.data())
def test_changed_files_load_or_get_one_line(tmp_path_factory, valid, data):
    name, content, extra, beside = data.draw(st.sampled_from(valid))
    content = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.integers(0, 3))
        if kind == 0:
            del content[at:]
        elif kind == 1:
            content[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=4))
        elif kind == 2:
            end = data.draw(st.integers(at, min(at + 80, len(content))))
            content[at:at] = content[at:end]
        else:
            content[at : at + 1] = data.draw(
                st.sampled_from([b"[", b"]", b"{", b'"', b"null", b"-", b"9", b"e", b","])
            )
        content = content or bytearray(b" ")
    load_or_one_line(tmp_path_factory.mktemp("changed"), name, bytes(content), extra, beside)


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
    | st.sampled_from(["ByteLevel", "Sequence", "Split", "NFC", "<|end|>", 2**24, 300, -1, "a", "Ġ"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
)


def replace_one(draw, value, new):
    if isinstance(value, dict | list) and value and draw(st.integers(0, 9)):
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = draw(st.sampled_from(keys))
        if not draw(st.integers(0, 15)) and isinstance(value, dict):
            del value[key]
        else:
            value[key] = replace_one(draw, value[key], new)
        return value
    return new


@given(st.data(), junk)
def test_junk_in_a_field_loads_or_gets_one_line(tmp_path_factory, valid, data, new):
    name, content, extra, beside = data.draw(st.sampled_from(valid[:4]))
    changed = replace_one(data.draw, json.loads(content), new)
    folder = tmp_path_factory.mktemp("junk")
    tokenizer = load_or_one_line(folder, name, json.dumps(changed).encode(), extra, beside)
    if tokenizer:
        tokenizer.save(folder / "again")
        assert load_tokenizer(folder / "again").fingerprint() == tokenizer.fingerprint()


def test_deep_and_wide_files_are_refused(tmp_path):
    for data in (
        b'{"model":' * 90_000,
        b"[" * 100_000,
        b'{"a b": ' * 1000,
        b" " * 3_000_000,
        b"a " * 500_000,
    ):
        assert load_or_one_line(tmp_path, "t", data, {}, {}) is None
    assert tiktoken.looks_like_ranks(b"YQ== 0") and os.listdir(tmp_path) == ["t"]


@pytest.mark.parametrize(
    "data, match",
    [
        ({"version": 2, "kind": "huggingface", "tokenizer": 1 << 63}, "not an object"),
        ({"version": "\n\x1b[2J\ud800"}, r"not \\n\\x1b\[2J\\ud800$"),
    ],
)
def test_what_fuzzing_found(data, match, tmp_path):
    (tmp_path / "t").write_text(json.dumps({"format": "tinyllm-tokenizer", **data}))
    with pytest.raises(UserError, match=match) as raised:
        load_tokenizer(tmp_path / "t")
    assert str(raised.value).isprintable()
