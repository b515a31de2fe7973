# %% [markdown]
# # 42. A model in one page
#
# You want to send a model to a friend who has no Python. Everybody has a
# browser, and a browser has a language. So `tinyllm export shipped --html
# story.html` writes one file. A double click opens it, also on a phone without
# a network: it writes stories, and shows what else it could have written and
# where a head looked. There is no server, and nothing is sent. How does a model
# run in two hundred lines of JavaScript? And is it still the same model?

# %%
from importlib.resources import files
from textwrap import fill

import numpy as np

import tinyllm as tl
from tinyllm import nn, ops
from tinyllm.course.lesson_runner import begin, compare, predict, show_page
from tinyllm.ops.quant import dequantize
from tinyllm.report import one_page

folder = begin(digits=4)
opened = tl.open_model("shipped", bits=8)
model, tokenizer, c = opened.model, opened.tokenizer, opened.model.config
state = model.state_dict()
layers = model.of_kind(nn.Int8Linear)

# %% [markdown]
# ## 1. A matrix of whole numbers
#
# Lesson 20 rounded the cache. Weights go the same way: each is a whole number
# from -127 to 127, times a scale that 32 neighbouring inputs of one output share
# (with one for a whole row, an outlier would take the digits of all others):

# %%
part = "model.layers.0.self_attn.q_proj"
q, scales = state[part + ".q"], state[part + ".scales"]
numbers = q[0, 0, :, 0, :].ravel()  # one block of 32 inputs
scale = (scales[0, 0, :1].astype(np.uint32) << 16).view(np.float32)
print("numbers", numbers[:8], "\nscale  ", scale)
print("weights", (numbers * scale)[:8])
guess = predict("a scale takes 2 bytes. How many bits does a weight take?")
print(compare(guess, 8 * (32 + 2) / 32))

# %% [markdown]
# A scale is a *bfloat16*, the upper half of a float32, with two or three digits.
# That is enough: the numbers were divided by the scale *after* it was rounded.
#
# **Now you: `quantize_rows`.** It rounds the *inputs* of a product, too.
#
# ## 2. The product
#
# Then each block is a sum of products of whole numbers, fast and *exact*: 32
# products of at most 127 * 127 stay below 2^24. The scales come last:
#
#     y = sum over blocks of  scale of x * scale of w * (sum of x * w)
#
# **Now you: `linear_int8`.** Checkpoints keep 4 inputs of 16 outputs side by
# side, as one instruction of a processor reads them. Undo that first.

# %%
x, n = tl.Random(2).normal((3, c.width)), c.width
exact = x @ dequantize(8, q, scales, n, n)
rounded = ops.linear_int8(x, q, scales, n)
guess = predict("the product's error, in % of its size?")
error = np.abs(rounded - exact).mean() / np.abs(exact).mean()
print(compare(guess, round(100 * float(error), 2)))

# %% [markdown]
# The page does the same. `Math.fround` rounds to float32:

# %%
source = files(one_page).joinpath("runtime.js").read_text()


def excerpt(first, last):
    """Return the runtime between two comments, in short lines."""
    part = source[source.index("// " + first) : source.index("// " + last)]
    lines = [(line, line[: -len(line.lstrip())]) for line in part.split("\n")]
    return "\n".join(fill(line, 78, subsequent_indent=indent + " " * 8)
                     for line, indent in lines if line.strip())


print(excerpt("Multiply a row", "Scale a row"))

# %% [markdown]
# ## 3. A forward pass
#
# A page writes for one person, one token at a time: no batch, no gradient, no
# mask. A token goes in, its keys and values join the cache, and the scores of
# all next tokens come out. First in NumPy:

# %%
D = c.width // c.heads
keys, values = ([[] for _ in range(c.layers)] for _ in range(2))


def linear(name, x):
    """Multiply a row by the 8-bit matrix of a part of the model."""
    arrays = state[name + ".q"], state[name + ".scales"]
    return ops.linear_int8(x, *arrays, layers[name].sizes[1])


def norm(name, x):
    """Normalise a row."""
    return ops.rmsnorm(x, state[name + ".weight"], c.eps)[0]


def attend(n, name, x, position):
    """Average the values of all positions so far, in every head."""
    q, k, v = (linear(f"{name}.{part}_proj", x).reshape(-1, D)
               for part in "qkv")
    angles = ops.rope_tables(np.array([position]), D, c.theta)
    q, k = (ops.rope(each[None, None], *angles)[0, 0] for each in (q, k))
    keys[n].append(k)
    values[n].append(v)
    scores = np.einsum("hd,thd->ht", q, keys[n]) / D**0.5
    y = np.einsum("ht,thd->hd", ops.softmax(scores), values[n])
    return linear(name + ".o_proj", y.ravel())


def read(token, position):
    """Read a token, and return the scores of all next tokens."""
    x = state["model.embed_tokens.weight"][token]
    for n in range(c.layers):
        block = f"model.layers.{n}"
        y = norm(block + ".input_layernorm", x)
        x = x + attend(n, block + ".self_attn", y, position)
        y = norm(block + ".post_attention_layernorm", x)
        gate = ops.silu(linear(block + ".mlp.gate_proj", y))
        wide = gate * linear(block + ".mlp.up_proj", y)
        x = x + linear(block + ".mlp.down_proj", wide)
    return linear("lm_head", norm("model.norm", x))


prompt, ids = tokenizer.encode("Once upon a time"), []
scores = [read(token, place) for place, token in enumerate(prompt)][-1]
while len(ids) < 40:
    ids.append(int(scores.argmax()))
    scores = read(ids[-1], len(prompt + ids) - 1)
print(fill(tokenizer.decode(prompt + ids), 78))
greedy = tl.Sampling(temperature=0)
wrote = tl.generate(model, [prompt], max_tokens=40, sampling=greedy)[0]
print("the library's tokens:", wrote == ids)

# %% [markdown]
# Beside it, what the page runs. (`positions` is GPT-2's table.)

# %%
print(excerpt("Read the token", "Widen a row"))

# %% [markdown]
# ## 4. Is it the same model?
#
# The page adds numbers in another order than the kernels, and so does NumPy.
# That changes the last digit, one part in ten million, and nobody sees it. But
# here a number is then *rounded* to one of 255. Next to the middle between two
# of them the last digit decides, and the number jumps by a whole step.

# %%
rows, noise = (tl.Random(seed).normal((40_000, 128)) for seed in (3, 4))
nudged = (rows * (1 + 1e-7 * noise)).astype(np.float32)
before, after = (ops.quantize_rows(each)[0] for each in (rows, nudged))
guess = predict(f"nudge {before.size:,} numbers by 1e-7: how many jump?")
jumps = int((before != after).sum())
print(compare(guess, jumps))
inputs = sum(layer.sizes[0] for layer in layers.values())
first = before.size / max(jumps, 1) / inputs
print(f"a token rounds {inputs:,} numbers: a jump in {first:.0f} tokens")

# %% [markdown]
# A jump stays in the cache for all later tokens. It changes the text only where
# two tokens are almost equally likely. We counted: given the library's texts,
# seeds and settings, the page drew another token at 6 of 5,000 places, none of
# them among the first hundred of a text. The library's own two backends part in
# the same way. So "the same model" means: the same text until a tie.
#
# ## 5. What it weighs
#
# Text can carry bytes as *base64*: 3 bytes become 4 letters out of 64.

# %%
path = folder / "story.html"
guess = predict("1.04 million parameters: kilobytes of the page?")
size = one_page.write_page(opened, "A teller of stories", path)
print(compare(guess, round(size / 1000)))
kinds = {"q": "8-bit weights", "scales": "scales", "weight": "norms"}
bill = dict.fromkeys([*kinds.values(), "embedding"], 0)
data = one_page.describe(opened)
for name, arrays in data["parts"].items():
    for kind, text in arrays.items():
        bill["embedding" if "embed" in name else kinds[kind]] += len(text)
bill["tokenizer"] = len(str(data["tokenizer"]))
bill["program and style"] = size - sum(bill.values())
for name, n in bill.items():
    print(f"{name:<18}{n / 1000:>6,.0f} kB  " + "#" * round(40 * n / size))
show_page(path)

# %% [markdown]
# The embedding has an eighth of the numbers and a third of the bytes: nothing is
# multiplied by it, so it stayed float32. The program is one part in eighty.
#
# Now open `story.html`, and try this:
#
# * Choose a token in the middle. How sure was the model? Take another one from
#   the list: the story goes on from there, and nothing before it is read again.
#   Which line of `page.js` sees to that?
# * With temperature 0.8, min p 0.1 and seed 7, the page writes the text of
#   `tinyllm generate shipped --seed 7 --prompt "Once upon a time"`: the n-th
#   token of both is drawn by the n-th random number of the seed.
