"""Quantise a run: the copy writes as before, and is smaller. Its refusals are in sessions/train.txt."""

import pytest
from tiny_run import new_training, outcome

from tinyllm.compress.quantize_run import default_folder, quantize_run
from tinyllm.decode.generate import generate
from tinyllm.runs import open_model


@pytest.fixture(scope="module")
def trained(tmp_path_factory, text):
    """A run that has learnt something."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    list(new_training(folder, text, model__width=32, train__steps=60, train__lr=0.01))
    return folder


@pytest.mark.parametrize("bits, worse", [(8, 0.01), (4, 0.1)])
def test_a_quantised_run_is_smaller_and_writes_much_the_same(trained, tmp_path, bits, worse, printed):
    before = outcome(trained)
    done = quantize_run(trained, bits, tmp_path / "small")
    assert outcome(trained) == before
    file = next((tmp_path / "small").rglob("model.safetensors"))
    assert 0 < file.stat().st_size - done.bytes_after < 9000 and done.bytes_after < done.bytes_before
    assert abs(done.loss_after - done.loss_before) < worse and done.loss_before < 1.5 and not done.no_loss
    opened = open_model(tmp_path / "small")
    assert type(opened.model.h[0].mlp.c_fc).__name__ == f"Int{bits}Linear"
    drawn = {"sampling": opened.sampling, "seed": 1}  # as the run's samples were drawn
    ids = generate(opened.model, ["the cat"], max_tokens=20, tokenizer=opened.tokenizer, **drawn)[0]
    words = ["--prompt", "the cat", "--tokens", "20", "--seed", "1"]
    assert printed("generate", tmp_path / "small", *words) == f"the cat{opened.tokenizer.decode(ids)}\n"


def test_the_copy_lies_beside_the_run_wherever_one_stands(trained, monkeypatch):
    for place, source in ((".", "."), ("checkpoints", "..")):
        monkeypatch.chdir(trained / place)
        assert default_folder(source, "int8").resolve() == trained.with_name("run-int8")
