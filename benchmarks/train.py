"""Train the same GPT in PyTorch, written as in nanoGPT (Karpathy, 2022), to measure side by side.

Eager or compiled, in float32 or bfloat16 autocast, with PyTorch's own fused attention. Parameter names are
GPT-2's, as in tinyllm, so the same weights go into both.
"""

import time

import torch
from torch import nn
from torch.nn import functional as F

from tinyllm.data import eval_batches, get_batch
from tinyllm.ops import lr_schedule

MODES: dict[str, dict] = {  # engine -> how `training_step` makes it
    "torch": {},
    "torch bf16": {"bf16": True},
    "torch compiled": {"compiled": True},
    "torch compiled bf16": {"compiled": True, "bf16": True},
}


class Attention(nn.Module):
    """Causal self-attention."""

    def __init__(self, config):
        super().__init__()
        self.heads = config.heads
        self.c_attn = nn.Linear(config.width, 3 * config.width)
        self.c_proj = nn.Linear(config.width, config.width)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (
            part.view(B, T, self.heads, C // self.heads).transpose(1, 2)
            for part in self.c_attn(x).split(C, dim=2)
        )
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

    def __init__(self, config):
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.width)
        self.wpe = nn.Embedding(config.context, config.width)
        self.h = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.ln_f = nn.LayerNorm(config.width, eps=config.eps)

    def forward(self, tokens, targets):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        for block in self.h:
            x = block(x)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))


@torch.no_grad()
def copy_weights(model, state):
    """Copy {name: array} of a tinyllm GPT into a model; the matrix of a linear layer is transposed."""
    for name, p in model.named_parameters():
        w = torch.from_numpy(state[name].copy())
        p.copy_(w.T if w.ndim == 2 and not name.startswith(("wte", "wpe")) else w)


def training_step(setting, threads, compiled=False, bf16=False):
    """Make the model in PyTorch -> (a function that does one update and returns the loss, facts)."""
    torch.set_num_threads(threads)
    ours = setting.model()
    model = GPT(ours.config)
    copy_weights(model, ours.state_dict())
    x, y = map(torch.from_numpy, setting.tokens())

    forward = torch.compile(model) if compiled else model

    def step(optimizer):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = forward(x, y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    kind, optimizer = fastest_adamw(model, x, y)
    copy_weights(model, ours.state_dict())
    return lambda: step(optimizer), {"torch": torch.__version__, "adamw": kind}


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
        took[kind] = min([_timed(optimizer.step) for _ in range(6)][1:])  # the first makes the state
    model.zero_grad(set_to_none=True)
    kind = min(took, key=took.get)
    return kind, make(kind)


def nanogpt(setting, learnt, held_out, seconds, threads, trial=12, evaluations=10):
    """Train a GPT by nanoGPT's recipe for CPUs on tokens, for some seconds of eager steps in float32.

    The recipe is that of its README (4 layers, width 128, 12 x 64 tokens, no dropout), with as many steps as
    fit at the speed of `trial` steps; a twentieth of them warm up, as 100 of 2,000 do there. Yields {step,
    tokens, seconds, val_loss_per_char} at each evaluation, which is not timed.
    """
    torch.set_num_threads(threads)
    model = GPT(setting.model().config)
    _, optimizer = fastest_adamw(model, *map(torch.from_numpy, setting.tokens()))

    def step(i, lr):
        for group in optimizer.param_groups:
            group["lr"] = lr
        x, y = get_batch(learnt, 0, i, setting.batch, setting.context)
        model(torch.from_numpy(x).long(), torch.from_numpy(y).long()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    times = [_timed(step, i, 0.0) for i in range(trial)]
    steps = max(1, int(seconds / sorted(times)[trial // 2]))
    copy_weights(model, setting.model().state_dict())
    optimizer.state.clear()
    taken = 0.0
    for i in range(steps):
        taken += _timed(step, i, nanogpt_rate(i, steps))
        if (i + 1) % max(1, steps // evaluations) == 0 or i + 1 == steps:
            record = {"step": i + 1, "tokens": (i + 1) * setting.batch * setting.context, "seconds": taken}
            yield record | {"val_loss_per_char": _validate(model, held_out, setting)}


def nanogpt_rate(i, steps):
    """Return the learning rate of step i: a warm-up of a twentieth, then a cosine down to a tenth."""
    return lr_schedule(i, steps, 1e-3, steps // 20, 0.1)


@torch.no_grad()
def _validate(model, held_out, setting, windows=240):
    """Return the mean loss over windows spread evenly over a text, in nats per token."""
    total = count = 0
    for batch in eval_batches(held_out, setting.context, setting.batch, windows):
        x, y = (torch.from_numpy(part).long() for part in batch)
        total, count = total + model(x, y).item() * y.numel(), count + y.numel()
    return total / count


def _timed(step, *args):
    """Run a step and return its seconds."""
    began = time.perf_counter()
    step(*args)
    return time.perf_counter() - began
