"""Open a trained model with its tokenizer, and its folder's settings for prompts and for sampling."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tinyllm.data.middle import middle_prompt
from tinyllm.decode.sampling import Sampling
from tinyllm.errors import UserError
from tinyllm.models import from_pretrained, locate
from tinyllm.models.generation import sampling_settings, stop_ids
from tinyllm.runs.checkpoint import naming
from tinyllm.runs.config import RunConfig
from tinyllm.runs.recipe import NO_FRAME, Frame
from tinyllm.runs.run import Run, frame_of
from tinyllm.runs.start import open_folder
from tinyllm.tokenizer import Tokenizer
from tinyllm.tokenizer.chat import ChatTemplate, read_chat_template
from tinyllm.tokenizer.text import markers_of


@dataclass(frozen=True)
class Opened:
    """Hold a trained model, its tokenizer, and the settings for writing prompts and answers.

    model: the model, in evaluation mode.
    frame: what stands around a prompt and its answer, as in the model's training.
    folder: where the tokenizer is; None if the model comes from no folder.
    config: the settings of the training; None if the folder is no run of tinyllm.
    """

    model: Any
    tokenizer: Tokenizer
    frame: Frame = NO_FRAME
    folder: Path | None = None
    config: RunConfig | None = None

    @property
    def stops(self) -> list[str | int]:
        """Return the strings and the token ids that end an answer."""
        tokenizer: Any = self.tokenizer
        end = tokenizer.chat.stop_id(tokenizer) if self.frame.chat else self.frame.end
        return [*([] if end == "" else [end]), *stop_ids(self.model.generation)]

    @property
    def sampling(self) -> Sampling:
        """Return the folder's settings for drawing tokens. Raises UserError for an impossible value."""
        return Sampling(**sampling_settings(self.model.generation))

    @cached_property
    def chat(self) -> ChatTemplate | None:
        """Return the chat template of tokenizer or folder, or None; UserError if tinyllm cannot use it."""
        if self.tokenizer.chat or not self.folder:
            return self.tokenizer.chat
        return read_chat_template(self.folder, self.tokenizer)

    def fingerprint(self, *more: str) -> str:
        """Return the SHA-256 of the model, its settings, its tokenizer, its frame, and of `more`."""
        about = self.tokenizer.fingerprint(), tuple(self.frame), self.model.config, *more
        digest = hashlib.sha256(repr(about).encode())
        for name, array in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
        return digest.hexdigest()

    def lay_out(self, prompt: Any, max_tokens: int, suffix: str | bytes | None = None,
                picture: Any = None, suffix_first: bool = False) -> dict[str, Any]:
        """Return arguments of `Engine.add` for a prompt, perhaps with the text after a gap, or a picture.

        Raises UserError when the model fills no gaps, or sees no pictures, or only pictures of another size.
        """
        if suffix is not None:
            ids = middle_prompt(self.model, self.tokenizer, prompt, suffix, max_tokens, suffix_first)
            return {"prompt": ids, "stop": [markers_of(self.tokenizer)[-1]]}
        if picture is None:
            return {"prompt": prompt}
        marks = self.model.picture_marks
        if not marks:
            name = type(self.model).__name__
            raise UserError(f"a {name} sees no pictures: give the folder of a model that does")
        ids = prompt if isinstance(prompt, list) else self.tokenizer.encode(prompt)
        shown = {"prompt": [*marks, *ids], "cache": self.model.read(picture[None])}
        return shown | {"overflow": "stop"}  # with "slide", the picture would leave the context


def open_model(place: str | Path, which: str = "best", bits: int | None = None) -> Opened:
    """Open a trained model: `opened = tl.open_model("runs/stories-laptop")`.

    `place` is a run, a Hugging Face folder with a tokenizer.json, or "shipped" for the small model in this
    package. `which` is "best" (lowest validation loss) or "last". `bits` (8 or 4) quantises linear layers; a
    quantised run needs no `bits`. Raises UserError, naming the file, when a file is missing or damaged.
    """
    run = Run(locate(place))
    path = run.model_folder(which)
    if path == run.folder:
        return Opened(*open_folder(path, bits), frame_of(path), path)
    record, tokenizer = run.read(), run.read_tokenizer()
    with naming(path / "model.safetensors"):
        model = from_pretrained(path, bits)
    return Opened(model, tokenizer, record.frame, run.folder, record.config)
