"""Files are written whole or not at all, and read within bounds."""

import json
import os
import re
import stat

import pytest

from tinyllm.config import allowed, bounded, conform
from tinyllm.errors import UserError
from tinyllm.files import (
    atomic_write,
    atomic_write_bytes,
    atomic_write_text,
    parse_json,
    read_bytes,
    read_json,
    read_toml,
    remove_leftovers,
)


def names(folder):
    return sorted(os.listdir(folder))


def test_writes_bytes_and_text(tmp_path):
    atomic_write_bytes(tmp_path / "a", b"\x00\r\n")
    atomic_write_text(tmp_path / "b", "é\n")
    assert (tmp_path / "a").read_bytes() == b"\x00\r\n"
    assert (tmp_path / "b").read_bytes() == "é\n".encode()
    assert names(tmp_path) == ["a", "b"]


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


def test_atomic_writes_refuse_folders_and_pipes(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, message in (("missing/a", "cannot write"), (".", "not a regular"), ("pipe", "not a regular")):
        with pytest.raises(UserError, match=message):
            atomic_write_bytes(tmp_path / name, b"")
    assert names(tmp_path) == ["pipe"] and stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
    with pytest.raises(ValueError, match="mode"), atomic_write(tmp_path / "a", "a"):
        pass


def test_a_link_is_written_through(tmp_path):
    atomic_write_bytes(tmp_path / "a", b"old")
    os.symlink(tmp_path / "a", tmp_path / "link")
    atomic_write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()


def test_leftovers_of_killed_writers_can_be_cleared(tmp_path):
    (tmp_path / ".a.1-0.tmp").write_bytes(b"half")
    (tmp_path / "a").write_bytes(b"whole")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["a"]


def unreadable(folder):
    """Return paths that no program should open by itself, with a word of what is said about each."""
    os.mkfifo(folder / "pipe")
    (folder / "zero").symlink_to("/dev/zero")
    (folder / "loop").symlink_to("loop")
    (folder / "large").write_bytes(bytes(101))
    return {folder / "pipe": "not a regular file", folder / "zero": "not a regular file",
            folder / "loop": "too many|symbolic links", folder: "a folder", folder / "none": "No such file",
            folder / "large": "more than 100 bytes", "a\0b": "null byte", "x" * 5000: "too long"}


def test_only_regular_files_of_bounded_size_are_read(tmp_path):
    """A pipe would block without end, /dev/zero fill the memory."""
    (tmp_path / "file").write_bytes(bytes(100))
    assert read_bytes(tmp_path / "file", 100) == bytes(100)
    for path, words in unreadable(tmp_path).items():
        with pytest.raises(UserError, match=f"(?i)cannot read .*({words})") as caught:
            read_bytes(path, 100)
        assert str(caught.value).isprintable() and len(str(caught.value)) < 600


def test_a_pipe_that_looks_like_a_file_is_refused(tmp_path, monkeypatch):
    """Such as /proc/kmsg, or a pipe that takes a file's place: reading gave None."""
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    monkeypatch.setattr(stat, "S_ISREG", lambda mode: True)
    with pytest.raises(UserError, match="pipe: it is a pipe, and nobody writes to it"):
        read_bytes(tmp_path / "pipe")
    os.close(writer)


@pytest.mark.parametrize("text, words", [
    (b"", "not JSON"), (b"\xff", "byte 0 is not UTF-8"), (b"[" * 10**5, "nested"), (b"9" * 5000, "too long"),
    (b'{"a": 1, "b": 1, "a": 1}', "the key 'a' twice"), (b"NaN", "a finite"), (b"[-Infinity]", "a finite"),
    (b'["\\ud800"]', "half a character"), (b'{"\\udc00\\ud800": 1}', "half a character"),
    (b"1e400", "a finite"), (b"-1e305", "a finite"), (b"1" + b"0" * 400, "too long"),
    (b"[" + b"0," * 2**22 + b"0]", "more than 4,194,304 values"),
])
def test_json_of_others_is_parsed_within_bounds(tmp_path, text, words):
    with pytest.raises(UserError, match=words):
        parse_json(text)
    (tmp_path / "x.json").write_bytes(text)
    with pytest.raises(UserError, match=f"x.json .*{words}"):
        read_json(tmp_path / "x.json")


def test_whole_characters_in_json_are_read():
    text = rb'["\ud83d\ude00", "\\ud83d", "\ud83d\ude00\ud83d\ude00"]'
    assert parse_json(text) == ["😀", "\\ud83d", "😀😀"]
    assert parse_json(rb'"\ud83d"', halves=True) == "\ud83d"


@pytest.mark.parametrize("text, words", [
    (b"[a", "not valid"), (b"x=" + b"[" * 5000, "nested"),
    (b"x=" + b"9" * 5000, "holds a number that is too long$"),
    (b"a." * 99 + b"b=1", "nested"), (b"[a" + b" . 'a'" * 99 + b"]", "nested"),
    (b"\xff", "UTF-8"), (bytes(2**20 + 1), "more than"), (b"x=1e400", "a finite"), (b"x=nan", "a finite"),
])
def test_toml_of_others_is_read_within_bounds(tmp_path, text, words):
    (tmp_path / "x.toml").write_bytes(text)
    with pytest.raises(UserError, match=rf"x\.toml.*{words}"):
        read_toml(tmp_path / "x.toml")


def test_toml_may_begin_with_the_mark_of_utf_8(tmp_path):
    (tmp_path / "x.toml").write_bytes(b"\xef\xbb\xbfx = 1")
    assert read_toml(tmp_path / "x.toml") == {"x": 1}


@pytest.mark.parametrize("value, words", [
    ({"a": 1, "b": [{"c": None}], "d": {"x": 0.5}, "more": 1}, None), ({"a": True}, "true or false as a"),
    ({"a": 1, "b": {}, "d": {}}, "an object as b, where a list"), ([], "a list, where an object"),
    ({"a": 1, "b": [{"c": 1}], "d": {}}, r"as b\[0\].c, where a text or null"),
    ({"a": 1, "b": [{}]}, "lacks b"),
    ({"a": 1, "b": [], "d": {"x": 1, "y": "z"}}, "a text as d.y, where a number"),
    ({"a": 1, "b": [], "d": {"x": -1}}, "-1 as d.x, where a number or null, at least 0 belongs"),
])
def test_json_is_checked_against_a_declaration(tmp_path, value, words):
    kind = {"a": int, "b": [{"c": str | None}], "d": {str: bounded(float | None, min=0)}}
    (tmp_path / "x.json").write_text(json.dumps(value))
    if words is None:
        assert read_json(tmp_path / "x.json", kind) == value
        return
    with pytest.raises(UserError, match=words):
        read_json(tmp_path / "x.json", kind)


@pytest.mark.parametrize("number", [10**400, -(10**310), 1e305, float("nan")])
def test_one_rule_says_what_a_number_is(number):
    with pytest.raises(UserError, match=re.escape(f"holds {number}"[:30])):
        conform([number], [float])
    assert not allowed(bounded(int), number) and not allowed(bounded(float), number)


def test_a_message_is_one_printable_line_whatever_it_quotes():
    line = str(UserError("cannot read a\n\x1b[31m" + "x" * 5000 + "\ud800: why"))
    assert line.isprintable() and len(line) < 600
    assert line.startswith(r"cannot read a\n\x1b[31mxx") and line.endswith(r"\ud800: why")
