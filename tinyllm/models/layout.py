"""Describe how a family's folders in Hugging Face's form differ from its models here, as data.

A family has one `Layout`. `write_config` makes the config.json of a config, and `read_config` reads it. The
metadata `hf` of a config's field is the field's name in config.json. If it is a tuple, all names are written,
and the first that has a value is read.
"""

import dataclasses
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tinyllm.errors import UserError, worded
from tinyllm.ops.rope import CONTEXT

Json = dict[str, Any]
Names = tuple[tuple[str, str], ...]
# Entries of `Layout.fixed` that families derived from LLaMA share:
NO_BIAS: Json = {"attention_bias": (False,), "mlp_bias": (False,)}
NO_WINDOW: Json = {"use_sliding_window": (False,),
                   "layer_types": lambda config: (["full_attention"] * config.layers, None)}


def read_window(config: Json) -> Json:
    """Return a config.json without use_sliding_window if max_window_layers leaves no layer with a window."""
    first, layers = config.get("max_window_layers"), config.get("num_hidden_layers")
    without = type(first) is int and type(layers) is int and first >= layers
    return config | {"use_sliding_window": False} if without else config


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Say how a family's config.json and names of weights differ from those of its models here."""

    # {setting in config.json: the values that the family can run, or a function from a config to them}. The
    # first value is written; a file with a value that is not listed is refused:
    fixed: dict[str, Any] = field(default_factory=dict)
    defaults: Json = field(default_factory=dict)  # {setting: its value where a config.json leaves it out}
    names: Names = ()  # (part of a weight's name in files, in the model), replaced in this order
    old: Names = ()  # more such pairs, from older files; they are read and never written
    prefix: str = ""  # all names in some files begin with it
    base: str = ""  # a prefix that is missing in files of a model without its output layer
    ignored: str = r"(?!)"  # names of weights that are left out if the model has none of this name
    copies: dict[str, str] = field(default_factory=dict)  # {a second name in files: the tensor's own name}
    embedding: str = ""  # its name; if lm_head differs from it, they are untied, whatever config.json says
    transposed: bool = False  # True if weights of linear layers are stored as (n_out, n_in)
    # Raises UserError if other files in a folder ask for what the family cannot do:
    check: Callable[[Any], None] = lambda folder: None
    # For differences other than names and values: `read` converts a config.json before it is read; `write`
    # takes a finished config.json and the config, and returns the config.json to write:
    read: Callable[[Json], Json] = dict
    write: Callable[[Json, Any], Json] = lambda found, config: found

    def extended(self, **changes: Any) -> "Layout":
        """Return a copy with changes; dicts such as `defaults` keep their other entries."""
        own = {name: getattr(self, name) for name in changes}
        return dataclasses.replace(self, **{
            name: own[name] | new if isinstance(new, dict) else new for name, new in changes.items()
        })

    def own_names(self, stored: dict[str, Any]) -> dict[str, Any]:
        """Give the `Stored` arrays of files their names in the model."""
        found: dict[str, Any] = {}
        base = "" if any(name.startswith(self.base) for name in stored) else self.base
        for name, array in stored.items():
            short = rename(base + name.removeprefix(self.prefix), (*self.old, *self.names))
            if short in found:
                raise UserError(f"{array.path} holds {short} twice, once as {name}")
            found[short] = array
        return found

    def file_name(self, name: str) -> str:
        """Return the name that a weight of the model has in files."""
        return rename(name, [(ours, theirs) for theirs, ours in reversed(self.names)])


def rename(name: str, pairs: Iterable[tuple[str, str]]) -> str:
    """Replace parts of a name, one after the other: pairs of (old, new)."""
    for old, new in pairs:
        name = name.replace(old, new)
    return name


def _fixed(layout, config):
    """Return {setting: the values that the family can run} for a config."""
    return {name: values(config) if callable(values) else values for name, values in layout.fixed.items()}


def hf_names(config: Any, setting: Any) -> tuple[str, ...]:
    """Return the names of a config's field in config.json."""
    names = getattr(config, "hf", {}).get(setting.name, setting.metadata.get("hf", setting.name))
    return names if isinstance(names, tuple) else (names,)


def write_config(cls: Any, config: Any) -> Json:
    """Return the config.json of a family's model, or raise UserError if it cannot express this config."""
    layout = cls.layout
    found: Json = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
    found |= {"architectures": [getattr(cls, "architecture", None)], "model_type": cls.model_type,
              "torch_dtype": "float32"}
    for setting in dataclasses.fields(config):
        value, (name, *others) = getattr(config, setting.name), hf_names(config, setting)
        if value is not None or (name in layout.defaults and name not in found):
            found |= {name: value} | {other: value for other in others if found.get(other) is None}
    found = layout.write(found, config)
    found |= {name: values[0] for name, values in _fixed(layout, config).items()}
    back = read_config(cls, "this model", json.loads(json.dumps(found)))
    for setting in dataclasses.fields(config):
        value, other = getattr(config, setting.name), getattr(back, setting.name)
        if value != other:
            raise UserError(f"a {cls.model_type} cannot have {setting.name} = {value!r}: "
                            f"its config.json says {other!r}")
    return found


def scoring(cls: Any) -> Json:
    """Return what config.json says of a family's reward models: transformers' class, and a single score."""
    stem = getattr(cls, "architecture", "").removesuffix("ForCausalLM").removesuffix("LMHeadModel")
    return {"architectures": [f"{stem}ForSequenceClassification"], "num_labels": 1}


def read_config(cls: Any, folder: Any, found: Json) -> Any:
    """Make a family's config from a config.json. Raises UserError if the family cannot run such a model."""
    where, settings = f"the config.json in {folder}", {}
    with worded(f"{where}: "):
        found = read_rope(cls.layout.read(found))
        for setting in dataclasses.fields(cls.config_class):
            names = hf_names(cls.config_class, setting)
            said = found if any(name in found for name in names) else cls.layout.defaults
            if values := [said[name] for name in names if name in said]:
                settings[setting.name] = next((value for value in values if value is not None), None)
            elif setting.default is dataclasses.MISSING:
                raise UserError(f"{names[0]} is missing")
        config = cls.config_class(**settings)
    always = {"per_layer_config": (None, {}), "is_causal": (cls.objective != "masked",)}
    for name, allowed in (_fixed(cls.layout, config) | always).items():
        if found.get(name, allowed[0]) not in allowed:
            raise UserError(f"{where} says {name} = {found[name]!r}, which a {cls.__name__} here cannot run")
    return config


def object_in(config: Json, *names: str) -> Json:
    """Return the object under the first of these names, or {}. Raises UserError for another value."""
    found: Any = next((config[name] for name in names if config.get(name)), {})
    if not isinstance(found, dict):
        raise UserError(f"{names[0]} must be an object, got {found!r}")
    return found


def read_rope(config: Json) -> Json:
    """Convert the settings of rotary positions in config.json, if there are any, to their older format.

    `rope_parameters` of newer files becomes rope_theta, rope_scaling (None if nothing is scaled) and, where a
    file has it, partial_rotary_factor. As in transformers, `rope_parameters` is ignored if the file also has
    a rope_scaling. For the kinds llama3 and yarn, max_position_embeddings is the training context unless the
    scaling has original_max_position_embeddings. Raises UserError for a rope setting that is not an object.
    """
    rope = object_in(config, "rope_scaling", "rope_parameters")
    plain = ("rope_theta", "partial_rotary_factor")
    scaling = {key: value for key, value in rope.items() if key not in plain}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind in ("llama3", "yarn") and CONTEXT not in scaling:
        scaling[CONTEXT] = config.get("max_position_embeddings")
    found = config | {name: rope[name] for name in plain if name in rope}
    return found | {"rope_scaling": None if kind == "default" else scaling}
