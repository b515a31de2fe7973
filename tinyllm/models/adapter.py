"""Write and read adapters as peft does: adapter_config.json and adapter_model.safetensors.

peft, the library of Hugging Face for adapters, calls the arrays of a layer's adapter
`base_model.model.LAYER.lora_A.weight` (rank, n_in) and `base_model.model.LAYER.lora_B.weight` (n_out, rank),
where LAYER is transformers' name of the layer. tinyllm also writes the SHA-256 of the base's weights.
(https://huggingface.co/docs/peft/developer_guides/checkpoint)
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinyllm.config import bounded
from tinyllm.errors import UserError, worded
from tinyllm.files import atomic_write_text, parse_json, read_json
from tinyllm.models.weights import Origin, Stored, hash_weights, read_header, save_weights
from tinyllm.nn import adapt, adapter_state, adapters, load_adapter, without_memory

FILE, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # peft's two wrappers around the base model
PARTS = (".lora_A.weight", ".lora_B.weight")
SCORE = "score.weight"  # (1, C) here and in files: the only matrix that files do not hold transposed
DIGEST, LABELS = "base_sha256", "labels"  # in the metadata of the weights
TASKS = {"causal": "CAUSAL_LM", "spans": "SEQ_2_SEQ_LM", "classify": "SEQ_CLS", "scores": "SEQ_CLS"}
SETTINGS = {"peft_type": bounded(str, choices=["LORA"]), "r": bounded(int, min=1, max=2**24),
            "lora_alpha": float, "base_model_name_or_path": str}
# Settings that do not change a trained adapter's output, or that this module reads.
HARMLESS = {*SETTINGS, "auto_mapping", "fan_in_fan_out", "inference_mode", "lora_dropout", "megatron_core",
            "peft_version", "qalora_group_size", "target_modules", "task_type"}
# Other settings, with the values that tinyllm accepts; init_lora_weights="pissa" also changes the base.
ALLOWED = {"bias": ("none",), "init_lora_weights": (True, False, None, "gaussian", "orthogonal")}
NEUTRAL: tuple = (None, False, [], {})


def base_of(model: Any) -> Origin:
    """Return the folder of the base weights of a model with adapters. Raises UserError if there is none."""
    if model.origin is None:
        raise UserError("no folder has the weights under these adapters: save the model before nn.adapt, and "
                        "open that folder, or nn.merge(model) first")
    return replace(model.origin, sha256=model.origin.sha256 or hash_weights(Path(model.origin.folder)))


def save_adapter(model: Any, base: Origin, folder: Path) -> None:
    """Write the adapters and new layers of a model, without the weights of its base."""
    metadata, state, layers = {"format": "pt", DIGEST: base.sha256}, adapter_state(model), adapters(model)
    new = {name.rpartition(".")[0] for name in state if not name.endswith(PARTS)}
    if new:
        metadata[LABELS] = json.dumps(getattr(model.config, "labels", []))
    arrays = {PREFIX + model.module_name(n): a if n == SCORE else a.T for n, a in state.items()}
    save_weights(arrays, folder / WEIGHTS, metadata)

    def theirs(names):
        return [model.module_name(f"{name}.weight").removesuffix(".weight") for name in names]

    one = next(iter(layers.values()))
    write_json(folder / FILE, {
        "peft_type": "LORA", "task_type": TASKS.get(getattr(model.config, "task", model.objective)),
        "base_model_name_or_path": base.folder, "r": one.rank, "lora_alpha": one.alpha, "bias": "none",
        "fan_in_fan_out": not model.layout.transposed, "inference_mode": True,
        "target_modules": theirs(layers), "modules_to_save": sorted(theirs(new)) or None,
    })


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file as Hugging Face's libraries do."""
    atomic_write_text(path, json.dumps(value, indent=2) + "\n")


def read_settings(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a folder's adapter_config.json and its weights' metadata; raise UserError if unfit or broken."""
    path = folder / FILE
    found, metadata = read_json(path, SETTINGS, 2**20), read_header(folder / WEIGHTS)[1]
    for name, value in found.items():
        ours = name == "modules_to_save" and LABELS in metadata
        if name not in HARMLESS and value not in ALLOWED.get(name, NEUTRAL) and not ours:
            raise UserError(f"{path} says {name} = {value!r:.100}, which tinyllm cannot apply: "
                            "merge the adapter with peft first")
    return found, metadata


def apply_adapter(model: Any, folder: Path, settings: dict[str, Any], labels: str | None) -> Any:
    """Give a base model the adapters in a folder, and, if there are `labels`, an output layer for these.

    Returns the model. Raises UserError, naming the file, when arrays are missing, too many or broken, or fit
    no linear layer.
    """
    path = folder / WEIGHTS
    with worded(f"{path}: ", unless=path):
        if labels and model.objective == "masked":
            model = model.for_task("classify", parse_json(labels))
        elif labels and model.objective == "causal":
            model = model.for_scores()
        state = read_adapter(model, path)
        layers = {name.removesuffix(part): name for part in PARTS for name in state if name.endswith(part)}
        new = [name for name in state if not name.endswith(PARTS)]
        if new and not labels:
            raise UserError(f"{new[0]} is no adapter of a linear layer")
        with without_memory():
            adapt(model, settings["r"], settings["lora_alpha"], [*layers], seed=None, new=new)
        load_adapter(model, state)
    return model


def read_adapter(model: Any, path: Path) -> dict[str, Stored]:
    """Read a file's header -> {name in model: array to read}. Raises UserError for unknown names."""
    stored = read_header(path)[0]
    if others := [name for name in stored if not name.startswith(PREFIX)]:
        raise UserError(f"{path} holds {others[0]}: the names of peft begin with {PREFIX}")
    named = {name.removeprefix(PREFIX): array for name, array in stored.items()}
    return model.layout.own_names({n: a if n == SCORE else a.turned() for n, a in named.items()})
