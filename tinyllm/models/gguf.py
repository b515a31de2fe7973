"""Write a model as a GGUF file, the format of llama.cpp and the programs built on it.

A GGUF file holds settings (names with typed values), then a table of tensors (name, shape, type, place), then
their numbers, each tensor at a multiple of 32 bytes, all little-endian
(https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). Matrices are (n_out, n_in). Weights of 8 and 4
bits are in ggml's formats Q8_0 and Q4_0, where 32 neighbours in a row share one float16 scale.
"""

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinyllm.errors import UserError
from tinyllm.files import atomic_write
from tinyllm.models.layout import rename
from tinyllm.nn import Linear, Rope, adapters
from tinyllm.nn.quantized import bits_of

BLOCK = ALIGNMENT = 32


class GGUFLayout(NamedTuple):
    """llama.cpp's names for the parts of a family, and the order of the channels that it rotates.

    pairs: True if llama.cpp rotates channels 2i and 2i + 1 as a pair, False if it rotates i and i + D/2.
    """

    architecture: str
    names: tuple[tuple[str, str], ...]  # pairs (part of the model's name, of llama.cpp's)
    eps: str
    pairs: bool = False


LLAMA = (
    ("model.embed_tokens.", "token_embd."), ("model.norm.", "output_norm."), ("lm_head.", "output."),
    ("model.layers.", "blk."), ("input_layernorm.", "attn_norm."), ("post_attention_layernorm.", "ffn_norm."),
    ("self_attn.o_proj.", "attn_output."), ("self_attn.", "attn_"), ("_proj.", "."), ("mlp.", "ffn_"),
)
GPT2 = (
    ("wte.", "token_embd."), ("wpe.", "position_embd."), ("ln_f.", "output_norm."), ("h.", "blk."),
    ("ln_1.", "attn_norm."), ("ln_2.", "ffn_norm."), ("attn.c_attn.", "attn_qkv."),
    ("attn.c_proj.", "attn_output."), ("mlp.c_fc.", "ffn_up."), ("mlp.c_proj.", "ffn_down."),
)
LAYOUTS = {
    "gpt2": GGUFLayout("gpt2", GPT2, "layer_norm_epsilon"),
    "llama": GGUFLayout("llama", LLAMA, "layer_norm_rms_epsilon", pairs=True),
    "mistral": GGUFLayout("llama", LLAMA, "layer_norm_rms_epsilon", pairs=True),
    "qwen2": GGUFLayout("qwen2", LLAMA, "layer_norm_rms_epsilon"),
    "qwen3": GGUFLayout("qwen3", LLAMA, "layer_norm_rms_epsilon"),
}


def save_gguf(model: Any, path: Path | str, vocabulary: dict[str, Any] | None = None, bits: int = 32) -> None:
    """Write a model to a GGUF file, with weights of 32, 8 or 4 bits.

    Vectors, positions, and matrices whose rows are not multiples of 32 stay float32. `vocabulary` is the
    result of `tokenizer.gguf.vocabulary`; a file without it serves programs that encode texts themselves.
    Raises UserError when llama.cpp cannot run this model (a family missing from LAYOUTS, YaRN, a window,
    quantized weights), the vocabulary has another size, or the file cannot be written.
    """
    layout = LAYOUTS.get(model.model_type)
    if layout is None:
        raise UserError(f"a {model.model_type} cannot be written as GGUF; {', '.join(LAYOUTS)} can")
    if bits not in TYPES:
        raise UserError(f"GGUF files are written with 32, 8 or 4 bits, not {bits}")
    if adapters(model):
        raise UserError("this model has adapters: nn.merge(model) before it is exported")
    if bits_of(model):
        raise UserError("this model is quantized already: export the one that it was made from, with --bits")
    if (getattr(model.config, "window", None) or model.config.context) < model.config.context:
        raise UserError(f"llama.cpp has no sliding window of {model.config.window} for this family")
    settings = _settings(model, layout, bits)
    if vocabulary is None:
        vocabulary = {"tokenizer.ggml.model": "no_vocab"}
    elif (size := len(vocabulary["tokenizer.ggml.tokens"])) != model.config.vocab_size:
        raise UserError(f"the model has {model.config.vocab_size} tokens, its tokenizer {size}")
    _write(Path(path), settings | vocabulary, _tensors(model, layout), bits)


def _settings(model, layout, bits):
    c, a = model.config, layout.architecture
    found = {
        "general.architecture": a, "general.alignment": ALIGNMENT, "general.file_type": TYPES[bits].file_type,
        f"{a}.vocab_size": c.vocab_size, f"{a}.context_length": c.context, f"{a}.embedding_length": c.width,
        f"{a}.block_count": c.layers, f"{a}.attention.head_count": c.heads,
        f"{a}.feed_forward_length": getattr(c, "hidden", 4 * c.width),
        f"{a}.attention.{layout.eps}": float(c.eps),
    }
    if layout.names is GPT2:
        return found
    size = {"attention.key_length": c.head_size, "attention.value_length": c.head_size,
            "attention.head_count_kv": c.kv_heads, "rope.dimension_count": c.head_size,
            "rope.freq_base": float(c.theta)}
    return found | {f"{a}.{name}": value for name, value in size.items()}


def _tensors(model, layout):
    """Return {llama.cpp's name: array}, matrices as (n_out, n_in)."""
    linear = {f"{name}.weight" for name in model.of_kind(Linear)}
    found = {}
    for name, array in model.state_dict().items():
        if name in linear:
            array = array.T
        if layout.pairs and re.search(r"self_attn\.[qk]_proj\.", name):
            array = _neighbours(array, model.config.head_size)
        found[rename(name, layout.names)] = array
    if layout.names is GPT2 and not model.config.bias:
        layers = [name for name in found if "_embd" not in name]
        found |= {name.replace("weight", "bias"): np.zeros(len(found[name]), np.float32) for name in layers}
    if factors := _frequency_factors(model, layout):
        found["rope_freqs.weight"] = factors[0]
    return found


def _neighbours(array, width):
    """Reorder rows for attention that rotates channels 2i and 2i + 1 of a head instead of i and i + D/2."""
    halves = array.reshape(-1, 2, width // 2, *array.shape[1:])
    return halves.swapaxes(1, 2).reshape(array.shape)


def _frequency_factors(model, layout):
    """Return the divisor of each pair's frequency, as [array (D/2,)]; [] if the model has no scaling.

    Raises UserError if llama.cpp has no place for this scaling.
    """
    c = model.config
    if getattr(c, "scaling", None) is None:
        return []
    plain, scaled = ([table[1] for table in Rope(c.head_size, c.theta, scaling).tabulate(2)]
                     for scaling in (None, c.scaling))
    if layout.architecture != "llama" or not np.allclose(np.hypot(*scaled), 1):
        raise UserError(f"llama.cpp has no place for the scaling {c.scaling} in a {model.model_type}")
    before, after = (np.arctan2(sin, cos) for cos, sin in (plain, scaled))
    return [(before / after).astype(np.float32)]


def _write(path, settings, tensors, bits):
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(settings))
    head += b"".join(_text(name) + _value(value) for name, value in settings.items())
    place, packed = 0, {}
    for name, array in tensors.items():
        small = array.ndim == 2 and array.shape[1] % BLOCK == 0 and "position_embd" not in name
        packed[name] = kind = TYPES[bits] if small else TYPES[32]
        size = array.size * kind.block_bytes // BLOCK
        shape = array.shape[::-1]  # the dimension that varies fastest comes first
        head += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind.code, place)
        place += size + -size % ALIGNMENT
    with atomic_write(path, "wb") as file:
        file.write(head + bytes(-len(head) % ALIGNMENT))
        for name, array in tensors.items():
            data = packed[name].pack(np.ascontiguousarray(array, "<f4"))
            file.write(data)
            file.write(bytes(-len(data) % ALIGNMENT))


def _text(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value, whole=(4, "I")):
    """Encode a setting, as its type and its bytes: bool, int, float, str, or a list of str or int.

    llama.cpp expects whole numbers to have 32 bits, unsigned if they stand alone and signed in a list.
    """
    if isinstance(value, list):
        items = [_value(item, whole=(5, "i")) for item in value] or [_value("")]
        head = struct.pack("<I", 9) + items[0][:4] + struct.pack("<Q", len(value))
        return head + b"".join(item[4:] for item in items[: len(value)])
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    code, letter = {bool: (7, "?"), int: whole, float: (6, "f")}[type(value)]
    return struct.pack(f"<I{letter}", code, value)


def pack_q8_0(x: np.ndarray) -> bytes:
    """Pack numbers in ggml's Q8_0, blocks of 32 rounded to 8 bits: x (n, k) -> bytes.

    The number with the largest absolute value in a block becomes 127 or -127.
    """
    blocks = x.reshape(-1, BLOCK)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
    y = blocks * inverse
    q = np.trunc(y + np.copysign(np.float32(0.5), y)).astype(np.int8)  # halves are rounded away from zero
    return _joined(scale, q)


def pack_q4_0(x: np.ndarray) -> bytes:
    """Pack numbers in ggml's Q4_0, blocks of 32 rounded to 4 bits: x (n, k) -> bytes.

    The number with the largest absolute value in a block becomes -8. Byte i of a block holds number i in its
    low bits, number i + 16 in its high bits, each plus 8.
    """
    blocks = x.reshape(-1, BLOCK)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1, keepdims=True), axis=1)
    scale = largest / np.float32(-8)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
    q = np.minimum(blocks.astype(np.float64) * inverse + 8.5, 15).astype(np.uint8)
    return _joined(scale, q[:, : BLOCK // 2] | q[:, BLOCK // 2 :] << 4)


def _joined(scale, q):
    return np.concatenate([scale.astype("<f2").view(np.uint8), q.view(np.uint8)], axis=1).tobytes()


class Type(NamedTuple):
    """A format of weights: ggml's codes for a tensor and a file, bytes per 32 weights, how to pack them."""

    code: int
    file_type: int
    block_bytes: int
    pack: Callable[[np.ndarray], bytes]


TYPES = {32: Type(0, 0, 128, np.ndarray.tobytes), 8: Type(8, 7, 34, pack_q8_0), 4: Type(2, 2, 18, pack_q4_0)}
