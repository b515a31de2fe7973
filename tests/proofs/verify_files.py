"""Feed bad files of every format to every command that reads them: no traceback, no hang, nothing accepted.

    python tests/proofs/verify_files.py [--share N]

One file at a time of a small run, a model, tokenizers, a course and its results is damaged (see readers.py).
Each command runs in a forked process with limits of memory and time. A finding is a traceback, a reached
limit, a message of several lines, or a certainly wrong file that is accepted. --share N: every Nth. What the
functions below the commands make of damaged files are laws in tests/unit.
"""

import argparse
import contextlib
import importlib
import io
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from pathlib import Path

from tiny_run import TOP, make_files

from tinyllm import files
from tinyllm.cli import COMMANDS as PROGRAM
from tinyllm.cli import main as tinyllm

sys.path.append(str(Path(__file__).parents[1] / "unit"))
from readers import NO_JSON, OBSTACLES, mutate

SECONDS, CLOCK, MEMORY = 10, 100, 4 << 30  # of the processor, by the clock; bytes of address space
RESUME, GENERATE = "train --out run --resume --steps 2", "generate run --tokens 2 --which last"
OF_MODEL = ("generate model --tokens 2", "inspect model")
COMMANDS = {  # file: the commands that read it
    "run/run.json": ("report run", GENERATE, RESUME), "run/log.jsonl": ("report run", RESUME),
    "run/tokenizer.json": ("tokenizer encode run abc", GENERATE), f"{TOP}/state.json": (GENERATE, RESUME),
    f"{TOP}/model.safetensors": (GENERATE, RESUME), f"{TOP}/optimizer.safetensors": (RESUME,),
    "model/config.json": OF_MODEL, "model/model.safetensors": OF_MODEL,
    "model/generation_config.json": OF_MODEL[:1], "model/tokenizer_config.json": ("chat model --tokens 2",),
    "model/tokenizer.json": (OF_MODEL[0], "tokenizer encode model abc"),
    "bpe/tokenizer.json": ("tokenizer encode bpe abc", "tokenizer convert bpe --out new"),
    "gpt2/vocab.json": ("tokenizer encode gpt2 abc",), "gpt2/merges.txt": ("tokenizer encode gpt2 abc",),
    "ranks": ("tokenizer convert ranks --pattern gpt2 --out new",),
    "grades/results.json": ("course report grades", "course export canvas grades --out new"),
    "course.toml": ("course grade none --out new",),
    "settings.toml": ("train --config settings.toml --data none",),
    "students.csv": ("course grade none --out new --students students.csv",),
    "text.txt": ("data stats text.txt",), "picture.ppm": ("generate model --picture picture.ppm",),
}


def bad_versions(name, data, rng):
    """Yield (what was done, the bytes or a function of the path, whether the file is certainly wrong)."""
    closed = name.endswith((".json", ".safetensors"))
    yield from ((what, make, True) for what, make in OBSTACLES.items())
    yield from ((f"cut at {end}", data[:end], closed) for end in (0, 1, len(data) // 2, len(data) - 2))
    yield from ((what, content, closed) for what, content in NO_JSON.items())
    yield from ((f"mutation {i}", mutate(rng, data), False) for i in range(40))


def run(words, sure=False):
    """Run a command in a forked process -> what is wrong with how it ended, or ""."""
    read, write = os.pipe()
    if not (child := os.fork()):
        for limit, value in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, SECONDS)):
            resource.setrlimit(limit, (value, value))
        signal.setitimer(signal.ITIMER_REAL, CLOCK)
        out, said = io.TextIOWrapper(io.BytesIO()), io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
                code = tinyllm(words.split())
        except BaseException:
            code, said = -1, io.StringIO(traceback.format_exc())
        message = said.getvalue()
        lines = [line for line in message.splitlines() if not line.startswith("note: ")]
        good = code == 0 or (code == 2 and len(lines) == 1)
        wrong = message if not good else "accepted" if sure and not code else ""
        os.write(write, wrong[-3000:].encode())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as found:
        text = found.read().decode(errors="replace")
    status = os.waitpid(child, 0)[1]
    return f"signal {os.WTERMSIG(status)}: a limit" if os.WIFSIGNALED(status) else text


def feed(name, pristine, rng, share):
    """Feed bad versions of one file to the commands that read it -> (bad files, commands, findings)."""
    top, counts = name.split("/")[0], [0, 0, 0]
    for what, bad, sure in list(bad_versions(name, (pristine / name).read_bytes(), rng))[::share]:
        counts[0] += 1
        for command in COMMANDS[name]:
            for old in ("new", top):
                with contextlib.suppress(OSError):  # a folder, or nothing
                    os.unlink(old)
                shutil.rmtree(old, ignore_errors=True)  # which would wait for a pipe
            (shutil.copytree if (pristine / top).is_dir() else shutil.copy)(pristine / top, top)
            os.unlink(name)
            bad(Path(name)) if callable(bad) else Path(name).write_bytes(bad)
            wrong = run(command, sure)
            counts = [counts[0], counts[1] + 1, counts[2] + bool(wrong)]
            print(f"{name}, {what}: {command}: {wrong}\n" if wrong else "", end="", flush=True)
    return counts


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--share", type=int, default=1, metavar="N", help="take every Nth bad file only")
    args = parser.parse_args(argv)
    for module, _ in PROGRAM.values():  # once, not in each process
        importlib.import_module(f"tinyllm.cli.{module}")
    files.PATIENCE = 0.1  # for a pipe that nobody writes to
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as folder, open(os.devnull) as nothing:
        make_files(pristine := Path(folder, "pristine"))
        shutil.copytree(pristine, Path(folder, "work"))
        os.chdir(Path(folder, "work"))
        os.dup2(nothing.fileno(), 0)
        for command in dict.fromkeys(command for commands in COMMANDS.values() for command in commands):
            if wrong := run(command):
                raise SystemExit(f"the valid files are not valid: {command}: {wrong}")
        counts = [feed(name, pristine, rng, args.share) for name in COMMANDS]
        os.chdir("/")  # else the folder that is removed would be the one at hand
    bad, commands, findings = map(sum, zip(*counts, strict=True))
    print(f"=> {bad:,} bad files of {len(COMMANDS)} kinds, {commands:,} commands: {findings} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
