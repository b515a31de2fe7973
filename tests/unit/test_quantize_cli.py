"""Quantise a run: the copy writes as before, and is smaller. Its refusals are in sessions/train.txt."""

import pytest
from tiny_run import new_training, outcome

from tinyllm.decode.generate import generate
from tinyllm.runs import open_model


@pytest.mark.parametrize("bits", [8, 4])
def test_a_copy_lies_beside_its_run_and_writes_much_the_same(tmp_path, text, monkeypatch, printed, bits):
    list(new_training(tmp_path / "run", text, model__width=32, train__steps=60, train__lr=0.01))
    before = outcome(tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    out = printed("quantize", ".", "--bits", str(bits))
    assert "weights  53,632 -> " in out and out.endswith(f"wrote ../run-int{bits}\n")
    assert outcome(tmp_path / "run") == before
    old, new = (open_model(place) for place in (".", f"../run-int{bits}"))
    assert type(new.model.h[0].mlp.c_fc).__name__ == f"Int{bits}Linear"
    drawn = {"sampling": old.sampling, "seed": 1}  # as the run's samples were drawn
    ids = [generate(each.model, ["the cat"], max_tokens=20, tokenizer=each.tokenizer, **drawn)[0]
           for each in (old, new)]
    assert sum(a == b for a, b in zip(*ids, strict=True)) > 9
    words = ["--prompt", "the cat", "--tokens", "20", "--seed", "1"]
    assert printed("generate", f"../run-int{bits}", *words) == f"the cat{new.tokenizer.decode(ids[1])}\n"
