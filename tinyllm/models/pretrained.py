"""Read and write checkpoints in Hugging Face's layout: a folder with config.json and model.safetensors.

For all families here, tinyllm opens checkpoints of transformers, and transformers opens those of tinyllm.
A family's `layout` describes how its names differ: see `models/layout.py`.
"""

import dataclasses
import os
import re
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from tinyllm.errors import UserError, worded
from tinyllm.files import read_json
from tinyllm.models.adapter import FILE as ADAPTER, WEIGHTS, base_of, read_adapter, save_adapter, write_json
from tinyllm.models.generation import FILE, IDS, read_generation, token_ids
from tinyllm.models.layout import Layout, read_config, scoring, write_config
from tinyllm.models.weights import Origin, Stored, read_header, save_weights
from tinyllm.nn import Matrix, Module, adapters, bits_of, load_adapter, quantize, without_memory
from tinyllm.nn.language_model import replace_head
from tinyllm.nn.module import fitting
from tinyllm.nn.quantized import quantized_zeros

MAX_JSON_BYTES = 1 << 24  # a config.json is about a kilobyte, the index of a large model a megabyte
PLAIN_NAME = re.compile(r"[\w-][\w.-]*\.safetensors")  # the name of a file, without a folder


class Pretrained(Module):
    """Base of models that can be saved as a Hugging Face folder.

    A model is made from a config and a `seed` for its initial weights; with `seed=None` matrices stay zero.
    """

    config: Any
    objective: str  # see `LanguageModel`
    model_type: ClassVar[str]  # what config.json calls the family
    architecture: str  # transformers' class
    config_class: ClassVar[type]
    PRESETS: ClassVar[dict[str, dict[str, Any]]]
    special_tokens: ClassVar[dict[str, str]] = {}  # {role: name} for a new tokenizer
    token_settings: ClassVar[dict[str, str]] = {}  # {config's setting: role of its token}
    layout: ClassVar[Layout] = Layout()  # its names and values in config.json and in files of weights
    generation: Any = MappingProxyType({})  # what generation_config.json says: see `models/generation.py`
    token_ids: Any = MappingProxyType({})  # the ids that config.json has, such as pad_token_id
    origin: Origin | None = None  # the folder that the weights were read from

    def module_name(self, name: str) -> str:
        """Return the name that a parameter has in transformers' model."""
        return ("" if name.startswith("score.") else self.layout.prefix) + self.layout.file_name(name)

    def save_pretrained(self, folder: Path | str) -> None:
        """Write config.json, generation_config.json and model.safetensors into an existing or a new folder.

        A model with adapters writes only these, as peft does, and the path of its base model. Each file
        is written whole or not at all; config.json, or adapter_config.json, comes last. Raises UserError when
        a file cannot be written, or config.json cannot express the model's config.
        """
        found, scores = write_config(type(self), self.config), self.objective == "scores"
        found |= scoring(type(self)) if scores else {}
        folder, base = Path(folder), base_of(self) if adapters(self) else None
        if os.path.lexists(folder / ("config.json" if base else ADAPTER)):
            held = "a whole model" if base else "an adapter"
            raise UserError(f"{folder} holds {held} already: choose another folder")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write {folder}: {error.strerror or error}") from error
        if not hasattr(self.config, "end"):
            found |= {name: end for name, end in self.generation.items() if name == "eos_token_id"}
        decided = [name for name in IDS if found.get(name) is not None]  # by the model's own settings
        found |= self.token_ids
        blank = dict.fromkeys(name for name in IDS if name in found)
        write_json(folder / FILE, blank | {name: found[name] for name in decided} | dict(self.generation))
        if base:
            return save_adapter(self, base, folder)
        turned, file_name = _transposed(self), self.module_name if scores else self.layout.file_name
        state = {file_name(name): array.T if name in turned else array
                 for name, array in self.state_dict().items()}
        save_weights(state, folder / "model.safetensors", {"format": "pt"})
        if bits := bits_of(self):
            found["quantization_config"] = {"quant_method": "tinyllm", "bits": bits}
        write_json(folder / "config.json", found)


def _transposed(model):
    """Return the names of weights that files hold transposed."""
    return {f"{name}.weight" for name in model.of_kind(Matrix) if model.layout.transposed}


def load_folder(cls: Any, folder: Path, found: dict[str, Any], bits: int | None = None) -> Any:
    """Load a model of a family from a folder; `found` is the content of its config.json.

    Names and shapes of the weights are checked before memory is allocated for them. F64, F16 and BF16 become
    float32; with bits, each linear layer is quantised as soon as it is read. Raises UserError when a file is
    missing or broken, or describes another kind of model.
    """
    config = read_config(cls, folder, found)
    cls.layout.check(folder)
    generation = read_generation(folder, found)
    stored_bits = _read_bits(folder, found)
    stored = cls.layout.own_names(_read_headers(folder))
    layers = max(value for name, value in vars(config).items() if name.endswith("layers"))
    if layers > len(stored):  # a wrong number could make millions of blocks
        raise UserError(f"{folder}: config.json has {layers} layers, the weights {len(stored)} arrays")
    head, embedding = (stored.get(name) for name in ("lm_head.weight", cls.layout.embedding))
    if head and embedding and not np.array_equal(head, embedding):
        config = dataclasses.replace(config, tied=False)
    with without_memory():
        model = cls(config, seed=None)
        if found.get("architectures") == scoring(cls)["architectures"]:
            replace_head(model)
        if stored_bits:
            quantized_zeros(model, stored_bits)
    _fill(model, folder, stored, bits)  # layers that have these bits already stay as they are
    model.token_ids = token_ids(folder / "config.json", cls.layout.read(found))
    model.generation, model.origin = generation, Origin(os.path.abspath(folder))
    return model.eval()


def load_into(model: Pretrained, folder: Path) -> None:
    """Read the weights of a folder into an existing model, array by array, without a second model.

    Of a model with adapters, only these are read. Raises UserError if a file is broken or of another model.
    """
    if adapters(model):
        return load_adapter(model, read_adapter(model, folder / WEIGHTS))
    _fill(model, folder, model.layout.own_names(_read_headers(folder)))


def _fill(model, folder, stored, bits=None):
    """Check names and shapes of stored arrays, and read them into a model; with `bits`, quantise it."""
    def read(name, tensor):
        floats = "F" in stored[name].dtype and tensor.dtype.kind == "f"  # `fitting` refuses other mixtures
        return fitting(name, np.asarray(stored[name], tensor.dtype if floats else None), tensor)

    files = {array.path for array in stored.values()}
    place = files.pop() if len(files) == 1 else folder
    with worded(f"{place}: ", unless=place):
        stored, turned = _needed(model, stored), _transposed(model)
        stored = {name: array.turned() if name in turned else array for name, array in stored.items()}
        model.check_state({name: array.shape for name, array in stored.items()})
        if bits:
            names = {id(tensor): name for name, tensor in model.named_tensors()}
            quantize(model, bits, lambda tensor: read(names[id(tensor)], tensor))
        for name, tensor in model.named_tensors():
            if name in stored:  # else quantised above, under other names
                tensor.data = read(name, tensor)


def _read_bits(folder, found):
    """Return the bits, 8 or 4, of weights that tinyllm quantised, or None. Raises UserError for others."""
    said = found.get("quantization_config")
    if said not in (None, *({"quant_method": "tinyllm", "bits": bits} for bits in (8, 4))):
        raise UserError(f"{folder} has weights that were quantised by another library: {said!r:.200}")
    return said and said["bits"]


def _read_headers(folder: Path) -> dict[str, Stored]:
    """Return {name: Stored} of model.safetensors, or of the files that its index lists."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if os.path.lexists(single) or not os.path.lexists(index):
        return read_header(single)[0]
    shards = read_json(index, {"weight_map": {str: str}}, MAX_JSON_BYTES)["weight_map"]
    headers = {}
    for file in sorted({*shards.values()}):
        if not PLAIN_NAME.fullmatch(file):
            raise UserError(f"{index} lists {file!r}, which is no safetensors file in the same folder")
        headers[file] = read_header(folder / file)[0]
    for name, file in shards.items():
        if name not in headers[file]:
            raise UserError(f"{index} says that {name} is in {file}, and it is not")
    return {name: headers[file][name] for name, file in shards.items()}


def second_names(model: Pretrained) -> dict[str, str]:
    """Return {second name: first name} of tensors with two names, such as a tied output layer."""
    first = {id(tensor): name for name, tensor in model.named_tensors()}
    found = {f"{path}.{attribute}": first.get(id(value))
             for path, module in model.named_modules() for attribute, value in vars(module).items()}
    return {name: tied for name, tied in found.items() if tied not in (None, name)} | model.layout.copies


def _needed(model, stored):
    """Leave out ignored arrays, and copies of tied arrays. Raises UserError if a copy differs."""
    own, found = dict(model.named_tensors()), dict(stored)
    for name, tied in second_names(model).items():
        if name in stored and tied in stored:
            if not np.array_equal(stored[name], stored[tied]):
                raise UserError(f"{name} differs from {tied}, and config.json says that they are tied")
            del found[name]
    return {name: array for name, array in found.items()
            if name in own or not re.fullmatch(model.layout.ignored, name)}
