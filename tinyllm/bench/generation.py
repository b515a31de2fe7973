"""Time how fast tinyllm (with and without kernels) and other libraries read prompts and write tokens.

All of them run the same untrained weights and choose the likeliest token. Before another library is timed,
its logits after the prompt must equal tinyllm's logits.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.bench import peers
from tinyllm.bench.setting import LlamaSetting, Setting
from tinyllm.bench.timing import Contender, compare, race
from tinyllm.decode.generate import generate, stream
from tinyllm.decode.sampling import Sampling
from tinyllm.errors import UserError
from tinyllm.nn import Embedding, inference, quantize
from tinyllm.ops.runtime import threads
from tinyllm.tensor import Tensor

GREEDY = Sampling(temperature=0)
NEW = 32  # tokens per sample, or as many as fit in half a context
MAKE_KEYS = ("c_attn", "q_proj", "k_proj", "v_proj")  # ends of the names of layers before the cache
LONGEST = 512  # tokens of the prompt that prefill reads


class TimedModel:
    """A tinyllm model to time; `around()` is a context manager that chooses the backend."""

    def __init__(self, model: Any, around: Callable = nullcontext) -> None:
        self.model, self.around = model, around

    def prefill(self, prompt: list[int]) -> np.ndarray:
        """Read a prompt of token ids, and return the logits of the next token, (V,)."""
        return next(stream(self.model, [prompt], max_tokens=1, sampling=GREEDY)).logits

    def begin(self, prompt: list[int], new: int) -> tuple[Iterator, int]:
        """Read a prompt, and return the arguments for `go_on`. The end token will not be generated."""
        end = getattr(self.model.config, "end", None)
        allowed = np.arange(self.model.config.vocab_size) != end
        mask = None if end is None else lambda ids: allowed
        steps = stream(self.model, [prompt], max_tokens=new + 1, sampling=GREEDY, mask=mask)
        next(steps)
        return steps, new

    def go_on(self, steps: Iterator, new: int) -> None:
        """Generate the `new` tokens after the prompt that `begin` read."""
        for _ in steps:
            pass


def measure_generation(setting: Setting | LlamaSetting, seconds: float, least: int = 3,
                       with_peers: bool = False) -> Iterator[dict]:
    """Time how fast one sequence is generated, and yield a record for each task and engine.

    The task "prefill" reads a prompt and chooses the next token. The task "decode" writes tokens after a
    prompt of half the context; reading this prompt is not timed. With `with_peers`, other libraries are timed
    too, with a remark if one is missing. Raises UserError when a library's logits differ from tinyllm's.
    """
    model = setting.model()
    prompt, half, new = _work(model)
    engines: dict = {"tinyllm": TimedModel(model), "numpy": TimedModel(model, partial(ops.use, "numpy"))}
    engines |= {f"int{bits}": TimedModel(quantize(setting.model(), bits)) for bits in (8, 4)}
    if with_peers:
        for name, load in peers.load("generate").engines(model).items():
            try:
                engines[name] = load(model, threads())
            except ImportError as error:
                yield {"bench": "generate", "setting": setting.name, "engine": name, "skipped": str(error)}
            else:
                ours = engines["tinyllm"].prefill(prompt)
                _must_agree(setting.name, name, engines[name], engines[name].prefill(prompt), ours)
    about = {"bench": "generate", "setting": setting.name}
    reading = {n: Contender(partial(e.prefill, prompt), around=e.around) for n, e in engines.items()}
    for record in compare(reading, seconds, least, **about, task="prefill", tokens=len(prompt)):
        yield _rates(record) | {"gflops": prefill_flops(model, len(prompt)) / record["seconds"] / 1e9}
    writing = {n: Contender(e.go_on, partial(e.begin, half, new), e.around) for n, e in engines.items()}
    for record in compare(writing, seconds, least, **about, task="decode", tokens=new):
        own = engines[record["engine"]]
        read = own.model if isinstance(own, TimedModel) else model if own.precision == "float32" else None
        if read is not None:
            n_bytes = new * decode_bytes(read, len(half) + (new + 1) / 2)
            record["gb_per_second"] = n_bytes / record["seconds"] / 1e9
        yield _rates(record)


def _work(model):
    """Return a prompt to read, the first part of it, and how many tokens to write after that part."""
    context, vocab_size = model.config.context, model.config.vocab_size
    prompt = [i * 7 % vocab_size for i in range(min(context, LONGEST))]
    return prompt, prompt[: context // 2], min(NEW, context - context // 2)


def measure_rates(model: Any) -> dict[str, float]:
    """Measure how many tokens per second a model reads, and how many it writes after half a context.

    Returns {"reading": rate, "writing": rate}, without "writing" for an encoder such as BERT.
    """
    engine = TimedModel(model)
    prompt, half, new = _work(model)
    tokens = {"reading": len(prompt), "writing": new}
    if model.objective == "masked":
        with inference(model):
            times = race({"reading": Contender(partial(model.hidden, prompt))}, 1.0)
    else:
        write = Contender(engine.go_on, partial(engine.begin, half, new))
        times = race({"reading": Contender(partial(engine.prefill, prompt)), "writing": write}, 1.0)
    return {what: tokens[what] / median(taken) for what, taken in times.items()}


def measure_batch(setting: Setting | LlamaSetting, rows: int, seconds: float,
                  least: int = 3) -> Iterator[dict]:
    """Time generating many sequences at once, each of 16 prompt tokens and 40 new ones; yield one record."""
    model = setting.model()
    new = min(40, model.config.context - 16)
    prompts = np.random.default_rng(0).integers(0, model.config.vocab_size, (rows, 16)).tolist()
    run = partial(generate, model, prompts, max_tokens=new, batch=rows)
    about = {"bench": "generate", "setting": setting.name, "task": "batch", "rows": rows}
    yield from map(_rates, compare({"tinyllm": Contender(run)}, seconds, least, **about, tokens=rows * new))


def _rates(record: dict) -> dict:
    return record | {"tokens_per_second": record["tokens"] / record["seconds"]}


def _must_agree(setting, name, engine, theirs, ours):
    off = np.abs(theirs - ours).max() / np.abs(ours).max()
    if not off < engine.tolerance:
        raise UserError(f"{name} does not run the same {setting}: logits differ by {off:.2g} of the largest")


def prefill_flops(model: Any, tokens: int) -> int:
    """Count the operations that read a prompt and compute the logits of the next token.

    The output layer, and the last block except its keys and values, run only at the last position.
    """
    last, total = f".{model.config.layers - 1}.", 0
    for name, module in model.named_modules():
        flops, before = (sum(module.flops(1, n).values()) for n in (tokens, tokens - 1))
        once = name == "lm_head" or (last in f".{name}." and not name.endswith(MAKE_KEYS))
        total += flops - before if once else flops
    return total


def decode_bytes(model: Any, length: float) -> float:
    """Count the bytes read to generate a token: all weights but embeddings, and `length` keys and values."""
    read = 0
    for _, module in model.named_modules():
        if isinstance(module, Embedding) or any(True for _ in module.named_children()):
            continue
        for value in vars(module).values():
            array = value.data if isinstance(value, Tensor) else value
            read += array.nbytes if isinstance(array, np.ndarray) else 0
    key = sum(layer.keys[:, :1].nbytes for layer in model.new_cache())
    return read + 2 * key * length
