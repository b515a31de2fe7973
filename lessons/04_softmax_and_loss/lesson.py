# %% [markdown]
# # 4. Softmax and loss
#
# A language model ends in scores: one number for every token of the vocabulary,
# as large or as negative as it likes. They are called *logits*. This lesson
# turns them into probabilities, measures how surprised the model is by what
# really came next, and finds the gradient that all of training starts from. It
# is a surprisingly short formula.
#

# %%
import numpy as np

from tinyllm import ops
from tinyllm.course.lesson_runner import bars, begin, compare, predict
from tinyllm.course.page import curves, write_page

folder = begin(digits=4)

# %% [markdown]
# ## From scores to probabilities
#
# Probabilities are positive and sum to 1; logits are neither. The exponential
# makes anything positive, and dividing by the sum does the rest:
#
#     softmax(x)_i = exp(x_i) / sum_j exp(x_j)
#
# Suppose that after "the cat sat on the" a model gives these scores.

# %%
words = ["mat", "sofa", "moon", "the", "because"]
logits = np.array([4.0, 3.0, 1.0, -1.0, -3.0])
probs = np.exp(logits) / np.exp(logits).sum()
print(bars(probs, words))

# %% [markdown]
# "mat" is one point ahead of "sofa". Before you look at the picture again: how
# many times as likely does that make it?

# %%
guess = predict("p(mat) / p(sofa)?")
print(compare(guess, probs[0] / probs[1]))

# %% [markdown]
# One point is always a factor of e, wherever the two stand: softmax depends on
# *differences* only. So what happens if all logits are divided by the same
# number, a *temperature*? Below 1 the differences grow, and "mat" takes all;
# above 1 they shrink, until all words are equally likely. Lesson 9 uses this to
# write.

# %%
at = np.linspace(0.15, 6, 80).tolist()
shares = [np.exp(logits / t) / np.exp(logits / t).sum() for t in at]
lines = dict(zip(words[:4], np.transpose(shares).tolist(), strict=False))
picture = curves("Softmax", "probability by temperature", lines, at=at)
lead = "Five logits, 4, 3, 1, -1 and -3, divided by a temperature."
page = folder / "softmax.html"
write_page(page, "From scores to probabilities", lead, [picture])

# %% [markdown]
# Only differences count: add 100 to every logit and nothing changes, at least
# on paper.

# %%
with np.errstate(over="ignore", invalid="ignore"):
    for shift in (0, 100, 800):
        e = np.exp(logits + shift)
        print(f"shift {shift:>3}: {e / e.sum()}")

# %% [markdown]
# exp(800) is larger than any float64, so infinity was divided by infinity, and
# the result is *not a number* (NaN). In float32 it happens at 89 already. The
# cure is free, because only differences matter: **subtract the largest logit
# first.** Then every exponent is at most 0, the largest term is exactly 1, and
# nothing can overflow.
#
# One row is not saved by this. A masked token has the logit -inf: it cannot be
# chosen, for exp(-inf) is 0. In a row where *everything* is masked, the largest
# is -inf itself, and -inf minus -inf is again NaN. The library answers with
# zeros there: nothing is possible, so nothing gets a share.

# %%
hidden = -np.inf
rows = [[4.0, 3.0, hidden], [1000.0, 999.0, hidden], 3 * [hidden]]
y = ops.softmax(np.array(rows, np.float32))
guess = predict(f"[4, 3, -inf] begins with {y[0, 0]:.4f}; [1000, 999, -inf]?")
print(compare(guess, float(y[1, 0])))
print(y)

# %% [markdown]
# **Now you: `softmax`.** Run `tinyllm check 4` in another terminal, then come
# back.
#
# ## How surprised?
#
# The text goes on with one token, to which the model had given the probability
# p. Its *surprisal* is -ln p, in nats, as in lesson 1. Averaged over a text
# this is the **cross-entropy**, the one number that training makes smaller. It
# is also how many nats an ideal code built on this model needs per token
# (Shannon, 1948), so a better language model *is* a better compressor.
#
# A new model knows nothing and gives all V tokens the same chance.

# %%
V = 65
guess = predict(f"the loss of a model that knows nothing, V = {V}")
loss, _ = ops.cross_entropy(np.zeros((1, V), np.float32), np.array([7]))
print(compare(guess, float(loss)))
print(f"ln {V} = {np.log(V):.4f}; a first loss far from this number is a bug")

# %% [markdown]
# Never compute it as `-np.log(softmax(x)[target])`. A probability of 1e-50 is
# zero in float32, and the logarithm of zero is -inf, though the truth is about
# -115. Take the logarithm on paper first:
#
#     ln softmax(x)_i = x_i - max - ln sum_j exp(x_j - max)
#
# No small number is ever formed. The part that is subtracted, max + ln sum_j
# exp(x_j - max), is the row's *log-sum-exp*, `lse`.

# %%
x = np.array([[0.0, 120.0]], np.float32)
guess = predict("log softmax of [0, 120] begins with")
print(compare(guess, float(ops.log_softmax(x)[0, 0])))
with np.errstate(divide="ignore"):
    print("log of softmax:", np.log(ops.softmax(x)))
print("log_softmax:   ", ops.log_softmax(x))

# %% [markdown]
# **Now you: `log_softmax` and `cross_entropy`.** A target of -100 marks a place
# that does not count, such as padding. The loss comes back with `lse`, because
# the backward needs it.
#
# ## The gradient
#
# Which way must the logits move to make the loss smaller? Work it out with the
# formula above: the derivative of -x_t + ln sum exp(x_j) is
#
#     dloss/dx_i = softmax(x)_i - (1 if i is the target, else 0)
#
# What the model said, minus what happened. Each wrong token is pushed down by
# the probability that it was given; the right one is pulled up by 1 minus its
# probability; and all of it sums to zero.

# %%
logits32 = logits.astype(np.float32)[None]
target = np.array([1])  # it was "sofa"
loss, lse = ops.cross_entropy(logits32, target)
gradient = ops.cross_entropy_backward(np.float32(1), logits32, target, lse)
guess = predict("the gradient of the logit of sofa, which had p = 0.2581")
print(compare(guess, float(gradient[0, 1])))
said = ops.softmax(logits32)[0]
for word, p, g in zip(words, said, gradient[0], strict=True):
    print(f"  {word:>8}  said {p:.4f}  gradient {g:+.4f}")
print(f"  sum of the gradient: {abs(gradient.sum()):.4f}")

# %% [markdown]
# **Now you: `cross_entropy_backward`.** Mind the mean: each row has its share.
#
# Do not believe a formula that you can measure. Change each logit by h, see how
# the loss answers, and compare. If the two disagree, the backward is wrong.
# (Lesson 3 did this with one random direction; here we try every input.)

# %%
h, measured = 1e-3, []
cross_entropy = ops.cross_entropy.reference  # the specification, for float64
for i in range(len(words)):
    up, down = logits[None].copy(), logits[None].copy()
    up[0, i] += h
    down[0, i] -= h
    rise = cross_entropy(up, target)[0] - cross_entropy(down, target)[0]
    measured.append(rise / (2 * h))
worst = np.abs(np.array(measured) - gradient[0]).max()
print(f"largest difference between formula and measurement: {worst:.0e}")
assert worst < 1e-6

# %% [markdown]
# In attention, lesson 6, softmax is in the middle of a model and needs a
# backward by itself. Every output depends on every input of its row, so dx_i is
# the sum over j of dy_j times the slope of y_j with respect to x_i. Work that
# slope out for j = i and for j != i, and simplify: no n x n table is needed.
#
# Two things are known before you write it. The outputs always sum to 1, so
# nobody can ask all of them to grow alike: of such a gradient nothing arrives.
# And as only differences count, what arrives always sums to zero.

# %%
y = ops.softmax(logits32)
for dy in ([1, 1, 1, 1, 1], [0, 1, 0, 0, 0]):
    dx = ops.softmax_backward(np.array([dy], np.float32), y)[0]
    print(f"dy {dy}: dx {dx.round(4) + 0}, sum {abs(dx.sum()):.4f}")

# %% [markdown]
# **Now you: `softmax_backward`.**
#
# ## Your softmax in the real model
#
# When `tinyllm check 4` is content, run
#
#     tinyllm train --mine 4 --steps 50
#
# and the library's GPT attends and learns with your functions. You have just
# rebuilt `tinyllm/ops/softmax.py` and `tinyllm/ops/loss.py`: read them now,
# they are short. Lesson 10 is about doing the same at the speed of the machine.
