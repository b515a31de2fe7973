"""Time the kernel and the specification of each op that training and generating use.

To find these ops, a GPT and a LLaMA of one layer train for a step and GPTs write two tokens, while
`registry.watch` records every call: once on the kernels, and once on the specifications, which call more ops.
So a new op is measured as soon as a model uses it. The rate of a matrix product is in FLOP/s. All other ops
are limited by memory: their rate is the bytes of arguments and results per second.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from tinyllm import ops
from tinyllm.bench.setting import Setting
from tinyllm.bench.timing import Contender, race, ratio
from tinyllm.bench.train import training_step
from tinyllm.decode.generate import generate
from tinyllm.decode.sampling import Sampling
from tinyllm.models import Llama, LlamaConfig
from tinyllm.nn import quantize
from tinyllm.ops.registry import BACKWARD, OPS, watch

ALL_FILTERS = Sampling(temperature=0.8, top_k=50, top_p=0.9, min_p=0.1, repetition_penalty=1.2)
# The FLOPs of a backward op as a multiple of those of its forward op.
BACKWARD_PRODUCTS = {"attention": 2.5, "attention_ranges": 2.5, "linear_token_losses": 3}
PRODUCTS = {"linear", "linear_backward", "matmul", "matmul_backward"}  # whose spec is NumPy's OpenBLAS


class Case(NamedTuple):
    """A call to measure; `flops` is its number of operations, or None if memory limits its speed."""

    op: str
    args: tuple
    kwargs: dict[str, Any]
    flops: float | None
    traffic: int


def work(s: Setting) -> None:
    """Train a GPT and a LLaMA of this size for a step; generate with the GPT and with quantized copies."""
    sizes: Any = {"context": s.context, "layers": s.layers, "heads": s.heads, "width": s.width}
    llama = Llama(LlamaConfig(s.vocab_size, **sizes, kv_heads=s.heads, hidden=4 * s.width))
    training_step(s)()
    training_step(s, llama)()
    for model in (s.model(), quantize(s.model(), 8), quantize(s.model(), 4)):
        generate(model, [[0]], max_tokens=2, sampling=ALL_FILTERS)


def cases(setting: Setting) -> list[Case]:
    """Return the calls to measure: one for each op with a kernel and each combination of shapes."""
    found: dict[tuple, Case] = {}

    def record(op: Any, run: Any, *args: Any, **kwargs: Any) -> Any:
        result = run(*args, **kwargs)
        key = op.__name__, shape(args)
        if op.compiled and op.__name__ not in known and key not in found:
            bound = op.__signature__.bind(*args, **kwargs)
            bound.apply_defaults()
            written = [bound.arguments[name] for name in op.mutates]
            traffic = _size(args) + _size(written) + _size(result)
            found[key] = Case(op.__name__, args, kwargs, product_flops(op, bound.arguments, result), traffic)
        return result

    for backend in ("compiled", "numpy"):
        known = {case.op for case in found.values()}  # the specifications add what kernels never call
        with ops.use(backend), watch(record):
            work(replace(setting, layers=1))
    return sorted(found.values(), key=lambda case: list(OPS).index(case.op))


def product_flops(op: Any, arguments: dict[str, Any], result: Any) -> float | None:
    """Count the operations of a matrix product, forward or backward; None for any other op."""
    name = op.__name__.removesuffix(BACKWARD)
    backward = name != op.__name__
    forward = OPS[name]
    if name == "linear_token_losses":
        flops = 2 * arguments["x"].size * len(arguments["w"])
    elif callable(forward.flops):
        flops = forward.flops(arguments, next(iter(arguments.values())) if backward else result)
    else:
        return None
    return flops * BACKWARD_PRODUCTS.get(name, 2) if backward else flops


def measure_ops(setting: Setting, seconds: float, least: int = 3) -> Iterator[dict]:
    """Time kernels and their specifications, and yield one record for each of `cases`."""
    for case in cases(setting) if ops.registry._compiled else ():
        o = OPS[case.op]
        ours, spec = (partial(run, *case.args, **case.kwargs) for run in (o.compiled, o.reference))
        contenders = {"compiled": Contender(ours), "spec": Contender(spec, around=partial(ops.use, "numpy"))}
        times = race(contenders, seconds, least)
        took, speedup = median(times["compiled"]), ratio(times, "spec", "compiled")
        record: dict = {"bench": "ops", "setting": setting.name, "op": case.op, "shape": shape(case.args)}
        record |= {"seconds": took, "spec_seconds": median(times["spec"]), "times_spec": speedup}
        if case.flops:
            record["gflops"] = case.flops / took / 1e9
        else:
            record["gb_per_second"] = case.traffic / took / 1e9
        yield record | {"slower_than_spec": speedup < 1, "rounds": len(times["spec"])}


def shape(args: tuple) -> str:
    """Write the first two different shapes, as in `12x64x128, 128x384`; a list counts as `3 arrays`."""
    shapes = []
    for arg in args:
        if isinstance(arg, list):
            shapes.append(f"{len(arg)} arrays")
        elif isinstance(arg, np.ndarray):
            shapes.append("x".join(map(str, arg.shape)) or "1")
    return ", ".join(list(dict.fromkeys(shapes))[:2])


def _size(value: Any) -> int:
    if isinstance(value, (tuple, list)):
        return sum(map(_size, value))
    return getattr(value, "nbytes", 0)
