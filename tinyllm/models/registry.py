"""Register the model families under their names, the `model_type` in Hugging Face's config.json.

A family is one file in this folder and one line here.
"""

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

from tinyllm.errors import UserError, unknown, worded
from tinyllm.files import read_json
from tinyllm.models import adapter
from tinyllm.models.bert import Bert
from tinyllm.models.deepseek_v3 import DeepseekV3
from tinyllm.models.falcon import Falcon
from tinyllm.models.fuyu import Fuyu
from tinyllm.models.generation import FILE as GENERATION, read_generation
from tinyllm.models.gpt import GPT
from tinyllm.models.layout import write_config
from tinyllm.models.llama import Llama
from tinyllm.models.mistral import Mistral
from tinyllm.models.mixtral import Mixtral
from tinyllm.models.pretrained import MAX_JSON_BYTES, load_folder
from tinyllm.models.qwen2 import Qwen2
from tinyllm.models.qwen3 import Qwen3
from tinyllm.models.qwen3_moe import Qwen3Moe
from tinyllm.models.smollm3 import SmolLM3
from tinyllm.models.t5 import T5
from tinyllm.models.weights import Origin, hash_weights
from tinyllm.nn import merge, quantize

ALL = (GPT, Llama, Mistral, Qwen2, Qwen3, SmolLM3, Mixtral, Qwen3Moe, DeepseekV3, Falcon, Fuyu, Bert, T5)
FAMILIES: dict[str, Any] = {family.model_type: family for family in ALL}
BY_CONFIG: dict[type, Any] = {family.config_class: family for family in ALL}
SHORT = {"gpt": "gpt2"}
SHIPPED = Path(__file__).with_name("shipped")  # made by tools/shipped_model.py


def names() -> list[str]:
    """Return the model_type of every family."""
    return list(FAMILIES)


def family(name: Any) -> Any:
    """Return the class of a family by its model_type or a short name like gpt, or raise UserError."""
    text = str(name)
    if (found := FAMILIES.get(SHORT.get(text, text))) is None:
        raise unknown("model", text, [*SHORT, *FAMILIES])
    return found


def family_of(config: Any) -> Any:
    """Return the class of the family that a config belongs to. Raises TypeError if there is none."""
    if type(config) not in BY_CONFIG:
        raise TypeError(f"build needs a dict or a config of a family, got {type(config).__name__}")
    return BY_CONFIG[type(config)]


def make_config(settings: dict[str, Any]) -> Any:
    """Make a family's config from a dict with `model_type` and the config's fields, or raise UserError."""
    settings = dict(settings)
    cls = family(settings.pop("model_type", None))
    fields = {f.name: f for f in dataclasses.fields(cls.config_class)}
    for name in settings:
        if name not in fields:
            raise UserError(f"{cls.model_type} has no setting {name!r}; it has {', '.join(fields)}")
    for name, f in fields.items():
        if name not in settings and f.default is dataclasses.MISSING:
            raise UserError(f"{cls.model_type} needs the setting {name!r}: {f.metadata['help']}")
    return cls.config_class(**settings)


def build(config: Any, seed: int | None = 0) -> Any:
    """Build an untrained model from a config, or from a dict for `make_config`.

    `seed` decides the initial weights; with None the matrices stay zero, for weights from a file. Raises
    UserError for inconsistent or impossible settings, TypeError for another type of config.
    """
    if isinstance(config, dict):
        config = make_config(config)
    cls = family_of(config)
    write_config(cls, config)  # raises an error now, not when the model is saved
    return cls(config, seed)


def locate(place: Path | str) -> Path:
    """Return the folder of a model: `place` itself, or for "shipped" the folder in this package.

    Raises UserError for a name as on Hugging Face's Hub, such as "gpt2/small", unless "gpt2" is a folder.
    """
    owner, _, name = str(place).partition("/")
    if re.fullmatch(r"\w[\w.-]*", name) and owner not in ("", "runs") and not os.path.lexists(owner):
        raise UserError(f"there is no folder {place}; a model on the Hub of Hugging Face becomes one by `pip "
                        f"install huggingface_hub` and `hf download {place} --local-dir {name}`")
    return SHIPPED if str(place) == SHIPPED.name and not os.path.exists(place) else Path(place)


def from_pretrained(place: Path | str, bits: int | None = None) -> Any:
    """Load a model from a Hugging Face folder, or "shipped": config.json, and one or more safetensors files.

    The folder of an adapter gives its base model with adapters. The model is in evaluation mode; a quantised
    checkpoint gives a quantised model. With `bits`, 8 or 4, each linear layer is quantised as soon as it is
    read, so the full weights are never in memory at once. Files are read in blocks, without a second copy.
    They are not memory-mapped, because most weights are stored transposed, and because a mapped file that
    becomes shorter kills the process. Raises UserError with the name of a file that is missing or broken, or
    that describes a model tinyllm cannot run.
    """
    folder = locate(place)
    if not os.path.isdir(folder):
        raise UserError(f"there is no folder {folder}: give the folder of a model")
    below = sorted(folder.glob("checkpoints/*/*config.json"))
    if below and not os.path.exists(folder / "config.json"):
        raise UserError(f"{folder} has no config.json: give a checkpoint in it, such as {below[-1].parent}")
    if os.path.lexists(folder / adapter.FILE):
        model = open_adapter(folder)
        return quantize(merge(model), bits) if bits else model
    found = read_json(folder / "config.json", {}, MAX_JSON_BYTES)
    with worded(f"the model_type in {folder / 'config.json'}: "):
        cls = family(found.get("model_type"))
    return load_folder(cls, folder, found, bits)


def open_adapter(folder: Path) -> Any:
    """Load an adapter's base model, and give it the adapters in a folder.

    Raises UserError when the base is gone or has changed, or the adapter does not fit it.
    """
    settings, recorded = adapter.read_settings(folder)
    origin = Origin(settings["base_model_name_or_path"], recorded.get(adapter.DIGEST, ""))
    base = locate(origin.folder)
    if os.path.lexists(base / adapter.FILE):
        raise UserError(f"{folder} is an adapter of {base}, which is an adapter itself: merge that first")
    if not os.path.isdir(base):
        raise UserError(f"{folder} is an adapter of {base}, which is gone: bring it back")
    model = from_pretrained(base)  # before its weights are hashed: huge ones are refused by their header
    if origin.sha256 and origin.sha256 != (now := hash_weights(base)):
        raise UserError(f"{folder} is an adapter of weights with the SHA-256 {origin.sha256[:12]}..., and "
                        f"those in {base} have {now[:12]}...: bring the old ones back")
    model = adapter.apply_adapter(model, folder, settings, recorded.get(adapter.LABELS))
    model.origin = origin
    if os.path.lexists(folder / GENERATION):
        model.generation = read_generation(folder, {})
    return model
