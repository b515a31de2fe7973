"""Measure what quantised weights cost: int8 and int4 beside ggml's Q8_0 and Q4_0.

    python benchmarks/quantized.py FILE [STEPS]

Train a LLaMA of 0.9M parameters on the first 90 % of a text, by bytes, from three seeds. On the rest, print
by how much the loss per byte grows and the divergence KL(float32 || quantised) per byte, in nats, and the
relative squared error of the weights. ggml's formats are emulated: blocks of 32 inputs and a float16 scale,
max |w| / 127 and max / -8 (ggml-quants.c, quantize_row_q8_0_ref and quantize_row_q4_0_ref). So 8 bits take
8.5 a weight in both libraries, 4 bits 4.5. Weights alone are rounded, the output layer's too; inputs stay
float32.
"""

import sys
from pathlib import Path

import numpy as np

from tinyllm import ops
from tinyllm.models import build
from tinyllm.nn import Linear
from tinyllm.nn.layers import Head
from tinyllm.ops.quant import dequantize
from tinyllm.tensor import no_grad
from tinyllm.train.optimizer import AdamW

HEADS = {"layers": 4, "heads": 4, "kv_heads": 4}
SIZES = {"vocab_size": 256, "context": 64, "width": 128, "hidden": 384, **HEADS}
BATCH = 12


def ours(bits):
    def back(w):
        return dequantize(bits, *getattr(ops, f"quantize_int{bits}")(w), *w.shape)

    return back


def ggml(bits):
    """Round w (I, O), I a multiple of 32, as ggml does."""

    def back(w):
        blocks = w.reshape(-1, 32, w.shape[1])
        largest = np.take_along_axis(blocks, np.abs(blocks).argmax(1, keepdims=True), 1)
        d = (np.abs(largest) / 127 if bits == 8 else largest / -8).astype(np.float16).astype(np.float32)
        inverse = np.divide(1, d, out=np.zeros_like(d), where=d != 0)
        if bits == 8:
            return (np.rint(blocks * inverse) * d).reshape(w.shape)
        return ((np.clip(np.floor(blocks * inverse + 8.5), 0, 15) - 8) * d).reshape(w.shape)

    return back


FORMATS = {"int8": ours(8), "Q8_0": ggml(8), "int4": ours(4), "Q4_0": ggml(4)}


def trained(text, steps, seed):
    """Train a model on random rows of a text, given as bytes."""
    model = build({"model_type": "llama", **SIZES}, seed=seed).train()
    optimizer, rng = AdamW(model.parameters(), lr=2e-3, weight_decay=0.1), np.random.default_rng(seed)
    for step in range(steps):
        optimizer.lr = 2e-3 * (1 - step / steps)
        rows = text[rng.integers(0, len(text) - 65, BATCH)[:, None] + np.arange(65)]
        optimizer.zero_grad()
        model.loss(rows[:, :-1], rows[:, 1:]).backward()
        optimizer.step()
    return model.eval()


def log_probabilities(model, rows):
    with no_grad():
        return np.concatenate([ops.log_softmax(model(part).data) for part in np.array_split(rows, 16)])


def measure(layers, kept, back):
    """Round the weights of all layers -> their relative squared error."""
    off = size = 0.0
    for layer, w in zip(layers, kept, strict=True):
        rounded = np.ascontiguousarray(back(w.T).T if isinstance(layer, Head) else back(w), np.float32)
        layer.weight.data = rounded
        off, size = off + float(((rounded - w) ** 2).sum()), size + float((w**2).sum())
    return off / size


def main(path, steps=600):
    text = np.frombuffer(Path(path).read_bytes(), np.uint8).astype(np.int64)
    cut = len(text) * 9 // 10
    held = text[cut : cut + 65 * (min(len(text) - cut, 1 << 16) // 65)].reshape(-1, 65)
    found = {name: [] for name in FORMATS}
    for seed in range(3):
        model = trained(text[:cut], int(steps), seed)
        layers = [module for _, module in model.named_modules() if isinstance(module, (Linear, Head))]
        kept = [layer.weight.data for layer in layers]
        exact = log_probabilities(model, held[:, :-1])
        for name, back in FORMATS.items():
            error = measure(layers, kept, back)
            difference = exact - log_probabilities(model, held[:, :-1])
            rise = np.take_along_axis(difference, held[:, 1:, None], -1).mean()
            found[name].append((rise, (np.exp(exact) * difference).sum(-1).mean(), error))
        nll = -np.take_along_axis(exact, held[:, 1:, None], -1).mean()
        print(f"seed {seed}: {nll:.4f} nats per byte on {held.size:,} bytes", flush=True)
        for name, rows in found.items():
            loss, divergence, error = rows[-1]
            print(f"  {name}: loss {loss:+.5f}, KL {divergence:.6f}, weights {error:.3e}", flush=True)
    for name, rows in found.items():
        loss, divergence, error = np.mean(rows, axis=0)
        print(f"{name}: loss {loss:+.5f}, KL {divergence:.6f}, weights {error:.3e}")


if __name__ == "__main__":
    main(*sys.argv[1:])
