"""Write and read adapters as peft does: adapter_config.json and adapter_model.safetensors.

peft, the library of Hugging Face for adapters, calls the arrays of a layer's adapter
`base_model.model.LAYER.lora_A.weight` (rank, n_in) and `base_model.model.LAYER.lora_B.weight` (n_out, rank),
where LAYER is transformers' name of the layer. tinyllm also writes the SHA-256 of the base's weights.
(https://huggingface.co/docs/peft/developer_guides/checkpoint)
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tinyllm.config import bounded
from tinyllm.errors import UserError
from tinyllm.files import atomic_write_text, read_json
from tinyllm.models.hub import download, is_hub_name
from tinyllm.models.weights import Origin, hash_weights, read_header, save_weights
from tinyllm.nn import Linear, adapt, adapter_state, adapters, load_adapter
from tinyllm.nn.init import without_memory
from tinyllm.nn.lora import ends_with

FILE, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # peft's two wrappers around the base model
PARTS = (".lora_A.weight", ".lora_B.weight")
DIGEST = "base_sha256"  # in the metadata of the weights
TASKS = {"causal": "CAUSAL_LM", "spans": "SEQ_2_SEQ_LM"}
SETTINGS = {"peft_type": str, "r": bounded(int, min=1, max=2**24), "lora_alpha": float,
            "base_model_name_or_path": str}  # fmt: skip
# The values that tinyllm can apply. Others of `init_lora_weights`, such as pissa, also change the base.
ALLOWED = {"peft_type": ("LORA",), "bias": ("none",),
           "init_lora_weights": (True, False, None, "gaussian", "orthogonal")}  # fmt: skip
# Settings that change no output of a trained adapter, or that are read below.
HARMLESS = {*SETTINGS, "auto_mapping", "fan_in_fan_out", "inference_mode", "lora_dropout", "megatron_core",
            "peft_version", "qalora_group_size", "target_modules", "task_type"} - {*ALLOWED}  # fmt: skip
NEUTRAL: tuple = (None, False, [], {})


def save_adapter(model: Any, folder: Path) -> None:
    """Write the adapters of a model, without its other weights. Raises UserError if no folder has these."""
    if model.origin is None:
        raise UserError("no folder has the weights under these adapters: save the model before nn.adapt, and "
                        "open that folder, or nn.merge(model) first")  # fmt: skip
    layers = adapters(model)
    one = next(iter(layers.values()))
    place, sha256 = model.origin.folder, model.origin.sha256
    sha256 = sha256 or hash_weights(download(place) if is_hub_name(place) else Path(place))
    arrays = {PREFIX + model.module_name(name): a.T for name, a in adapter_state(model).items()}
    save_weights(arrays, folder / WEIGHTS, {"format": "pt", DIGEST: sha256})
    found = {
        "peft_type": "LORA", "task_type": TASKS.get(model.objective), "r": one.rank, "lora_alpha": one.alpha,
        "base_model_name_or_path": place, "bias": "none", "inference_mode": True,
        "fan_in_fan_out": not model.layout.transposed,
        "target_modules": [_layer(model, name) for name in layers],
    }  # fmt: skip
    atomic_write_text(folder / FILE, json.dumps(found, indent=2) + "\n")


def _layer(model, name):
    return model.module_name(f"{name}.weight").removesuffix(".weight")


def read_settings(folder: Path) -> dict[str, Any]:
    """Return the content of a folder's adapter_config.json.

    Raises UserError when it is broken, or has a setting that tinyllm cannot apply.
    """
    path = folder / FILE
    found = read_json(path, SETTINGS, 2**20)
    for name, value in found.items():
        if name not in HARMLESS and value not in ALLOWED.get(name, NEUTRAL):
            raise UserError(f"{path} says {name} = {value!r:.100}, which tinyllm cannot apply: "
                            "merge the adapter with peft first")  # fmt: skip
    return found


def base_of(folder: Path, settings: dict[str, Any]) -> Origin:
    """Return the base model of an adapter, with the SHA-256 that tinyllm recorded, or "" if peft wrote it."""
    return Origin(settings["base_model_name_or_path"], read_header(folder / WEIGHTS)[1].get(DIGEST, ""))


def apply_adapter(model: Any, folder: Path, settings: dict[str, Any]) -> None:
    """Give a base model the adapters in a folder.

    Raises UserError, naming the file, when arrays are missing, too many or broken, or fit no linear layer.
    """
    path = folder / WEIGHTS
    try:
        state = read_adapter(model, path)
        layers = {name.removesuffix(part): name for part in PARTS for name in state if name.endswith(part)}
        check_targets(model, settings.get("target_modules"), layers)
        with without_memory():
            adapt(model, settings["r"], settings["lora_alpha"], [*layers], seed=None)
        load_adapter(model, state)
    except UserError as error:
        raise UserError(error if str(path) in str(error) else f"{path}: {error}") from error


def read_adapter(model: Any, path: Path) -> dict[str, np.ndarray]:
    """Read adapter_model.safetensors -> {the model's name: array}. Raises UserError for other arrays."""
    stored = read_header(path)[0]
    if others := [name for name in stored if not (name.startswith(PREFIX) and name.endswith(PARTS))]:
        raise UserError(f"{path} holds {others[0]}, which is no adapter of a linear layer")
    found = model.own_names({name.removeprefix(PREFIX): array for name, array in stored.items()})
    return {name: array.read(transposed=True) for name, array in found.items()}


def check_targets(model: Any, targets: Any, layers: dict[str, str]) -> None:
    """Raise UserError if a linear layer that the list `targets` names has no adapter among `layers`."""
    linears = [name for name, part in model.named_modules() if isinstance(part, Linear)]
    for target in targets if isinstance(targets, list) else []:  # or a pattern, which could take hours
        for name in linears:
            if ends_with(_layer(model, name), str(target)) and name not in layers:
                raise UserError(f"there is no {name}{PARTS[0]}, and {FILE} has the target {target}")
