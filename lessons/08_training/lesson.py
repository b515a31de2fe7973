# %% [markdown]
# # 8. Training
#
# A model, a loss and its gradient: now make the loss smaller. The loop is seven
# lines. Everything else in this lesson is about doing it well, and about what
# to look at when it goes wrong, for it will. You will see the usual failures
# happen, on purpose, so that you know their faces.

# %%
import numpy as np

import tinyllm as tl
from tinyllm import ops
from tinyllm.data import get_batch, load_corpus
from tinyllm.teach.stepping import begin, compare, predict

begin()
corpus = load_corpus("stories")
tokenizer = tl.CharTokenizer.train(corpus.text())
tokens = tokenizer.encode_to_numpy(corpus.data)
V = tokenizer.vocab_size
config = tl.GPTConfig(vocab_size=V, context=32, layers=2, heads=4, width=64)


def batch(step, size=16):
    """Inputs and targets; the targets are one ahead."""
    return get_batch(tokens, seed=0, step=step, batch=size, context=32)


# %% [markdown]
# ## The loop
#
# Take a batch, compute the loss, walk back, step against the gradient, forget
# the gradient. Again.

# %%


def train(steps, lr=3e-3, clip=1.0, batches=batch, warmup=10, seed=0):
    """Train a small GPT -> the model and its losses."""
    model = tl.GPT(config, seed=seed)
    optimizer = tl.AdamW(model.parameters(), lr=lr)
    losses = []
    for step in range(steps):
        optimizer.lr = ops.lr_schedule(step, steps, lr, warmup, 0.1)
        loss = model.loss(*batches(step))
        loss.backward()
        tl.clip_grad_norm(model.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return model, losses


def curve(losses, rows=8, width=64):
    """Draw losses in a terminal; NaN leaves a gap."""
    a = np.array(losses, float)
    columns = [a[int(i)] for i in np.linspace(0, len(a) - 1, width)]
    finite = [c for c in columns if np.isfinite(c)]
    low, high = min(finite), max(*finite, min(finite) + 1e-9)
    for r in range(rows):
        edge = high - (high - low) * r / (rows - 1)
        step = (high - low) / (rows - 1) / 2
        line = "".join("*" if abs(c - edge) <= step else " " for c in columns)
        print(f"{edge:7.2f} |{line.rstrip()}")


guess = predict(f"the first loss, before anything is learnt; V = {V}")
model, losses = train(200)
print(compare(guess, losses[0]), f"(ln {V} = {np.log(V):.4f})")
curve(losses)
print(f"loss after 200 steps: {losses[-1]:.4f}")

# %% [markdown]
# That is how a healthy curve looks: it starts at ln V, falls steeply while it
# learns which characters are frequent at all, then slowly while it learns
# words. It trembles, because every batch is another text.
#
# ## First of all, overfit one batch
#
# Before any long run, train on a *single* batch. A correct model with enough
# numbers can learn one batch by heart; a loss that does not go to nearly zero
# has a bug. It takes seconds and finds most of them.

# %%
_, losses = train(200, batches=lambda step: batch(0, size=4))
guess = predict("the loss on one batch of 4 x 32 characters after 200 steps")
print(compare(guess, losses[-1]))

# %% [markdown]
# ## The step: from SGD to AdamW
#
# The plainest step is w -= lr g. Its trouble: gradients of different weights
# differ by powers of ten, and one lr must do for all. **Adam** keeps two
# running means for every weight, m of its gradient and v of its gradient
# squared, and steps by m / sqrt(v). If the gradient always points the same way,
# m / sqrt(v) is 1; if it flips about, it is near 0. So lr now says how far a
# weight moves, whatever the size of its gradient.
#
# m and v start at 0 and are too small at first. Dividing by 1 - beta^step makes
# up for it. How much would be wrong without? With beta1 = 0.9 and beta2 =
# 0.999, in the first step:

# %%
w, g = np.zeros(1, np.float32), np.full(1, 0.5, np.float32)
m, v = np.zeros(1, np.float32), np.zeros(1, np.float32)
ops.adamw_step(w, g, m, v, step=1, lr=0.01)
print(f"the right first step: {w[0]:+.4f}, lr itself, whatever g is")
guess = predict("without the corrections: how many times as far?")
print(compare(guess, float(m[0] / np.sqrt(v[0]))))

# %% [markdown]
# The W of AdamW: weights also shrink a little at every step, by lr times decay,
# *apart from* the gradient. Put into the gradient, as L2 was before, the decay
# would be divided by sqrt(v) as well.
#
# **Now you: `adamw_step`.** It works in place, on w, m and v: `m = ...` makes a
# new array, and the caller's stays as it was. That is its commonest bug.
#
# ## The brake
#
# Now and then a batch has a gradient ten times as long as usual, and one such
# step can undo a thousand. So measure all gradients as *one* vector, and
# shorten it if it is longer than a limit; the direction stays.
#
# **Now you: `grad_norm` and `clip_grads`.** Squares add; norms do not.

# %%
grads = [np.full(9, 1.0, np.float32), np.full(16, 1.0, np.float32)]
guess = predict("one gradient has length 3, one 4: both together?")
print(compare(guess, ops.grad_norm(grads)))
clipped = ops.clip_grads(grads, 5.0, 1.0)
print(f"clipped to 1: {ops.grad_norm(clipped):.4f}")

# %% [markdown]
# ## The pace
#
# Large steps at the start, with m and v still guesses, throw a model off
# course; so the rate climbs for a while. Large steps at the end keep it from
# settling; so it falls, along half a cosine.
#
# **Now you: `lr_schedule`.**

# %%
curve([ops.lr_schedule(i, 100, 1.0, 10, 0.1) for i in range(100)], rows=6)

# %% [markdown]
# ## A gallery of failures
#
# **1. The rate is too high.** How much too high does it take?

# %%
for lr in (3e-4, 3e-3, 3e-2, 3e-1):
    losses = train(100, lr=lr)[1]
    print(f"lr {lr:<7} loss after 100 steps {np.mean(losses[-10:]):.3f}")

# %% [markdown]
# Too low looks healthy and wastes your time; too high gets stuck where it knows
# how frequent characters are and no more, about 3 nats. Try three rates, a
# factor of three apart, before anything else.
#
# **2. The targets are not shifted.** If the target is the input itself, the
# model need only repeat what it sees. The loss becomes wonderful, and the model
# useless.

# %%
_, losses = train(100, batches=lambda step: (batch(step)[0], batch(step)[0]))
print(f"targets = inputs:    loss {losses[-1]:.3f}, too good to be true")

# %% [markdown]
# Below the entropy floor of the data there is no honest loss. When yours is
# there, look for the leak.
#
# **3. The gradient is not forgotten.** Without zero_grad, each step adds to the
# last.

# %%


def without_zero_grad(steps=100):
    model = tl.GPT(config)
    optimizer = tl.AdamW(model.parameters(), lr=3e-3)
    for step in range(steps):
        loss = model.loss(*batch(step))
        loss.backward()
        optimizer.step()
    return loss.item()


print(f"without zero_grad:   loss {without_zero_grad():.3f}")
print(f"as it should be:     loss {train(100)[1][-1]:.3f}")

# %% [markdown]
# Every step goes further than the last, as if the rate grew and grew. If a run
# behaves as though its rate were far too high and no rate helps, look whether
# the gradients are forgotten.
#
# **4. The batch is always the same text**, or the data is sorted: the loss on
# the training text falls and falls, and on other text it rises. That is
# *overfitting*, and the reason why a part of the text is always held out.

# %%
few = tokens[:2000]
model = tl.GPT(config)
optimizer = tl.AdamW(model.parameters(), lr=3e-3)
held_out = get_batch(tokens[-100_000:], seed=1, step=0, batch=64, context=32)
for step in range(301):
    x, y = get_batch(few, seed=0, step=step, batch=16, context=32)
    loss = model.loss(x, y)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if step in (30, 100, 300):
        other = model.loss(*held_out).item()
        print(f"step {step:>3}: on its own text {loss.item():.3f}, "
              f"on other {other:.3f}")

# %% [markdown]
# ## Reading a curve
#
#     starts far from ln V         first weights too large, or wrong targets
#     flat from the beginning      the rate is 0, or no gradient arrives
#     flat at about 3 nats         rate too high, or attention is blind
#     spikes that do not recover   no clipping, rate too high
#     NaN                          an overflow in exp, or 0 / 0, just before
#     below the entropy floor      the targets leak into the inputs
#     train falls, held-out rises  too little text for so many numbers
#
# The library's `tinyllm train` does all of this, checkpoints so that a killed
# run goes on bit for bit, and writes a report with the floor under the curve.
# Try your own functions in it:
#
#     tinyllm train --mine 8 --steps 50
#
# You have rebuilt `tinyllm/ops/optim.py`. The loop itself is
# `tinyllm/train/trainer.py`.
