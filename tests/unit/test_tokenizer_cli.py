"""Check parts of `tinyllm tokenizer` that sessions cannot: bytes, terminals, and when files are read."""

import re
import sys

import pytest
from helpers import Screen
from hypothesis import given, strategies as st

from tinyllm.cli import tokenizer as commands
from tinyllm.report.terminal import width
from tinyllm.tokenizer import BPETokenizer, load_tokenizer, save_tokenizer, strings

TEXT = "the cat sat on the mat <|end|>\n" * 20
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def trained(tmp_path):
    path = tmp_path / "t.json"
    save_tokenizer(BPETokenizer.train(TEXT, 270, special_tokens=["<|end|>"]), path)
    return path


def test_a_folder_where_one_may_not_write_is_noticed_at_once(trained, tmp_path, monkeypatch, refused):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write everywhere
    monkeypatch.setattr(BPETokenizer, "train", lambda *args: pytest.fail("it worked first"))
    words = "tokenizer", "train", trained, "--vocab", 300, "--out", tmp_path / "new"
    assert "where you may write" in refused(*words)


def test_a_file_trains_in_parts_as_the_whole_does(tmp_path, monkeypatch, printed):
    monkeypatch.setattr(strings, "BLOCK", 100)
    text, out = tmp_path / "text", tmp_path / "out"
    text.write_text(TEXT)
    monkeypatch.setattr("tinyllm.data.load_corpus", lambda name: pytest.fail("the whole file was read"))
    printed("tokenizer", "train", text, "--vocab", 400, "--out", out)
    assert load_tokenizer(out).merges == BPETokenizer.train(TEXT, 400).merges
    held, part = [], b"part of a text that is larger than the memory"
    BPETokenizer.train((held.append(sys.getrefcount(part)) or part for _ in range(999)), 260)
    assert max(held) < 100


def test_bytes_that_are_not_utf8_are_encoded_as_they_are(trained, stdin, printed):
    data = bytes(range(256)) + b"the cat\r\n\xff\xfe"
    stdin(data)
    ids = map(int, printed("tokenizer", "encode", trained).split())
    assert load_tokenizer(trained).decode_bytes(ids) == data
    words = "tokenizer", "encode", trained, "\udcff\udcfe"  # how Python passes arguments that are not UTF-8
    assert printed(*words) == "255 254\n"


some_texts = st.lists(st.text(st.sampled_from("ab 你😀"), min_size=1, max_size=9))


@given(some_texts, st.integers(20, 80))
def test_rows_fit_the_terminal_and_ids_stand_under_their_tokens(texts, room):
    texts = texts * 9  # so that lines get full
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "columns", lambda: room)
        patch.setattr(commands, "has_colours", lambda: True)
        cells = [(i, text.encode()) for i, text in enumerate(texts)]
        shown = [*commands.rows(cells)]
    lines = [ESCAPES.sub("", line) for line in shown]
    beside = any(len(ids.split()) > 1 for ids in lines[1::2])  # neighbours have two colours
    assert (len({*ESCAPES.findall("".join(shown))}) > 3) == beside
    assert all(width(line) <= room for line in lines) and len(lines) % 2 == 0
    at = 0
    for tokens, ids in zip(lines[::2], lines[1::2], strict=True):
        for found in re.finditer(r"\d+", ids):
            assert int(found[0]) == at
            before = next(n for n in range(len(tokens)) if width(tokens[:n]) == found.start())
            assert tokens[before:].startswith(texts[at].replace(" ", "·"))
            at += 1
    assert at == len(texts)


def test_a_terminal_gets_colours_unless_it_has_none_and_bytes_if_it_prints_only_ascii(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Screen())
    for environment, colours in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        for name, value in ({"TERM": "xterm", "NO_COLOR": ""} | environment).items():
            monkeypatch.setenv(name, value)
        assert commands.has_colours() == colours
    monkeypatch.setattr(commands, "printable", lambda text: text.encode("ascii", "replace").decode())
    assert next(commands.rows([(0, "a é\n".encode()), (1, b"b")])) == r"|a \xc3\xa9\n|"
