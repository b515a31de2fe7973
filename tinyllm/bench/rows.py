"""Define the races that `tinyllm bench` runs, and the contenders in each.

A race is (fields of its records, {engine: function that makes a contender}). benchmarks/race.py adds other
libraries to these races. A contender of `apart` has a process of its own, whose backend it may choose.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.bench.machine import Roof
from tinyllm.bench.race import Contender, apart
from tinyllm.data import Batch
from tinyllm.decode.generate import generate, stream
from tinyllm.decode.sampling import Sampling
from tinyllm.models import GPT, Llama, build
from tinyllm.nn import pack_cache, quantize
from tinyllm.nn.module import forward_flops
from tinyllm.ops.registry import OPS, watch
from tinyllm.report.summary import costs
from tinyllm.runs.private import PrivateConfig, private_plan
from tinyllm.train.loop import forward_backward
from tinyllm.train.objectives import next_token
from tinyllm.train.optimizer import AdamW, clipped_step, decay_groups, gradient_norm

Makers = dict[str, Callable[[], Contender]]
Race = tuple[dict[str, Any], Makers]
SHAKESPEARE = 65  # characters: the vocabulary of the small models
SIZES: dict[str, dict] = {  # setting -> sizes of a model
    "nano": {"model_type": "gpt2", "vocab_size": SHAKESPEARE, **GPT.PRESETS["nano"]},
    "mini": {"model_type": "gpt2", "vocab_size": SHAKESPEARE, **GPT.PRESETS["mini"]},
    "small": {"model_type": "gpt2", "vocab_size": 50257, **GPT.PRESETS["small"]},  # GPT-2, 124M parameters
    "llama-110m": {"model_type": "llama", **Llama.PRESETS["llama-110m"]},
}
BATCH = {"nano": 12, "mini": 16}  # rows of a training step, as `tinyllm train` takes them
GREEDY = Sampling(temperature=0)
ALL_FILTERS = Sampling(temperature=0.8, top_k=50, top_p=0.9, min_p=0.1, repetition_penalty=1.2)


def model_of(sizes: dict[str, Any], bits: int = 32, cache: str = "float32") -> Any:
    """Return an untrained model of some sizes, whose weights are always the same, with 32, 8 or 4 bits."""
    return pack_cache(build(sizes) if bits == 32 else quantize(build(sizes), bits), cache)


# Ops


def op_races(quick: bool = False) -> Iterator[Race]:
    """Yield a race of kernel against specification for each op and shape in training and generation.

    A GPT and a LLaMA of one layer train for a step and GPTs write two tokens, while `registry.watch` records
    every call. So a new op is measured as soon as a model uses it.
    """
    for name in ["nano"] if quick else ["nano", "mini", "small"]:
        sizes = SIZES[name] | {"vocab_size": SHAKESPEARE}
        for op, args, kwargs, amounts in op_calls(sizes, BATCH.get(name, 1)):
            functions = {"compiled": OPS[op].compiled, "spec": OPS[op].reference}
            with ops.use("numpy"):  # for the ops that a specification calls
                yield {"setting": name, "op": op, "shape": _shapes(args)}, {
                    engine: partial(Contender, partial(f, *args, **kwargs), amounts=amounts)
                    for engine, f in functions.items()}


def op_calls(sizes: dict[str, Any], batch: int) -> list[tuple[str, tuple, dict, dict]]:
    """Return (op, args, kwargs, amounts such as FLOPs) of each op with a kernel and each set of shapes."""
    found: dict[tuple, tuple] = {}

    def record(op: Any, run: Any, *args: Any, **kwargs: Any) -> Any:
        result = run(*args, **kwargs)
        key = op.__name__, _shapes(args)
        if op.compiled and key not in found:
            bound = op.__signature__.bind(*args, **kwargs)
            bound.apply_defaults()
            amounts = {"flops": op.flops(bound.arguments, result)} if callable(op.flops) else {}
            found[key] = op.__name__, args, kwargs, amounts
        return result

    sizes = sizes | {"layers": 1}
    llama = {**sizes, "model_type": "llama", "kv_heads": sizes["heads"], "hidden": 4 * sizes["width"]}
    with watch(record):
        for model in (model_of(sizes), model_of(llama)):
            training_step(model, batch)()
        for bits in (32, 8, 4):
            generate(model_of(sizes, bits), [[0]], max_tokens=2, sampling=ALL_FILTERS)
    return sorted(found.values(), key=lambda call: list(OPS).index(call[0]))


def _shapes(args):
    """Write the first two different shapes, as in `12x64x128, 128x384`; a list counts as `3 arrays`."""
    shapes = []
    for arg in args:
        if isinstance(arg, list):
            shapes.append(f"{len(arg)} arrays")
        elif isinstance(arg, np.ndarray):
            shapes.append("x".join(map(str, arg.shape)) or "1")
    return ", ".join(list(dict.fromkeys(shapes))[:2])


# Training


def train_races(quick: bool = False) -> Iterator[Race]:
    """Yield a race of training steps for each setting: in float32, with products in bfloat16, and private."""
    for name in ["nano"] if quick else ["nano", "mini"]:
        train = partial(trainer, SIZES[name], BATCH[name])
        yield {"setting": name}, apart({"tinyllm": train, "tinyllm bf16": partial(train, bf16=True),
                                        "tinyllm private": partial(train, private=True)})


def training_step(model: Any, batch: int, private: bool = False) -> Callable[[], float]:
    """Return a function that trains a model for a step on random tokens, perhaps privately -> the loss."""
    c = model.config
    tokens = np.random.default_rng(0).integers(0, c.vocab_size, (batch, c.context + 1))
    optimizer = AdamW(decay_groups(model.parameters(), 0.1), lr=1e-3, betas=(0.9, 0.99))
    rows = Batch(tokens[:, :-1].copy(), tokens[:, 1:].copy())
    noisy = private_plan(PrivateConfig(1e9, noise=1.0), 100 * batch, batch, 1) if private else None
    if noisy:
        noisy.examine(model, rows.rows(slice(2)), next_token)

    def step():
        loss, _ = forward_backward(model, rows, next_token, key=(0,), private=noisy)
        clipped_step(optimizer, gradient_norm(optimizer.parameters), 1.0)
        optimizer.zero_grad()
        return loss

    return step


def trainer(sizes: dict[str, Any], batch: int, bf16: bool = False, private: bool = False) -> Contender:
    """Return a contender that trains a new model for a step: forward, backward, clip and AdamW."""
    if bf16:
        ops.use(matmul="bf16")
    model = model_of(sizes).train()
    return Contender(
        training_step(model, batch, private), amounts=training_amounts(model, batch, bf16),
        answer=lambda: np.array([training_step(model_of(sizes), batch)()]), tolerance=2e-2 if bf16 else 1e-4,
    )


def training_amounts(model: Any, batch: int, bf16: bool = False) -> dict[str, float]:
    """Return the tokens and FLOPs of a training step: backward takes twice the FLOPs of forward."""
    n = model.config.context
    return {"tokens": batch * n, "bf16_flops" if bf16 else "flops": 3 * batch * forward_flops(model, n)}


# Generating

NEW = 32  # tokens that are written
LONGEST = 512  # tokens of a prompt


def generate_races(quick: bool = False) -> Iterator[Race]:
    """Yield races of reading a prompt, and of greedy decoding after half a context, both with one row.

    Rounded models store bf16 numbers in their caches. (llama.cpp stores float16, whatever the weights.)
    """
    for name in ["nano"] if quick else SIZES:
        for task, work in (("prefill", reading), ("decode", writing)):
            make = partial(generator, SIZES[name], work)
            yield {"setting": name, "task": task}, apart({
                "tinyllm": make, "bf16 cache": partial(make, 32, "bf16"), "int8": partial(make, 8, "bf16"),
                "int4": partial(make, 4, "bf16")})


def batch_races(quick: bool = False) -> Iterator[Race]:
    """Yield a race of continuing 256 prompts of 16 tokens in one batch, beside its matrix products alone."""
    make = partial(generator, SIZES["nano"])
    yield {"setting": "nano", "rows": 256}, apart({"tinyllm": partial(make, many),
                                                   "products": partial(make, products)})


def generator(sizes: dict[str, Any], work: Callable, bits: int = 32, cache: str = "float32") -> Contender:
    """Return the contender `work(model)` of a new model; rounded numbers get a larger tolerance."""
    contender = work(model_of(sizes, bits, cache))
    contender.tolerance = {32: 1e-3 if cache == "float32" else 0.05, 8: 0.2, 4: 0.9}[bits]
    return contender


def prompt_of(model: Any, length: int = LONGEST) -> list[int]:
    """Return a prompt of some length, or as long as the context."""
    return [i * 7 % model.config.vocab_size for i in range(min(model.config.context, length))]


def reading(model: Any) -> Contender:
    """Return a contender that reads a prompt; its answer is the logits of the next token, (V,)."""
    prompt = prompt_of(model)

    def read():
        return next(stream(model, [prompt], max_tokens=1, sampling=GREEDY)).logits

    return Contender(read, amounts={"tokens": len(prompt)}, answer=read)


def writing(model: Any) -> Contender:
    """Return a contender that writes tokens after a prompt; reading the prompt is not timed."""
    prompt = prompt_of(model, model.config.context // 2)

    def begin():
        steps = stream(model, [prompt], max_tokens=NEW + 1, sampling=GREEDY)
        next(steps)
        return (steps,)

    return Contender(lambda steps: sum(1 for _ in steps), begin, amounts={"tokens": NEW})


def speeds(model: Any, roof: Roof, measured: bool = False) -> dict[str, tuple[float, float | None]]:
    """Predict the tokens per second of reading and writing from a roof, and measure them if `measured`.

    -> {"read" or "written": (predicted, measured or None)}. One row reads a prompt as `reading` does, and
    writes after half a context as `writing` does. What was measured is the best of five samples, as the roof
    is. Without a roof, or if the model has no KV cache, the answer is empty.
    """
    if not (roof.gflops and roof.gb_per_second and costs(model).cache_bytes) or model.is_encoder_decoder:
        return {}
    rates, found = (roof.gflops * 1e9, roof.gb_per_second * 1e9), {}
    for name, work, room in (("read", reading, LONGEST), ("written", writing, model.config.context // 2)):
        tokens = len(prompt_of(model, room))
        reads, writes = costs(model, tokens).seconds(tokens, *rates)
        best = None
        if measured:
            contender = work(model)
            best = contender.amounts["tokens"] / min(contender.sample(1, 0.03) for _ in range(5))
        found[name] = (tokens / reads if work is reading else 1 / writes, best)
    return found


def many(model: Any) -> Contender:
    """Return a contender that writes 40 tokens after each of 256 prompts."""
    prompts = np.random.default_rng(0).integers(0, model.config.vocab_size, (256, 16)).tolist()
    return Contender(partial(generate, model, prompts, max_tokens=40, batch=256),
                     amounts={"tokens": 256 * 40})


def products(model: Any) -> Contender:
    """Return a contender that computes the matrix products of `many` in their order, and nothing else."""
    whole, calls = many(model), []
    found: dict[tuple, Callable] = {}  # with one input for each shape and weight

    def record(op: Any, run: Any, *args: Any, **kwargs: Any) -> Any:
        if op.__name__ in ("linear", "linear_gelu", "matmul"):
            product: Any = ops.matmul if op is ops.matmul else ops.linear  # without gelu
            key = args[0].shape, id(args[1])
            calls.append(found.setdefault(key, partial(product, *args, **kwargs)))
        return run(*args, **kwargs)

    with watch(record):
        whole.run()
    return Contender(lambda: [call() for call in calls], amounts=whole.amounts)
