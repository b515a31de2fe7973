# %% [markdown]
# # 8. Training
#
# A model, a loss and its gradient: now make the loss smaller. The loop is seven
# lines. The rest of this lesson is about doing it well, and about what to look
# at when it goes wrong, for it will. You will see the usual failures happen, on
# purpose, so that you recognise them.

# %%
import numpy as np

import tinyllm as tl
from tinyllm import ops
from tinyllm.course.lesson_runner import bars, begin, compare, predict
from tinyllm.course.page import curves, write_page
from tinyllm.data import get_batch
from tinyllm.world import stories

folder = begin()

# %% [markdown]
# The data are the stories of lesson 1, one character a token; the model is a
# GPT of two layers. Inputs are 16 rows of 32 characters, and the targets are
# the same text one character ahead.

# %%
text = stories.generate(n=3000)
tokenizer = tl.CharTokenizer.train(text)
tokens = tokenizer.encode_to_numpy(text.encode())
V = tokenizer.vocab_size
config = tl.GPTConfig(vocab_size=V, context=32, layers=2, heads=4, width=64)


def batch(step, size=16):
    """Inputs and targets; the targets are one ahead."""
    return get_batch(tokens, seed=0, step=step, batch=size, context=32)


# %% [markdown]
# ## The loop
#
# Take a batch, compute the loss, go back for the gradient, step against it, and
# clear it. Again. (The rate `lr` changes from step to step, and the gradient is
# clipped; both are explained below.)

# %%


def train(steps, lr=3e-3, clip=1.0, batches=batch, warmup=10, rule=tl.AdamW,
          model=None):
    """Train a small GPT -> each step's loss, and its gradient's length."""
    model = model or tl.GPT(config)
    optimizer = rule(model.parameters(), lr=lr)
    losses, norms = [], []
    for step in range(steps):
        optimizer.lr = ops.lr_schedule(step, steps, lr, warmup, 0.1)
        loss = model.loss(*batches(step))
        loss.backward()
        norms.append(tl.clip_grad_norm(model.parameters(), clip))
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses, norms


guess = predict(f"the first loss, before anything is learnt; V = {V}")
losses, _ = train(200)
print(compare(guess, losses[0]), f"(ln {V} = {np.log(V):.4f})")
print(bars(losses[::10], range(0, 200, 10)))
print(f"loss after 200 steps: {losses[-1]:.4f}")

# %% [markdown]
# This is how a healthy curve looks, turned on its side: it starts at ln V, falls
# steeply while the model learns how frequent each character is, then slowly
# while it learns which characters follow which. (The bigram table of lesson 1
# has 2.29; words come later.) It is noisy: every batch is another text.
#
# ## First of all, overfit one batch
#
# Before any long run, train on a *single* batch. A correct model with enough
# parameters can learn one batch by heart; if the loss does not go to nearly
# zero, there is a bug. It takes seconds and finds most bugs.

# %%
losses, _ = train(200, batches=lambda step: batch(0, size=4))
guess = predict("the loss on one batch of 4 x 32 characters after 200 steps")
print(compare(guess, losses[-1]))

# %% [markdown]
# ## The step: from SGD to AdamW
#
# The simplest step is *SGD*, w -= lr g. The problem: gradients of different
# weights differ by powers of ten, but SGD has a single rate lr. **Adam** (Kingma
# and Ba, 2015) keeps two running means for every weight, m of its gradient and
# v of its gradient squared, and steps by lr m / sqrt(v). While the gradient
# stays the same, m / sqrt(v) is 1 or -1; if it keeps changing sign, it is near
# 0. So lr now says how far a weight moves, whatever the size of its gradient.
#
# m and v start at 0 and are too small at first. Dividing m by 1 - beta1^step
# and v by 1 - beta2^step corrects that. How wrong would the first step be
# without, with beta1 = 0.9 and beta2 = 0.999?

# %%
w, g = np.zeros(1, np.float32), np.full(1, 0.5, np.float32)
m, v = np.zeros(1, np.float32), np.zeros(1, np.float32)
ops.adamw_step(w, g, m, v, step=1, lr=0.01)
print(f"the right first step: {w[0]:+.4f}, lr itself, whatever g is")
guess = predict("without the corrections: how many times as far?")
print(compare(guess, float(m[0] / np.sqrt(v[0]))))

# %% [markdown]
# The W of AdamW is *weight decay* (Loshchilov and Hutter, 2019): weights also
# shrink a little at every step, by lr times decay, *apart from* the gradient.
# If the decay were put into the gradient, as L2 regularisation, it would be
# divided by sqrt(v) as well.
#
# **Now you: `adamw_step`.** It works in place, on w, m and v. The commonest
# bug: `m = ...` makes a new array, and the caller's m stays as it was.
#
# ## Gradient clipping
#
# Now and then a batch has a gradient ten times as long as usual, and one such
# step can undo many others. So measure all gradients as *one* vector, and if it
# is longer than a limit, shorten it; its direction stays (Pascanu, Mikolov and
# Bengio, 2013).
#
# **Now you: `grad_norm` and `clip_grads`.** Squares add; norms do not.

# %%
grads = [np.full(9, 1.0, np.float32), np.full(16, 1.0, np.float32)]
guess = predict("one gradient has length 3, one 4: both together?")
print(compare(guess, ops.grad_norm(grads)))
clipped = ops.clip_grads(grads, 5.0, 1.0)
print(f"clipped to 1: {ops.grad_norm(clipped):.4f}")

# %% [markdown]
# ## The schedule
#
# Large steps at the start, while m and v are still guesses, throw a model off
# course; so the rate climbs first, the *warm-up*. Large steps at the end keep
# the model from settling; so the rate falls, along half a cosine.
#
# **Now you: `lr_schedule`.**

# %%
steps = range(0, 100, 5)
print(bars([ops.lr_schedule(i, 100, 1.0, 10, 0.1) for i in steps], steps))

# %% [markdown]
# ## The usual failures
#
# **1. The rate is too high, or too low.** How much does it take? The loss after
# 50 and after 100 steps, at four rates:

# %%
curve_of = {}
for lr in (1e-4, 3e-3, 3e-2, 1.0):
    losses, _ = train(100, lr=lr)
    curve_of[f"lr {lr}"] = losses
    half, end = np.mean(losses[40:50]), np.mean(losses[90:])
    print(f"lr {lr:<7} loss at 50: {half:6.3f}, at 100: {end:.3f}")
as_it_should_be = curve_of["lr 0.003"][-1]
figures = [curves("Four rates", "loss by step", curve_of, log=True)]

# %% [markdown]
# Too low still falls, but wastes your time. Too high gets stuck near 3.07, the
# loss of lesson 1 for a model that knows how frequent each character is and no
# more. Far too high, and the loss climbs above what knowing nothing has: the
# model is sure, and wrong. Before anything else, try three rates, each three
# times the last.
#
# **2. The loss explodes.** A step that is too long lands where the slope is
# steeper, so the next is longer still, until a number is too large for float32:
# infinity, then infinity minus infinity, which is NaN. Adam moves a weight by
# about lr, however steep it is, so watch it with plain SGD.

# %%


class SGD:
    """The simplest rule: every weight goes against its gradient."""

    def __init__(self, parameters, lr):
        self.parameters, self.lr = list(parameters), lr

    def step(self):
        for p in self.parameters:
            p.data -= self.lr * p.grad

    def zero_grad(self):
        for p in self.parameters:
            p.grad = None


guess = predict("not clipped: the first step with a loss of NaN?")
with np.errstate(all="ignore"):
    wild, norms = train(60, lr=3.0, clip=np.inf, warmup=0, rule=SGD)
clipped, _ = train(60, lr=3.0, clip=1.0, warmup=0, rule=SGD)
print(compare(guess, int(np.isnan(wild).argmax())))
for step in range(8):
    print(f"step {step}: loss {wild[step]:<8.3g} gradient {norms[step]:<8.3g}"
          f" clipped: loss {clipped[step]:.3g}")
print(f"clipped, after 60 steps: {clipped[-1]:.3f}")

# %% [markdown]
# Log the gradient's length beside the loss. In an explosion both grow for some
# steps; a NaN out of the blue is a bug, such as log 0 or 0 / 0. Clipping turns
# the explosion into spikes, from which the run comes back. But it does not make
# the rate right: the loss ends near 3 again.
#
# **3. The targets are not shifted.** If the target is the input itself, the
# model need only repeat what it sees. The loss becomes wonderful, and the model
# useless.

# %%
guess = predict("the loss after 100 steps; lesson 1's floor is 0.069")
losses, _ = train(100, batches=lambda step: (batch(step)[0], batch(step)[0]))
print(compare(guess, losses[-1]), "(too good to be true)")

# %% [markdown]
# On text that it has not met, no honest model gets below the entropy floor (the
# batch above, learnt by heart, did). When yours does, look for the leak.
#
# **4. The gradient is not cleared.** Without `zero_grad`, each step adds to the
# gradient of the last.

# %%


class Forgetful(tl.AdamW):
    def zero_grad(self):
        pass


losses, _ = train(100, rule=Forgetful)
print(f"gradients not cleared: loss {losses[-1]:.3f}")
print(f"as it should be:       loss {as_it_should_be:.3f}")

# %% [markdown]
# The old gradients never leave the sum, so the step follows them instead of the
# batch at hand. It looks like a rate far too high, which no lower rate mends.
#
# **5. There is too little text.** The loss on the training text falls and
# falls, and on other text it rises. This is *overfitting*, and the reason why a
# part of the text is always held out.

# %%
model = tl.GPT(config)
optimizer = tl.AdamW(model.parameters(), lr=3e-3)
held_out = get_batch(tokens[-100_000:], seed=1, step=0, batch=64, context=32)
own, other = [], []
for step in range(301):
    x, y = get_batch(tokens[:2000], seed=0, step=step, batch=16, context=32)
    loss = model.loss(x, y)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if step % 10 == 0:
        own.append(loss.item())
        other.append(model.loss(*held_out).item())
    if step in (30, 100, 300):
        print(f"step {step:>3}: on its own text {own[-1]:.3f}, "
              f"on other {other[-1]:.3f}")
both = {"its own 2,000 characters": own, "other text": other}
steps = range(0, 301, 10)
figures.append(curves("Overfitting", "loss by step", both, at=steps))
lead = "The losses of lesson 8, as measured on this machine."
write_page(folder / "curves.html", "Failures", lead, figures)

# %% [markdown]
# ## Reading a curve
#
#     starts far from ln V         first weights too large, or wrong targets
#     flat from the beginning      the rate is 0, or no gradient arrives
#     flat at about 3 nats         rate too high, or attention is blind
#     spikes, or growth to NaN     rate too high, or no clipping
#     NaN out of the blue          log 0, 0 / 0, or exp of something large
#     below the entropy floor      the targets leak, or the text is not new
#     train falls, held-out rises  too little text for so many parameters
#
# `tinyllm train` does all of this, writes checkpoints so that a killed run goes
# on bit for bit, and writes a report with the floor under the curve. Try your
# own functions in it:
#
#     tinyllm train --mine 8 --steps 50
#
# You have rebuilt `tinyllm/ops/optim.py`. The loop itself is
# `tinyllm/train/loop.py`.
