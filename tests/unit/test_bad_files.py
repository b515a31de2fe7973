"""Give bad files to the commands that read them: each ends in one line, and accepts nothing certainly wrong.

The laws of readers.py try the functions below the commands with many more.
"""

import io
import os
import random
import shutil
from pathlib import Path

import pytest
from foreign_tokenizers import write_gpt2
from readers import NO_JSON, OBSTACLES, mutate
from tiny_run import new_training, write_text

from tinyllm import files
from tinyllm.cli import main
from tinyllm.tokenizer import BPETokenizer, save_tokenizer

TOP = "run/checkpoints/step-00000002"
RESUME, GENERATE = "train --out run --resume --steps 2", "generate run --tokens 2 --which last"
COMMANDS = {  # a file: the commands that read it
    "run/run.json": ("report run", GENERATE, RESUME), "run/log.jsonl": ("report run", RESUME),
    "run/tokenizer.json": ("tokenizer encode run cat", GENERATE), f"{TOP}/state.json": (GENERATE, RESUME),
    f"{TOP}/model.safetensors": (GENERATE, RESUME), f"{TOP}/optimizer.safetensors": (RESUME,),
    "model/config.json": ("generate model --tokens 2", "inspect model"),
    "model/model.safetensors": ("generate model --tokens 2", "inspect model"),
    "model/generation_config.json": ("generate model --tokens 2",),
    "model/tokenizer_config.json": ("chat model --tokens 2",),
    "model/tokenizer.json": ("generate model --tokens 2", "tokenizer encode model cat"),
    "bpe/tokenizer.json": ("tokenizer encode bpe cat",), "gpt2/vocab.json": ("tokenizer encode gpt2 cat",),
    "gpt2/merges.txt": ("tokenizer encode gpt2 cat",),
    "course.toml": ("course grade none --out new",),
    "settings.toml": ("train --config settings.toml --data none",),
    "text.txt": ("data stats text.txt",),
}
FILES = {
    "course.toml": "seed = 5\n[[lesson]]\nnumber = 4\ndue = 2026-10-01\n[lesson.points]\nsoftmax = 1.5\n",
    "settings.toml": "[train]\nsteps = 2\n[model]\nlayers = 1\n",
    "model/tokenizer_config.json": '{"bos_token": "a", "chat_template": null}',
}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """Return a folder with a small file of each kind."""
    folder = tmp_path_factory.mktemp("pristine")
    text = write_text(folder / "text.txt", 300)
    list(new_training(folder / "run", text, train__steps=2, train__eval_every=2, train__sample_every=2))
    shutil.copytree(folder / TOP, folder / "model", ignore=shutil.ignore_patterns("state.json", "optim*"))
    (folder / "bpe").mkdir()
    learnt = BPETokenizer.train(text.read_bytes(), 270)
    save_tokenizer(learnt, folder / "bpe")
    write_gpt2(folder / "gpt2", learnt)
    for name, content in FILES.items():
        (folder / name).write_text(content)
    return folder


def bad_versions(name, data, rng):
    """Yield (what was done, the bytes or a function of the path, whether the file is certainly wrong)."""
    closed = name.endswith((".json", ".safetensors"))
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
