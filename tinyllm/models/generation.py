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
ALWAYS = ("repetition_penalty",)
BEAMS = ("length_penalty", "early_stopping")
IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
# Settings that do not change the choice of tokens. The length of a text is always given by the caller.
HARMLESS = ("max_length", "max_new_tokens", "use_cache", "cache_implementation", "transformers_version",
            "return_dict_in_generate", "output_attentions", "output_hidden_states", "output_scores",
            "output_logits", "chat_format", "trust_remote_code", "do_sample")
AT_ONE = ("num_beams", "num_beam_groups", "num_return_sequences", "typical_p", "repetition_penalty",
          "length_penalty", "encoder_repetition_penalty", "guidance_scale")  # 1 changes nothing; of others, 0


def read_generation(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a folder's generation_config.json.

    Without that file, the only setting is eos_token_id of config.json. Settings that are null are left out.
    Raises UserError when the file is broken, or a value has the wrong type.
    """
    path, content = folder / "config.json", {"eos_token_id": config.get("eos_token_id")}
    if os.path.lexists(folder / FILE):
        path = folder / FILE
        content = read_json(path, {}, 2**20)
    found = {name: value for name, value in content.items()
             if value is not None and not name.startswith("_")}
    for name in (*DRAWING, *ALWAYS):
        if name in found and (isinstance(found[name], bool) or not isinstance(found[name], int | float)):
            raise UserError(f"{path}: {name} must be a number, got {found[name]!r}")
    if not isinstance(found.get("do_sample", False), bool):
        raise UserError(f"{path}: do_sample must be true or false, got {found['do_sample']!r}")
    if not all(type(end) is int and end >= 0 for end in stop_ids(found)):
        raise UserError(f"{path}: eos_token_id must be an id or a list of ids, got {found['eos_token_id']!r}")
    return found


def stop_ids(generation: dict[str, Any]) -> list[int]:
    """Return the ids of the tokens that end a text."""
    ends = generation.get("eos_token_id", [])
    return ends if isinstance(ends, list) else [ends]


def sampling_settings(generation: dict[str, Any]) -> dict[str, Any]:
    """Return the file's settings as arguments of `Sampling`, such as {"temperature": 0.6, "top_p": 0.9}."""
    found = {name: generation[name] for name in ALWAYS if name in generation}
    if generation.get("do_sample"):
        found |= {name: generation[name] for name in DRAWING if name in generation}
        if found.get("top_k") == 0:  # which means that all may be drawn
            del found["top_k"]
    elif "do_sample" in generation:
        found["temperature"] = 0
    return found


def ignored(generation: dict[str, Any], beams: bool = False) -> list[str]:
    """List settings of generation_config.json that would change the choice of tokens but are not applied.

    With `beams`, the settings of beam search are applied, and repetition_penalty is not.
    """
    known = {*DRAWING, *IDS, *HARMLESS, *((*BEAMS, "num_beams") if beams else ALWAYS)}
    known |= set() if generation.get("num_beams", 1) != 1 else set(BEAMS)  # they change beams only
    return [f"{name} = {value!r}" for name, value in generation.items()
            if name not in known and value not in ([], {}, 1 if name in AT_ONE else 0)]
