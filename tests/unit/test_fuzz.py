"""Bad files, and the checks of the tokenizer in C: the short forms find nothing, and would find mistakes."""

import os
import subprocess
import sys
import time

import fuzz_loaders
import pytest
import verify_files
from native import CSRC, HERE, build, compiler, have, run
from verify_sanitizers import SANITIZERS, STRICT, TOKENIZER

MISTAKES = {  # what a check in C must see: in which file, what, and what stands there instead
    "split": ("pieces.c", "? BLANK | NUMBER | (", "? BLANK | NUMBER | LETTER | ("),
    "encode": ("encode.c", "if (count <= SLOT_TOKENS)", "if (count <= SLOT_TOKENS + 1)"),
    "merge": ("merge.c", "cells[after].left = i;", "cells[after].left = j;"),
    "decode": ("decode.c", "end - out >= SLOT", "end - out > 0"),
    "train": ("train.c", "(struct pair){key, side->count,", "(struct pair){key, side->count + 1,"),
}
BROKEN_LOADER = """
import argparse, fuzz_loaders, sys
from pathlib import Path
from tinyllm.errors import UserError
folder = sys.argv[1]
whole = fuzz_loaders.load_tokenizer
def broken(path, pattern=None):
    tokenizer = whole(path, pattern)
    {mistake}
    return tokenizer
seeds = list(fuzz_loaders.LOADERS["tiktoken"](Path(folder)))
fuzz_loaders.load_tokenizer = broken
sys.exit(fuzz_loaders.mutations("tiktoken", Path(folder), seeds, argparse.Namespace(seed=1, runs=20)))
"""


@pytest.mark.parametrize("loader", fuzz_loaders.LOADERS)
def test_changed_files_are_loaded_or_refused_in_one_line(loader):
    code, text = run([sys.executable, HERE / "fuzz_loaders.py", loader, "--runs", 100])
    assert code == 0, text


def test_every_check_in_c_sees_a_mistake(tmp_path):
    """The checks themselves run in test_sanitizers.py."""
    sources = {source.name: source for source in TOKENIZER}
    for name in {mistake[0] for mistake in MISTAKES.values()}:
        text = (CSRC / "bpe" / name).read_text()
        for file, old, new in MISTAKES.values():
            assert file != name or text.count(old) == 1
            text = text.replace(old, new) if file == name else text
        sources[name] = tmp_path / name
        sources[name].write_text(text)
    if not have(compiler()):
        pytest.skip("there is no C compiler")
    try:
        program = build(sources.values(), tmp_path, SANITIZERS["address"])
    except subprocess.CalledProcessError:
        pytest.skip("this compiler has no AddressSanitizer")
    for name in MISTAKES:
        code, text = run([program, "1", name], 300, **STRICT)
        assert code != 0 and ("fuzz_" in text or "AddressSanitizer" in text), (name, text[-3000:])


@pytest.mark.parametrize("mistake, seen", [
    ("[][1]", "IndexError"), ("fuzz_loaders.LIMIT = 0", "seconds"),
    ("raise UserError('')", "not one clear line"),
    ("tokenizer.decode_bytes = lambda ids: b''", "decode_bytes gives other bytes"),
    ("tokenizer.encode = lambda text, allowed: [tokenizer.vocab_size]", "an id that is none"),
    ("tokenizer.fingerprint = lambda: id(tokenizer)", "saved, it is another"),
])  # fmt: skip
def test_a_broken_loader_is_a_finding(mistake, seen, tmp_path):
    program = BROKEN_LOADER.format(mistake=mistake)
    code, text = run([sys.executable, "-c", program, tmp_path], PYTHONPATH=str(HERE))
    assert code == 1 and seen in text and "Base64: " in text, text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_bad_files_end_in_one_line():
    code, text = run([sys.executable, HERE / "verify_files.py", "--share", 40], TINYLLM_THREADS="1")
    assert code == 0 and " 0 findings" in text, text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("command, seen", [
    (lambda words: 1 / 0, "ZeroDivisionError"), (lambda words: 0, "accepted"),
    (lambda words: sys.exit(2), "SystemExit"), (lambda words: print("a\nb", file=sys.stderr) or 2, "a\nb"),
    (lambda words: time.sleep(60), "a limit"),
])  # fmt: skip
def test_what_a_command_must_not_do_is_a_finding(command, seen, monkeypatch):
    monkeypatch.setattr(verify_files, "tinyllm", command)
    monkeypatch.setattr(verify_files, "CLOCK", 0.5)
    assert seen in verify_files.run("report run", sure=True)
    monkeypatch.setattr(verify_files, "tinyllm", lambda words: print("one line", file=sys.stderr) or 2)
    assert verify_files.run("report run", sure=True) == ""
