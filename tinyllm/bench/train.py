"""A whole training step: forward, backward, clip, AdamW."""

from statistics import median

from tinyllm.bench.timing import Contender, race, ratio
from tinyllm.errors import UserError
from tinyllm.ops.registry import threads
from tinyllm.train.optimizer import AdamW, clip_factor, decay_groups, gradient_norm


def training_step(setting):
    """Make a model and its optimizer -> a function that does one update and returns the loss before it."""
    model = setting.model()
    x, y = setting.tokens()
    optimizer = AdamW(decay_groups(model.parameters(), 0.1), lr=1e-3, betas=(0.9, 0.99))

    def step():
        loss = model.loss(x, y)
        loss.backward()
        optimizer.step(clip_factor(gradient_norm(optimizer.parameters), 1.0))
        optimizer.zero_grad()
        return loss.item()

    return step


def load_peers():
    """Return tinyllm.bench.peers, which needs PyTorch. Raises UserError where that is not installed."""
    try:
        from tinyllm.bench import peers
    except ImportError as error:
        raise UserError(
            f"--peers needs PyTorch ({error}): pip install 'tinyllm[peers]', or pip install torch"
        ) from None
    return peers


def measure_training(setting, seconds, least=3, peers=False):
    """Time training steps -> yields a record of tinyllm, and with `peers` one of PyTorch.

    Both take turns, with the same weights to begin with, the same batch and as many threads. Raises
    UserError when PyTorch is missing, and when its loss is not ours: then the two would not do the same work.
    """
    contenders = {"tinyllm": Contender(training_step(setting))}
    engines: dict[str, dict] = {"tinyllm": {}}
    if peers:
        torch_step, about = load_peers().training_step(setting, threads())
        ours, theirs = training_step(setting)(), torch_step()
        if abs(ours - theirs) > 1e-4 * abs(ours):
            raise UserError(f"PyTorch's model is not ours: from one batch, losses {theirs} and {ours}")
        contenders["torch"] = Contender(torch_step)
        engines["torch"] = about | {"same_loss": [ours, theirs]}
    times = race(contenders, seconds, least)
    for engine, about in engines.items():
        took = median(times[engine])
        record = {"bench": "train", "setting": setting.name, "engine": engine, "seconds": took}
        record |= {"tokens_per_second": setting.batch * setting.context / took, "rounds": len(times[engine])}
        if engine == "tinyllm" and peers:
            record["times_torch"] = ratio(times, "torch", "tinyllm")
        yield record | about
