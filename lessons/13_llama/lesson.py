# %% [markdown]
# # 13. LLaMA
#
# GPT-2 is from 2019. LLaMA, of 2023, is what most open models follow: Mistral,
# Qwen, SmolLM and many others are LLaMAs with one or two lines changed. How
# much is new? The block of lesson 7 is still there, and so are the loss,
# training and the cache. Five parts were exchanged, and in Llama 2 a sixth.
#
# Touvron et al., "LLaMA: Open and Efficient Foundation Language Models", and
# "Llama 2: Open Foundation and Fine-Tuned Chat Models", both 2023.

# %%
from types import SimpleNamespace

import numpy as np

import tinyllm as tl
from tinyllm import nn, ops
from tinyllm.course.lesson_runner import begin, compare, predict, progress
from tinyllm.world import stories

folder = begin()

# %% [markdown]
# ## 1 and 2. RMSNorm for LayerNorm, and no biases
#
# LayerNorm subtracts the mean of a row, divides by its deviation, scales and
# shifts. RMSNorm, which you wrote in lesson 5, divides by the root mean square
# and scales, and that is all (Zhang and Sennrich, 2019). The missing mean does
# next to nothing: in a row of C random numbers it is about 1 / sqrt(C) of the
# deviation. It is cheaper (one pass over the row, one table of weights), and
# models learn as well with it. Its backward pass is shorter, too. With n = x
# rstd, the normalised row, y is n w. The row's length has been divided out, so
# a gradient along n can change nothing: take that part away. LayerNorm must
# take away the mean as well.
#
# **Now you: `rmsnorm_backward`.**
#
# Every linear layer of GPT-2 adds a bias, 0.067 percent of its parameters.
# LLaMA's do not. That changes little in small models, and made very large ones
# more stable in training (Chowdhery et al., 2022, section 2).
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
# that". Two gated channels do it exactly, because silu(g) - silu(-g) is g.
#
# Three matrices where there were two: for the same number of parameters the
# hidden width must shrink from 4 C to 8/3 C. For LLaMA-7B with C = 4096 that is
# 10,923, rounded up to 11,008.
#
# **Now you: `swiglu` and `swiglu_backward`.** The slope of silu is
# `silu_backward` of lesson 3.
#
# ## 4 and 5. Angles for learnt positions, and an output layer of its own
#
# GPT-2 adds a learnt vector for each position, and has none for position 1,024.
# LLaMA turns queries and keys by `rope`, from lesson 6: nothing is learnt, what
# counts is the distance, and there is no last position. Or is there? We shall
# see below. And GPT-2 scores a token by its embedding (*tied* weights, lesson
# 7). LLaMA has a separate matrix of V rows for it, two percent of LLaMA-7B's
# parameters; small models of the family tie the table again.
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
#
# ## The block
#
# All of that in one function. The shape is lesson 7's: a norm, attention, a
# sum; a norm, an MLP, a sum.
#
# **Now you: `llama_block`.**

# %%
C, H, F, rng = 24, 4, 64, tl.Random(2)
norm, x = np.ones(C, np.float32), rng.normal((1, 7, C)).astype(np.float32)
attend = [rng.normal((C, n)).astype(np.float32) for n in (C, 12, 12, C)]
mlp = [rng.normal(s).astype(np.float32) for s in ((C, F), (C, F), (F, C))]
print(x.shape, "->", ops.llama_block(x, H, norm, attend, norm, mlp).shape)

# %% [markdown]
# ## What each part buys
#
# Here is a model whose parts are switches, made of the library's layers. It
# begins as GPT-2, and each line of `CHANGES` moves one switch for good.

# %%
GPT2 = {
    "context": 32, "layers": 2, "heads": 4, "kv_heads": 4, "width": 64,
    "norm": nn.LayerNorm, "bias": True, "rotary": False, "gated": False,
    "tied": True, "init_std": 0.02,
}


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
        w = self.tokens.weight
        self.lm_head = nn.Head(w if c.tied else nn.Parameter(0 * w.data))
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
    "GPT-2": {}, "RMSNorm": {"norm": nn.RMSNorm},
    "no biases": {"bias": False}, "rotary": {"rotary": True},
    "SwiGLU": {"gated": True}, "own output layer": {"tied": False},
    "1 kv head for 4": {"kv_heads": 1}, "first weights": {"init_std": 1 / 8},
}

# %% [markdown]
# The last line is not LLaMA's, which keeps GPT-2's 0.02. But in lesson 5 the
# size 1 / sqrt(C) was the good one. Training is lesson 8's loop, `tl.fit`.

# %%
tokenizer = tl.CharTokenizer.train(text := stories.generate(n=3000))
tokens = tokenizer.encode_to_numpy(text.encode())
known, held_out = tokens[:-100_000], tokens[-100_000:]


def train(config, steps, seed=0):
    """Train a model -> the model, and its loss on held-out text."""
    model = Model(config, seed)
    tl.fit(
        model, lambda step: tl.get_batch(known, seed, step, 16, 32), steps,
        optimizer=tl.AdamW(model.parameters(), lr=3e-3), warmup=20,
        progress=progress)
    with tl.no_grad():
        test = tl.get_batch(held_out, 99, 0, batch=64, context=32)
        return model, model.loss(*test).item()


STEPS, SEEDS, RUNGS = 240, 1, ("GPT-2", "first weights")

guess = predict("GPT-2 will end near 2.2. And the model with all changes?")
config = GPT2 | {"vocab_size": tokenizer.vocab_size}
for name, change in CHANGES.items():
    config |= change
    if name in RUNGS:
        now = SimpleNamespace(**config)
        runs = [train(now, STEPS, seed) for seed in range(SEEDS)]
        model, end = runs[0][0], np.mean([loss for _, loss in runs])
        size = sum(p.data.size for p in model.parameters())
        print(f"{name:<17} {size:>7,} parameters  loss {end:.3f}")
print(compare(guess, round(end, 3)))

# %% [markdown]
# The rungs between take longer. With STEPS, SEEDS, RUNGS = 600, 3, CHANGES that
# cell printed these means of three seeds, which lie up to 0.1 apart:
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
# So the norm and the biases buy no loss: they are there for speed. Angles and
# gates each buy a good part. The output layer of its own buys most here; a large
# model would hardly notice. Three heads of keys and values were thrown away for
# nothing lost. And the size of the first weights, which no paper's table shows,
# is worth as much as the gate.
#
# A short run of a tiny model is no law. But that is how to ask: change one
# thing, and let several seeds answer.
#
# ## Longer than it was trained for
#
# Learnt positions end at 32 here, angles do not. But is a model that was
# trained on 32 tokens any good beyond them? Let the last one read 128.
#
# Each pair of channels turns at its own frequency f (lesson 6). The fast ones
# have been round the clock many times within 32 tokens; the slow ones have met
# only the first hours of theirs, and later angles are news to them. Remedies
# make angles smaller, and differ in whose:
#
#     linear  f / 4 for every pair; but neighbours get harder to tell apart
#     ntk     a larger base: fast pairs keep f, the slowest gets f / 4
#     yarn    pairs that turn often within 32 tokens keep f, those that never
#             turn once get f / 4, between them a mean; and longer texts make
#             attention flatter, so queries and keys grow a little
#
# (Chen et al., 2023; Peng et al., 2023; the docstring has the formulas, and
# llama3, almost the same, by which Llama 3.1 reads 131,072 tokens.)
#
# **Now you: `scaled_rope_tables`.** It is the longest function of the lesson:
# start with linear and ntk, which are two lines.

# %%
model.config.context = 128
x, y = tl.get_batch(held_out, 9, 0, batch=64, context=128)


def by_quarter(scaling):
    model.rope = nn.Rope(16, 10000.0, scaling)
    logp = ops.log_softmax(model(x).data)
    losses = -np.take_along_axis(logp, y[..., None], axis=-1)
    return losses.reshape(64, 4, 32).mean(axis=(0, 2))


met = {"original_max_position_embeddings": 32}
kinds = {
    "as trained": None,
    "linear": {"rope_type": "linear", "factor": 4.0},
    "ntk": {"rope_type": "ntk", "factor": 4.0},
    "yarn": {"rope_type": "yarn", "factor": 4.0, **met},
}
guess = predict("its loss on positions 96 to 127, of 32 that it has met?")
print("positions      0-31   32-63  64-95  96-127")
for name, scaling in kinds.items():
    print(f"{name:<12}", *(f"{loss:6.3f}" for loss in by_quarter(scaling)))
print(compare(guess, float(by_quarter(None)[3])))

# %% [markdown]
# As it was trained, the model falls apart soon after position 32. A larger base
# lasts for twice the length. Yarn holds to the end, at a price in the first 32
# positions: the model has never met these angles. In practice it is trained on
# with them for a while, and gets the price back.
#
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
# A folder that was trained for a million dollars takes the same line. With a
# network, and after `pip install huggingface_hub`, download one (270 MB):
#
#     hf download HuggingFaceTB/SmolLM2-135M-Instruct --local-dir smol
#     tinyllm chat smol
#
# It is a LLaMA of 30 layers: each line of its config.json is now something that
# you have built.
#
# `tinyllm/models/llama.py` is the model; `tinyllm inspect --diff gpt2 llama` says
# what the two differ in. Train it on your functions:
#
#     tinyllm train --mine 13 --steps 50
