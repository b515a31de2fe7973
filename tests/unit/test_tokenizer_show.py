"""Check that `tokenizer show` and `train --watch` print tokens visibly, aligned and truly."""

import json
import re
import sys

import pytest
from helpers import Screen
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_command import TEXT, run

from tinyllm.cli.tokenizer import token_table
from tinyllm.report.terminal import char_width
from tinyllm.tokenizer import load_tokenizer

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def terminal(monkeypatch):
    """A function that makes standard output a terminal of 60 columns, to call when pytest has put its own."""

    def become():
        monkeypatch.setattr(sys, "stdout", Screen())
        monkeypatch.setenv("COLUMNS", "60")
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("NO_COLOR", raising=False)
        return sys.stdout

    return become


def test_an_output_without_these_letters_gets_ascii(monkeypatch):
    monkeypatch.setattr(token_table, "can_print", str.isascii)
    assert token_table.visible("a é\n\t\x1b".encode()) == r"a \xc3\xa9\n\t\x1b"
    assert token_table.visible(b"a\xff b") == r"a\xff b" and token_table.visible(b"ab") == "ab"


widths = st.integers(20, 100)


@given(st.lists(st.text(st.sampled_from("ab·你😀e\u0301"), min_size=1)), widths, st.booleans())
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


def test_show_without_colours(trained, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    run("show", "the cat é\nx", "--tokenizer", trained)
    said = capsys.readouterr().out
    assert said.startswith("|the|·cat|· |\\xc3|\\xa9|↵ |\n") and "\n|x  |\n 120\n" in said
    assert "12 bytes" in said and f"({trained}, 270 tokens)" in said
    run("show", "a<|end|>", "--tokenizer", trained, "--allow-special", "all")
    assert "|<|end|>|" in capsys.readouterr().out
    run("show", "", "--tokenizer", trained)
    assert capsys.readouterr().out.startswith("0 tokens, 0 bytes (")


def test_show_with_colours(trained, terminal, monkeypatch):
    screen = terminal()
    run("show", "the cat <|end|>", "--tokenizer", trained, "--allow-special", "all")
    said = screen.getvalue()
    colours = re.findall(r"\x1b\[[0-9;]*m(?=[^\x1b\n])", said.splitlines()[0])
    assert len(colours) == 4 == len(set(colours)) and colours[-1] == f"\x1b[{token_table.SPECIAL}m"
    assert ESCAPES.sub("", said).startswith("the ·cat·  <|end|>\n258 268 32 269\n")
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        screen = terminal()
        monkeypatch.setenv(name, value)
        run("show", "the cat", "--tokenizer", trained)
        assert "\x1b" not in screen.getvalue() and "|the|·cat|" in screen.getvalue()


def test_show_finds_a_tokenizer(trained, tmp_path, capsys):
    run("show", "the object")
    assert "(bpe:4096 of pydocs, 4,096 tokens)" in capsys.readouterr().out
    for spec, ids in (("byte", "104 105"), ("char", "0 1")):
        run("show", "hi", "--tokenizer", spec)
        assert capsys.readouterr().out.splitlines()[1].split() == ids.split()
    trained.rename(tmp_path / "tokenizer.json")
    run("show", "hi", "--tokenizer", tmp_path, "--json")
    assert json.loads(capsys.readouterr().out) == [
        {"id": 104, "text": "h", "start": 0, "end": 1}, {"id": 105, "text": "i", "start": 1, "end": 2},
    ]


def test_watch_tells_every_merge(tmp_path, capsys, monkeypatch):
    corpus, out = tmp_path / "c.txt", tmp_path / "t.json"
    corpus.write_text(TEXT)
    run("train", corpus, "--vocab", 262, "--out", out, "--watch")
    lines = capsys.readouterr().out.splitlines()
    pattern = r" +(\d+) +(\d+) +([\d,]+)  \|(.*)\|(.*)\| -> \|(.*)\|"
    told = [re.fullmatch(pattern, line) for line in lines[1:7]]
    assert [int(m[1]) for m in told] == [1, 2, 3, 4, 5, 6] and lines[7].startswith("learnt 262 tokens")
    for m, (left, right), new in zip(told, load_tokenizer(out).merges, range(256, 262), strict=True):
        parts = [token_table.visible(load_tokenizer(out).decode_bytes([i])) for i in (left, right, new)]
        assert [m[4], m[5], m[6]] == parts and int(m[2]) == new
