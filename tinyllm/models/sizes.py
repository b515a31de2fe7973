"""Define the sizes that most families have, and their presets."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from tinyllm.config import check, setting
from tinyllm.errors import UserError
from tinyllm.nn import Rope

SIZE: dict[str, Any] = {"min": 1, "max": 2**24}
PART: dict[str, Any] = {"min": 0, "below": 1}
EPS: dict[str, Any] = {"above": 0, "below": 1, "help": "added to variances or mean squares"}
THETA: dict[str, Any] = {"above": 1, "below": 1e12, "help": "the base of position angles"}
HIDDEN: dict[str, Any] = SIZE | {"help": "the inner width of the MLP"}
OTHERS = {  # {name of a size in another library: what to write instead}
    "n_layer": "layers=", "n_head": "heads=", "n_embd": "width=", "block_size": "context=",
    "num_hidden_layers": "layers=", "num_attention_heads": "heads=", "hidden_size": "width=",
    "max_position_embeddings": "context=", "num_key_value_heads": "kv_heads=", "intermediate_size": "hidden=",
}
TIED: dict[str, Any] = {"hf": "tie_word_embeddings", "help": "the embedding is also the output layer"}

PRESETS: dict[str, dict[str, Any]] = {
    "nano": {"layers": 4, "heads": 4, "width": 128, "context": 64},  # nanoGPT's setting for a laptop
    "mini": {"layers": 6, "heads": 6, "width": 384, "context": 256},  # nanoGPT's setting for Shakespeare
    "small": {"layers": 12, "heads": 12, "width": 768, "context": 1024},  # GPT-2, 124M parameters
}
WITH_HIDDEN = {name: sizes | {"hidden": 4 * sizes["width"]} for name, sizes in PRESETS.items()}


@dataclass(frozen=True)
class Sizes:
    """The sizes of a transformer; a family adds its own. Raises UserError if they are inconsistent."""

    hf: ClassVar[dict[str, Any]] = {}  # {setting: its name in config.json, if it is not the one below}
    head_parts: ClassVar[int] = 1  # the width of a head is a multiple of this

    vocab_size: int = setting(**SIZE, hf="vocab_size", help="V: how many different tokens there are")
    _: KW_ONLY
    context: int = setting(**SIZE, hf="max_position_embeddings", help="the largest T: how far back it looks")
    layers: int = setting(**SIZE, hf="num_hidden_layers", help="how many blocks follow each other")
    heads: int = setting(**SIZE, hf="num_attention_heads", help="H: heads of attention")
    width: int = setting(**SIZE, hf="hidden_size", help="C: how many numbers describe a position")
    eps: float = setting(1e-5, **EPS, hf="layer_norm_eps")
    init_std: float | None = setting(None, above=0, max=1, hf="initializer_range",
                                     help="std of new weights; none means 0.02")

    def __post_init__(self):
        check(self)
        self.check_heads()

    def check_heads(self) -> None:
        """Raise UserError unless all heads have one width, which is a multiple of `head_parts`."""
        if self.width % (least := self.heads * self.head_parts):
            raise UserError(f"{self.heads} heads cannot share a width of {self.width}: make it a multiple of "
                            f"{least}")


@dataclass(frozen=True, kw_only=True)
class RotarySizes(Sizes):
    """The sizes of a transformer with rotary positions. Raises UserError if they are inconsistent."""

    theta: float = setting(10000.0, **THETA, hf="rope_theta")
    scaling: dict | None = setting(None, hf="rope_scaling", help="stretches angles for long contexts")

    def __post_init__(self):
        super().__post_init__()
        if self.scaling is not None:
            self.check_scaling()

    @property
    def rotary_width(self) -> int:
        """Return the number of channels in each head that are rotated by a token's position."""
        return self.width // self.heads

    def check_scaling(self) -> None:
        """Raise UserError if `scaling` is invalid, unknown to transformers, or its angles are not finite."""
        try:
            scaling: Any = self.scaling
            if scaling.get("rope_type", scaling.get("type")) == "ntk":
                raise UserError("transformers has no rope_scaling 'ntk': give dynamic, or a larger theta")
            with np.errstate(all="ignore"):
                tables = Rope(self.rotary_width, self.theta, self.scaling).tabulate(2)
        except (ValueError, TypeError, ArithmeticError, AttributeError) as error:
            raise UserError(f"scaling: {error}") from error
        if not np.isfinite(tables).all():
            raise UserError(f"scaling {self.scaling} gives angles that are not finite")
