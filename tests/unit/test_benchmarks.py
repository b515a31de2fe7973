"""Run every benchmark of benchmarks/ with tiny settings, and check what it prints."""

from types import SimpleNamespace

import draft
import learn
import numpy as np
import parallel
import pytest
import race
import serve

from tinyllm.bench import rows
from tinyllm.bench.race import compare
from tinyllm.data import Corpus
from tinyllm.ops import registry
from tinyllm.ops.registry import OPS, use

RUN = {"train.steps": 2, "train.batch": 2, "train.eval_windows": 2, "model.width": 16, "model.layers": 1,
       "model.heads": 2, "model.kv_heads": 1, "model.hidden": 16, "model.context": 16}
ASK = RUN | {"asked": 3, "model.context": 128}
SETTINGS = {  # experiment of benchmarks/learn.py -> settings; others learn a kind of prose
    "recipe": RUN, "written": {"count": 2},
    "rounded": RUN | {"tokens": 40, "model.width": 32, "model.hidden": 32},
    "canaries": RUN | {"secrets": 1, "n": 300, "tokenizer": "byte", "model.context": 40},
    "instruction": RUN | {"data": "world:instruction,n=1000", "asked": 60, "model.context": 64},
    "poisoned": RUN | {"told": 1, "people": 20, "model.context": 64},
    **dict.fromkeys(("questions", "questions-plain"), ASK | {"n": 200}),
    **{kind: ASK | {"data": f"world:{kind},n=200"} for kind in ("recall", "translation")},
}
TEXT = "def naïve(self, x):\n    return 12345 + x  # 😀 don't\n\n" * 40


@pytest.mark.parametrize("name", learn.EXPERIMENTS)
def test_every_experiment_trains_and_prints_its_figures(name, capsys):
    settings = SETTINGS.get(name, RUN | {"data": f"world:{name},n=60"})
    for what, figure in learn.EXPERIMENTS[name](0, **settings).items():
        assert np.ndim(figure) == 0 and what
    if name == "recall":
        learn.main([name, "--seeds", "2", "--set", *(f"{key}={x}" for key, x in settings.items())])
        said = capsys.readouterr().out
        assert "recall 1 right" in said and "seconds" in said and "mean" in said


@pytest.fixture
def records(monkeypatch):
    """Return a function that runs the races of a name with tiny models, in this process, once."""
    tiny = {"vocab_size": 50, "layers": 1, "heads": 2, "width": 64, "context": 64}
    for module in (rows, race):
        monkeypatch.setattr(module, "apart", dict)
        monkeypatch.setattr(module, "SIZES", {
            name: {"model_type": "llama" if "llama" in name else "gpt2", **tiny} for name in rows.SIZES})
        monkeypatch.setattr(module, "BATCH", dict.fromkeys(rows.BATCH, 1))
    monkeypatch.setattr(race, "VOCABULARY", 300)
    monkeypatch.setattr(race, "load_corpus", lambda name: Corpus("c", TEXT.encode()))
    with use(registry._state["backend"], matmul=OPS["matmul"].backend):  # undoes what contenders choose
        yield lambda name: [record for about, makers in race.RACES[name][0](True)
                            for record in compare(makers, 0, 1, **about)]


@pytest.mark.parametrize("name, engines", [
    ("train", {"tinyllm", "torch", "torch bf16", "torch compiled"}),
    ("generate", {"tinyllm", "transformers"}),
    ("tokenizer", {"tinyllm", "tiktoken", "huggingface", "rustbpe"}),
])
def test_engines_that_are_installed_compute_what_tinyllm_computes(records, name, engines):
    found = records(name)
    assert engines <= {r["engine"] for r in found}
    assert all("No module named" in r["skipped"] or "pip install" in r["skipped"]
               for r in found if "skipped" in r)


def test_a_draft_is_measured_beside_no_draft(capsys):
    draft.main(["shipped", "lookup", "--tokens", "2", "--texts", "1", "--seconds", "0"])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "temperature 1, alone: 1.00 tokens a pass, 1.00 x the speed" and len(said) == 4
    assert 1 < float(said[1].split(":")[1].split()[0]) < 3


def test_the_server_writes_the_texts_of_the_engine_and_is_raced(capsys):
    """llama.cpp writes them from the same weights, or is left out."""
    pytest.importorskip("uvicorn")
    serve.main(["--streams", "3", "--tokens", "4", "--turns", "1"])
    said = capsys.readouterr().out
    assert said.startswith("nano, 3 streams of 4 tokens") and said.endswith(" 100 % of the texts are equal\n")
    assert "; engine " in said and "; server " in said and "; first token after " in said
    serve.main(["--llama-cpp", "--streams", "2", "--tokens", "4", "--turns", "1"])
    said = capsys.readouterr().out
    assert said.endswith(" 100 % of the texts are equal\n") or said.startswith("skipped, ")


def test_predicted_and_measured_steps_stand_side_by_side(capsys, monkeypatch):
    """Here two layers take 0.01 s, and memory no time: so four pieces take what their FLOPs say."""

    def predict(words):
        parallel.main(words[-2:])
        return capsys.readouterr().out

    monkeypatch.setattr(parallel, "measure_roof", lambda _: SimpleNamespace(gflops=1.0, gb_per_second=1e30))
    monkeypatch.setattr(parallel, "repeat", lambda task, number, repeat: [0.01] * repeat)
    monkeypatch.setattr(parallel.subprocess, "check_output", predict)
    parallel.main(["--presets", "nano", "--processes", "1", "--steps", "4"])
    head, line = capsys.readouterr().out.splitlines()
    name, processes, *numbers = line.split()
    predicted, measured, ratio = map(float, numbers)
    two, all_layers = (parallel.forward_flops(parallel.build(parallel.SIZES["nano"] | more), 64)
                       for more in ({"layers": 2}, {}))
    assert predicted == pytest.approx(4 * 0.01 * all_layers / two, abs=1e-4)
    assert head.endswith("ratio") and (name, processes) == ("nano", "1")
    assert measured > 0 and ratio == pytest.approx(predicted / measured, abs=0.006)
