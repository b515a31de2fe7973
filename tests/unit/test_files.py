"""Check that files are written whole or not at all, and read within bounds."""

import json
import os
import stat

import pytest
from helpers import refuses
from readers import Reader, check_all

from tinyllm import files
from tinyllm.config import allowed, bounded, conform
from tinyllm.course.classroom.config import load_course
from tinyllm.errors import UserError, worded
from tinyllm.models.generation import read_generation


@pytest.mark.parametrize("error, raised", [
    (RuntimeError("stop"), RuntimeError), (KeyboardInterrupt(), KeyboardInterrupt),
    (OSError(28, "No space left on device"), UserError),
])
def test_an_interrupted_write_leaves_the_old_file_whole(tmp_path, error, raised):
    files.atomic_write_bytes(tmp_path / "a", b"old")
    message = "cannot write .*: No space left on device" if raised is UserError else str(error)
    with pytest.raises(raised, match=message or None), files.atomic_write(tmp_path / "a") as f:
        f.write(b"half of the new")
        f.flush()
        assert (tmp_path / "a").read_bytes() == b"old"
        raise error
    assert (tmp_path / "a").read_bytes() == b"old" and os.listdir(tmp_path) == ["a"]


def test_two_writers_of_one_path_do_not_mix_and_what_killed_ones_left_is_cleared(tmp_path):
    with files.atomic_write(tmp_path / "a") as first, files.atomic_write(tmp_path / "a") as second:
        first.write(b"first")
        second.write(b"second")
    assert (tmp_path / "a").read_bytes() == b"first"  # the block that ends last wins
    (tmp_path / ".a.1-0.tmp").write_bytes(b"half")
    (tmp_path / ".hidden.tmp").write_bytes(b"somebody's")
    files.remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".hidden.tmp", "a"]


def test_atomic_writes_go_through_links_and_refuse_folders_and_pipes(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, message in (("missing/a", "cannot write"), (".", "not a regular"), ("pipe", "not a regular")):
        refuses(message, files.atomic_write_bytes, tmp_path / name, b"")
    assert os.listdir(tmp_path) == ["pipe"] and stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
    os.symlink(tmp_path / "a", tmp_path / "link")
    files.atomic_write_text(tmp_path / "link", "é\n")
    assert (tmp_path / "a").read_bytes() == "é\n".encode() and (tmp_path / "link").is_symlink()


def reader(name, data, read, use=lambda value: None):
    def write(folder):
        files.atomic_write_bytes(folder / name, data)
        return [folder / name]

    return Reader(write, lambda folder: read(folder / name), use)


KIND = {"a": int, "b": [{"c": str | None}], "d": {str: bounded(float | None, min=0)}}
GOOD = {"a": 1, "b": [{"c": None}, {"c": "é"}], "d": {"x": 0.5}, "more": 1}
READERS = {
    "bytes": reader("x", b"\0\r\n", files.read_bytes), "text": reader("x", "é\n".encode(), files.read_text),
    "JSON": reader("x.json", json.dumps(GOOD).encode(), lambda path: files.read_json(path, KIND),
                   lambda value: conform(value, KIND)),
    "TOML": reader("x.toml", b"\xef\xbb\xbfx = 1\n[y]\nz = [1.5, 1979-05-27]\n",
                   lambda path: files.read_toml(path, {"x": int})),
    "course": reader("course.toml", b"seed = 5\n[[lesson]]\nnumber = 4\ndue = 2026-10-01\n"
                     b"[lesson.points]\nsoftmax = 1.5\n", load_course),
    "generation": reader("generation_config.json", b'{"do_sample": true, "top_k": 5, "eos_token_id": [1, 2]}',
                         lambda path: read_generation(path.parent, {})),
}


@pytest.mark.parametrize("name", READERS)
def test_files_are_read_or_refused_in_one_line(tmp_path, name):
    check_all(READERS[name], tmp_path, times=100)


def test_files_above_the_limit_and_impossible_names_are_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(bytes(100))
    assert files.read_bytes(tmp_path / "file", 100) == bytes(100)
    for path, words in ((tmp_path / "file", "more than 99 bytes"), (tmp_path / "none", "No such file"),
                        ("a\0b", "null byte"), ("x" * 5000, "too long")):
        refuses(f"(?i)cannot read .*{words}", files.read_bytes, path, 99)
    # A pipe that looks like a regular file, such as /proc/kmsg, or has just replaced one: reads give None.
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    monkeypatch.setattr(stat, "S_ISREG", lambda mode: True)
    refuses("pipe: it is a pipe, and nobody writes to it", files.read_bytes, tmp_path / "pipe")
    os.close(writer)


@pytest.mark.parametrize("text, words", [
    (b'{"a": 1, "b": 1, "a": 1}', "the key 'a' twice"), (b"[-Infinity]", "a finite"), (b"-1e305", "a finite"),
    (b'["\\ud800"]', "half a character"), (b'{"\\udc00\\ud800": 1}', "half a character"),
    (b"[-1" + b"0" * 299 + b"]", "too long"), (b"[" + b"0," * 2**22 + b"0]", "more than 4,194,304 values"),
])
def test_json_of_others_is_parsed_within_bounds_and_keeps_whole_characters(text, words):
    refuses(words, files.parse_json, text)
    text = rb'["\ud83d\ude00", "\\ud83d", "\ud83d\ude00\ud83d\ude00"]'
    assert files.parse_json(text) == ["😀", "\\ud83d", "😀😀"]


@pytest.mark.parametrize("text, words", [
    (b"[a", r"not valid.*t\)$"), (b"x=" + b"[" * 5000, "nested"), (b"x=" + b"9" * 5000, "Exceeds the limit"),
    (b"a." * 99 + b"b=1", "nested"), (b"[a" + b" . 'a'" * 99 + b"]", "nested"), (b"\xff", "UTF-8"),
    (bytes(2**20 + 1), "more than"), (b"x=1e400", "a finite"), (b"x=nan", "a finite"),
    (b"x=" + b"9" * 400, "too long"),
])
def test_toml_of_others_is_read_within_bounds(tmp_path, text, words):
    (tmp_path / "x.toml").write_bytes(text)
    refuses(rf"x\.toml.*{words}", files.read_toml, tmp_path / "x.toml")


@pytest.mark.parametrize("change, words", [
    ({"a": True}, "true or false as a"), ({"b": {}}, "an object as b, where a list"),
    ({"b": [{"c": 1}]}, r"as b\[0\].c, where a text or null"), ({"b": [{}]}, r"lacks b\[0\].c"),
    ({"d": {"x": 1, "y": "z"}}, "a text as d.y, where a number"), ({"a": 10**400}, r"holds 10+ as a"),
    ({"d": {"x": -1}}, "-1 as d.x, where a number or null, at least 0 belongs"),
])
def test_json_is_checked_against_a_declaration(change, words):
    refuses(words, conform, GOOD | change, KIND)
    for number in (10**400, -(10**310), 1e305, float("nan")):  # all readers refuse these numbers
        assert not allowed(bounded(int), number) and not allowed(bounded(float), number)


def test_a_message_is_one_printable_line_whatever_it_quotes():
    line = str(UserError("cannot read a\n\x1b[31m" + "x" * 5000 + "\ud800: why"))
    assert line.isprintable() and len(line) < 600
    assert line.startswith(r"cannot read a\n\x1b[31mxx") and line.endswith(r"\ud800: why")


def test_words_are_put_around_a_message_and_the_place_is_named_once():
    for message, said in (("lacks a", "f.json: lacks a; mend"), ("f.json lacks a", "f.json lacks a; mend")):
        with pytest.raises(UserError) as caught, worded("f.json: ", "; mend", unless="f.json"):
            raise UserError(message)
        assert str(caught.value) == said
