"""Every op that has a kernel, against its specification, at the sizes that training uses.

The specification runs whole under `use("numpy")`, so that the ops it calls are NumPy's too. A product is
rated in FLOP/s; anything else is bound by memory and rated by its traffic, which is the bytes of its
arguments and results, each counted once.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from tinyllm import ops
from tinyllm.bench.setting import Setting
from tinyllm.bench.timing import Contender, race, ratio
from tinyllm.ops.attention import key_ranges
from tinyllm.ops.registry import OPS

LAYER_ONLY = {"small"}  # settings of which only the products of one block are measured
Floats = Callable[..., np.ndarray]  # shape -> random numbers
PRODUCTS = {"linear", "linear_backward", "matmul", "matmul_backward"}  # whose spec is NumPy's OpenBLAS


class Case(NamedTuple):
    """One call to measure; `flops` counts its arithmetic, None where memory bounds the time."""

    op: str
    args: tuple
    flops: int | None = None


def cases(setting: Setting) -> Iterator[Case]:
    """Yield the calls of a setting one by one: the arrays of each are free when the next makes its own."""
    random = np.random.default_rng(0)
    parts = (products, quantised, heads, rows, elements, tables, updates, sampling)
    for part in (layer,) if setting.name in LAYER_ONLY else parts:
        yield from part(setting, lambda *shape: random.standard_normal(shape, np.float32))


def layer(s: Setting, floats: Floats) -> Iterator[Case]:
    """Yield the four linear layers of a block."""
    B, T, C = s.batch, s.context, s.width
    for n_in, n_out in ((C, 3 * C), (C, C), (C, 4 * C), (4 * C, C)):
        x, w, b = floats(B, T, n_in), floats(n_in, n_out), floats(n_out)
        flops = 2 * B * T * n_in * n_out
        yield Case("linear", (x, w, b), flops)
        yield Case("linear_backward", (floats(B, T, n_out), x, w), 2 * flops)
        if n_out == 4 * C:
            yield Case("linear_gelu", (x, w, b), flops)
            yield Case("linear_gelu_backward", (floats(B, T, n_out), x, w, floats(B, T, n_out)), 2 * flops)


def products(s: Setting, floats: Floats) -> Iterator[Case]:
    """Yield all products: those of a block, and the output layer."""
    yield from layer(s, floats)
    B, T, C, V = s.batch, s.context, s.width, s.vocab_size
    x, w = floats(B, T, C), floats(V, C)
    flops = 2 * B * T * C * V
    yield Case("matmul", (x, w, False, True), flops)
    yield Case("matmul_backward", (floats(B, T, V), x, w, False, True), 2 * flops)
    yield Case("split", (floats(B, T, 3 * C), 3))
    yield Case("join", ([floats(B, T, C) for _ in range(3)],))
    yield Case("round_bf16", (x,))


def quantised(s: Setting, floats: Floats) -> Iterator[Case]:
    """Yield the widest linear layer with weights of 8 and 4 bits, for one row, as in decoding."""
    n_in, n_out = s.width, 4 * s.width
    x, w = floats(1, n_in), floats(n_in, n_out)
    yield Case("quantize_rows", (x,))
    for bits in (8, 4):
        q, scales = OPS[f"quantize_int{bits}"](w)
        yield Case(f"quantize_int{bits}", (w,))
        yield Case(f"dequantize_int{bits}", (q, scales, n_in, n_out))
        yield Case(f"linear_int{bits}", (x, q, scales, n_out))


def heads(s: Setting, floats: Floats) -> Iterator[Case]:
    """Yield attention and positions. Backward has five products, forward two: it makes the scores again."""
    B, T, H, D = s.batch, s.context, s.heads, s.width // s.heads
    q, k, v, dy = (floats(B, T, H, D) for _ in range(4))
    y, lse = ops.attention(q, k, v)
    product = 2 * B * H * D * (T * (T + 1) // 2)
    yield Case("attention", (q, k, v), 2 * product)
    yield Case("attention_backward", (dy, q, k, v, y, lse), 5 * product)
    ranges, bias = key_ranges((B, T), T, window=max(T // 2, 1)), floats(H, 1, T)
    y, lse = ops.attention_ranges(q, k, v, *ranges, bias)
    yield Case("attention_ranges", (q, k, v, *ranges, bias))
    yield Case("attention_ranges_backward", (dy, q, k, v, *ranges, bias, y, lse))
    if D % 2 == 0:
        cos, sin = ops.rope_tables(np.arange(T), D)
        yield Case("rope_tables", (np.arange(T), D))
        yield Case("scaled_rope_tables", (np.arange(T), D, 1e4, {"rope_type": "ntk", "factor": 4.0}))
        yield Case("rope", (q, cos, sin))
        yield Case("rope_backward", (dy, cos, sin))


def rows(s: Setting, floats: Floats) -> Iterator[Case]:
    """Yield norms over the width; softmax and losses over the vocabulary."""
    B, T, C, V = s.batch, s.context, s.width, s.vocab_size
    x, dy, w, b = floats(B, T, C), floats(B, T, C), floats(C), floats(C)
    _, mean, rstd = ops.layernorm(x, w, b)
    yield Case("layernorm", (x, w, b))
    yield Case("layernorm_backward", (dy, x, w, mean, rstd))
    _, rstd = ops.rmsnorm(x, w)
    yield Case("rmsnorm", (x, w))
    yield Case("rmsnorm_backward", (dy, x, w, rstd))
    logits, dy = floats(B, T, V), floats(B, T, V)
    for name in ("softmax", "log_softmax"):
        yield Case(name, (logits,))
        yield Case(f"{name}_backward", (dy, OPS[name](logits)))
    targets = np.arange(B * T).reshape(B, T) % V
    loss, lse = ops.cross_entropy(logits, targets)
    yield Case("cross_entropy", (logits, targets))
    yield Case("cross_entropy_backward", (np.ones_like(loss), logits, targets, lse))
    w, flops = floats(V, C), 2 * B * T * C * V
    losses, lse = ops.token_losses(logits, targets)
    yield Case("token_losses", (logits, targets))
    yield Case("token_losses_backward", (np.ones_like(losses), logits, targets, lse))
    yield Case("linear_token_losses", (x, w, targets), flops)
    yield Case("linear_token_losses_backward", (np.ones_like(losses), x, w, targets, lse), 3 * flops)


def elements(s: Setting, floats: Floats) -> Iterator[Case]:
    """Yield activations in the hidden layer, the residual sum, dropout."""
    x, dy, up = (floats(s.batch, s.context, 4 * s.width) for _ in range(3))
    for name in ("exp", "log", "tanh", "sigmoid"):
        yield Case(name, (np.abs(x) + 1,))
    for name in ("gelu", "gelu_tanh", "silu"):
        yield Case(name, (x,))
        yield Case(f"{name}_backward", (dy, x))
    yield Case("swiglu", (x, up))
    yield Case("swiglu_backward", (dy, x, up))
    x, y = floats(s.batch, s.context, s.width), floats(s.batch, s.context, s.width)
    yield Case("add", (x, y))
    yield Case("dropout", (x, (1, 2), 0.1))
    yield Case("dropout_backward", (y, (1, 2), 0.1))


def tables(s: Setting, floats: Floats) -> Iterator[Case]:
    """Yield the embedding of tokens."""
    ids, _ = s.tokens()
    yield Case("embedding", (floats(s.vocab_size, s.width), ids))
    yield Case("embedding_backward", (floats(*ids.shape, s.width), ids, s.vocab_size))


def updates(s: Setting, floats: Floats) -> Iterator[Case]:
    """Yield the optimizer: one step of the largest matrix; norm and clipping of all gradients."""
    w, g, m, v = (floats(s.width, 4 * s.width) for _ in range(4))
    yield Case("adamw_step", (w, g, m, v * v, 10, 1e-3))
    grads = [floats(*p.shape) for p in s.model().parameters()]
    norm = ops.grad_norm(grads)
    yield Case("grad_norm", (grads,))
    yield Case("clip_grads", (grads, norm, 1.0))


def sampling(s: Setting, floats: Floats) -> Iterator[Case]:
    """Yield the work of sampling one token, on one row of logits."""
    logits = floats(s.vocab_size)
    yield Case("temperature", (logits, 0.8))
    yield Case("top_k", (logits, min(50, s.vocab_size)))
    yield Case("top_p", (logits, 0.9))
    yield Case("min_p", (logits, 0.1))
    yield Case("repetition_penalty", (logits, np.arange(s.context) % s.vocab_size, 1.2))
    yield Case("sample", (ops.softmax(logits), np.array(0.5)))


def measure_ops(setting: Setting, seconds: float, least: int = 3) -> Iterator[dict]:
    """Time every op that has a kernel -> yields one record for each call of `cases`."""
    for case in cases(setting):
        o = OPS[case.op]
        if not o.compiled:
            continue
        times = race({
            "compiled": Contender(partial(o.compiled, *case.args)),
            "spec": Contender(partial(o.reference, *case.args), around=partial(ops.use, "numpy")),
        }, seconds, least)  # fmt: skip
        took, speedup = median(times["compiled"]), ratio(times, "spec", "compiled")
        record: dict = {"bench": "ops", "setting": setting.name, "op": case.op, "shape": shape(case.args)}
        record |= {"seconds": took, "spec_seconds": median(times["spec"]), "times_spec": speedup}
        if case.flops:
            record["gflops"] = case.flops / took / 1e9
        else:
            record["gb_per_second"] = traffic(case) / took / 1e9
        yield record | {"slower_than_spec": speedup < 1, "rounds": len(times["spec"])}


def shape(args: tuple) -> str:
    """Write the first two different shapes of the arrays: `12x64x128, 128x384`; of a list, its length."""
    shapes = []
    for arg in args:
        if isinstance(arg, list):
            shapes.append(f"{len(arg)} arrays")
        elif isinstance(arg, np.ndarray):
            shapes.append("x".join(map(str, arg.shape)) or "1")
    return ", ".join(list(dict.fromkeys(shapes))[:2])


def traffic(case: Case) -> int:
    """Count the bytes that a call must read and write, each once."""
    o = OPS[case.op]
    bound = inspect.signature(o.reference).bind(*case.args).arguments
    written = [bound[name] for name in o.mutates]
    return _size(case.args) + _size(written) + _size(o(*case.args))


def _size(value: Any) -> int:
    if isinstance(value, (tuple, list)):
        return sum(map(_size, value))
    return getattr(value, "nbytes", 0)
