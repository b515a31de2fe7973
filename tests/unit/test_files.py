"""Check that files are written whole or not at all, and read within bounds."""

import json
import os
import re
import stat

import pytest
from readers import Reader, check_good, check_line, check_mutations, check_no_json, check_obstacles

from tinyllm.config import allowed, bounded, conform
from tinyllm.errors import UserError
from tinyllm.files import (
    atomic_write,
    atomic_write_bytes,
    atomic_write_text,
    parse_json,
    read_bytes,
    read_json,
    read_text,
    read_toml,
    remove_leftovers,
)


def names(folder):
    return sorted(os.listdir(folder))


@pytest.mark.parametrize("error, raised", [
    (RuntimeError("stop"), RuntimeError), (KeyboardInterrupt(), KeyboardInterrupt),
    (OSError(28, "No space left on device"), UserError),
])
def test_an_interrupted_write_leaves_the_old_file_whole(tmp_path, error, raised):
    atomic_write_bytes(tmp_path / "a", b"old")
    message = "cannot write .*: No space left on device" if raised is UserError else str(error)
    with pytest.raises(raised, match=message or None), atomic_write(tmp_path / "a", "wb") as f:
        f.write(b"half of the new")
        f.flush()
        assert (tmp_path / "a").read_bytes() == b"old"
        raise error
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_two_writers_of_one_path_do_not_mix(tmp_path):
    with atomic_write(tmp_path / "a", "wb") as first, atomic_write(tmp_path / "a", "wb") as second:
        first.write(b"first")
        second.write(b"second")
    assert (tmp_path / "a").read_bytes() == b"first"  # the outer block ends last
    assert names(tmp_path) == ["a"]


def test_atomic_writes_go_through_links_and_refuse_folders_and_pipes(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, message in (("missing/a", "cannot write"), (".", "not a regular"), ("pipe", "not a regular")):
        with pytest.raises(UserError, match=message):
            atomic_write_bytes(tmp_path / name, b"")
    assert names(tmp_path) == ["pipe"] and stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
    with pytest.raises(ValueError, match="mode"), atomic_write(tmp_path / "a", "a"):
        pass
    os.symlink(tmp_path / "a", tmp_path / "link")
    atomic_write_text(tmp_path / "link", "é\n")
    assert (tmp_path / "a").read_bytes() == "é\n".encode() and (tmp_path / "link").is_symlink()


def test_leftovers_of_killed_writers_can_be_cleared(tmp_path):
    (tmp_path / ".a.1-0.tmp").write_bytes(b"half")
    (tmp_path / "a").write_bytes(b"whole")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["a"]


def wrote(folder, name, data):
    """Write a good file; return it in a list, as `Reader.write` does."""
    atomic_write_bytes(folder / name, data)
    return [folder / name]


KIND = {"a": int, "b": [{"c": str | None}], "d": {str: bounded(float | None, min=0)}}
GOOD = {"a": 1, "b": [{"c": None}, {"c": "é"}], "d": {"x": 0.5}, "more": 1}
READERS = {
    "bytes": Reader(lambda folder: wrote(folder, "x", b"\0\r\n"), lambda folder: read_bytes(folder / "x")),
    "text": Reader(lambda folder: wrote(folder, "x", "é\n".encode()), lambda folder: read_text(folder / "x")),
    "JSON": Reader(lambda folder: wrote(folder, "x.json", json.dumps(GOOD).encode()),
                   lambda folder: read_json(folder / "x.json", KIND), lambda value: conform(value, KIND)),
    "TOML": Reader(lambda folder: wrote(folder, "x.toml", b"\xef\xbb\xbfx = 1\n[y]\nz = [1.5, 1979-05-27]\n"),
                   lambda folder: read_toml(folder / "x.toml", {"x": int})),
}


@pytest.mark.parametrize("name", READERS)
def test_files_are_read_or_refused_in_one_line(tmp_path, name):
    check_good(READERS[name], tmp_path)
    check_obstacles(READERS[name], tmp_path)
    check_no_json(READERS[name], tmp_path)
    check_mutations(READERS[name], tmp_path, seed=1, times=100)


def test_files_above_the_limit_and_impossible_names_are_refused(tmp_path):
    (tmp_path / "file").write_bytes(bytes(100))
    assert read_bytes(tmp_path / "file", 100) == bytes(100)
    for path, most, words in (
        (tmp_path / "file", 99, "more than 99 bytes"), (tmp_path / "none", 1, "No such file"),
        ("a\0b", 1, "null byte"), ("x" * 5000, 1, "too long"),
    ):
        with pytest.raises(UserError, match=f"(?i)cannot read .*{words}") as caught:
            read_bytes(path, most)
        check_line(caught.value)


def test_a_pipe_that_looks_like_a_file_is_refused(tmp_path, monkeypatch):
    """Such as /proc/kmsg, or a pipe that takes a file's place: reading gave None."""
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    monkeypatch.setattr(stat, "S_ISREG", lambda mode: True)
    with pytest.raises(UserError, match="pipe: it is a pipe, and nobody writes to it"):
        read_bytes(tmp_path / "pipe")
    os.close(writer)


@pytest.mark.parametrize("text, words", [
    (b'{"a": 1, "b": 1, "a": 1}', "the key 'a' twice"), (b"[-Infinity]", "a finite"), (b"-1e305", "a finite"),
    (b'["\\ud800"]', "half a character"), (b'{"\\udc00\\ud800": 1}', "half a character"),
    (b"1" + b"0" * 400, "too long"), (b"[" + b"0," * 2**22 + b"0]", "more than 4,194,304 values"),
])
def test_json_of_others_is_parsed_within_bounds(text, words):
    with pytest.raises(UserError, match=words):
        parse_json(text)


def test_whole_characters_in_json_are_read():
    text = rb'["\ud83d\ude00", "\\ud83d", "\ud83d\ude00\ud83d\ude00"]'
    assert parse_json(text) == ["😀", "\\ud83d", "😀😀"]
    assert parse_json(rb'"\ud83d"', halves=True) == "\ud83d"


@pytest.mark.parametrize("text, words", [
    (b"[a", "not valid"), (b"x=" + b"[" * 5000, "nested"), (b"x=" + b"9" * 5000, "number that is too long$"),
    (b"a." * 99 + b"b=1", "nested"), (b"[a" + b" . 'a'" * 99 + b"]", "nested"), (b"\xff", "UTF-8"),
    (bytes(2**20 + 1), "more than"), (b"x=1e400", "a finite"), (b"x=nan", "a finite"),
])
def test_toml_of_others_is_read_within_bounds(tmp_path, text, words):
    (tmp_path / "x.toml").write_bytes(text)
    with pytest.raises(UserError, match=rf"x\.toml.*{words}"):
        read_toml(tmp_path / "x.toml")


@pytest.mark.parametrize("change, words", [
    ({"a": True}, "true or false as a"), ({"b": {}}, "an object as b, where a list"),
    ({"b": [{"c": 1}]}, r"as b\[0\].c, where a text or null"), ({"b": [{}]}, r"lacks b\[0\].c"),
    ({"d": {"x": 1, "y": "z"}}, "a text as d.y, where a number"),
    ({"d": {"x": -1}}, "-1 as d.x, where a number or null, at least 0 belongs"),
])
def test_json_is_checked_against_a_declaration(change, words):
    with pytest.raises(UserError, match=words):
        conform(GOOD | change, KIND)
    with pytest.raises(UserError, match="a list, where an object"):
        conform([], KIND)


@pytest.mark.parametrize("number", [10**400, -(10**310), 1e305, float("nan")])
def test_one_rule_says_what_a_number_is(number):
    with pytest.raises(UserError, match=re.escape(f"holds {number}"[:30])):
        conform([number], [float])
    assert not allowed(bounded(int), number) and not allowed(bounded(float), number)


def test_a_message_is_one_printable_line_whatever_it_quotes():
    line = str(UserError("cannot read a\n\x1b[31m" + "x" * 5000 + "\ud800: why"))
    assert line.isprintable() and len(line) < 600
    assert line.startswith(r"cannot read a\n\x1b[31mxx") and line.endswith(r"\ud800: why")
