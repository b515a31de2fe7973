"""Give bad files to the commands that read them: each is refused in one line."""

import os
import sys
import time

import pytest
import verify_files
from native import HERE, run


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_bad_files_end_in_one_line():
    code, text = run([sys.executable, HERE / "verify_files.py", "--share", 40], TINYLLM_THREADS="1")
    assert code == 0 and " 0 findings" in text, text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("command, seen", [
    (lambda words: 1 / 0, "ZeroDivisionError"), (lambda words: 0, "accepted"),
    (lambda words: sys.exit(2), "SystemExit"), (lambda words: print("a\nb", file=sys.stderr) or 2, "a\nb"),
    (lambda words: time.sleep(60), "a limit"),
])
def test_what_a_command_must_not_do_is_a_finding(command, seen, monkeypatch):
    monkeypatch.setattr(verify_files, "tinyllm", command)
    monkeypatch.setattr(verify_files, "CLOCK", 0.5)
    assert seen in verify_files.run("report run", sure=True)
    monkeypatch.setattr(verify_files, "tinyllm", lambda words: print("one line", file=sys.stderr) or 2)
    assert verify_files.run("report run", sure=True) == ""
