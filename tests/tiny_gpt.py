"""Make small models whose parts all matter, check gradients by slopes, and run a GPT in plain NumPy."""

import numpy as np

from tinyllm.models.gpt import GPT, GPTConfig

V, CONTEXT = 11, 8  # of `tiny`


def tiny_gpt(vocab_size, context=32, layers=2, heads=2, width=16, seed=3):
    """Return a GPT with noise in its weights; with initial weights, attention would be almost uniform."""
    model = GPT(GPTConfig(vocab_size=vocab_size, context=context, layers=layers, heads=heads, width=width))
    return shaken(model, seed=seed).eval()


def tiny(dtype=np.float32, seed=0, std=0.5, **changes):
    """Return a GPT with confident predictions; in float64, rounding cannot change the drawn tokens."""
    sizes = {"vocab_size": V, "context": CONTEXT, "layers": 2, "heads": 2, "width": 12}
    return shaken(GPT(GPTConfig(**(sizes | changes)), seed=None), std, seed, dtype)


def spied(model, name, seen):
    """Wrap a method of the model so that it adds the shape of its input to `seen`."""
    method = getattr(model, name)
    setattr(model, name, lambda x, *rest: seen.append(x.shape) or method(x, *rest))
    return model


def shaken(model, std=0.3, seed=0, dtype=np.float32):
    """Add noise to the weights of a model, large enough for every part of it to matter."""
    rng = np.random.default_rng(seed)
    for _, p in model.named_tensors():
        p.data = (p.data + rng.normal(size=p.shape) * std).astype(dtype)
    return model


def check_slopes(loss, parameters):
    """Compare gradients with the slopes of loss(), along one random direction for each parameter."""
    rng = np.random.default_rng(0)
    loss().backward()
    for name, p in parameters:
        direction, here, found = rng.normal(size=p.shape), p.data, []
        for h in (1e-6, -1e-6):
            p.data = here + h * direction
            found.append(loss().item())
        p.data = here
        slope = (found[0] - found[1]) / 2e-6
        grad = 0 if p.grad is None else p.grad  # None in a layer for pictures, which was not run
        assert abs((grad * direction).sum() - slope) < 1e-6 * max(1, abs(slope)), name


def norm(x, w, b):
    """Return the layer norm, written as in its paper."""
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * w + b


def softmax(x):
    """Return probabilities along the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def by_hand(model, ids):
    """Run a GPT on ids in float64, without the library -> attention (L, H, T, T), p (L + 1, T, V)."""
    w = {name: a.astype(np.float64) for name, a in model.state_dict().items()}
    T, H, L = len(ids), model.config.heads, model.config.layers
    x = w["wte.weight"][ids] + w["wpe.weight"][:T]
    stream, attention = [x], []
    hidden = np.triu(np.full((T, T), -np.inf), 1)
    for n in range(L):
        def linear(x, name, n=n):
            return x @ w[f"h.{n}.{name}.weight"] + w[f"h.{n}.{name}.bias"]

        mixed = linear(norm(x, w[f"h.{n}.ln_1.weight"], w[f"h.{n}.ln_1.bias"]), "attn.c_attn")
        q, k, v = (part.reshape(T, H, -1).swapaxes(0, 1) for part in np.split(mixed, 3, axis=-1))
        p = softmax(q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1]) + hidden)
        x = x + linear((p @ v).swapaxes(0, 1).reshape(T, -1), "attn.c_proj")
        h = linear(norm(x, w[f"h.{n}.ln_2.weight"], w[f"h.{n}.ln_2.bias"]), "mlp.c_fc")
        bent = 0.5 * h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))
        x = x + linear(bent, "mlp.c_proj")
        stream.append(x)
        attention.append(p)
    logits = [norm(x, w["ln_f.weight"], w["ln_f.bias"]) @ w["wte.weight"].T for x in stream]
    return attention, [softmax(rows) for rows in logits]
