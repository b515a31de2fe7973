"""GGUF files: what they hold is read back by a reader of the format's text, and by llama.cpp where it is."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm import nn
from tinyllm.cli import main
from tinyllm.errors import UserError
from tinyllm.models import build, family, from_pretrained
from tinyllm.models.gguf import LAYOUTS, pack_q4_0, pack_q8_0, save_gguf
from tinyllm.nn import quantize
from tinyllm.tokenizer import CHAT_TEMPLATES, BPETokenizer, CharTokenizer
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
    """Read a GGUF file -> settings, {name: (shape, type, bytes)}, as the format's text says."""
    file = io.BytesIO(path.read_bytes())

    def take(form):
        return struct.unpack("<" + form, file.read(struct.calcsize("<" + form)))[0]

    def text():
        return file.read(take("Q")).decode()

    def value(kind):
        if kind == 9:
            inner, count = take("I"), take("Q")
            return [value(inner) for _ in range(count)]
        return text() if kind == 8 else take({4: "I", 5: "i", 6: "f", 7: "?"}[kind])

    assert file.read(4) == b"GGUF" and take("I") == 3
    tensors, count = take("Q"), take("Q")
    settings = {text(): value(take("I")) for _ in range(count)}
    infos = [(text(), [take("Q") for _ in range(take("I"))], take("I"), take("Q")) for _ in range(tensors)]
    start = file.tell() + -file.tell() % 32
    found = {}
    for name, shape, kind, place in infos:
        assert place % 32 == 0
        file.seek(start + place)
        size = int(np.prod(shape)) * {0: 4, 8: 34 / 32, 2: 18 / 32}[kind]
        found[name] = tuple(shape[::-1]), kind, file.read(int(size))
        assert len(found[name][2]) == size
    return settings, found


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_file_holds_every_weight(name, tmp_path):
    made = model(name)
    save_gguf(made, tmp_path / "m.gguf", vocabulary(TOKENS))
    settings, found = read(tmp_path / "m.gguf")
    arrays = {n: np.frombuffer(data, np.float32).reshape(shape) for n, (shape, _, data) in found.items()}
    assert sorted(a.size for a in arrays.values()) == sorted(a.size for a in made.state_dict().values())
    assert sum(np.abs(a).sum(dtype=float) for a in arrays.values()) == pytest.approx(
        sum(np.abs(a).sum(dtype=float) for a in made.state_dict().values()))
    embedding = next(iter(made.state_dict().values()))
    assert np.array_equal(arrays["token_embd.weight"], embedding)
    assert settings["tokenizer.ggml.tokens"][-1] and len(settings["tokenizer.ggml.tokens"]) == 288
    assert settings["tokenizer.ggml.eos_token_id"] == 0 == TOKENS.encode(b"\0")[0]


def test_rows_of_queries_and_keys_are_in_the_order_of_llama_cpp(tmp_path):
    made, width = model("llama", kv_heads=2), 16
    save_gguf(made, tmp_path / "m.gguf")
    _, found = read(tmp_path / "m.gguf")
    for theirs, ours in (("attn_q", "q_proj"), ("attn_k", "k_proj")):
        w = made.state_dict()[f"model.layers.1.self_attn.{ours}.weight"].T
        shape, _, data = found[f"blk.1.{theirs}.weight"]
        rows = np.frombuffer(data, np.float32).reshape(shape)
        assert np.array_equal(rows[0::2][: width // 2], w[: width // 2])  # the first half of a head
        assert np.array_equal(rows[1::2][: width // 2], w[width // 2 : width])


def blocks():
    """Draw rows of 32: all zero, of one number, of huge and tiny ones, and ordinary ones."""
    ordinary = st.lists(st.floats(-1e3, 1e3, width=32), min_size=32, max_size=32)
    return st.one_of(ordinary, st.floats(-10, 10, width=32).map(lambda x: [x] * 32), st.just([0.0] * 32))


@given(st.lists(blocks(), min_size=1, max_size=3))
def test_rounding_is_off_by_no_more_than_half_a_step(rows):
    x = np.array(rows, np.float32)
    for pack, size, most in ((pack_q8_0, 34, 127), (pack_q4_0, 18, 8)):
        packed = np.frombuffer(pack(x), np.uint8).reshape(len(x), size)
        scale = packed[:, :2].copy().view(np.float16).astype(np.float32)
        if pack is pack_q8_0:
            q = packed[:, 2:].view(np.int8).astype(np.float32)
        else:
            q = np.concatenate([packed[:, 2:] & 15, packed[:, 2:] >> 4], axis=1) - np.float32(8)
        step = np.abs(x).max(axis=1, keepdims=True) / most
        worst = (0.51 if most == 127 else 1.01) * step  # of 4 bits, 8 itself has no place: it becomes 7
        assert (np.abs(q * scale - x) <= worst + most * np.maximum(step * 2**-11, 2**-24)).all()


def test_small_files_keep_what_cannot_be_rounded(tmp_path):
    made = model("llama", hidden=80)
    sizes = []
    for bits in (32, 8, 4):
        save_gguf(made, tmp_path / "m.gguf", vocabulary(TOKENS), bits)
        kinds = {name: kind for name, (_, kind, _) in read(tmp_path / "m.gguf")[1].items()}
        assert kinds["blk.0.ffn_down.weight"] == kinds["output_norm.weight"] == 0  # rows of 80; a vector
        assert kinds["output.weight"] == {32: 0, 8: 8, 4: 2}[bits]
        sizes.append((tmp_path / "m.gguf").stat().st_size)
    assert sizes == sorted(sizes, reverse=True)


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}


@pytest.mark.parametrize("name, settings", [
    ("gpt2", {}), ("gpt2", {"bias": False}), ("llama", {"kv_heads": 2}), ("llama", {"scaling": LLAMA3}),
    ("llama", {"tied": True, "bias": True}), ("llama", {"scaling": {"rope_type": "linear", "factor": 2.0}}),
    ("mistral", {"window": 64}), ("qwen2", {"tied": True}), ("qwen3", {"head_width": 24}),
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


def test_weights_are_packed_as_ggml_packs_them():
    gguf = pytest.importorskip("gguf")
    x = np.random.default_rng(0).normal(size=(9, 96)).astype(np.float32)
    x[2] = 0
    kinds = gguf.GGMLQuantizationType
    for pack, kind in ((pack_q8_0, kinds.Q8_0), (pack_q4_0, kinds.Q4_0)):
        assert gguf.quants.quantize(x, kind).tobytes() == pack(x)


TALKING = BPETokenizer([], special_tokens=["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"])
TALKING.chat = CHAT_TEMPLATES["roles"]
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}


@pytest.mark.parametrize("name, settings, tokens, bits, said", [
    ("falcon", {}, TOKENS, 32, "a falcon cannot be written as GGUF"),
    ("llama", {}, TOKENS, 16, "32, 8 or 4 bits"),
    ("llama", {"scaling": YARN}, TOKENS, 32, "no place for the scaling"),
    ("mistral", {"window": 8}, TOKENS, 32, "no sliding window of 8"),
    ("llama", {}, CharTokenizer("ab"), 32, "byte-level BPE"),
    ("llama", {}, TALKING, 32, "no place for the chat"),
    ("llama", {"vocab_size": 300}, TOKENS, 32, "the model has 300 tokens, its tokenizer 288"),
    ("llama", {}, BPETokenizer.train(TEXT, 288, pattern=r"\w+|\W+"), 32, "llama.cpp cannot cut text"),
])
def test_what_llama_cpp_cannot_run_is_refused(name, settings, tokens, bits, said, tmp_path):
    with pytest.raises(UserError, match=said):
        save_gguf(model(name, **settings), tmp_path / "m.gguf", vocabulary(tokens), bits)
    assert not any(tmp_path.iterdir())


def test_a_quantized_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="quantized already"):
        save_gguf(quantize(model("llama"), 8), tmp_path / "m.gguf", vocabulary(TOKENS))


def test_the_command(refused, tmp_path, capsys):
    from tinyllm.tokenizer import save_tokenizer

    model("llama").save_pretrained(tmp_path / "folder")
    save_tokenizer(TOKENS, tmp_path / "folder" / "tokenizer.json")
    words = ["export", str(tmp_path / "folder"), "--out", str(tmp_path / "m.gguf"), "--bits", "8"]
    assert main(words) == 0 and "wrote" in capsys.readouterr().out
    assert read(tmp_path / "m.gguf")[0]["general.architecture"] == "llama"
    assert "exists already" in refused(*words)
    assert main([*words, "--overwrite"]) == 0
    nn.adapt(from_pretrained(tmp_path / "folder")).save_pretrained(tmp_path / "adapter")
    assert main(["export", str(tmp_path / "adapter"), "--out", str(tmp_path / "a.gguf"), "--bits", "8"]) == 0
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "m.gguf").read_bytes()
    assert "quantized already" in refused("export", "shipped", "--out", str(tmp_path / "s.gguf"))
