"""Read and write the settings by which sentence-transformers makes a text's vector from token vectors.

`modules.json` lists the steps: a Transformer, a Pooling that `1_Pooling/config.json` describes, and often a
Normalize, which is always done here. (Reimers and Gurevych, "Sentence-BERT", 2019, section 3.)
"""

import os
from pathlib import Path

from tinyllm.errors import UserError
from tinyllm.files import read_json

POOLINGS = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}
POOLING = "1_Pooling"  # a folder inside the model's folder
STEPS = {"": "Transformer", POOLING: "Pooling", "2_Normalize": "Normalize"}  # by folder
MOST = 1 << 20  # bytes


def read_pooling(folder: Path) -> str | None:
    """Return the pooling that an encoder's folder asks for, "mean" or "cls", or None.

    Raises UserError when a file is broken, or asks for anything else, such as a maximum or a further layer.
    """
    if os.path.lexists(path := folder / "modules.json"):
        for module in read_json(path, [{}], MOST):
            name = str(module.get("type")).split(".")[-1]
            if name not in STEPS.values():
                known = ", ".join(STEPS.values())
                raise UserError(f"{path} has a step {name[:40]!r}, and tinyllm runs {known}")
            if name == "Pooling" and (place := str(module.get("path", POOLING))) != POOLING:
                raise UserError(f"{path} has its Pooling in {place[:40]!r}, and tinyllm reads {POOLING}")
    if not os.path.lexists(path := folder / POOLING / "config.json"):
        return None
    found = read_json(path, {}, MOST)
    chosen = [name for name, value in found.items() if name.startswith("pooling_mode_") and value]
    chosen += [found["pooling_mode"]] if "pooling_mode" in found else []  # such as cls
    for kind, name in POOLINGS.items():
        if chosen in ([kind], [name]):
            return kind
    asked = ", ".join(map(str, chosen)) or "no pooling"
    raise UserError(f"{path} asks for {asked[:200]}, and tinyllm has mean and cls")


def pooling_files(kind: str, width: int) -> dict[str, object]:
    """Return the files that describe a model's pooling, as {path in the folder: content}."""
    modes = {name: name == POOLINGS[kind] for name in POOLINGS.values()}
    return {
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
            for i, (path, name) in enumerate(STEPS.items())
        ],
        f"{POOLING}/config.json": {"word_embedding_dimension": width} | modes,
    }
