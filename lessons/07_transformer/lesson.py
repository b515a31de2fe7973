# %% [markdown]
# # 7. The transformer
#
# You have built every part. This lesson puts them together, and it is short,
# because there is little left to say: a transformer is a stack of equal blocks,
# and a block is two sums. What takes thought is *why*: where the norms are, how
# the weights begin, and what all of it costs.

# %%
import numpy as np

import tinyllm as tl
from tinyllm import ops
from tinyllm.course.lesson_runner import bars, begin, compare, predict
from tinyllm.report.summary import summarise
from tinyllm.rng import Random

begin()

# %% [markdown]
# ## The residual stream
#
# Each token has a vector, and that vector runs straight through the whole
# model, from the embedding at the bottom to the logits at the top. It is called
# the **residual stream**. A block never replaces it. It reads a normalised
# copy, computes something from it, and *adds* the result:
#
#     x = x + attention(norm(x))       tokens read from each other
#     x = x + mlp(norm(x))             each token by itself
#
# The MLP is two linear layers with an activation function between, from C
# channels to 4 C and back. That is a transformer. From the bottom to the top:
#
#     logits (T, V)
#       ^
#     norm, and a score for each of V tokens
#       |
#       + <-- linear <-- GELU <-- linear <-- norm <--.         the MLP
#       |--------------------------------------------'
#       + <-- linear <-- attention <-- linear <-- norm <--.    attention
#       |-------------------------------------------------'
#       |                                             (N such blocks)
#     the residual stream (T, C)
#       ^
#     embedding + position
#       ^
#     tokens (T)
#
# Why sums? In lesson 5 numbers exploded or vanished on their way through 50
# layers, and gradients do the same on their way back. A sum hands the gradient
# on unchanged. However deep the stack, there is a path from the loss to the
# first layer on which nothing is multiplied (He et al., "Deep Residual
# Learning", 2016).

# %%


def gradient_at_the_bottom(depth, residual, C=64):
    """Measure how much of a gradient of 1 arrives below the layers."""
    x = tl.Tensor(Random(0, "x").normal((8, C)).astype(np.float32), True)
    y = x
    for i in range(depth):
        w = Random(0, "w", i).normal((C, C)).astype(np.float32) / (2 * C**0.5)
        step = tl.functional.gelu_tanh(y @ tl.Tensor(w))
        y = y + step if residual else step
    y.backward(np.ones_like(y.data))
    return float(np.sqrt((x.grad**2).mean()))


for depth in (1, 4, 16):
    without = gradient_at_the_bottom(depth, residual=False)
    with_sums = gradient_at_the_bottom(depth, residual=True)
    print(f"{depth:>2} layers: {without:.1e} without sums, "
          f"{with_sums:.1e} with them")

# %% [markdown]
# Without sums nothing arrives. With them the gradient does arrive, but it is
# not 1: it grows with the depth. For the path through the stream is not the
# only one. Each layer adds what comes back through its own branch, here about a
# fifth, and sixteen such additions multiply: 1.19 to the power of 16 is 16. A
# gradient that grows so slowly can be tamed: by the norm in each branch, and by
# making the branches smaller at the start, which the end of this lesson does.
#
# The norm reads from the stream, before attention and before the MLP:
# *pre-norm*. The first transformer, in 2017, had it in the stream itself, after
# each sum (*post-norm*); then the path has multiplications again, and deep
# models need a long, careful warm-up to train at all (Xiong et al., 2020).
# GPT-2 moved it, and nearly all models since have followed.
#
# **Now you: `transformer_block`.** You may copy what you wrote in lessons 4 to
# 6 into this exercise. One linear layer makes q, k and v together: its outputs
# are all of q, then all of k, then all of v.

# %%
C, heads, T = 12, 3, 5
rng = Random(1)


def layer(n_in, n_out):
    """A weight and a bias, as a pair."""
    w = rng.normal((n_in, n_out)) / n_in**0.5
    return [w.astype(np.float32), np.zeros(n_out, np.float32)]


norm = [np.ones(C, np.float32), np.zeros(C, np.float32)]
x = rng.normal((1, T, C)).astype(np.float32)
weights = (
    layer(C, 3 * C), layer(C, C), norm, layer(C, 4 * C), layer(4 * C, C)
)
y = ops.transformer_block(x, heads, norm, *weights)
print(x.shape, "->", y.shape)

changed = x.copy()
changed[0, 3] = rng.normal(C)  # the fourth token is another
moved = np.abs(ops.transformer_block(changed, heads, norm, *weights) - y)[0]
guess = predict("the fourth of 5 tokens is another: how many outputs change?")
print(compare(guess, int((moved.max(axis=1) > 0).sum())))
print("how much each token's output changed:", moved.max(axis=1).round(3))

# %% [markdown]
# Nothing before the changed token moved: the mask holds through the whole
# block, and so through any stack.
#
# ## The whole model
#
#     tokens -> embedding + position -> block -> ... -> block -> norm -> logits
#
# The logits come from the table of embeddings once more: a token's logit is the
# dot product of its embedding with the final vector. Sharing that table is
# called *tying* the weights (Press and Wolf, 2017); it saves GPT-2 38.6 million
# parameters.
#
# How many parameters are there in all? Count them once by hand, and you will
# always know what a model's size means.
#
# **Now you: `count_parameters`.**

# %%
guess = predict("parameters of GPT-2: V 50257, T 1024, 12 layers, C 768")
print(compare(guess, ops.count_parameters(50257, 1024, 12, 768)))
for name in ("nano", "mini", "small"):
    p = tl.GPT.PRESETS[name]
    n = ops.count_parameters(65, p["context"], p["layers"], p["width"])
    print(f"  {name:<6} {n:>11,} with 65 tokens")

# %% [markdown]
# For large models 12 x layers x C^2 is a good estimate: 4 C^2 in attention and
# 8 C^2 in the MLP of each layer.
#
# ## Counting the work
#
# A matrix product of (T, I) with (I, O) takes T I O multiplications, each
# followed by an addition: 2 T I O *FLOPs*, floating-point operations. So each
# parameter of a matrix costs 2 for each token. Attention adds the products of
# queries with keys and of weights with values. The backward pass does two
# products where the forward pass does one, so training costs about 6 FLOPs for
# each parameter and token: a rule worth remembering (Kaplan et al., 2020,
# section 2.1).
#
# **Now you: `count_flops`.**

# %%
T, layers, C = 64, 4, 128  # nano
flops = ops.count_flops(65, T, layers, C)
n = ops.count_parameters(65, T, layers, C)
guess = predict("FLOPs per parameter and token, forward pass of nano")
print(compare(guess, flops / n / T))

config = tl.GPTConfig(vocab_size=65, **tl.GPT.PRESETS["nano"])
model = tl.GPT(config)
print(summarise(model, batch=1, context=64))

# %% [markdown]
# ## How the weights begin
#
# Weights start as small random numbers, of standard deviation 0.02. Zeros would
# not do: equal channels would get equal gradients and stay equal for ever. But
# every block *adds* to the stream, and a sum of many independent terms grows.
# So the last layer of each branch (after attention, and of the MLP) starts
# smaller, divided by the square root of how many branches there are: two for
# each layer (Radford et al., 2019, section 2.3).

# %%


def stream_sizes(scaled):
    """The size of the residual stream after each block of a fresh model."""
    deep = tl.GPT(tl.GPTConfig(65, context=32, layers=24, heads=4, width=64))
    if not scaled:
        for block in deep.h:
            for last in (block.attn.c_proj, block.mlp.c_proj):
                last.weight.data *= (2 * 24) ** 0.5
    tokens = np.arange(32)[None]
    x = deep.wte(tokens) + deep.wpe(np.arange(32))
    sizes = [float(np.sqrt((x.data**2).mean()))]
    for block in deep.h:
        x = block(x)
        sizes.append(float(np.sqrt((x.data**2).mean())))
    return sizes


for scaled in (False, True):
    sizes = stream_sizes(scaled)
    print("scaled by 1 / sqrt(2 layers):" if scaled else "all weights alike:")
    print(bars(sizes[::6], [f"block {i}" for i in range(0, 25, 6)], width=40))

# %% [markdown]
# Last, the test that should come first in every training run. A fresh model
# knows nothing, so its loss must be close to ln V.

# %%
guess = predict("the loss of the fresh nano, V = 65")
batch = np.arange(4 * 65).reshape(4, 65) % 65
loss = model.loss(batch[:, :-1], batch[:, 1:]).item()
print(compare(guess, loss))
print(f"ln 65 = {np.log(65):.4f}")

# %% [markdown]
# You have rebuilt `tinyllm/ops/block.py`. The real thing, with its weights, is
# `tinyllm/models/gpt.py`: 160 lines, which you can now read from end to end,
# and should. Lesson 8 trains it.
