"""Give bad files to the commands that read them: each ends in one line, and accepts nothing certainly wrong.

The laws of readers.py try the functions that read runs, models and tokenizers with many more.
"""

import io
import os
import random
import shutil
from pathlib import Path

import pytest
from readers import NO_JSON, OBSTACLES, mutate
from tiny_run import write_text

from tinyllm import files
from tinyllm.cli import main
from tinyllm.runs import Run

COMMANDS = {  # a file: the commands that read it
    "run/log.jsonl": ("report run", "train --out run --resume --steps 13"),
    "model/generation_config.json": ("generate model --tokens 2",),
    "course.toml": ("course grade none --out new",),
    "text.txt": ("data stats text.txt",),
}
COURSE = "seed = 5\n[[lesson]]\nnumber = 4\ndue = 2026-10-01\n[lesson.points]\nsoftmax = 1.5\n"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory, whole):
    """Return a folder with a small file of each kind."""
    folder = tmp_path_factory.mktemp("pristine")
    write_text(folder / "text.txt", 300)
    shutil.copytree(whole, folder / "run")
    shutil.copytree(Run(whole).last_checkpoint(), folder / "model")
    (folder / "course.toml").write_text(COURSE)
    return folder


def bad_versions(name, data, rng):
    """Yield (what was done, the bytes or a function of the path, whether the file is certainly wrong)."""
    closed = name.endswith(".json")
    yield from ((what, make, True) for what, make in OBSTACLES.items())
    yield from ((f"cut at {end}", data[:end], closed) for end in (0, len(data) // 2))
    yield from ((what, NO_JSON[what], closed) for what in ("deep", "strange"))
    yield from ((f"mutation {i}", mutate(rng, data), False) for i in range(3))


@pytest.mark.skipif(os.name != "posix", reason="there are no pipes and devices")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_bad_file_ends_in_one_line(name, pristine, here, monkeypatch, capsys):
    monkeypatch.setattr(files, "PATIENCE", 0.1)  # for a pipe that nobody writes to
    good, rng = (pristine / name).read_bytes(), random.Random(name)
    for what, bad, sure in [("good", good, False), *bad_versions(name, good, rng)]:
        for command in COMMANDS[name]:
            monkeypatch.chdir(here)
            shutil.rmtree("work", ignore_errors=True)
            monkeypatch.chdir(shutil.copytree(pristine, "work"))
            Path(name).unlink()
            bad(Path(name)) if callable(bad) else Path(name).write_bytes(bad)
            monkeypatch.setattr("sys.stdin", io.StringIO())
            code, said = main(command.split()), capsys.readouterr().err
            lines = [line for line in said.splitlines() if not line.startswith("note: ")]
            assert code == 0 or (code == 2 and len(lines) == 1), (command, what, said)
            assert code == 2 or not sure, f"{command}: {what} was accepted"
            assert code == 0 or what != "good" or "none" in command, said
