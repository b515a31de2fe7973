"""Check that the libraries in our benchmarks compute the same logits from the same weights, if installed."""

from dataclasses import replace

import numpy as np
import pytest

from tinyllm.bench import peers
from tinyllm.bench.setting import Setting
from tinyllm.bench.train import training_step
from tinyllm.models import Llama, LlamaConfig

generate = peers.load("generate")
TINY = Setting("tiny", layers=2, heads=2, width=64, context=32, batch=2, vocab_size=50)
PROMPT = [i * 7 % 50 for i in range(20)]


def llama():
    sizes = {"layers": 2, "heads": 4, "kv_heads": 2, "width": 64, "hidden": 96, "context": 32}
    return Llama(LlamaConfig(vocab_size=50, **sizes))


def logits(model, ids):
    return model(ids).data[0, -1]


@pytest.mark.parametrize("model", [TINY.model(), llama()], ids=["gpt", "llama"])
def test_transformers_reads_and_writes_what_we_do(model):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    peer = generate.Transformers(model, 1)
    np.testing.assert_allclose(peer.prefill(PROMPT), logits(model, PROMPT), rtol=1e-3, atol=1e-5)
    out, new = peer.begin(PROMPT, 3)
    peer.go_on(out, new)
    assert out.past_key_values.get_seq_length() == len(PROMPT) + 3


@pytest.mark.parametrize("kind, off", [("f32", 1e-4), ("q8_0", 0.1), ("q4_0", 0.8)])
def test_llama_cpp_reads_and_writes_what_we_do(kind, off):
    pytest.importorskip("llama_cpp")
    model = llama()
    peer, ours = generate.LlamaCpp(model, 1, kind), logits(model, PROMPT)
    assert np.abs(peer.prefill(PROMPT) - ours).max() < off * np.abs(ours).max()
    ids = list(PROMPT)
    for _ in range(3):
        ids.append(int(np.argmax(peer._logits())))
        peer.go_on(1)
    if kind == "f32":
        ours = logits(model, ids)
        assert np.abs(peer._logits() - ours).max() < off * np.abs(ours).max()


@pytest.mark.parametrize("mode, off", [({}, 1e-4), ({"bf16": True}, 2e-2)])
def test_pytorch_trains_as_we_do(mode, off):
    pytest.importorskip("torch")
    step, about = peers.load_torch().training_step(replace(TINY, batch=1), 1, **mode)
    ours = training_step(replace(TINY, batch=1))
    for _ in range(3):
        a, b = step(), ours()
        assert abs(a - b) < off * abs(b)
    assert about["adamw"] in ("default", "foreach", "fused")
