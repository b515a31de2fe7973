"""Make contenders of PyTorch and transformers, from tinyllm's weights; nothing is downloaded."""

import tempfile
import warnings
from collections.abc import Callable

import numpy as np

from tinyllm.bench.race import Contender
from tinyllm.bench.rows import model_of, prompt_of, training_amounts
from tinyllm.ops.runtime import threads


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
