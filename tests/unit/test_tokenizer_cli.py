"""Check `tinyllm tokenizer` where a session cannot: bytes, terminals, and what is read and when."""

import re
import sys

import pytest
from helpers import Screen
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizer_command import TEXT, run

from tinyllm.cli import main
from tinyllm.cli.tokenizer import token_table
from tinyllm.errors import UserError
from tinyllm.report.terminal import char_width
from tinyllm.tokenizer import BPETokenizer, load_tokenizer, strings

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def test_a_folder_where_one_may_not_write_is_noticed_at_once(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # the superuser may write everywhere
    monkeypatch.setattr(BPETokenizer, "train", lambda *args: pytest.fail("it worked first"))
    with pytest.raises(UserError, match="may not write"):
        run("train", trained, "--vocab", 300, "--out", tmp_path / "new")


def test_a_file_trains_in_parts_as_the_whole_does(tmp_path, monkeypatch):
    monkeypatch.setattr(strings, "BLOCK", 100)
    text, out = tmp_path / "text", tmp_path / "out"
    text.write_text(TEXT)
    monkeypatch.setattr("tinyllm.data.load_corpus", lambda name: pytest.fail("the whole file was read"))
    run("train", text, "--vocab", 270, "--out", out)
    assert load_tokenizer(out).merges == BPETokenizer.train(TEXT, 270).merges


def test_bytes_that_are_not_utf8_are_encoded_as_they_are(trained, stdin, capsys):
    data = bytes(range(256)) + b"the cat\r\n\xff\xfe"
    stdin(data)
    run("encode", trained)
    ids = map(int, capsys.readouterr().out.split())
    assert load_tokenizer(trained).decode_bytes(ids) == data
    run("encode", trained, "\udcff\udcfe")  # how Python hands over an argument that is not UTF-8
    assert capsys.readouterr().out == "255 254\n"


def test_a_closed_output_is_no_error(trained, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["tokenizer", "encode", str(trained), "the"]) == 0
    sys.stdout.close()


# Tokens in a terminal


def test_an_output_without_these_letters_gets_ascii(monkeypatch):
    monkeypatch.setattr(token_table, "can_print", str.isascii)
    assert token_table.visible("a é\n\t\x1b".encode()) == r"a \xc3\xa9\n\t\x1b"
    assert token_table.visible(b"a\xff b") == r"a\xff b" and token_table.visible(b"ab") == "ab"


@example(["ab"] * 30, 20, False)
@example(["ab"] * 30, 21, False)
@example(["ab"] * 30, 22, False)
@given(st.lists(st.text(st.sampled_from("ab·你😀e\u0301"), min_size=1)), st.integers(20, 100), st.booleans())
def test_rows_fit_the_terminal_and_ids_stand_under_their_tokens(texts, room, colours):
    cells = [token_table.TokenCell(text, str(i)) for i, text in enumerate(texts)]
    lines = list(token_table.rows(cells, room, colours))
    bare = [ESCAPES.sub("", line) for line in lines]
    assert all(token_table.width(line) <= room for line in bare) and len(bare) % 2 == 0
    assert "".join(bare[::2]).replace("|", "").replace(" ", "") == "".join(texts)
    assert [int(word) for line in bare[1::2] for word in line.split()] == list(range(len(texts)))
    for tokens, ids in zip(bare[::2], bare[1::2], strict=True):
        for found in re.finditer(r"\d+", ids):
            at, i = 0, 0
            while at < found.start():
                at += char_width(tokens[i])
                i += 1
            first = texts[int(found[0])][0]
            rest = tokens[i:] if first == "\u0301" else tokens[i:].lstrip("\u0301")  # of the token before
            assert at == found.start() and rest.startswith(first)


def test_a_terminal_gets_colours_unless_it_has_none(trained, monkeypatch):
    def shown(**environment):
        monkeypatch.setattr(sys, "stdout", Screen())
        for name, value in ({"COLUMNS": "60", "TERM": "xterm", "NO_COLOR": ""} | environment).items():
            monkeypatch.setenv(name, value)
        run("show", "the cat <|end|>", "--tokenizer", trained, "--allow-special", "all")
        return sys.stdout.getvalue()

    said = shown()
    colours = re.findall(r"\x1b\[[0-9;]*m(?=[^\x1b\n])", said.splitlines()[0])
    assert len(colours) == 4 == len(set(colours)) and colours[-1] == f"\x1b[{token_table.SPECIAL}m"
    assert ESCAPES.sub("", said).startswith("the ·cat·  <|end|>\n258 268 32 269\n")
    for plain in (shown(NO_COLOR="1"), shown(TERM="dumb")):
        assert "\x1b" not in plain and "|the|·cat|" in plain
