"""Bad files and the fuzz targets of the tokenizer: the short forms find nothing, and would find mistakes."""

import argparse
import os
import sys
import time

import pytest
import verify_files
import verify_fuzz
from native import CSRC, HERE, run

from tinyllm.ops.registry import _compiled

MISTAKES = {  # what a target of C must see: in which file, what, and what stands there instead
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
sys.exit(fuzz_loaders.blind("tiktoken", Path(folder), seeds, argparse.Namespace(seed=1, runs=20)))
"""


@pytest.mark.skipif(_compiled is None, reason="there are no kernels")
def test_the_short_form_finds_nothing_in_the_loaders(capsys):
    """The targets in C run in test_sanitizers.py, without a search that follows what is covered."""
    code = verify_fuzz.main(["--quick", *verify_fuzz.LOADERS])
    text = capsys.readouterr().out
    assert code == 0 and "zero findings" in text, text


def test_every_target_in_c_sees_a_mistake(tmp_path, monkeypatch):
    sources = {source.name: source for source in verify_fuzz.SOURCES}
    for name in {mistake[0] for mistake in MISTAKES.values()}:
        text = (CSRC / "bpe" / name).read_text()
        for file, old, new in MISTAKES.values():
            assert file != name or text.count(old) == 1
            text = text.replace(old, new) if file == name else text
        sources[name] = tmp_path / name
        sources[name].write_text(text)
    monkeypatch.setattr(verify_fuzz, "SOURCES", list(sources.values()))
    unoptimised = [flag.replace("-O1", "-O0") for flag in verify_fuzz.FLAGS]  # which compiles quickly
    monkeypatch.setattr(verify_fuzz, "FLAGS", unoptimised)
    program, missing = verify_fuzz.build(tmp_path)
    if missing:
        pytest.skip(missing)
    monkeypatch.setattr(verify_fuzz, "QUICK", dict.fromkeys(MISTAKES, 5000))
    for name in MISTAKES:
        code, text = verify_fuzz.fuzz_c(program, name, tmp_path, argparse.Namespace(quick=True))
        assert code != 0 and ("fuzz_" in text or "AddressSanitizer" in text), text[-3000:]


@pytest.mark.parametrize("mistake, seen", [
    ("[][1]", "IndexError"), ("fuzz_loaders.LIMIT = 0", "seconds"),
    ("raise UserError('')", "not one clear line"),
    ("tokenizer.decode_bytes = lambda ids: b''", "decode_bytes gives other bytes"),
    ("tokenizer.encode = lambda text, allowed: [tokenizer.vocab_size]", "an id that is none"),
    ("tokenizer.fingerprint = lambda: id(tokenizer)", "saved, it is another"),
])  # fmt: skip
def test_a_broken_loader_is_a_finding(mistake, seen, tmp_path):
    program = BROKEN_LOADER.format(mistake=mistake)
    code, text = run([sys.executable, "-c", program, tmp_path, "--blind"], PYTHONPATH=str(HERE))
    assert code == 1 and seen in text and "Base64: " in text, text


def test_no_clang_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CLANG", "no-such-clang")
    assert verify_fuzz.main(["--quick", "decode"]) == 0
    line, figures = capsys.readouterr().out.splitlines()
    assert line == "there is no no-such-clang: the C is not fuzzed"
    assert figures.startswith("=> fuzzed nothing") and figures.endswith(line)


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
