"""What is measured: the presets, as they train."""

from dataclasses import asdict, dataclass

import numpy as np

from tinyllm.models.gpt import GPT, GPTConfig
from tinyllm.train.settings import make_config


@dataclass(frozen=True)
class Setting:
    """A model's sizes and its batch, under a name. The vocabulary is that of Shakespeare's characters."""

    name: str
    layers: int
    heads: int
    width: int
    context: int
    batch: int
    vocab_size: int = 65

    def model(self):
        """Return an untrained GPT of this size, always with the same weights."""
        sizes = asdict(self)
        del sizes["name"], sizes["batch"]
        return GPT(GPTConfig(**sizes))

    def tokens(self):
        """Return a batch of random tokens: x, y int64 (B, T)."""
        shape = self.batch, self.context + 1
        window = np.random.default_rng(0).integers(0, self.vocab_size, shape)
        return window[:, :-1].copy(), window[:, 1:].copy()


def preset(name):
    """Return the setting of a preset, as `tinyllm train` would train it."""
    config = make_config({"preset": name})
    sizes = {size: config.model[size] for size in ("layers", "heads", "width", "context")}
    return Setting(name, batch=config.train.batch, **sizes)


SETTINGS = {name: preset(name) for name in ("nano", "mini")}
