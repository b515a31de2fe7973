"""Download models from the Hub of Hugging Face. No other file of tinyllm uses the network."""

import functools
import os
import re
from pathlib import Path
from typing import Any

from tinyllm.errors import UserError

FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")  # no pickles, no code
OTHERS = ["[!1]*/*", "1[!_]*/*", "consolidated*"]  # not downloaded: folders but 1_...; weights twice


def is_hub_name(place: Path | str) -> bool:
    """Return True for a name like owner/model, unless a folder of this name or a folder `owner` exists.

    Returns False for runs/NAME, because the command line stores its runs there.
    """
    name, owner = str(place), str(place).split("/")[0]
    fits = re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name, re.ASCII) is not None
    return fits and owner != "runs" and not os.path.lexists(name) and not os.path.lexists(owner)


@functools.cache
def download(name: str) -> Path:
    """Download a model, or only the files that changed: owner/model -> its folder in the Hub's cache.

    Raises UserError when huggingface_hub is missing or the download fails.
    """
    try:
        import huggingface_hub
    except ImportError:
        how = "pip install huggingface_hub to download it from the Hub of Hugging Face"
        raise UserError(f"there is no folder {name}; {how}, or give the folder of a model") from None
    fetch: Any = huggingface_hub.snapshot_download
    try:
        return Path(fetch(name, allow_patterns=list(FILES), ignore_patterns=OTHERS))
    except Exception as error:  # no network, no such model, no permission: dozens of classes
        why = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(f"cannot download {name} from the Hub of Hugging Face: {why[:200]}") from None
