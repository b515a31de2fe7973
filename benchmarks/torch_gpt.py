"""Define GPT-2 in PyTorch as nanoGPT writes it (Karpathy, 2022), and train it.

It has PyTorch's own fused attention. Parameter names are GPT-2's, as in tinyllm, so the same weights go into
both.
"""

import time

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Causal self-attention."""

    def __init__(self, config):
        super().__init__()
        self.heads = config.heads
        self.c_attn = nn.Linear(config.width, 3 * config.width)
        self.c_proj = nn.Linear(config.width, config.width)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (part.view(B, T, self.heads, C // self.heads).transpose(1, 2)
                   for part in self.c_attn(x).split(C, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))


class MLP(nn.Module):
    """Expand, GELU, project."""

    def __init__(self, config):
        super().__init__()
        self.c_fc = nn.Linear(config.width, 4 * config.width)
        self.c_proj = nn.Linear(4 * config.width, config.width)

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    """Attention, then the feed-forward layers, each added to its input."""

    def __init__(self, config):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.width, eps=config.eps)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.width, eps=config.eps)
        self.mlp = MLP(config)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """GPT-2: tokens, targets (B, T) -> loss (). The output layer shares its weights with the embedding."""

    def __init__(self, ours):
        super().__init__()
        config = ours.config
        self.wte = nn.Embedding(config.vocab_size, config.width)
        self.wpe = nn.Embedding(config.context, config.width)
        self.h = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.ln_f = nn.LayerNorm(config.width, eps=config.eps)
        self.copy(ours)

    def forward(self, tokens, targets):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        for block in self.h:
            x = block(x)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))

    @torch.no_grad()
    def copy(self, ours):
        """Copy the weights of tinyllm's GPT; the matrix of a linear layer is transposed."""
        state = ours.state_dict()
        for name, p in self.named_parameters():
            w = torch.from_numpy(state[name].copy())
            p.copy_(w.T if w.ndim == 2 and not name.startswith(("wte", "wpe")) else w)


def training_step(ours, x, y, compiled=False, bf16=False):
    """Make the model in PyTorch -> (name of the fastest AdamW, a function of one update -> the loss)."""
    model = GPT(ours)
    forward = torch.compile(model) if compiled else model
    kind, optimizer = fastest_adamw(model, x, y)
    model.copy(ours)

    def step(x=x, y=y):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = forward(x, y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    step.model, step.optimizer = model, optimizer
    return kind, step


def fastest_adamw(model, x, y):
    """Try PyTorch's implementations of AdamW on this model -> (name of the fastest, a new optimizer)."""
    decays = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decays, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]

    def make(kind):
        how = {} if kind == "default" else {kind: True}
        return torch.optim.AdamW([dict(g) for g in groups], lr=1e-3, betas=(0.9, 0.99), **how)

    model(x, y).backward()
    took = {}
    for kind in ("default", "foreach", "fused"):
        optimizer = make(kind)
        took[kind] = min([_seconds(optimizer.step) for _ in range(6)][1:])  # the first makes the state
    model.zero_grad(set_to_none=True)
    kind = min(took, key=took.get)
    return kind, make(kind)


def _seconds(step):
    began = time.perf_counter()
    step()
    return time.perf_counter() - began
