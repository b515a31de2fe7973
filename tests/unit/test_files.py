"""Files are written whole or not at all."""

import os
import stat

import pytest

from tinyllm.errors import UserError
from tinyllm.files import atomic_write, atomic_write_bytes, atomic_write_text, remove_leftovers


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
])  # fmt: skip
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


def test_what_cannot_be_written_is_a_user_error(tmp_path):
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
