"""Hugging Face's GPT-2 folders: what their names and settings are called here."""

import json
import re
from pathlib import Path

import numpy as np

from tinyllm.errors import UserError
from tinyllm.models.weights import load_weights

MAX_CONFIG_BYTES = 1 << 20  # a config.json is about a kilobyte

SIZES = {
    "vocab_size": "vocab_size",
    "context": "n_positions",
    "layers": "n_layer",
    "heads": "n_head",
    "width": "n_embd",
    "eps": "layer_norm_epsilon",
}

MUST_BE = {  # settings that GPT-2's own checkpoints never change; models/gpt.py is written for these
    "model_type": ("gpt2",),
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "tie_word_embeddings": (True,),
}


def read_gpt2(folder):
    """Read a folder's config.json and model.safetensors, in this library's words.

    folder -> keyword arguments of GPTConfig, {name: array} as GPT names them. The file's names may
    begin with `transformer.`; the causal masks that old files hold are left out, and `lm_head.weight` is
    accepted where it equals wte.weight. Raises UserError when a file is missing or broken, or describes
    another kind of model.
    """
    folder = Path(folder)
    config = read_json(folder / "config.json")
    for key, allowed in MUST_BE.items():
        if config.get(key, allowed[0]) not in allowed:
            raise UserError(
                f"{folder} is no GPT-2 that tinyllm can run: its config.json says {key} = {config[key]!r}"
            )
    for ours, theirs in SIZES.items():
        if ours != "eps" and type(config.get(theirs)) is not int:
            raise UserError(f"the config.json in {folder} gives no whole number as {theirs}")
    if config.get("n_inner") not in (None, 4 * config["n_embd"]):
        raise UserError(f"{folder} has n_inner = {config['n_inner']}; tinyllm's GPT has four times n_embd")
    sizes = {ours: config[theirs] for ours, theirs in SIZES.items() if theirs in config}
    state = _rename(load_weights(folder / "model.safetensors")[0])
    blocks = len({name.split(".")[1] for name in state if name.startswith("h.")})
    if blocks != sizes["layers"]:  # before a model of that many is built
        raise UserError(f"{folder}: n_layer is {sizes['layers']}, and the weights have {blocks} blocks")
    return sizes, state


def _rename(state):
    state = {name.removeprefix("transformer."): array for name, array in state.items()}
    state = {name: a for name, a in state.items() if not re.fullmatch(r"h\.\d+\.attn\.(masked_)?bias", name)}
    head = state.pop("lm_head.weight", None)
    if head is not None and not np.array_equal(head, state.get("wte.weight")):
        raise UserError(
            "lm_head.weight differs from wte.weight: this is no GPT-2, whose output layer is its embedding"
        )
    return state


def read_json(path):
    """Read one JSON object from a file. Raises UserError when it is missing, too large, or something else."""
    try:
        with open(path, "rb") as f:
            data = f.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_CONFIG_BYTES:
        raise UserError(f"{path} is larger than a config.json can be")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no JSON object")
    return value
