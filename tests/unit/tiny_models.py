"""Small models of every family, and ways to change and compare their folders."""

import json

import numpy as np
import pytest
import safetensors.numpy
from tiny_gpt import shaken

from tinyllm.models import build
from tinyllm.tensor import no_grad

SIZES = {"vocab_size": 19, "context": 12, "layers": 2, "heads": 4, "width": 32}
SCALINGS = {
    "linear": {}, "yarn": {"original_max_position_embeddings": 6},
    "llama3": {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 6},
}
DEEP = {"rope_type": "yarn", "factor": 40, "beta_fast": 4, "mscale": 0.7, "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 60}
T5_SIZES = SIZES | {"heads": 3, "head_width": 6, "hidden": 20, "tied": True}
LATENT = {"kv_heads": 4, "hidden": 48, "head_width": 6, "plain_width": 7, "value_width": 5, "latent": 10}
MODELS = {
    "gpt2": {"model_type": "gpt2", **SIZES, "eps": 1e-4, "dropout": 0.1, "attention_dropout": 0.2},
    "llama": {"model_type": "llama", **SIZES, "kv_heads": 2, "hidden": 48, "theta": 500.0},
    "llama tied": {"model_type": "llama", **SIZES, "kv_heads": 4, "hidden": 48, "tied": True},
    **{f"llama {kind}": {"model_type": "llama", **SIZES, "kv_heads": 2, "hidden": 48,
                         "scaling": {"rope_type": kind, "factor": 4.0, **more}}
       for kind, more in SCALINGS.items()},
    "qwen2": {"model_type": "qwen2", **SIZES, "kv_heads": 2, "hidden": 48, "tied": True,
              "attention_dropout": 0.1},
    "mistral": {"model_type": "mistral", **SIZES, "kv_heads": 1, "hidden": 48, "window": 3},
    "llama of odd sizes": {"model_type": "llama", **SIZES, "kv_heads": 1, "hidden": 20, "head_width": 6,
                           "bias": True, "mlp_bias": True, "theta": 700.0},
    "qwen3": {"model_type": "qwen3", **SIZES, "kv_heads": 2, "hidden": 48, "head_width": 10, "tied": True},
    "smollm3": {"model_type": "smollm3", **SIZES, "kv_heads": 2, "hidden": 48, "no_rope_every": 2},
    "mixtral": {"model_type": "mixtral", **SIZES, "kv_heads": 2, "hidden": 24, "experts": 5, "window": 4},
    "qwen3_moe": {"model_type": "qwen3_moe", **SIZES, "kv_heads": 2, "hidden": 24, "experts": 4, "top": 3},
    "deepseek_v3": {"model_type": "deepseek_v3", **SIZES, **LATENT, "query_latent": 14},
    "deepseek_v3 of one matrix": {"model_type": "deepseek_v3", **SIZES, **LATENT, "bias": True},
    "falcon": {"model_type": "falcon", **SIZES, "hidden": 48},
    "falcon of many heads": {"model_type": "falcon", **SIZES, "hidden": 128, "multi_query": False,
                             "bias": True, "tied": False},
    "falcon scaled": {"model_type": "falcon", **SIZES, "hidden": 48, "scaling": DEEP | {"truncate": False}},
    "deepseek_v3 scaled": {"model_type": "deepseek_v3", **SIZES, **LATENT, "scaling": DEEP},
    "fuyu": {"model_type": "fuyu", **SIZES, "hidden": 48, "side": 6, "patch": 3, "picture": 7,
             "theta": 300.0},
    "t5": {"model_type": "t5", **T5_SIZES, "scaled": True},
    "t5 1.1": {"model_type": "t5", **T5_SIZES, "tied": False, "scaled": False, "mlp": "gated-gelu"},
    "t5 of odd sizes": {"model_type": "t5", **T5_SIZES, "decoder_layers": 3, "buckets": 7, "max_distance": 5,
                        "mlp": "gated-gelu", "eps": 1e-4, "start": 2, "dropout": 0.1},
    "t5 untied": {"model_type": "t5", **T5_SIZES, "decoder_layers": 1, "tied": False, "buckets": 6,
                  "max_distance": 9},
    "mt5": {"model_type": "mt5", **T5_SIZES},
    "bert": {"model_type": "bert", **SIZES, "hidden": 48, "dropout": 0.1, "eps": 1e-5},
    "bert of odd sizes": {"model_type": "bert", **SIZES, "heads": 2, "hidden": 20, "segments": 3},
}
TOKENS = np.random.default_rng(0).integers(0, 19, (2, 12))
each = pytest.mark.parametrize("name", MODELS)


def made(name, **changes):
    """A model whose weights are large enough for every part of it to matter."""
    return shaken(build(MODELS[name] | changes, seed=None), 0.3, 1).eval()


def inputs(model):
    """What a model reads: tokens, and for an encoder-decoder those that it has written."""
    return (TOKENS, TOKENS[:, 7::-1]) if model.is_encoder_decoder else (TOKENS,)


def logits(model):
    with no_grad():
        return model(*inputs(model)).data


def change(folder, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))


def rewrite(folder, edit):
    """Save the weights in a folder once more, as `edit` makes them of {name: array}."""
    path = folder / "model.safetensors"
    safetensors.numpy.save_file(edit(safetensors.numpy.load_file(path)), path)


def open_there(transformers, folder, dtype="float32", **options):
    """Open a folder with the class of transformers that its config.json names."""
    (cls,) = json.loads((folder / "config.json").read_text())["architectures"]
    return getattr(transformers, cls).from_pretrained(folder, dtype=dtype, **options)


def called(model, ours, **options):
    """Call a model of transformers with what ours reads."""
    import torch

    names = ("input_ids", "decoder_input_ids")
    given = {name: torch.from_numpy(x.copy()) for name, x in zip(names, inputs(ours), strict=False)}
    with torch.no_grad():
        return model(**given, **options)


def theirs_logits(model, ours):
    return called(model, ours).logits.numpy()
