"""Read generation_config.json: the settings for drawing tokens, and the tokens that end a text.

If the file leaves out a setting, tinyllm's default applies. If `do_sample` is false, the likeliest token is
taken. If `do_sample` is missing, the file's temperature and filters are ignored, as in transformers.
"""

import os
from pathlib import Path
from typing import Any

from tinyllm.errors import UserError
from tinyllm.files import read_json

FILE = "generation_config.json"
DRAWING = ("temperature", "top_k", "top_p", "min_p")  # without effect unless do_sample is true
IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


def read_generation(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a folder's generation_config.json.

    Without that file, the only settings are the ids of config.json. Settings that are null are left out.
    Raises UserError when the file is broken, or a value has the wrong type.
    """
    path, content = folder / "config.json", token_ids(folder / "config.json", config)
    if os.path.lexists(folder / FILE):
        path = folder / FILE
        content = read_json(path, {}, 2**20)
    found = {name: value for name, value in content.items() if value is not None and not name.startswith("_")}
    for name in (*DRAWING, "repetition_penalty"):
        if name in found and (isinstance(found[name], bool) or not isinstance(found[name], int | float)):
            raise UserError(f"{path}: {name} must be a number, got {found[name]!r}")
    if not isinstance(found.get("do_sample", False), bool):
        raise UserError(f"{path}: do_sample must be true or false, got {found['do_sample']!r}")
    token_ids(path, found)
    return found


def token_ids(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a JSON file that are ids of tokens, such as eos_token_id, and are not null.

    Raises UserError for a value that is no id, nor a list of ids. A pad_token_id of -1 stands for no padding.
    """
    ids = {name: value for name, value in content.items() if name.endswith("_token_id") and value is not None}
    for name, value in ids.items():
        least = -1 if name == "pad_token_id" else 0
        if not all(type(i) is int and i >= least for i in (value if isinstance(value, list) else [value])):
            raise UserError(f"{path}: {name} must be an id or a list of ids, got {value!r:.100}")
    return ids


def stop_ids(generation: dict[str, Any]) -> list[int]:
    """Return the ids of the tokens that end a text."""
    ends = generation.get("eos_token_id", [])
    return ends if isinstance(ends, list) else [ends]


def sampling_settings(generation: dict[str, Any]) -> dict[str, Any]:
    """Return the file's settings as arguments of `Sampling`, such as {"temperature": 0.6, "top_p": 0.9}."""
    drawn = DRAWING if generation.get("do_sample") else ()
    found = {name: generation[name] for name in (*drawn, "repetition_penalty") if name in generation}
    if found.get("top_k") == 0:  # in the file, 0 means no limit
        del found["top_k"]
    if generation.get("do_sample") is False:
        found["temperature"] = 0
    return found
