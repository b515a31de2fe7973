"""Train models in scripts and experiments, with a `TrainConfig` or in one line with `fit`."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinyllm.data import Batch, TokenFile, get_batch
from tinyllm.errors import UserError, instead
from tinyllm.train import events
from tinyllm.train.config import TrainConfig, learning_rate
from tinyllm.train.loop import Loop, trained
from tinyllm.train.muon import Muon, muon_groups
from tinyllm.train.objectives import next_token
from tinyllm.train.optimizer import AdamW, decay_groups

SAME = ("steps", "accumulate", "precision", "clip", "eval_every", "sample_every", "log_every",
        "checkpoint_every")


def loop_of(config: TrainConfig, model: Any, batches: Any, loss: Any, seed: int, optimizer: Any = None,
            kind: Callable[..., Loop] = Loop, **more: Any) -> Loop:
    """Return a loop that trains a model with these settings; `more` are other arguments of its `kind`.

    By default the settings choose the optimizer of the trainable parameters.
    """
    decay, rates = config.weight_decay, (config.lr, (0.9, config.beta2))
    if optimizer is None and config.optimizer == "muon":
        optimizer = Muon(muon_groups(trained(model, loss), decay), *rates)
    elif optimizer is None:
        optimizer = AdamW(decay_groups(trained(model, loss).parameters(trainable=True), decay), *rates)
    settings = {name: getattr(config, name) for name in SAME}
    settings |= {"seed": seed, "schedule": lambda step: learning_rate(step, config)} | more
    return kind(model, batches, loss, optimizer, **settings)


@instead(TrainConfig, epochs="steps=", batch_size="batch=")
def fit(model: Any, batches: Callable[[int], Any] | np.ndarray, steps: int, lr: float | None = None, *,
        context: int | None = None, loss: Callable[[Any, Any], Any] = next_token,
        optimizer: AdamW | None = None, seed: int = 0, progress: Callable[..., Any] | None = None,
        **settings: Any) -> list[float]:
    """Train a model and return the loss of each step: `tl.fit(model, tokens, steps=200)[-1]`.

    `batches` are tokens (n,), from which each step takes `batch` random windows of `context` tokens (default:
    the model's own), or a function of the step that returns a `Batch` or (tokens, targets). `lr` is the
    highest learning rate (default: the optimizer's rate, or 3e-3 without an optimizer). `progress=tqdm.tqdm`
    shows a bar. `settings` are more fields of `TrainConfig`, such as batch and schedule. Raises UserError for
    a bad setting, and when the loss is no longer finite.
    """
    if lr is None:
        lr = optimizer.lr if optimizer else 3e-3
    config = TrainConfig(**({"steps": steps, "lr": lr} | settings))
    if not callable(batches):
        tokens: Any = batches if isinstance(batches, TokenFile) else np.asarray(batches)
        if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
            what = "a text" if tokens.dtype.kind in "SU" else f"{tokens.dtype} of shape {tokens.shape}"
            raise UserError(f"tl.fit trains on a row of token ids, got {what}; "
                            "tl.token_array(text, tokenizer) makes ids of a text")
        size = context or getattr(getattr(model, "config", None), "context", None)
        if size is None:
            raise UserError("how many tokens does a window have? The model has no config: say context=64")

        def batches(step):
            return Batch(*get_batch(tokens, seed, step, config.batch, size))

    loop = loop_of(config, model, batches, loss, seed, optimizer)
    losses = (event.loss for event in loop if isinstance(event, events.Stepped))
    return list(progress(losses, total=steps) if progress else losses)
