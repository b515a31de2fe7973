"""Make small models of every family and their inputs; run, change and compare them."""

import itertools
import json
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from tiny_gpt import shaken

from tinyllm import nn
from tinyllm.models import build, family, names
from tinyllm.tensor import no_grad

V, MARK = 19, 7
SIZES = {"vocab_size": V, "context": 12, "layers": 2, "heads": 4, "width": 32}
LLAMA = SIZES | {"model_type": "llama", "kv_heads": 2, "hidden": 48}
SCALINGS = {
    "linear": {}, "yarn": {"original_max_position_embeddings": 6},
    "llama3": {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 6},
}
T5_SIZES = SIZES | {"model_type": "t5", "heads": 3, "head_width": 6, "hidden": 20, "tied": True}
MODELS: dict[str, dict[str, Any]] = {
    "gpt2": {"model_type": "gpt2", **SIZES, "eps": 1e-4, "dropout": 0.1},
    "llama": LLAMA | {"theta": 500.0},
    "llama tied": LLAMA | {"kv_heads": 4, "tied": True},
    **{f"llama {kind}": LLAMA | {"scaling": {"rope_type": kind, "factor": 4.0, **more}}
       for kind, more in SCALINGS.items()},
    "llama of odd sizes": LLAMA | {"kv_heads": 1, "hidden": 20, "head_width": 6, "bias": True,
                                   "mlp_bias": True, "theta": 700.0},
    "qwen2": LLAMA | {"model_type": "qwen2", "tied": True},
    "mistral": LLAMA | {"model_type": "mistral", "kv_heads": 1, "window": 3},
    "qwen3": LLAMA | {"model_type": "qwen3", "head_width": 10, "tied": True},
    "smollm3": LLAMA | {"model_type": "smollm3", "no_rope_every": 2},
    "mixtral": LLAMA | {"model_type": "mixtral", "hidden": 24, "experts": 5, "window": 4},
    "qwen3_moe": LLAMA | {"model_type": "qwen3_moe", "hidden": 24, "experts": 4, "top": 3},
    "deepseek_v3": LLAMA | {"model_type": "deepseek_v3", "kv_heads": 4, "head_width": 6, "plain_width": 7,
                            "value_width": 5, "latent": 10, "bias": True},
    "falcon": {"model_type": "falcon", **SIZES, "hidden": 48},
    "fuyu": {"model_type": "fuyu", **SIZES, "hidden": 48, "side": 6, "patch": 3, "picture": MARK,
             "theta": 300.0},
    "t5": T5_SIZES | {"scaled": True},
    "t5 1.1": T5_SIZES | {"tied": False, "scaled": False, "mlp": "gated-gelu"},
    "t5 of odd sizes": T5_SIZES | {"decoder_layers": 3, "buckets": 7, "max_distance": 5, "mlp": "gated-gelu",
                                   "eps": 1e-4, "start": 2, "dropout": 0.1},
    "t5 untied": T5_SIZES | {"decoder_layers": 1, "tied": False, "buckets": 6, "max_distance": 9},
    "bert": {"model_type": "bert", **SIZES, "hidden": 48, "dropout": 0.1, "eps": 1e-5},
    "bert of odd sizes": {"model_type": "bert", **SIZES, "heads": 2, "hidden": 20, "segments": 3},
}
DECODERS = [name for name in names() if issubclass(family(name), nn.DecoderLM)]
WRITERS = [name for name in names() if family(name).objective != "masked"]  # families with a cache
TOKENS = np.random.default_rng(0).integers(0, V, (2, 12))
each = pytest.mark.parametrize("name", MODELS)
each_family = pytest.mark.parametrize("name", names())
each_stored = pytest.mark.parametrize("name, bits", [  # all models, and each family in fewer bits
    *((name, None) for name in MODELS), *itertools.product(names(), [8, 4])])


def made(name, **changes):
    """Build a model of MODELS with weights so large that each part changes the result."""
    return shaken(build(MODELS[name] | changes, seed=None), 0.3, 1).eval()


def lively(name, seed=0, dtype=np.float32, **changes):
    """Build a model of MODELS with weights from a seed, without dropout, and without a balance loss."""
    still = {key: 0.0 for key in ("dropout", "balance") if hasattr(
        family(MODELS[name]["model_type"]).config_class, key)}
    return shaken(build(MODELS[name] | still | changes, seed=None), 0.3, seed, dtype).eval()


@dataclass(frozen=True)
class Reading:
    """Hold a batch of inputs of a model: tokens, their lengths, and other arrays such as pictures.

    tokens (B, T): those after a row's length are padding. written (B, S): the tokens of the decoder, if
    the model has an encoder too; logits belong to these.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    more: dict[str, np.ndarray] = field(default_factory=dict)
    written: np.ndarray | None = None

    @property
    def out(self):
        """Return the tokens that logits belong to (B, S), and True for those that are no padding (B, S)."""
        if self.written is not None:
            return self.written, np.ones(self.written.shape, bool)
        return self.tokens, np.arange(self.tokens.shape[1]) < self.lengths[:, None]

    def row(self, b):
        """Return what row b reads, without its padding."""
        n = self.lengths[b]
        more = {key: x[b : b + 1] if x.ndim > 2 else x[b : b + 1, :n] for key, x in self.more.items()}
        written = None if self.written is None else self.written[b : b + 1]
        return Reading(self.tokens[b : b + 1, :n], self.lengths[b : b + 1], more, written)

    def of(self, call, *given):
        """Call a model, or a method such as `model.loss`, on this batch."""
        both_ways = "segments" in self.more or self.written is not None  # causal models never see padding
        seen = nn.Seen(lengths=self.lengths if both_ways else None)
        return call(self.tokens, *given, **self.more, seen=seen)

    def logits(self, model):
        """Return a model's logits for all tokens of `out` (B, S, V)."""
        with no_grad():
            return self.of(model, *() if self.written is None else [self.written]).data


def reads(model, seed=0, rows=3, length=8):
    """Draw inputs for a model: rows of unequal lengths, with segments or pictures if it takes them."""
    rng, config = np.random.default_rng(seed), model.config
    lengths = np.maximum(rng.integers(1, length + 1, rows), 6 if model.picture_marks else 1)
    lengths[0] = length
    tokens, more = rng.integers(0, V, (rows, length)), {}
    if model.objective == "masked":
        more["segments"] = np.sort(rng.integers(0, config.segments, tokens.shape), axis=1)
    if model.picture_marks:
        tokens[tokens == MARK] += 1
        for row in tokens:
            row[rng.permutation(5)[:4]] = MARK  # within the length of every row
        more["pictures"] = rng.integers(0, 256, (rows, config.side, config.side, 3), dtype=np.uint8)
    written = rng.integers(0, V, (rows, length - 1)) if model.is_encoder_decoder else None
    return Reading(tokens, lengths, more, written)


def refilled(reading, fill):
    """Return a reading with `fill` as padding."""
    real = np.arange(reading.tokens.shape[1]) < reading.lengths[:, None]
    return replace(reading, tokens=np.where(real, reading.tokens, fill))


def inputs(model):
    """Return the tokens that a model reads, and, for an encoder-decoder, those that it has written."""
    return (TOKENS, TOKENS[:, 7::-1]) if model.is_encoder_decoder else (TOKENS,)


def logits(model):
    with no_grad():
        return model(*inputs(model)).data


def change(folder, file="config.json", **changes):
    """Change settings in a JSON file of a folder; `...` removes one."""
    path = folder / file
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))


def rewrite(folder, edit, file="model.safetensors"):
    """Apply `edit` to the weights of a folder, {name: array}, and save the result there."""
    path = folder / file
    safetensors.numpy.save_file(edit(safetensors.numpy.load_file(path)), path)


def open_there(transformers, folder, dtype="float32", **options):
    """Open a folder with the class of transformers that its config.json names."""
    (cls,) = json.loads((folder / "config.json").read_text())["architectures"]
    return getattr(transformers, cls).from_pretrained(folder, dtype=dtype, **options)


def theirs_logits(model, ours):
    """Return the logits of a model of transformers on the inputs of our model."""
    import torch

    kinds = ("input_ids", "decoder_input_ids")
    given = {kind: torch.from_numpy(x.copy()) for kind, x in zip(kinds, inputs(ours), strict=False)}
    with torch.no_grad():
        return model(**given).logits.numpy()
