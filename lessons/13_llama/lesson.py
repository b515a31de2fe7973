# %% [markdown]
# # 13. LLaMA
#
# GPT-2 is from 2019. LLaMA, of 2023, is what most open models follow: Mistral,
# Qwen, SmolLM and many others are LLaMAs with one or two lines changed. How
# much is new? The block of lesson 7 is still there, and so are the loss,
# training and the cache. Five parts were exchanged, and in Llama 2 a sixth,
# shared keys and values. This lesson takes them one at a time.
#
# Touvron et al., "LLaMA: Open and Efficient Foundation Language Models", and
# "Llama 2: Open Foundation and Fine-Tuned Chat Models", both 2023.

# %%
import dataclasses

import numpy as np

import tinyllm as tl
from tinyllm import nn, ops
from tinyllm.course.lesson_runner import begin, compare, predict, progress
from tinyllm.course.page import curves, write_page
from tinyllm.data import get_batch
from tinyllm.rng import Random
from tinyllm.world import stories

folder = begin()
np.set_printoptions(precision=3, suppress=True)

# %% [markdown]
# ## 1. RMSNorm for LayerNorm
#
# LayerNorm subtracts the mean of a row, divides by its deviation, scales and
# shifts. RMSNorm, which you wrote in lesson 5, divides by the root mean square
# and scales, and that is all (Zhang and Sennrich, 2019). What does the missing
# mean do? In a row of C random numbers it is about 1 / sqrt(C) of the
# deviation, so next to nothing:

# %%
C = 768
x = Random(0).normal((4096, C)).astype(np.float32)
one, zero = np.ones(C, np.float32), np.zeros(C, np.float32)
layer, rms = ops.layernorm(x, one, zero)[0], ops.rmsnorm(x, one)[0]
guess = predict("by how many percent do the two differ?")
far = ((layer - rms) ** 2).mean() / (layer**2).mean()
print(compare(guess, round(100 * float(far) ** 0.5, 2)))

# %% [markdown]
# It is cheaper (one pass over the row, one table of weights), it has one thing
# less to go wrong, and models learn as well with it.
#
# Its backward pass is shorter, too. With n = x rstd, the normalised row, y is n
# w. The row's length has been divided out, so a gradient along n can change
# nothing: take that part away. LayerNorm must take away the mean as well.
#
# **Now you: `rmsnorm_backward`.**
#
# ## 2. No biases
#
# Every linear layer of GPT-2 adds a bias. LLaMA's do not. Are biases where a
# model keeps what it knows?

# %%
guess = predict("of GPT-2's 124,439,808 parameters: percent that are biases")
biases = 12 * (3 * C + C + 4 * C + C)  # of the four linear layers of a block
print(compare(guess, round(100 * biases / 124_439_808, 3)))

# %% [markdown]
# Leaving them out changes little in small models, and made very large ones more
# stable in training (Chowdhery et al., 2022, section 2).
#
# ## 3. SwiGLU for GELU
#
# The MLP of GPT-2 widens, applies GELU to each number, and narrows. LLaMA's has
# *two* layers that widen, gate and up, and multiplies their results:
#
#     y = down(silu(gate(x)) * up(x))         (Shazeer, 2020)
#
# where silu(g) = g sigmoid(g), of lesson 3. Each number of up passes through a
# gate that the token opens or closes. And there is something that one layer and
# an activation can only approximate: a *product* of two features, "this and
# that". Two gated channels do it exactly, because silu(g) - silu(-g) is g:

# %%
a, b = Random(1).normal((2, 100)).astype(np.float32)
product = ops.swiglu(a, b) - ops.swiglu(-a, b)
print("silu(a) b - silu(-a) b = a b, up to", abs(product - a * b).max())

# %% [markdown]
# Three matrices where there were two: for the same number of parameters the
# hidden width must shrink from 4 C to 8/3 C. For LLaMA-7B with C = 4096 that is
# 10,923, rounded up to 11,008.
#
# **Now you: `swiglu` and `swiglu_backward`.** The slope of silu is
# `silu_backward` of lesson 3.
#
# ## 4. Angles for learnt positions
#
# GPT-2 adds a learnt vector for each position, and has none for position 1,024.
# LLaMA turns queries and keys by `rope`, from lesson 6: nothing is learnt, what
# counts is the distance, and there is no last position. Or is there? We shall
# see below.
#
# ## 5. An output layer of its own
#
# GPT-2 scores a token by its embedding (*tied* weights, lesson 7). LLaMA has a
# separate matrix of V rows for it: more freedom, more parameters. For LLaMA-7B
# it is two percent of them; small models of the family tie the table again.
#
# ## 6. Shared keys and values
#
# In lesson 9 the KV cache of GPT-2 took 75 megabytes. Llama 3 8B has 32 layers
# of 32 heads of width 128, a context of 8,192 tokens and, in memory, 2 bytes
# for a number.

# %%
guess = predict("the KV cache of one such text, in gigabytes")
print(compare(guess, 2 * 32 * 32 * 128 * 8192 * 2 / 1e9))

# %% [markdown]
# The weights take 16 GB, so four such texts would need as much again. With 8 kv
# heads for 32 query heads (*grouped-query attention*, Ainslie et al., 2023) it
# is a quarter, and generating, which mostly waits for memory, gets faster.
# `attention` of lesson 6 can do this already. Only the layers that make keys
# and values are narrower.
#
# ## The block
#
# All of that in one function. The shape is lesson 7's: a norm, attention, a
# sum; a norm, an MLP, a sum.
#
# **Now you: `llama_block`.**

# %%
C, H, K, D, F, T, rng = 24, 4, 2, 6, 64, 7, Random(2)


def matrix(n_in, n_out):
    return (rng.normal((n_in, n_out)) / n_in**0.5).astype(np.float32)


norm = np.ones(C, np.float32)
attend = [matrix(C, n * D) for n in (H, K, K)] + [matrix(H * D, C)]
mlp = [matrix(C, F), matrix(C, F), matrix(F, C)]
x = rng.normal((1, T, C)).astype(np.float32)
y = ops.llama_block(x, H, norm, attend, norm, mlp)
later = ops.llama_block(x[:, 2:], H, norm, attend, norm, mlp)
print(x.shape, "->", y.shape)
change = abs(later[0, -1] - y[0, -1]).max()
print(f"without the first two tokens the last changes by {change:.2f}")

# %% [markdown]
# ## What each part buys
#
# Here is a model whose parts are switches, made of the library's layers. It
# begins as GPT-2, and each line of `CHANGES` moves one switch for good.

# %%


@dataclasses.dataclass(frozen=True)
class Config:
    vocab_size: int
    context: int = 32
    layers: int = 2
    heads: int = 4
    kv_heads: int = 4
    width: int = 64
    norm: type = nn.LayerNorm
    bias: bool = True
    rotary: bool = False
    gated: bool = False
    tied: bool = True
    init_std: float = 0.02


class Block(nn.Module):
    def __init__(self, c):
        C, bias, kv = c.width, c.bias, c.kv_heads
        self.norm_1, self.norm_2 = c.norm(C), c.norm(C)
        self.attn = nn.GroupedAttention(C, c.heads, kv, None, bias, bias)
        self.mlp = (nn.GatedMLP(C, 8 * C // 3 // 16 * 16, bias) if c.gated
                    else nn.MLP(C, 4 * C, bias))

    def forward(self, x, angles):
        x = x + self.attn(self.norm_1(x), angles)
        return x + self.mlp(self.norm_2(x))


class Model(nn.DecoderLM):
    residual_outputs = ("o_proj.weight", "c_proj.weight", "down_proj.weight")

    def __init__(self, config, seed):
        c = self.config = config
        self.tokens = nn.Embedding(c.vocab_size, c.width)
        self.places = None if c.rotary else nn.Embedding(c.context, c.width)
        self.blocks = [Block(c) for _ in range(c.layers)]
        self.norm = c.norm(c.width)
        self.rope = nn.Rope(c.width // c.heads)
        table = self.tokens.weight
        own = table if c.tied else nn.Parameter(np.zeros_like(table.data))
        self.lm_head = nn.Head(own)
        self.finish(seed)  # random first weights

    def embed(self, tokens, positions):
        x = self.tokens(tokens)
        return x + self.places(positions) if self.places else x

    def body(self, x, positions, cache=None, seen=None):
        angles = self.rope(positions) if self.config.rotary else None
        for block in self.blocks:
            x = block(x, angles)
        return self.norm(x)


CHANGES = {
    "GPT-2": {},
    "RMSNorm": {"norm": nn.RMSNorm},
    "no biases": {"bias": False},
    "rotary": {"rotary": True},
    "SwiGLU": {"gated": True},
    "own output layer": {"tied": False},
    "1 kv head for 4": {"kv_heads": 1},
    "first weights": {"init_std": 64**-0.5},
}

# %% [markdown]
# The last line is not LLaMA's, which keeps GPT-2's 0.02. But in lesson 5 the
# size 1 / sqrt(C) was the good one. Training is lesson 8's loop, `tl.fit`.

# %%
tokenizer = tl.CharTokenizer.train(text := stories.generate(n=3000))
tokens = tokenizer.encode_to_numpy(text.encode())
known, held_out = tokens[:-100_000], tokens[-100_000:]


def train(config, steps, seed=0):
    """Train a model -> the model, the losses, and that on held-out text."""
    model = Model(config, seed)
    optimizer = tl.AdamW(model.parameters(), lr=3e-3)
    losses = tl.fit(
        model, lambda step: get_batch(known, seed, step, 16, 32), steps,
        optimizer=optimizer, warmup=20, progress=progress,
    )
    with tl.no_grad():
        test = get_batch(held_out, 99, 0, batch=64, context=32)
        return model, losses, model.loss(*test).item()


STEPS, SEEDS, RUNGS = 240, 1, ("GPT-2", "first weights")

guess = predict("GPT-2 will end near 2.2. And the model with all changes?")
config, curve_of = Config(tokenizer.vocab_size), {}
for name, change in CHANGES.items():
    config = dataclasses.replace(config, **change)
    if name in RUNGS:
        ends = []
        for seed in range(SEEDS):
            model, curve_of[name], end = train(config, STEPS, seed)
            ends.append(end)
        size = sum(p.data.size for p in model.parameters())
        print(f"{name:<17} {size:>7,} parameters  loss {np.mean(ends):.3f}")
print(compare(guess, round(end, 3)))

# %% [markdown]
# The rungs between take longer. With STEPS, SEEDS, RUNGS = 600, 3, CHANGES in
# that cell, some minutes, it printed these means of three seeds, which lie up
# to 0.1 apart:
#
#     GPT-2             105,856 parameters  loss 1.709
#     RMSNorm           105,536 parameters  loss 1.693
#     no biases         104,384 parameters  loss 1.732
#     rotary            102,336 parameters  loss 1.564
#     SwiGLU             98,240 parameters  loss 1.477
#     own output layer  101,952 parameters  loss 1.307
#     1 kv head for 4    89,664 parameters  loss 1.300
#     first weights      89,664 parameters  loss 1.205
#
# So the norm and the biases buy no loss: they are there for speed, and because
# there is less of them. Angles and gates each buy a good part. The output layer
# of its own buys most here, perhaps because one table of such small numbers had
# to serve both ends; a large model would hardly notice. Three heads of keys and
# values were thrown away for nothing lost. And the size of the first weights,
# which no paper's table shows, is worth as much as the gate.
#
# A short run of a tiny model is no law. But that is how to ask: change one
# thing, keep all else, and let several seeds answer.
#
# ## Longer than it was trained for
#
# Learnt positions end at 32 here, angles do not. But is a model that was
# trained on 32 tokens any good beyond them? Let the last one read 128.
#
# Each pair of channels turns at its own frequency f (lesson 6). The fast ones
# have been round the clock many times within 32 tokens; the slow ones have met
# only the first hours of theirs, and later angles are news to them. All
# remedies make angles smaller, so that 128 tokens show nothing new, and differ
# in whose:
#
#     linear  f / 4 for every pair; but neighbours get harder to tell apart
#     ntk     a larger base: fast pairs keep f, the slowest gets f / 4
#     yarn    pairs that turn often within 32 tokens keep f, those that never
#             turn once get f / 4, between them a mean; and longer texts make
#             attention flatter, so queries and keys grow a little
#     llama3  almost the same, as Llama 3.1 did it from 8,192 to 131,072 tokens
#
# (Chen et al., 2023; Peng et al., 2023; the docstring has the formulas.)
#
# **Now you: `scaled_rope_tables`.** It is the longest function of the lesson:
# start with linear and ntk, which are two lines.

# %%
model.config = dataclasses.replace(config, context=128)
x, y = get_batch(held_out, 9, 0, batch=64, context=128)


def by_position(scaling):
    model.rope = nn.Rope(16, 10000.0, scaling)
    logp = ops.log_softmax(model(x).data)
    return -np.take_along_axis(logp, y[..., None], axis=-1).mean(axis=(0, 2))


ends = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
stretched = {"factor": 4.0, "original_max_position_embeddings": 32}
kinds = {
    "as trained": None,
    "linear": {"rope_type": "linear", "factor": 4.0},
    "ntk": {"rope_type": "ntk", "factor": 4.0},
    "yarn": {"rope_type": "yarn", **stretched},
    "llama3": {"rope_type": "llama3", **ends, **stretched},
}
guess = predict("its loss on positions 96 to 127, of 32 that it has met?")
found = {name: by_position(scaling) for name, scaling in kinds.items()}
print("positions      0-31   32-63  64-95  96-127")
for name, losses in found.items():
    quarters = losses.reshape(4, 32).mean(axis=1)
    print(f"{name:<12}", *(f"{loss:6.3f}" for loss in quarters))
print(compare(guess, float(found["as trained"][96:].mean())))

# %% [markdown]
# As it was trained, the model falls apart soon after position 32. A larger base
# lasts for twice the length. Yarn and llama3 hold to the end, at a price in the
# first 32 positions: the model has never met these angles. In practice it is
# trained on with them for a while, and gets the price back.

# %%
figures = [
    curves("The first and the last", "loss by step", curve_of),
    curves("Longer than trained", "loss by position",
           {name: found[name] for name in kinds if name != "linear"}),
]
page = folder / "llama.html"
write_page(page, "From GPT-2 to LLaMA", "Measured on this machine.", figures)

# %% [markdown]
# ## Real weights
#
# A model on the Hub of Hugging Face is a folder: `config.json` says the family
# and the sizes, `model.safetensors` holds the arrays, `tokenizer.json` the
# tokens. Ours has the same files, names and layouts, so each opens what the
# other wrote. Here is a random one.

# %%
sizes = tl.Llama.PRESETS["nano"] | {"kv_heads": 2, "context": 128}
llama = tl.Llama(tl.LlamaConfig(vocab_size=tokenizer.vocab_size, **sizes))
llama.save_pretrained(folder / "weights")
again = tl.from_pretrained(folder / "weights")
same = np.array_equal(again(x).data, llama(x).data)
print("opened again, the same bits:", same)

# %% [markdown]
# With a folder that somebody trained for a million dollars it is the same line.
# If you have a network, give the name of a model on the Hub in place of a
# folder, also to `tl.from_pretrained`; it is downloaded once (here 270 MB):
#
#     pip install huggingface_hub
#     tinyllm chat HuggingFaceTB/SmolLM2-135M-Instruct
#
# In memory its weights take 4 bytes for a parameter, with `bits=8` about one.
# It is a LLaMA of 30 layers with 9 heads, 3 kv heads and tied tables: each line
# of its config.json is now something that you have built.
#
# The parts are in `tinyllm/ops/`, and `tinyllm/models/llama.py` is the model;
# `tinyllm inspect --diff gpt2 llama` says what the two differ in. Train it on
# your functions:
#
#     tinyllm train --mine 13 --steps 50
