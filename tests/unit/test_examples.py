"""Run the examples in a short setting, and keep them short enough to be read."""

import re
import runpy

import pytest
from source_files import ROOT

from tinyllm.models import build, family
from tinyllm.tokenizer import ByteTokenizer, save_tokenizer

EXAMPLES = ROOT / "examples"
PROGRAMS = sorted(path for path in EXAMPLES.glob("*.py") if path.stem != "wrong_softmax")


@pytest.fixture
def run(monkeypatch, here, capsys):
    """Run an example in a folder with a text, as a user would; return what it printed."""
    (here / "book.txt").write_text("to be or not to be, that is the question\n" * 200)

    def run(words):
        name, *more = words.split()
        monkeypatch.setattr("sys.argv", [name, *more])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_an_example_is_short_and_says_how_to_run_it(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) < 80
    assert f"python examples/{path.name}" in text.split('"""')[1]


@pytest.mark.parametrize("words, falls", [
    ("loop.py --data book.txt --steps 20", 0.5), ("names.py --steps 2 --count 3", 0)])
def test_a_model_learns_and_writes(run, words, falls):
    out = run(words)
    losses = [float(found) for found in re.findall(r"^step .* (\d+\.\d+)", out, re.MULTILINE)]
    assert losses[-1] < losses[0] - falls and len(out.rpartition("step")[2].splitlines()) > 1


def test_embed_ranks_what_the_modules_describe(run, tmp_path):
    tokenizer = ByteTokenizer()
    tokenizer.add_special_tokens(family("bert").special_tokens.values())
    sizes = {"context": 250, "layers": 1, "heads": 2, "width": 16, "hidden": 16}
    build({"model_type": "bert", "vocab_size": tokenizer.vocab_size, "task": "encode", **sizes}
             ).save_pretrained(tmp_path)
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    out = run(f"embed.py sort --folder {tmp_path} --modules bisect math")
    rows = [line.split()[:2] for line in out.splitlines()[1:]]
    assert len(rows) == 5 and rows == sorted(rows, key=lambda row: -float(row[0]))
    assert all(name.startswith(("bisect.", "math.")) for _, name in rows)


def test_without_a_folder_a_tiny_gpt2_is_made(run):
    assert "runs/finetuned is a GPT-2" in run("finetune_gpt2.py --steps 1 --data stories")
