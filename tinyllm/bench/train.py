"""Time a whole training step (forward, backward, clip, AdamW)."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from statistics import median
from typing import Any

from tinyllm import ops
from tinyllm.bench.peers import load_torch
from tinyllm.bench.setting import Setting
from tinyllm.bench.timing import Contender, race, ratio
from tinyllm.errors import UserError
from tinyllm.ops.runtime import threads
from tinyllm.train.optimizer import AdamW, clipped_step, decay_groups, gradient_norm

OURS: dict[str, Callable] = {  # engine -> a context manager around its steps
    "tinyllm": nullcontext,
    "tinyllm bf16": partial(ops.use, matmul="bf16"),
    "numpy": partial(ops.use, "numpy"),
}
SLOW = 10**11  # operations in a step: for larger steps NumPy's specs, which would take minutes, are left out


def training_step(setting: Setting, model: Any = None) -> Callable[[], float]:
    """Return a function that trains a model (or a new GPT) for one step and returns the loss."""
    model = model or setting.model()
    x, y = setting.tokens()
    optimizer = AdamW(decay_groups(model.parameters(), 0.1), lr=1e-3, betas=(0.9, 0.99))

    def step():
        loss = model.loss(x, y)
        loss.backward()
        clipped_step(optimizer, gradient_norm(optimizer.parameters), 1.0)
        optimizer.zero_grad()
        return loss.item()

    return step


def step_flops(setting: Setting) -> int:
    """Count the operations of the matrix products in a training step, forward and backward."""
    parts = (m.flops(setting.batch, setting.context) for _, m in setting.model().named_modules())
    return 3 * sum(n for part in parts for n in part.values())


def measure_training(setting: Setting, seconds: float, least: int = 3,
                     peers: bool = False) -> Iterator[dict]:
    """Time training steps, and yield a record for each engine, also for engines that cannot run here.

    The engines are tinyllm's kernels (in float32, or with products in bfloat16), its NumPy specifications,
    and with `peers` PyTorch (eager or compiled, in float32 or with bfloat16 autocast). They take turns, with
    the same weights, batch and number of threads. Raises UserError when PyTorch is missing, and when its loss
    differs from tinyllm's: then the two would not do the same work.
    """
    flops = step_flops(setting)
    engines: dict[str, dict] = {name: {} for name in OURS if name != "numpy" or flops < SLOW}
    contenders = {name: Contender(training_step(setting), around=OURS[name]) for name in engines}
    if peers:
        ours = training_step(setting)()
        torch = load_torch()
        for name, mode in torch.MODES.items():
            try:
                step, about = torch.training_step(setting, threads(), **mode)
                theirs = step()
            except Exception as error:  # a compiler that is missing or fails, in whatever way
                if not mode.get("compiled"):
                    raise
                why = str(error).strip().partition("\n")[0][:200]
                yield {"bench": "train", "setting": setting.name, "engine": name, "skipped": why}
                continue
            if abs(ours - theirs) > (2e-2 if mode.get("bf16") else 1e-4) * abs(ours):
                raise UserError(f"PyTorch's model differs: on one batch, its loss is {theirs}, ours {ours}")
            contenders[name] = Contender(step)
            engines[name] = about | {"same_loss": [ours, theirs]}
    times = race(contenders, seconds, least)
    for engine, about in engines.items():
        took = median(times[engine])
        record = {"bench": "train", "setting": setting.name, "engine": engine, "seconds": took}
        record |= {"tokens_per_second": setting.batch * setting.context / took, "gflops": flops / took / 1e9}
        record |= {"precision": "bf16" if "bf16" in engine else "float32", "rounds": len(times[engine])}
        yield record | _against(engine, times) | about


def _against(engine: str, times: dict[str, list[float]]) -> dict:
    """Compare an engine of tinyllm with NumPy, and with PyTorch's fastest mode of the same precision."""
    if not engine.startswith("tinyllm"):
        return {}
    found: dict = {"times_spec": ratio(times, "numpy", engine)} if "numpy" in times else {}
    rivals = [n for n in times if n.startswith("torch") and ("bf16" in engine or "bf16" not in n)]
    if rivals:
        best = min(rivals, key=lambda name: median(times[name]))
        found |= {"times_torch": ratio(times, best, engine), "best_torch": best}
    return found
