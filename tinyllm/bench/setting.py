"""Define the model sizes that are measured: the presets of `tinyllm train`, and two larger models."""

from dataclasses import asdict, dataclass, replace

import numpy as np

from tinyllm.models import Llama, LlamaConfig
from tinyllm.models.gpt import GPT, GPTConfig
from tinyllm.runs import make_config


@dataclass(frozen=True)
class Setting:
    """The name and sizes of a GPT and its batch; the default vocabulary is Shakespeare's 65 characters."""

    name: str
    layers: int
    heads: int
    width: int
    context: int
    batch: int
    vocab_size: int = 65

    def model(self) -> GPT:
        """Return an untrained GPT of this size; its weights are always the same."""
        sizes = asdict(self)
        del sizes["name"], sizes["batch"]
        return GPT(GPTConfig(**sizes))

    def tokens(self) -> tuple[np.ndarray, np.ndarray]:
        """Return a batch of random tokens: x, y int64 (B, T)."""
        shape = self.batch, self.context + 1
        window = np.random.default_rng(0).integers(0, self.vocab_size, shape)
        return window[:, :-1].copy(), window[:, 1:].copy()


@dataclass(frozen=True)
class LlamaSetting:
    """A preset of LLaMA, used to measure generation."""

    name: str

    def model(self) -> Llama:
        """Return an untrained LLaMA of this preset; its weights are always the same."""
        sizes: dict = Llama.PRESETS[self.name]
        return Llama(LlamaConfig(**sizes))


def preset(name: str) -> Setting:
    """Return the setting of a preset, with the values that `tinyllm train` uses."""
    config = make_config({"preset": name})
    sizes = {size: getattr(config.model, size) for size in ("layers", "heads", "width", "context")}
    return Setting(name, batch=config.train.batch, **sizes)


SETTINGS = {name: preset(name) for name in ("nano", "mini")}
SMALL = Setting("small", batch=1, vocab_size=50257, **GPT.PRESETS["small"])  # GPT-2, 124M parameters
LLAMA = LlamaSetting("llama-110m")


def settings(work: str | None, quick: bool = False) -> list:
    """Return the settings for a kind of measurement, such as "train"; with `quick` only the first."""
    larger: dict[str | None, list] = {"ops": [replace(SMALL, vocab_size=65)], "generate": [SMALL, LLAMA]}
    return [*SETTINGS.values(), *larger.get(work, [])][: 1 if quick else None]
