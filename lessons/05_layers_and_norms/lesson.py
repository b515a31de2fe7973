# %% [markdown]
# # 5. Layers and norms
#
# A transformer is a stack of very few kinds of parts. Attention is one, and has
# a lesson to itself. This one builds the others: the embedding that turns
# tokens into vectors, the linear layer that holds nearly all of a large model's
# numbers, the activation function without which a deep model would be a shallow
# one, and the norm that keeps deep stacks from exploding or vanishing.

# %%
import numpy as np

from tinyllm import ops
from tinyllm.course.lesson_runner import bars, begin, compare, predict
from tinyllm.rng import Random

begin(digits=3)

# %% [markdown]
# ## Tokens become vectors
#
# Token 7 is not "more" than token 3; the numbers are only names. So each token
# has its own row of numbers in a table, its *embedding*, and looking it up is
# the first thing that every model does. The rows start as random numbers,
# and training moves tokens of similar use to similar places.
#
# **Now you: `embedding`.** It is one line. Its backward is more interesting: a
# token that occurs three times in a text gets three gradients, and its row must
# get the sum.

# %%
table = Random(0, "lesson").normal((5, 4)).astype(np.float32)
tokens = np.array([[3, 1, 3]])
vectors = ops.embedding(table, tokens)
print(tokens.shape, "->", vectors.shape)
gradient = ops.embedding_backward(np.ones_like(vectors), tokens, 5)
guess = predict("token 3 occurs twice, each gradient is 1: its row gets")
print(compare(guess, float(gradient[3, 0])))
print(gradient)

# %% [markdown]
# ## The linear layer
#
# Every output is a weighted sum of all inputs, plus a bias: y = x W + b. In a
# large GPT more than nine tenths of all parameters are in such matrices, and
# nearly all of its time goes into multiplying by them. Note that W is stored as
# (inputs, outputs), as in GPT-2; PyTorch stores it the other way round.
#
# **Now you: `linear`.** x may have any number of leading axes.

# %%
x = np.ones((2, 3, 4), np.float32)
w = np.full((4, 5), 0.5, np.float32)
print(ops.linear(x, w, np.arange(5, dtype=np.float32)).shape)
guess = predict("a layer from 768 to 3072 with bias: how many parameters?")
print(compare(guess, 768 * 3072 + 3072))

# %% [markdown]
# ## Why an activation function?
#
# Put one linear layer after another, and the two are still one, with the
# weights A B. So are a hundred. Something between them must not be linear, and
# then a wide enough network can come as close as you like to any continuous
# function (Hornik, Stinchcombe and White, 1989).

# %%
A, B = (Random(0, name).normal((4, 4)) for name in ("A", "B"))
x = Random(0, "x").normal((3, 4))
difference = np.abs((x @ A) @ B - x @ (A @ B)).max()
print(f"largest difference between two layers and one: {difference:.0e}")

# %% [markdown]
# GELU (Hendrycks and Gimpel, 2016) lets through what is clearly positive, stops
# what is clearly negative, and is smooth between. It is x times the probability
# that a normal random number is below x. GPT-2 uses an approximation by a tanh:
#
#     y = x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
#
# The two differ by less than a thousandth, but a model that was trained with
# one should be run with that one.
#
# **Now you: `gelu_tanh`.**

# %%
x = np.linspace(-3, 3, 13).astype(np.float32)
for v, y in zip(x, ops.gelu_tanh(x), strict=True):
    print(f"  {v:+.1f} {' ' * round(4 + 12 * y)}*  {y:+.3f}")
difference = np.abs(ops.gelu_tanh(x) - ops.gelu(x)).max()
print(f"largest difference from the exact form here: {difference:.4f}")

# %% [markdown]
# ## The trouble with depth
#
# Every layer multiplies. If each layer makes numbers slightly larger, fifty
# layers make them huge; if slightly smaller, they vanish. Send random numbers
# through 50 layers of width 256 whose weights are random, with a standard
# deviation that we choose.

# %%


def through_layers(std, norm=None, depth=50, width=256):
    """The typical size of the numbers after some random layers."""
    x = Random(1, "input").normal((16, width)).astype(np.float32)
    for i in range(depth):
        w = std * Random(1, "layer", i).normal((width, width))
        x = ops.linear(x, w.astype(np.float32))
        x = norm(x) if norm else x
    return float(np.sqrt((x**2).mean()))


sizes = {f"std {std}": through_layers(std) for std in (0.055, 0.0625, 0.07)}
guess = predict("std 0.0625 keeps the size 1; what becomes of it with 0.07?")
print(compare(guess, sizes["std 0.07"]))
for name, after in sizes.items():
    print(f"{name:<11} size after 50 layers: {after:.3g}")

# %% [markdown]
# 1 / sqrt(256) = 0.0625 is the one good choice: then a sum of 256 terms is
# about as large as each of its inputs. An eighth less or more, and fifty layers
# make it a factor of hundreds. And weights change during training; nobody can
# keep them that exact.
#
# ## Norms
#
# LayerNorm (Ba, Kiros and Hinton, 2016) removes the problem. Each row, that is
# each token's vector, is shifted to mean 0 and scaled to variance 1, and then
# gets a learnt scale w and shift b:
#
#     y = (x - mean) / sqrt(variance + eps) * w + b
#
# eps keeps a row of equal numbers from dividing by zero. It is *inside* the root.
#
# **Now you: `layernorm`.** Compute the variance from x - mean. The textbook's
# other formula, mean(x^2) - mean(x)^2, subtracts two large numbers that are
# nearly equal, and in float32 most correct digits can be lost.

# %%
width = 256
one, zero = np.ones(width, np.float32), np.zeros(width, np.float32)
guess = predict("std 0.07, and a norm after each of 50 layers: what size?")
for std in (0.055, 0.0625, 0.07):
    kept = through_layers(std, norm=lambda x: ops.layernorm(x, one, zero)[0])
    print(f"std {std:<7} with a norm after each layer: {kept:.3g}")
print(compare(guess, kept))

row = (1000 + Random(2).normal(256)).astype(np.float32)
naive = float((row**2).mean() - row.mean() ** 2)
print(f"1000 + noise has the variance {row.var():.4f}")
guess = predict("what does the other formula make of it?")
print(compare(guess, naive))

# %% [markdown]
# The backward takes some care, because every input of a row changes the row's
# mean and its variance, and through them every output. Two correction terms
# account for that. Without the second, the small GPT of lesson 8 learns hardly
# more than how frequent each character is. Without the first it trains almost
# as well as before, with a loss of 2.22 instead of 2.20 (measured once, not in
# this lesson): just the kind of bug that only a gradcheck finds.
#
# **Now you: `layernorm_backward`.** Write n for the normalised row and dn for
# its gradient. Adding a constant to a row of x does not change n, and neither
# does scaling x - mean, but for the small eps in the root. So dx must have no
# part along either direction (along n: almost none), and the two terms remove
# these parts: the first the mean, the second what lies along n.

# %%
x = Random(3).normal((2, 6)).astype(np.float32)
y, mean, rstd = ops.layernorm(x, one[:6], zero[:6])
dy = Random(4).normal((2, 6)).astype(np.float32)
dx, dw, db = ops.layernorm_backward(dy, x, one[:6], mean, rstd)
print(f"the sum of dx in a row is {np.abs(dx.sum(axis=1)).max():.0e},")
along = np.abs((dx * y).sum(axis=1)).max()
print(f"that of dx times n is {along:.0e} (eps keeps it from 0)")

# %% [markdown]
# LLaMA, like most later models, does not subtract the mean; it divides by the
# root of the mean square. This is RMSNorm (Zhang and Sennrich, 2019); it costs
# less and works as well. **Now you: `rmsnorm`.**

# %%
y, rstd = ops.rmsnorm(np.array([[3.0, 4.0]], np.float32), one[:2])
print(y, f"root mean square: {np.sqrt((y**2).mean()):.4f}")

# %% [markdown]
# ## Where the parameters are
#
# In which parts of a small GPT are its parameters? Each block has two linear
# layers, from C to 4 C and back, its *MLP*; attention has four layers from C to
# C, and the three for q, k and v are stored as one layer from C to 3 C.

# %%
C, V, T, layers = 128, 65, 64, 4
parts = {
    "embeddings": V * C + T * C,
    "attention": layers * (C * 3 * C + 3 * C + C * C + C),
    "MLP": layers * (C * 4 * C + 4 * C + 4 * C * C + C),
    "norms": layers * 4 * C + 2 * C,
}
total = sum(parts.values())
print(bars([100 * n / total for n in parts.values()], list(parts), width=44))
print(f"percent of {total:,} parameters")

# %% [markdown]
# You have rebuilt `tinyllm/ops/embedding.py`, `ops/norm.py`, and parts of
# `ops/matmul.py` and `ops/elementwise.py`; `tinyllm/nn/layers.py` gives them
# their weights. What is missing is the part that makes a transformer: how does
# one token learn of another?
