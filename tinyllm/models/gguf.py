"""Write a model as a GGUF file, the format of llama.cpp and the programs built on it.

The library `gguf`, from llama.cpp's authors, writes the file; this module gives it the settings and the
weights, renamed and reordered. Matrices are (n_out, n_in). Weights of 8 and 4 bits are in ggml's Q8_0 and
Q4_0, where 32 neighbours in a row share one float16 scale.
"""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from tinyllm.errors import UserError
from tinyllm.files import atomic_write
from tinyllm.models.generation import stop_ids
from tinyllm.models.layout import rename
from tinyllm.nn import Linear, adapters, bits_of
from tinyllm.ops.rope import CONTEXT, YARN, llama3_kept

# {bits: (gguf's name for the type of the weights, for the type of the file)}
TYPES = {32: ("F32", "ALL_F32"), 8: ("Q8_0", "MOSTLY_Q8_0"), 4: ("Q4_0", "MOSTLY_Q4_0")}
ADD = {bool: "add_bool", int: "add_uint32", float: "add_float32", str: "add_string", list: "add_array"}
ENDS = "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"  # of a text, and of a turn in a chat

ARCHITECTURES = {  # {model_type: its name in llama.cpp}
    "gpt2": "gpt2", "llama": "llama", "mistral": "llama", "qwen2": "llama", "qwen3": "qwen3",
}  # its own qwen2 lacks heads of another width and frequencies of RoPE; the biases are optional in its llama
LLAMA = (  # pairs: (part of a weight's name in the model, the same part in llama.cpp)
    ("model.embed_tokens.", "token_embd."), ("model.norm.", "output_norm."), ("lm_head.", "output."),
    ("model.layers.", "blk."), ("input_layernorm.", "attn_norm."), ("post_attention_layernorm.", "ffn_norm."),
    ("self_attn.o_proj.", "attn_output."), ("self_attn.", "attn_"), ("_proj.", "."), ("mlp.", "ffn_"),
)
GPT2 = (
    ("wte.", "token_embd."), ("wpe.", "position_embd."), ("ln_f.", "output_norm."), ("h.", "blk."),
    ("ln_1.", "attn_norm."), ("ln_2.", "ffn_norm."), ("attn.c_attn.", "attn_qkv."),
    ("attn.c_proj.", "attn_output."), ("mlp.c_fc.", "ffn_up."), ("mlp.c_proj.", "ffn_down."),
)


def save_gguf(model: Any, path: Path | str, vocabulary: dict[str, Any], bits: int = 32) -> float:
    """Write a model to a GGUF file, with weights of 32, 8 or 4 bits; return the part that stayed float32.

    Vectors, positions, and matrices whose rows are not multiples of 32 stay float32. `vocabulary` is the
    result of `tokenizer.gguf.vocabulary`. Raises UserError when llama.cpp cannot run this model (another
    family, a window, quantised weights), the vocabulary has another size, the file cannot be written, or
    `gguf` is missing.
    """
    check(model, bits)
    scaling, tensors = _scaling(model)
    settings = _settings(model) | scaling
    if (size := len(vocabulary["tokenizer.ggml.tokens"])) != model.config.vocab_size:
        raise UserError(f"the model has {model.config.vocab_size} tokens, its tokenizer {size}")
    if not vocabulary["tokenizer.ggml.merges"]:
        raise UserError("llama.cpp needs a tokenizer with merges: train one with more than 256 tokens")
    try:
        import gguf
    except ImportError:
        raise UserError("GGUF files need the library gguf: pip install 'tinyllm-lab[gguf]'") from None
    if ends := stop_ids(model.generation):
        vocabulary = vocabulary | dict(zip(ENDS, (ends[0], ends[-1]), strict=True))
    count = {True: 0, False: 0}
    with atomic_write(path) as file:
        writer = gguf.GGUFWriter(file.name, ARCHITECTURES[model.model_type])
        writer.add_file_type(gguf.LlamaFileType[TYPES[bits][1]])
        for name, value in (settings | vocabulary).items():
            getattr(writer, ADD[type(value)])(name, value)
        for name, array in (_tensors(model) | tensors).items():
            small = array.ndim == 2 and array.shape[1] % 32 == 0 and "position_embd" not in name
            kind = gguf.GGMLQuantizationType[TYPES[bits if small else 32][0]]
            count[small] += array.size
            packed = gguf.quantize(np.ascontiguousarray(array, np.float32), kind)
            writer.add_tensor(name, packed, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return count[False] / sum(count.values())


def check(model: Any, bits: int) -> None:
    """Raise UserError if llama.cpp cannot run a model, or its weights cannot be written with these bits."""
    if model.model_type not in ARCHITECTURES:
        raise UserError(f"a {model.model_type} cannot be written as GGUF; {', '.join(ARCHITECTURES)} can")
    if model.silent:  # llama.cpp would take the embedding as output layer
        raise UserError(model.silent)
    if bits not in TYPES:
        raise UserError(f"GGUF files are written with 32, 8 or 4 bits, not {bits}")
    if adapters(model):
        raise UserError("this model has adapters: nn.merge(model) before it is exported")
    if bits_of(model):
        raise UserError("this model is quantised already: export the one that it was made from, with --bits")
    if model.model_type == "qwen3" and model.config.bias:
        raise UserError("llama.cpp's qwen3 has no bias after attention: train one without, or a llama")
    if (getattr(model.config, "window", None) or model.config.context) < model.config.context:
        raise UserError(f"llama.cpp has no sliding window of {model.config.window} for this family")


def _settings(model):
    c, a = model.config, ARCHITECTURES[model.model_type]
    eps = "layer_norm_epsilon" if a == "gpt2" else "layer_norm_rms_epsilon"
    found = {
        "vocab_size": c.vocab_size, "context_length": c.context, "embedding_length": c.width,
        "block_count": c.layers, "attention.head_count": c.heads, f"attention.{eps}": float(c.eps),
        "feed_forward_length": getattr(c, "hidden", 4 * c.width),
    }
    if a != "gpt2":
        found |= {"attention.key_length": c.head_size, "attention.value_length": c.head_size,
                  "attention.head_count_kv": c.kv_heads, "rope.dimension_count": c.head_size,
                  "rope.freq_base": float(c.theta)}
    return {f"{a}.{name}": value for name, value in found.items()}


def _tensors(model):
    """Return {llama.cpp's name: array}, matrices as (n_out, n_in)."""
    linear = {f"{name}.weight" for name in model.of_kind(Linear)}
    architecture, found = ARCHITECTURES[model.model_type], {}
    for name, array in model.state_dict().items():
        if name in linear:
            array = array.T
        if architecture == "llama" and re.search(r"self_attn\.[qk]_proj\.", name):
            # llama.cpp rotates channels 2i and 2i + 1 of a LLaMA, not i and i + D/2.
            halves = array.reshape(-1, 2, model.config.head_size // 2, *array.shape[1:])
            array = halves.swapaxes(1, 2).reshape(array.shape)
        found[rename(name, GPT2 if architecture == "gpt2" else LLAMA)] = array
    return found


def _scaling(model):
    """Return llama.cpp's settings and tensors for scaled positions: two dicts. Raises UserError without any.

    It knows linear scaling and YaRN; its llama also reads divisors of the frequencies (D/2,).
    """
    c, a = model.config, ARCHITECTURES[model.model_type]
    given = YARN | {"type": "dynamic"} | (getattr(c, "scaling", None) or {})
    kind = given.get("rope_type", given["type"])
    if kind == "dynamic":  # no scaling within the context
        return {}, {}
    factor = float(given["factor"])
    if kind == "llama3" and a == "llama":
        kept = llama3_kept(c.head_size, c.theta, given)
        return {}, {"rope_freqs.weight": (1 / (kept + (1 - kept) / factor)).astype(np.float32)}
    if kind == "llama3" or any(given[name] != YARN[name] for name in ("beta_fast", "beta_slow", "truncate")):
        raise UserError(f"llama.cpp has no place for the scaling {c.scaling} in a {model.model_type}")
    found = {"type": kind, "factor": factor}
    if kind == "yarn":
        growth = 1 + 0.1 * math.log(max(factor, 1))  # of queries and keys, in llama.cpp
        found |= {"original_context_length": int(given[CONTEXT]),
                  "attn_factor": (given["attention_factor"] or growth) / growth}
    return {f"{a}.rope.scaling.{name}": value for name, value in found.items()}, {}
