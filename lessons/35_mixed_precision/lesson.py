# %% [markdown]
# # 35. Half the bits, and where the bytes go
#
# Numbers of 16 bits take half of the memory, and processors multiply them faster.
# Which bits are left out, what goes wrong then, and how is it mended? And when a
# training does not fit into memory, what fills it, and what does less cost?

# %%
import tracemalloc
from contextlib import nullcontext
from time import process_time

import numpy as np

import tinyllm as tl
from tinyllm import nn, ops
from tinyllm.course.lesson_runner import begin, compare, predict, spread
from tinyllm.course.page import curves, write_page
from tinyllm.data import Batch, get_batch
from tinyllm.models import build
from tinyllm.ops import registry
from tinyllm.train import MasterAdamW
from tinyllm.train.loop import forward_backward
from tinyllm.world import stories

folder = begin()
tl.threads(1)
np.seterr(all="ignore")  # numbers overflow here on purpose

# %% [markdown]
# ## 1. Three formats
#
# A floating-point number is a sign, an exponent and a fraction, in float32 of 8
# and 23 bits. bfloat16 is its upper half: the same exponent, 7 bits of fraction.
# float16 has 5 and 10: finer steps, but a small range.

# %%
def bf16(x):
    """Round one number to bfloat16."""
    return float(ops.round_bf16(np.float32(x).reshape(1))[0])


guess = predict("in float16: the square of 300?")
print(compare(guess, float(np.float16(300) ** 2)))
guess = predict("in bfloat16: 256 + 1?")
print(compare(guess, bf16(257)))

# %% [markdown]
# So float16 *overflows*: exp(12) or a sum of squares is soon above 65,504, and
# what is below 6e-8 is 0. bfloat16 hardly ever does that, but *small steps
# vanish*: half a step at 256 is 1, and the tie goes back to 256.
#
# ## 2. float16: what vanishes, and where
#
# The model is a LLaMA of two layers that reads stories, 8 rows of 64 characters
# at a time. A large training takes some 2 million tokens for one step, so the
# loss of such a piece is multiplied by its share of them, 1/4096.
# No processor here computes in float16. But `watch` sees the result of every op,
# and `as_half` rounds it.

# %%
text = stories.generate(n=3000)
tokenizer = tl.CharTokenizer.train(text)
tokens = tokenizer.encode_to_numpy(text.encode())
SIZES = {"model_type": "llama", "vocab_size": tokenizer.vocab_size,
         "context": 64, "layers": 2, "heads": 4, "kv_heads": 4, "width": 64,
         "hidden": 176, "init_std": 0.125}
SHARE = 1 / 4096


def as_half(x):
    """Round float32 results to float16, and keep them in float32."""
    if isinstance(x, tuple):
        return tuple(map(as_half, x))
    half = isinstance(x, np.ndarray) and x.dtype == np.float32
    return x.astype(np.float16).astype(np.float32) if half else x


found = {}  # op -> percent of its results that vanish, and the largest


def look(op, run, *args, **options):
    y = run(*args, **options)
    for x in y if isinstance(y, tuple) else (y,):
        if op.__name__.endswith("_backward") and x is not None and x.any():
            x = abs(x[x != 0])
            gone, most = found.get(op.__name__, (0, 0))
            gone = max(gone, 100 * (x < 2**-25).mean())
            found[op.__name__] = gone, max(most, x.max())
    return y


def batch(seed, step):
    return get_batch(tokens, seed=seed, step=step, batch=8, context=64)


guess = predict("gradients of attention: percent that are 0 in float16?")
with registry.watch(look):
    (build(SIZES, seed=0).loss(*batch(0, 0)) * SHARE).backward()
print(compare(guess, found["attention_backward"][0]))
for name, (gone, most) in found.items():
    print(f"{name:<29} largest {most:7.1e}, {gone:3.0f} % become 0")

# %% [markdown]
# No weight is wrong, no loss is NaN: the model only does not learn. By the chain
# rule, a loss times 1,024 has gradients times 1,024. Divide them again before the
# step, in float32 (Micikevicius et al., "Mixed precision training", 2018). How
# large may that scale be? It changes while a model learns. So after infinities
# halve it, and leave the step out; after so many good steps, double it.
#
# **Now you: `update_loss_scale`.** `train` is for all precisions of this lesson.

# %%
guess = predict("the largest scale 2^n without an infinity: n?")
largest, name = max((most, name) for name, (_, most) in found.items())
print(compare(guess, int(np.log2(65504 / largest))), "first in", name)
SEEDS, STEPS, LR = 1, 200, 3e-4


class Careless(MasterAdamW):
    """An optimizer without a memory: its masters are the rounded weights."""

    def update(self, i, p, grad_scale):
        self.w[i] = np.array(p.data)
        super().update(i, p, grad_scale)


def begun(sizes, rule, seed=0):
    """Make a model and its optimizer; not for AdamW: 16 bits."""
    model = build(sizes, seed=seed)
    model = model if rule is tl.AdamW else nn.store_bf16(model)
    return model, rule(model.parameters())


def train(seed, ops_in=nullcontext, rule=tl.AdamW, scale=1.0, dynamic=False):
    """Train a model -> the loss of each step."""
    model, optimizer = begun(SIZES, rule, seed)
    n, losses, left_out = 0, [], 0
    for step in range(STEPS):
        with ops_in():
            loss = model.loss(*batch(seed, step))
            (loss * scale).backward()
        norm = ops.grad_norm([p.grad for p in model.parameters()])
        if finite := bool(np.isfinite(norm)):
            optimizer.lr = ops.lr_schedule(step, STEPS, LR, 10, 0.1)
            optimizer.step(min(1 / scale, 1 / max(norm, 1e-9)))  # clipped
        optimizer.zero_grad()
        losses.append(loss.item())
        left_out += not finite
        if dynamic:
            scale, n = ops.update_loss_scale(scale, finite, n, 2, 0.5, 10)
    if dynamic:
        print(f"2^{np.log2(scale / SHARE):.0f}, {left_out} steps left out")
    return np.array(losses)


def over_seeds(name, **how):
    """Train with each seed and print the end -> means of ten steps."""
    runs = [train(seed, **how) for seed in range(SEEDS)]
    ends = [losses[-20:].mean() for losses in runs]
    print(f"{name:<26} loss {spread(ends, '.3f')}", flush=True)
    return np.mean(runs, axis=0).reshape(-1, 10).mean(axis=1)


plain = over_seeds("float32")
guess = predict("float16, no scaling: the loss at the end?")
rounded = {"ops_in": lambda: registry.watch(
    lambda op, run, *args, **options: as_half(run(*args, **options)))}
lost = over_seeds("float16, not scaled", **rounded, scale=SHARE)
print(compare(guess, lost[-1]))
scaled = over_seeds("float16, scaled", **rounded, scale=SHARE * 2.0**16,
                    dynamic=True)

# %% [markdown]
# ## 3. bfloat16: what is too small to be added
#
# bfloat16 has float32's range, so it needs no scale. `use(matmul="bf16")` rounds
# what is multiplied, while sums and weights stay in float32. That is harmless.
# Weights that are *stored* in bfloat16 are not. AdamW moves a weight by about lr,
# here 0.0003. In bfloat16 the numbers above 0.125 are 0.001 apart.

# %%
guess = predict("0.125 and 100 steps of +0.0003, rounded after each?")
w = 0.125
for _ in range(100):
    w = bf16(w + 0.0003)
print(compare(guess, w))

# %% [markdown]
# It does not move at all. So the optimizer moves a float32 copy of each weight,
# its *master*, and rounds it into the weight. `nn.store_bf16` makes weights of
# two bytes, and `MasterAdamW` has masters; those of `Careless` forget.

# %%
short = {"ops_in": lambda: ops.use(matmul="bf16")}
products = over_seeds("bf16 products", **short)
masters = over_seeds("bf16 weights and masters", **short, rule=MasterAdamW)
guess = predict("without masters: the loss at the end?")
careless = over_seeds("bf16 weights, no masters", **short, rule=Careless)
print(compare(guess, careless[-1]))

# %% [markdown]
# With SEEDS = 3, means of three seeds: float32 2.507 (2.455 to 2.540), the same
# with bf16 products. float16 2.800 (2.754 to 2.840), scaled 2.508. Weights of 16
# bits 2.705 (2.656 to 2.737), with masters 2.508.
#
# ## 4. Where the bytes go
#
# Four things fill the memory of a training step: weights, gradients, AdamW's two
# means, and *activations*, all that the backward pass needs of the forward pass.
# A layer of width C with an MLP of H channels keeps for each token: the residual
# stream twice, two norms, queries, keys, values, attention's result (8 C); gate,
# up and their product (3 H). *Checkpointing* (`nn.recompute`) keeps 6 C, and
# computes the others again on the way back. *Accumulation* cuts the batch.

# %%
LAYERS, C, H, T, ROWS = 4, 256, 768, 128, 16
BIG = SIZES | {"context": T, "layers": LAYERS, "width": C, "hidden": H}
BATCH = Batch(*get_batch(tokens, seed=0, step=0, batch=ROWS, context=T))
taken = getattr(registry._compiled, "memory", lambda: {"used": 0})


def measure(large=1e18, pieces=1, ops_in=nullcontext, rule=tl.AdamW):
    """Train for 5 steps -> MiB held, kept, of gradients, at the peak; ..."""
    tracemalloc.start()
    model, optimizer = begun(BIG, rule)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    nn.recompute(model, large)
    start, kept, most, seconds, flops = taken()["used"], [], [], [], []

    def loss(model, piece):
        before = taken()["used"]
        value = model.loss(piece.tokens, piece.targets)
        kept.append(taken()["used"] - before)
        return value

    def sample(op, run, *args, **options):
        y = run(*args, **options)
        most.append(taken()["used"] - start)
        given = op.__signature__.bind(*args, **options)
        given.apply_defaults()
        flops.append(op.count_flops(given.arguments, y))
        return y

    for _ in range(5):
        began = process_time()
        with ops_in(), registry.watch(sample):
            value, _ = forward_backward(model, BATCH, loss, pieces)
        grads = taken()["used"] - start
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(process_time() - began)
    sizes = np.array([held, max(kept), grads, max(most)]) / MIB
    return sizes, sum(flops) / 5, min(seconds), value


count, MIB = build(BIG).num_parameters(), 2**20
few, whole = ((LAYERS * n + 2 * C) * 4 * ROWS * T / MIB
              for n in (6 * C, 8 * C + 3 * H))  # 2 C: around the last norm
guess = predict(f"{count:,} weights, {ROWS} x {T} tokens: MiB to keep?")
print(compare(guess, whole))
guess = predict("recomputed: a step takes how many times as long?")
print("MiB said/measured weights+AdamW  activations   gradients  peak   step")
got = {}
for name, each, said, how in (
    ("all kept", 12, whole, {}), ("recomputed", 12, few, {"large": 0}),
    ("4 pieces", 12, whole / 4, {"pieces": 4}),
    ("bf16 weights", 14, whole, short | {"rule": MasterAdamW}),
):
    (*three, peak), flops, seconds, value = got[name] = measure(**how)
    print(f"{name:<17}", *(f"{a:8.0f} /{b:4.0f}" for a, b in zip(
        (each * count / MIB, said, 4 * count / MIB), three, strict=True)),
        f"{peak:7.0f} {seconds:7.2f} s", flush=True)
(_, flops, seconds, value), (_, more, longer, same) = (
    got[name] for name in ("all kept", "recomputed"))
print(compare(guess, longer / seconds), "said:", 1 + (more / flops - 1) / 3)
print("the same bits:", same == value)

# %% [markdown]
# Every byte is where it was said to be. The peak is no sum: gradients come while
# activations go. Recomputing costs what counting operations says: of the forward
# pass, a third of the work, not half is done twice. Pieces cost little while they
# keep the processor busy; their sums round elsewhere, so the last bits differ.
# `tinyllm train` recomputes where inputs are large; `train.accumulate=4` splits.
#
# And weights of 16 bits save *nothing* in training: 2 bytes, and 4 of a master,
# in place of 4. They are smaller on the way to another processor, and in a
# finished model. Products of 16 bits save time, here (AVX-512 BF16) a third:
# `--set train.precision=bf16`. Cards also halve activations and gradients.

# %%
above = {"float16, not scaled": lost - plain, "scaled": scaled - plain,
         "bf16 weights, no masters": careless - plain,
         "with masters": masters - plain}
write_page(folder / "precision.html", "Three precisions, and two remedies",
           f"Means of {SEEDS} seeds. Remedies bring both to float32's, 0.",
           [curves("What 16 bits cost", "loss above that of float32", above,
                   at=range(10, STEPS + 1, 10))])
