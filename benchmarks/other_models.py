"""Make contenders of other libraries: PyTorch, transformers and llama.cpp, from tinyllm's weights.

Nothing is downloaded. A model is saved to a temporary folder, which transformers opens as it is, and, for
llama.cpp, written to a GGUF file there.
"""

import tempfile
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np

from tinyllm import ops
from tinyllm.bench.race import Contender
from tinyllm.bench.rows import model_of, prompt_of, training_amounts
from tinyllm.models.gguf import save_gguf
from tinyllm.ops.runtime import threads

# Kind of a GGUF file -> bits, and how far off its logits may be: llama.cpp rounds activations, too.
GGUF_KINDS = {"f32": (32, 1e-3), "q8_0": (8, 0.2), "q4_0": (4, 0.9)}


def torch_gpt(sizes: dict) -> tuple[dict, Callable]:
    """Return the weights of tinyllm's GPT for PyTorch, and its loss(weights, tokens, targets).

    It is written as in nanoGPT (Karpathy, 2022), with PyTorch's own fused attention.
    """
    import torch
    from torch.nn import functional as F

    model = model_of(sizes)
    C, heads = model.config.width, model.config.heads
    layers, eps = range(model.config.layers), model.config.eps
    arrays = {name: a if name.startswith("w") or a.ndim < 2 else a.T  # PyTorch's layers store (out, in)
              for name, a in model.state_dict().items()}
    weights = {name: torch.from_numpy(a.copy()).requires_grad_() for name, a in arrays.items()}

    def loss(w, tokens, targets):
        def linear(x, name):
            return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

        def norm(x, name):
            return F.layer_norm(x, (C,), w[f"{name}.weight"], w[f"{name}.bias"], eps)

        B, T = tokens.shape
        x = F.embedding(tokens, w["wte.weight"]) + w["wpe.weight"][:T]
        for h in (f"h.{i}" for i in layers):
            qkv = linear(norm(x, f"{h}.ln_1"), f"{h}.attn.c_attn").split(C, 2)
            q, k, v = (part.view(B, T, heads, C // heads).transpose(1, 2) for part in qkv)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(B, T, C)
            x = x + linear(y, f"{h}.attn.c_proj")
            y = F.gelu(linear(norm(x, f"{h}.ln_2"), f"{h}.mlp.c_fc"), approximate="tanh")
            x = x + linear(y, f"{h}.mlp.c_proj")
        logits = F.linear(norm(x, "ln_f"), w["wte.weight"])
        return F.cross_entropy(logits.view(B * T, -1), targets.view(-1))

    return weights, loss


def torch_trainer(sizes: dict, batch: int, compiled: bool = False, bf16: bool = False) -> Contender:
    """Return training steps of a GPT in PyTorch to time, with its fused AdamW."""
    import torch

    torch.set_num_threads(threads())
    weights, loss = torch_gpt(sizes)
    forward = torch.compile(loss) if compiled else loss
    tokens = np.random.default_rng(0).integers(0, sizes["vocab_size"], (batch, sizes["context"] + 1))
    x, y = (torch.from_numpy(part.copy()) for part in (tokens[:, :-1], tokens[:, 1:]))
    groups = [{"params": [w for w in weights.values() if (w.ndim >= 2) == decays],
               "weight_decay": 0.1 * decays} for decays in (True, False)]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), fused=True)

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            found = forward(weights, x, y)
        found.backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return found.item()

    return Contender(step, amounts=training_amounts(model_of(sizes), batch, bf16),
                     answer=lambda: np.array([step()]), tolerance=2e-2 if bf16 else 1e-4)


def transformers_writer(sizes: dict, task: str) -> Contender:
    """Return prefill or decoding of transformers to time: eager, float32, with its KV cache."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(threads())
    ours = model_of(sizes)
    with tempfile.TemporaryDirectory() as folder:
        ours.save_pretrained(folder)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    prompt, half, new = prompt_of(ours)

    def read(ids):
        with torch.inference_mode():
            return model(torch.tensor([ids]), use_cache=True, logits_to_keep=1)

    def write(out):
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of a name that old versions need
            for _ in range(new):
                token = out.logits[:, -1:].argmax(-1)
                out = model(token, past_key_values=out.past_key_values, use_cache=True)

    def logits():
        return read(prompt).logits[0, -1].numpy()

    if task == "prefill":
        return Contender(logits, amounts={"tokens": len(prompt)}, answer=logits, tolerance=1e-3)
    return Contender(write, lambda: (read(prompt[:half]),), amounts={"tokens": new})


def llama_cpp_writer(sizes: dict, task: str, kind: str) -> Contender:
    """Return prefill or decoding of llama.cpp to time, from a GGUF file of some kind."""
    import llama_cpp

    model = model_of(sizes)
    prompt, half, new = prompt_of(model)
    bits, tolerance = GGUF_KINDS[kind]
    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        save_gguf(model, file.name, bits=bits)
        llama = llama_cpp.Llama(file.name, n_ctx=model.config.context, n_threads=threads(), n_batch=512,
                                n_threads_batch=threads(), verbose=False, use_mmap=False)

    def logits():
        found = llama_cpp.llama_get_logits_ith(llama.ctx, -1)
        return np.ctypeslib.as_array(found, (model.config.vocab_size,))

    def read(ids):
        llama.reset()
        llama.eval(ids)
        return logits().copy()

    def begin():
        read(prompt[:half])
        return ()

    def write():
        for _ in range(new):
            llama.eval([int(np.argmax(logits()))])

    if task == "prefill":
        whole = partial(read, prompt)
        return Contender(whole, amounts={"tokens": len(prompt)}, answer=whole, tolerance=tolerance)
    return Contender(write, begin, amounts={"tokens": new})


def row_pairs(rows: int, n: int) -> dict[str, tuple[Callable, Callable]]:
    """Draw arrays of one shape -> {op: (ours, PyTorch's)}, functions without arguments."""
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(threads())
    rng = np.random.default_rng(rows * 10007 + n)
    x, dy = (rng.standard_normal((rows, n), np.float32) for _ in range(2))
    w, b = (rng.standard_normal(n, np.float32) for _ in range(2))
    targets = rng.integers(0, n, rows)
    tx, tdy, tw, tb, tt = map(torch.from_numpy, (x, dy, w, b, targets))
    return {
        "softmax": (lambda: ops.softmax(x), lambda: torch.softmax(tx, -1)),
        "log_softmax": (lambda: ops.log_softmax(x), lambda: torch.log_softmax(tx, -1)),
        "layernorm": (lambda: ops.layernorm(x, w, b), lambda: F.layer_norm(tx, (n,), tw, tb)),
        "rmsnorm": (lambda: ops.rmsnorm(x, w), lambda: F.rms_norm(tx, (n,), tw, 1e-5)),
        "cross_entropy": (lambda: ops.cross_entropy(x, targets), lambda: F.cross_entropy(tx, tt)),
        "gelu": (lambda: ops.gelu(x), lambda: F.gelu(tx)),
        "gelu_tanh": (lambda: ops.gelu_tanh(x), lambda: F.gelu(tx, approximate="tanh")),
        "silu": (lambda: ops.silu(x), lambda: F.silu(tx)),
        "swiglu": (lambda: ops.swiglu(x, dy), lambda: F.silu(tx) * tdy),
    }
