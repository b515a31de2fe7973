"""Check GGUF files: the library gguf reads the model back, and llama.cpp computes the same."""

import sys

import gguf
import numpy as np
import pytest

from tinyllm import nn
from tinyllm.errors import UserError
from tinyllm.models import build, family, from_pretrained
from tinyllm.models.gguf import ARCHITECTURES, save_gguf
from tinyllm.tokenizer import CHAT_TEMPLATES, BPETokenizer, CharTokenizer, save_tokenizer
from tinyllm.tokenizer.gguf import vocabulary

TEXT = "To be, or not to be: that's the question\n\nIt'll cost  12345 £, don't été 日本"
TOKENS = BPETokenizer.train(TEXT * 4, 288)


def model(name, **settings):
    sizes = {"vocab_size": 288} | family(name).PRESETS["nano"] | {"layers": 2, "width": 64} | settings
    made = build({"model_type": name} | sizes, seed=1).eval()
    random = np.random.default_rng(0)
    for p in made.parameters():
        if p.ndim == 1:
            p.data = p.data + random.normal(0, 0.1, p.shape).astype(np.float32)
    return made


def read(path):
    """Read a GGUF file; return its settings and {name: tensor}."""
    reader = gguf.GGUFReader(path)
    settings = {name: field.contents() for name, field in reader.fields.items()}
    return settings, {tensor.name: tensor for tensor in reader.tensors}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_file_holds_every_weight(name, tmp_path):
    made = model(name)
    save_gguf(made, tmp_path / "m.gguf", vocabulary(TOKENS))
    settings, found = read(tmp_path / "m.gguf")
    arrays, state = {n: tensor.data for n, tensor in found.items()}, made.state_dict()
    theirs, ours = (sorted(np.abs(a).sum(dtype=float) for a in some.values()) for some in (arrays, state))
    assert theirs == pytest.approx(ours)
    assert np.array_equal(arrays["token_embd.weight"], next(iter(state.values())))
    assert settings["tokenizer.ggml.tokens"][-1] and len(settings["tokenizer.ggml.tokens"]) == 288
    assert settings["tokenizer.ggml.eos_token_id"] == 0 == TOKENS.encode(b"\0")[0]
    assert settings["tokenizer.ggml.add_bos_token"] is False
    c, kind = made.config, settings["general.architecture"]
    sizes = {"block_count": c.layers, "embedding_length": c.width, "context_length": c.context}
    assert all(settings[f"{kind}.{size}"] == value for size, value in sizes.items())


def test_rows_of_queries_and_keys_are_in_the_order_of_llama_cpp(tmp_path):
    made, width = model("llama", kv_heads=2), 16
    save_gguf(made, tmp_path / "m.gguf", vocabulary(TOKENS))
    for theirs, ours in (("attn_q", "q_proj"), ("attn_k", "k_proj")):
        w = made.state_dict()[f"model.layers.1.self_attn.{ours}.weight"].T
        rows = read(tmp_path / "m.gguf")[1][f"blk.1.{theirs}.weight"].data
        assert np.array_equal(rows[0::2][: width // 2], w[: width // 2])  # even rows: a head's first half
        assert np.array_equal(rows[1::2][: width // 2], w[width // 2 : width])


def test_small_files_keep_what_cannot_be_rounded(tmp_path):
    made = model("llama", hidden=80)
    for bits, kind, off in ((32, "F32", 0), (8, "Q8_0", 0.002), (4, "Q4_0", 0.02)):
        save_gguf(made, tmp_path / "m.gguf", vocabulary(TOKENS), bits)
        found = read(tmp_path / "m.gguf")[1]
        kinds = {name: tensor.tensor_type.name for name, tensor in found.items()}
        assert kinds["blk.0.ffn_down.weight"] == kinds["output_norm.weight"] == "F32"  # rows of 80; a vector
        assert kinds["output.weight"] == kind
        head = gguf.dequantize(found["output.weight"].data, found["output.weight"].tensor_type)
        assert np.abs(head - made.lm_head.weight.data).max() <= off
    save_gguf(model("gpt2"), tmp_path / "m.gguf", vocabulary(TOKENS), bits=8)
    assert read(tmp_path / "m.gguf")[1]["position_embd.weight"].tensor_type.name == "F32"


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}
LINEAR = {"rope_type": "linear", "factor": 2.0}


@pytest.mark.parametrize("name, settings", [
    ("gpt2", {}), ("llama", {"kv_heads": 2}), ("mistral", {"window": 64}), ("llama", {"scaling": LLAMA3}),
    ("llama", {"scaling": LINEAR}), ("llama", {"tied": True, "bias": True}), ("qwen2", {"tied": True}),
    ("qwen3", {"head_width": 24}),
])
def test_llama_cpp_gives_the_same_logits_and_ids(name, settings, tmp_path):
    llama_cpp = pytest.importorskip("llama_cpp")
    made, path = model(name, **settings), str(tmp_path / "m.gguf")
    for pattern in ("gpt2", "gpt4"):
        tokens = BPETokenizer.train(TEXT * 4, 288, pattern=pattern)
        for bits, off in ((32, 1e-3 if name == "gpt2" else 1e-5), (8, 0.1), (4, 0.8)):
            save_gguf(made, path, vocabulary(tokens), bits)  # ggml tabulates GPT-2's gelu in float16
            peer = llama_cpp.Llama(path, n_ctx=64, verbose=False, logits_all=True, n_threads=1,
                                   type_k=0, type_v=0)
            ids = peer.tokenize(TEXT.encode(), add_bos=False)
            assert ids == tokens.encode(TEXT)
            peer.eval(ids[:40])
            ours = made(np.array(ids[:40])).data[0]
            assert np.abs(peer.scores[:40] - ours).max() < off * np.abs(ours).max()


TALKING = BPETokenizer([], special_tokens=["<|im_start|>", "<|im_end|>"])
TALKING.chat = CHAT_TEMPLATES["chatml"]
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}


@pytest.mark.parametrize("name, settings, tokens, bits, said", [
    ("falcon", {}, TOKENS, 32, "a falcon cannot be written as GGUF"),
    ("llama", {}, TOKENS, 16, "32, 8 or 4 bits"),
    ("llama", {"scaling": YARN}, TOKENS, 32, "no place for the scaling"),
    ("mistral", {"window": 8}, TOKENS, 32, "no sliding window of 8"),
    ("llama", {}, CharTokenizer("ab"), 32, "byte-level BPE"),
    ("llama", {}, TALKING, 32, "no place for the chat"),
    ("llama", {"vocab_size": 256}, BPETokenizer([]), 32, "needs a tokenizer with merges"),
    ("llama", {"vocab_size": 300}, TOKENS, 32, "the model has 300 tokens, its tokenizer 288"),
])
def test_what_llama_cpp_cannot_run_is_refused(name, settings, tokens, bits, said, tmp_path):
    with pytest.raises(UserError, match=said):
        save_gguf(model(name, **settings), tmp_path / "m.gguf", vocabulary(tokens), bits)
    assert not any(tmp_path.iterdir())


def test_the_command_merges_adapters_and_says_what_is_missing(refused, printed, tmp_path, monkeypatch):
    model("llama").save_pretrained(tmp_path / "folder")
    save_tokenizer(TOKENS, tmp_path / "folder" / "tokenizer.json")
    nn.adapt(from_pretrained(tmp_path / "folder")).save_pretrained(tmp_path / "adapter")
    for name in ("folder", "adapter"):
        words = ["export", tmp_path / name, "--out", tmp_path / f"{name}.gguf", "--bits", "8"]
        assert "wrote" in printed(*words)
    assert (tmp_path / "adapter.gguf").read_bytes() == (tmp_path / "folder.gguf").read_bytes()
    assert "exists already" in refused(*words)
    assert "quantized already" in refused("export", "shipped", "--out", tmp_path / "s.gguf")
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert "pip install 'tinyllm-lab[gguf]'" in refused(*words, "--overwrite")
