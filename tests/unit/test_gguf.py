"""Check GGUF files: the library gguf reads the model back, and llama.cpp computes the same."""

import sys

import gguf
import numpy as np
import pytest
from helpers import refuses

import tinyllm as tl
from tinyllm import nn
from tinyllm.models import build, family, from_pretrained
from tinyllm.models.gguf import ARCHITECTURES, save_gguf
from tinyllm.tokenizer.gguf import vocabulary
from tinyllm.tokenizer.huggingface import from_dict
from tinyllm.tokenizer.vocabulary import characters

TEXT = "2026! To be, or not to be: that's the question\n\nIt'll cost  12345 £, don't été 日本"
TOKENS = tl.BPETokenizer.train(TEXT * 4, 288)


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
    made.generation = {"eos_token_id": [5, 7]}
    save_gguf(made, tmp_path / "m.gguf", vocabulary(TOKENS))
    settings, _ = read(tmp_path / "m.gguf")
    assert (settings["tokenizer.ggml.eos_token_id"], settings["tokenizer.ggml.eot_token_id"]) == (5, 7)


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
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
SCALINGS = [LINEAR, LINEAR | {"factor": 0.3}, LINEAR | {"rope_type": "dynamic"}, LLAMA3, YARN,
            YARN | {"factor": 0.5}, YARN | {"attention_factor": 1.3}]
SHAPES = [{}, {"kv_heads": 1, "head_width": 24}, {"heads": 2, "kv_heads": 2, "head_width": 10},
          {"layers": 1, "width": 40}, {"tied": True}, {"hidden": 80}, {"bias": True},
          {"bias": True, "mlp_bias": True, "kv_heads": 2},
          *({"scaling": scaling, "kv_heads": 2} for scaling in SCALINGS)]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_llama_cpp_gives_the_same_logits_or_a_model_is_refused(name, tmp_path):
    """All families, with heads, sizes and biases of many kinds, every scaling, and all bits."""
    llama_cpp = pytest.importorskip("llama_cpp")
    ids, path = TOKENS.encode(TEXT)[:40], str(tmp_path / "m.gguf")
    refused, shapes = 0, SHAPES if name != "gpt2" else [{}, {"layers": 3}, {"width": 40}]
    for shape, bits in [(s, b) for s in shapes for b in ((32,) if "scaling" in s else (32, 8, 4))]:
        try:
            save_gguf(made := model(name, **shape), path, vocabulary(TOKENS), bits)
        except tl.UserError as error:
            refused += 1
            assert "llama.cpp" in str(error) or "cannot have" in str(error)
            continue
        options = {"n_ctx": 64, "logits_all": True, "n_threads": 1, "type_k": 0, "type_v": 0}
        peer = llama_cpp.Llama(path, verbose=False, **options)
        peer.eval(ids)
        ours = made(np.array(ids)).data[0]
        off = {32: 1e-3 if name == "gpt2" else 1e-5, 8: 0.1, 4: 0.8}[bits]  # its gelu is a table in float16
        assert np.abs(peer.scores[: len(ids)] - ours).max() < off * np.abs(ours).max(), (shape, bits)
    assert refused == {"mistral": 6, "qwen2": 6, "qwen3": 7}.get(name, 0)


NUL = characters(b"\0")
BOS = {"SpecialToken": {"id": "<|end|>", "type_id": 0}}
SINGLE = {"Sequence": {"id": "A", "type_id": 0}}
LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def template(*single):
    special = {"<|end|>": {"id": "<|end|>", "ids": [287], "tokens": ["<|end|>"]}}
    return {"type": "TemplateProcessing", "single": [*single], "pair": [], "special_tokens": special}


@pytest.mark.parametrize("pattern, changes", [
    ("gpt2", {}), ("gpt4", {}), ("qwen2", {"normalizer": {"type": "NFC"}}),
    ("gpt2", {"post_processor": template(SINGLE)}),
    ("gpt4", {"post_processor": {"type": "Sequence", "processors": [LEVEL, template(BOS, SINGLE)]}}),
    ("gpt2", {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True}, LEVEL]}}),
    ("gpt4", {"ignore_merges": True}),
])
def test_llama_cpp_cuts_and_numbers_texts_as_the_tokenizer_does(pattern, changes, tmp_path):
    tokens = tl.BPETokenizer.train(TEXT * 4, 288, pattern, ["<|end|>"])
    tokens.add_tokens({"<tool>": 288})
    document = tokens.to_dict() | changes
    vocab = document["model"]["vocab"]
    vocab |= {"<|end|>": 287, "<tool>": 288, "unused": vocab.pop(NUL)}  # a vocabulary may lack bytes
    if document.pop("ignore_merges", False):  # now merges reach only some of the tokens
        document["model"] |= {"ignore_merges": True, "merges": document["model"]["merges"][:5]}
    if "pre_tokenizer" in changes:
        pytest.importorskip("tokenizers")
    tokens = from_dict(document)
    save_gguf(model("llama", vocab_size=300), path := str(tmp_path / "m.gguf"), vocabulary(tokens, 300))
    begins = "processors" in changes.get("post_processor", {})
    assert read(path)[0]["tokenizer.ggml.add_bos_token"] == begins
    llama_cpp = pytest.importorskip("llama_cpp")
    peer = llama_cpp.Llama(path, verbose=False, vocab_only=True)
    for text in (TEXT, "1234 x1", "<tool>a<|end|>", "  \n\n\t it's  IT'S"):
        assert peer.tokenize(text.encode(), add_bos=True) == [287] * begins + tokens.encode(text)


LACKING = TOKENS.to_dict()
LACKING["model"]["vocab"]["unused"] = LACKING["model"]["vocab"].pop(NUL)
TALKING = tl.BPETokenizer([], special_tokens=["<|im_start|>", "<|im_end|>"])
TALKING.chat = tl.CHAT_TEMPLATES["chatml"]
TWICE = from_dict(tl.BPETokenizer.train(TEXT, 288, special_tokens=["<|end|>"]).to_dict() | {
    "post_processor": template(BOS, SINGLE, BOS)})
O200K = tl.BPETokenizer.train(TEXT, 288, "o200k")


@pytest.mark.parametrize("name, settings, tokens, bits, said", [
    ("falcon", {}, TOKENS, 32, "a falcon cannot be written as GGUF"),
    ("llama", {}, TOKENS, 16, "32, 8 or 4 bits"),
    *[(name, {"scaling": scaling}, TOKENS, 32, "no place for the scaling") for name, scaling in (
        ("qwen3", LLAMA3), ("llama", YARN | {"beta_slow": 2.0}), ("llama", YARN | {"truncate": False}))],
    ("qwen3", {"bias": True}, TOKENS, 32, "no bias after attention"),
    ("llama", {}, TWICE, 32, "for the post_processor"), ("llama", {}, O200K, 32, "cuts texts, o200k"),
    ("llama", {}, from_dict(LACKING), 32, "a token that ends a text"),
    ("mistral", {"window": 8}, TOKENS, 32, "no sliding window of 8"),
    ("llama", {}, tl.CharTokenizer("ab"), 32, "byte-level BPE"),
    ("llama", {}, TALKING, 32, "no place for the chat"),
    ("llama", {"vocab_size": 256}, tl.BPETokenizer([]), 32, "needs a tokenizer with merges"),
    ("llama", {"vocab_size": 300}, TOKENS, 32, "the model has 300 tokens, its tokenizer 288"),
])
def test_what_llama_cpp_cannot_run_is_refused(name, settings, tokens, bits, said, tmp_path):
    refuses(said, lambda: save_gguf(model(name, **settings), tmp_path / "m.gguf", vocabulary(tokens), bits))
    assert not any(tmp_path.iterdir())


def test_the_command_merges_adapters_and_says_what_is_missing(refused, printed, tmp_path, monkeypatch):
    model("llama").save_pretrained(tmp_path / "folder")
    tl.save_tokenizer(TOKENS, tmp_path / "folder" / "tokenizer.json")
    nn.adapt(from_pretrained(tmp_path / "folder")).save_pretrained(tmp_path / "adapter")
    for name in ("folder", "adapter"):
        words = ["export", tmp_path / name, "--out", tmp_path / f"{name}.gguf", "--bits", "8"]
        assert "wrote" in printed(*words)
    assert "\n21.8% of the weights stay float32: " in printed(*words, "--overwrite")
    assert (tmp_path / "adapter.gguf").read_bytes() == (tmp_path / "folder.gguf").read_bytes()
    assert "exists already" in refused(*words)
    assert "quantised already" in refused("export", "shipped", "--out", tmp_path / "s.gguf")
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert "pip install 'tinyllm-lab[gguf]'" in refused(*words, "--overwrite")
