"""Run every benchmark of benchmarks/ on a tiny setting, and check what it prints."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from tinyllm.bench import rows
from tinyllm.bench.race import compare
from tinyllm.tokenizer import BPETokenizer

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
RUN = {"train.steps": 2, "train.batch": 2, "train.eval_windows": 2, "model.width": 16, "model.layers": 1,
       "model.heads": 2, "model.kv_heads": 1, "model.hidden": 16}
PROSE = ("stories", "encyclopaedia", "letters", "dialogues")
RUN |= {"model.context": 16}
SETTINGS = {  # experiment of benchmarks/learn.py -> settings; all others take ROWS
    "recipe": RUN, "quantized": RUN | {"train.optimizer": "adamw"},
    "middle": RUN | {"asked": 1, "samples": 2, "model.context": 256},
    "pictures": {"n": 30, "asked": 1, "train.steps": 2, "train.batch": 2},
    "written": {"count": 2}, "speed": {"count": 20},
    **{kind: RUN | {"data": f"world:{kind},n=60"} for kind in PROSE},
}
ROWS = {"steps": 2, "asked": 3, "batch": 12}
TEXT = "def naïve(self, x):\n    return 12345 + x  # 😀 don't\n\n" * 40


@pytest.fixture(scope="module")
def folder():
    """Let modules of benchmarks/ be imported by their names."""
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))


@pytest.fixture
def learn(folder):
    return importlib.import_module("learn")


@pytest.fixture
def races(folder, monkeypatch):
    """Return benchmarks/race.py with tiny models, in this process, without time to spend."""
    race = importlib.import_module("race")
    tiny = {"vocab_size": 50, "layers": 1, "heads": 2, "width": 64, "context": 16}
    for module in (rows, race):
        monkeypatch.setattr(module, "SIZES", {
            name: {"model_type": "llama" if "llama" in name else "gpt2", **tiny} for name in rows.SIZES})
        monkeypatch.setattr(module, "BATCH", dict.fromkeys(rows.BATCH, 1))
    return race


def records(race, name, **given):
    """Return the records of all races of a name; a library that is not installed is left out."""
    found = []
    for about, makers, _ in race.RACES[name][0](True, **given):
        found += compare(makers, 0, 1, **about)
    return found


def experiments():
    sys.path.insert(0, str(FOLDER))
    try:
        return list(importlib.import_module("learn").EXPERIMENTS)
    finally:
        sys.path.remove(str(FOLDER))


@pytest.mark.parametrize("name", experiments())
def test_every_experiment_trains_and_prints_its_figures(learn, name, capsys):
    for what, figure in learn.EXPERIMENTS[name](0, **SETTINGS.get(name, ROWS)).items():
        assert np.ndim(figure) == 0 and what
    if name == "recall":
        learn.main([name, "--seeds", "2", "--set", "steps=1", "asked=2", "batch=2"])
        said = capsys.readouterr().out
        assert "recall 1 right" in said and "+-" in said and "95 % interval over 2 seeds" in said


@pytest.mark.parametrize("name", ["families", "draft"])
def test_races_of_tinyllm_alone(races, name):
    found = records(races, name)
    assert len(found) >= 6 and all(r["tokens_per_second"] > 0 for r in found)


@pytest.mark.parametrize("name, engines", [
    ("train", {"torch", "torch bf16"}), ("generate", {"transformers"}), ("translate", {"transformers"}),
    ("encode", {"transformers"}), ("rows", {"torch"}),
])
def test_other_libraries_compute_what_tinyllm_computes(races, name, engines, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    monkeypatch.setattr(races.other_models, "MODES", {"torch": {}, "torch bf16": {"bf16": True}})
    found = records(races, name)
    assert engines <= {r["engine"] for r in found if "times" in r}


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "c.py"
    path.write_text(TEXT)
    return str(path)


def test_tokenizers_are_raced_on_the_same_text(races, corpus, monkeypatch):
    monkeypatch.setattr(races.other_tokenizers, "VOCABULARY", 300)
    hostile = races.other_tokenizers.hostile_texts
    monkeypatch.setattr(races.other_tokenizers, "hostile_texts", lambda data, size: hostile(data, 400))
    found = records(races, "tokenizer", data=corpus)
    assert {(r.get("text"), r["task"]) for r in found} == {
        *((None, task) for task in ("learn", "encode", "decode", "split")),
        *((kind, task) for kind in hostile(b"", 4) for task in ("learn", "encode"))}
    assert "array" in {r["engine"] for r in found if r["task"] == "encode" and "times" in r}
    assert all(r["mb_per_second"] > 0 for r in found if "text" not in r and "skipped" not in r)
    for kind, text in hostile(TEXT.encode(), 1000).items():
        assert kind == "natural" or 997 <= len(text) <= 1000
        text.decode()
    assert hostile(b"a b", 8)["no spaces"] == b"abababab"


@pytest.mark.parametrize("name", ["tiktoken", "huggingface"])
@pytest.mark.parametrize("pattern", ["gpt2", "gpt4"])
def test_other_tokenizers_run_our_vocabulary(races, name, pattern):
    pytest.importorskip({"huggingface": "tokenizers"}.get(name, name))
    ours = BPETokenizer.train(TEXT, 400, pattern)
    encode, decode = races.other_tokenizers.ENGINES[name](ours)
    texts = [TEXT, "", "new words 😀\n", "  \t"]
    assert encode(texts) == ours.encode_batch(texts) and decode(ours.encode(TEXT)) == TEXT.encode()
