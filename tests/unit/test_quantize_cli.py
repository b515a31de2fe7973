"""The command quantize: a run that generates as before, is smaller, and refuses what cannot be."""

import json
import re
import shutil

import pytest
from tiny_run import new_training, write_text

from tinyllm.cli import main
from tinyllm.compress.quantize_run import default_folder
from tinyllm.decode.generate import generate
from tinyllm.runs import open_model


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that has learnt something, and its text."""
    folder = tmp_path_factory.mktemp("trained")
    text = write_text(folder / "text.txt")
    for _ in new_training(folder / "run", text, model__width=32, train__steps=60, train__lr=0.01):
        pass
    return folder


@pytest.fixture
def here(trained, tmp_path, monkeypatch):
    """A folder with a copy of the run; its text lies where it was."""
    shutil.copytree(trained / "run", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tree(folder):
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("bits", ["8", "4"])
def test_a_quantised_run_is_smaller_and_writes_much_the_same(here, printed, bits):
    before = tree(here / "run")
    out = printed("quantize", "run", "--bits", bits)
    assert tree(here / "run") == before
    old, new = (int(n.replace(",", "")) for n in re.search(r"([\d,]+) -> ([\d,]+) bytes", out).groups())
    file = next((here / f"run-int{bits}").rglob("model.safetensors"))
    assert 0 < file.stat().st_size - new < 9000 and new < old
    loss, after = map(float, re.search(r"([\d.]+) -> ([\d.]+) nats per token", out).groups())
    assert abs(after - loss) < (0.01 if bits == "8" else 0.1) and loss < 1.5
    opened = open_model(f"run-int{bits}")
    model, tokenizer = opened.model, opened.tokenizer
    assert type(model.h[0].mlp.c_fc).__name__ == f"Int{bits}Linear"
    said = printed("generate", f"run-int{bits}", "--prompt", "the cat", "--tokens", "20", "--seed", "1")
    drawn = {"sampling": opened.sampling, "seed": 1}  # as the run's samples were drawn
    ids = generate(model, ["the cat"], max_tokens=20, tokenizer=tokenizer, **drawn)[0]
    assert said == "the cat" + tokenizer.decode(ids) + "\n"


def test_quantize_overwrites_only_what_it_may(here, refused):
    main(["quantize", "run", "--out", "small"])
    before = tree(here)
    assert "--overwrite" in refused("quantize", "run", "--out", "small")
    assert "another --out" in refused("quantize", "run", "--out", "run", "--overwrite")
    assert "quantised already" in refused("quantize", "small", "--out", "smaller")
    assert "invalid choice" in refused("quantize", "run", "--bits", "5")
    assert tree(here) == before
    assert main(["quantize", "run", "--bits", "4", "--out", "small", "--overwrite"]) == 0
    assert json.loads((here / "small" / "run.json").read_text())["notes"] == {"bits": 4}


def test_the_copy_lies_beside_the_run_wherever_one_stands(here, monkeypatch):
    for place, source in (("run", "."), ("run/checkpoints", "..")):
        monkeypatch.chdir(here / place)
        assert default_folder(source, "int8").resolve() == here / "run-int8"


def test_a_quantised_run_cannot_be_trained_further(here, refused):
    main(["quantize", "run"])
    before = tree(here)
    assert "trained any further" in refused("train", "--out", "run-int8", "--resume", "--steps", "99")
    assert tree(here) == before


def test_without_its_data_it_says_so(here, capsys, printed):
    config = here / "run" / "run.json"
    text = here / "moved.txt"
    config.write_text(re.sub(r'"data": "[^"]*text.txt"', '"data": "moved.txt"', config.read_text(), count=1))
    assert "not measured: the run's data cannot be used" in printed("quantize", "run", "--out", "a")
    write_text(text, words=1500)
    assert main(["quantize", "run", "--out", "b"]) == 0
    assert "not measured: the run's data cannot be used: the data has changed" in capsys.readouterr().out


def test_a_damaged_run_is_noticed(here, refused):
    main(["quantize", "run"])
    for name in ("config.json", "model.safetensors"):
        file = next((here / "run-int8").rglob(name))
        whole = file.read_bytes()
        file.write_bytes(whole[:-1])
        assert name in refused("generate", "run-int8")
        file.write_bytes(whole.replace(b"8", b"4", 1))
        assert name in refused("generate", "run-int8")
        file.write_bytes(whole)
