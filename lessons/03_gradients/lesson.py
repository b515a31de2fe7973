# %% [markdown]
# # 3. Gradients
#
# A model has a million numbers, its *parameters*, and one number says how badly
# it does: the loss. To learn, it must know which way to turn each of the
# million. Trying them one by one would take a million evaluations. The chain
# rule answers for all of them at once, for about the cost of three forward
# passes. All of deep learning rests on this (Rumelhart, Hinton and Williams,
# 1986).
#
# We start with single numbers, go on to arrays, and end with a tool that proves
# a gradient right.

# %%
import numpy as np

import tinyllm as tl
from tinyllm import ops
from tinyllm.course.lesson_runner import begin, compare, predict, timed
from tinyllm.course.page import write_page

folder = begin(digits=4)

# %% [markdown]
# ## A slope is a question
#
# The derivative answers: if I turn this number up a little, how much does the
# result change? You can simply try.

# %%


def f(x):
    return x * x + 3 * x


h = 1e-6
guess = predict("the slope of x^2 + 3x at x = 2")
print(compare(guess, round((f(2 + h) - f(2 - h)) / (2 * h), 6)))

# %% [markdown]
# ## A computation is a graph
#
# Take loss = (a b + c)^2. A computer does it in steps, and each step knows its
# own slopes, its *local derivatives*:
#
#     node 0   a = 2
#     node 1   b = -3
#     node 2   c = 10
#     node 3   d = a b        slopes: b for a, a for b
#     node 4   e = d + c      slopes: 1 for d, 1 for c
#     node 5   loss = e^2     slope:  2 e for e
#
# Write each node's own slopes into its row of a table.

# %%
a, b, c = 2.0, -3.0, 10.0
d = a * b
e = d + c
local = np.zeros((6, 6), np.float32)
local[3, 0], local[3, 1] = b, a
local[4, 3], local[4, 2] = 1, 1
local[5, 4] = 2 * e
print(local)

# %% [markdown]
# The **chain rule** says: along a path from a number to the loss, multiply the
# slopes; over several paths, add. Turn a up by a little: d changes by b = -3
# times as much, e by the same as d, and the loss by 2 e = 8 times as much as e.
# So the gradient of a is -3 * 1 * 8 = -24.
#
# Walk *backwards*, and nothing is computed twice. The loss has gradient 1. Each
# node, from the last to the first, hands its own gradient times its slope to
# every node that it used. When a node's turn comes, all that used it have given
# it their share. This is *backpropagation*.
#
# **Now you: `backpropagate`.** A node that is used twice gets two shares, and
# they are added. The commonest bug in homemade autograd is to let the second
# overwrite the first.

# %%
guess = predict("the gradient of b: how the loss changes when b increases")
gradients = ops.backpropagate(local)
print(compare(guess, float(gradients[1])))
names = ("a", "b", "c", "d", "e", "loss")
for name, gradient in zip(names, gradients, strict=True):
    print(f"  {name:>4} {gradient:+.1f}")

# %% [markdown]
# ## The same with a tape
#
# Nobody writes that table by hand. tinyllm's `Tensor` records each step while
# it computes: what it used, and a function that turns the gradient of its
# result into gradients of what it used. This record is called a *tape*, and
# `backward()` walks it from the end. Read `gradients` in `tinyllm/tape.py`:
# it is your `backpropagate`, on arrays.

# %%
ta, tb, tc = (tl.Tensor([v], requires_grad=True) for v in (a, b, c))
td = ta * tb
te = td + tc
loss = te**2
picture = tl.draw(loss, a=ta, b=tb, c=tc, d=td, e=te, loss=loss)
loss.backward()
print("a, b, c:", ta.grad, tb.grad, tc.grad)

# %% [markdown]
# Until `backward()`, `tl.draw` draws what the tape holds. Walk it backwards with
# a finger: each gradient is the one to its right times the slope between the
# two.

# %%
lead = "Values are computed to the right, gradients back to the left."
write_page(folder / "graph.html", "A computation is a graph", lead, [picture])

# %% [markdown]
# ## What it costs
#
# One backward pass gives the slopes of *all* inputs. Trying them one by one
# takes two evaluations for each. Here is the small GPT that lesson 7 builds, with
# its 800,000 parameters:

# %%
config = tl.GPTConfig(vocab_size=65, **tl.GPT.PRESETS["nano"])
model = tl.GPT(config)
tokens = np.arange(4 * 64).reshape(4, 64) % 65
forward = timed(model.loss, tokens, tokens)
both = timed(lambda: model.loss(tokens, tokens).backward())
n = sum(p.data.size for p in model.parameters())
print(f"forward {1000 * forward:.1f} ms, with backward {1000 * both:.1f} ms")
guess = predict("hours, if we tried each of the parameters one by one")
print(compare(guess, 2 * n * forward / 3600), "(by your machine's time)")

# %% [markdown]
# ## Arrays: a rule for each op
#
# For arrays no table of slopes is formed; it would be enormous. Each op gets a
# *backward* instead, a function from dy, the gradient of its result, to the
# gradients of its inputs. A gradient always has the shape of what it belongs
# to, and shapes alone settle half of every derivation.
#
# An element-wise function is easiest: every element has its own slope. SiLU,
# the activation of LLaMA, is x times its sigmoid, 1 / (1 + exp(-x)).
#
# **Now you: `silu_backward`.** The product rule has two terms.

# %%
x = np.array([-4.0, -1.0, 0.0, 1.0, 4.0], np.float32)
slope = ops.silu_backward(np.ones_like(x), x)
guess = predict("the slope of SiLU at 0, where the sigmoid is 1/2")
print(compare(guess, float(slope[2])))
print("silu :", ops.silu(x))
print("slope:", slope)

# %% [markdown]
# For a matrix product Y = A B, element (i, j) is the sum over k of A[i, k] B[k,
# j]. So A[i, k] is used in all of row i of Y, in element (i, j) with slope B[k,
# j], and
#
#     dA[i, k] = sum over j of dY[i, j] B[k, j]
#
# which is again a matrix product. Find which one, and its counterpart for B;
# let the shapes guide you: dY is (rows of A, columns of B), dA must be like A.
#
# **Now you: `matmul_backward`.** First the plain product, A (m, k) times B (k,
# n). Then the flags: where an operand enters transposed, so does its gradient
# come out. Last, leading axes: a B that was used for every matrix of a batch is
# a copy each time, and the shares of copies are added, as below.

# %%
rng = np.random.default_rng(0)
A = rng.normal(size=(2, 3)).astype(np.float32)
B = rng.normal(size=(3, 4)).astype(np.float32)
dA, dB = ops.matmul_backward(np.ones((2, 4), np.float32), A, B)
print(f"dA {dA.shape} like A {A.shape}; dB {dB.shape} like B {B.shape}")

# %% [markdown]
# **Broadcasting** hides copies. In `x + b` with x (100, 8) and b (8,), each
# element of b is used 100 times, so it gets 100 shares, to be added. If you
# forget it, the shapes disagree; if you are unlucky, they broadcast again and
# nothing complains.
#
# **Now you: `sum_to_shape`.**

# %%
dy = np.ones((100, 8), np.float32)
db = ops.sum_to_shape(dy, (8,))
guess = predict("the gradient of each element of b, if dy is 1 everywhere")
print(compare(guess, int(db[0])))
print("db", db.shape, "like b")
print("of an input (100, 1):", ops.sum_to_shape(dy, (100, 1)).shape)

# %% [markdown]
# ## Checking a gradient
#
# A wrong gradient rarely crashes. The model just learns worse, and you look for
# the reason elsewhere, for days. So every backward in this library is held
# against measured slopes; this is called *gradcheck*. Measuring each input
# would be slow, but one random direction u is enough: step by h along u, and
# the loss must change by h times the sum of gradient times u. A wrong gradient
# agrees only by a rare coincidence.

# %%


def error(backward, h=1e-5):
    """Compare a backward of silu with the measured slope, relatively."""
    x, u, dy = (rng.normal(size=1000) for _ in range(3))
    with ops.use("numpy"):  # the specifications take float64
        rise = ops.silu(x + h * u) - ops.silu(x - h * u)
        measured = (dy * rise).sum() / (2 * h)
        return abs(measured / (backward(dy, x) * u).sum() - 1)


def forgetful(dy, x):
    """A plausible slip: the second term of the product rule is missing."""
    return dy / (1 + np.exp(-x))


print(f"the library's backward: {error(ops.silu_backward):.0e}")
print(f"with a term forgotten:  {error(forgetful):.0e}")

# %% [markdown]
# Use float64 for this. In float32 rounding drowns the difference before h is
# small enough.
#
# You have rebuilt `tinyllm/ops/autograd.py` and a part of `ops/elementwise.py`
# and `ops/matmul.py`, and you know how `tinyllm/tape.py` works: read it now.
# Next we need something worth differentiating: probabilities, and a loss.
