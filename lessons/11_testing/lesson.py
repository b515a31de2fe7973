# %% [markdown]
# # 11. Testing
#
# Numeric code is wrong quietly. A softmax over the wrong axis returns numbers,
# a mask that is off by one trains, and both cost a week. So far a checker found
# your mistakes. In this lesson you write the checker: tests that know right
# code from wrong, whoever wrote it.
#
# Whether a test is any good is itself a question with an answer. There are two
# ways to be bad: to miss what is wrong, and to accuse what is right.

# %%
import numpy as np

from tinyllm import ops
from tinyllm.rng import Random
from tinyllm.teach.stepping import bars, begin, compare, predict
from tinyllm.testing import MISTAKES
from tinyllm.testing.alternatives import ALTERNATIVES

begin()
np.set_printoptions(precision=4, suppress=True)

# %% [markdown]
# ## Mutants
#
# Take right code and put one mistake in: that is a **mutant**. A test *catches*
# the mutant if it fails on it. The library keeps a collection of mistakes that
# people really make; `tinyllm check` names your bug with it. These are the
# mutants of log_softmax.

# %%
mutants = MISTAKES["log_softmax"]
for sentence, _ in mutants:
    print("-", sentence)


def passes(test, function):
    """Whether a test finds nothing wrong with a function."""
    try:
        with np.errstate(all="ignore"):
            test(function)
    except Exception:
        return False
    return True


def caught(test):
    """How many mutants a test catches."""
    return sum(not passes(test, function) for _, function in mutants)


# %% [markdown]
# ## A test by example
#
# The test that everybody writes first: an input, the output that belongs to it,
# copied from a run that looked right.

# %%


def by_example(log_softmax):
    y = log_softmax(np.array([0.0, 0.0], np.float32))
    assert np.allclose(y, [-0.6931, -0.6931], atol=1e-4)


guess = predict(f"of {len(mutants)} mutants, how many does it catch?")
print(compare(guess, caught(by_example)))

# %% [markdown]
# Two equal numbers in a single row: that input cannot tell one axis from the
# other, has nothing large in it and nothing masked. An example tests what its
# author happened to think of, and mostly that is the easy case.
#
# ## A test by property
#
# Ask instead: **what is true of the result for every input?** Then let a random
# generator choose the inputs. For log_softmax:
#
# - the exponentials of each row sum to 1
# - adding a number to a whole row changes nothing
# - a row may be masked in part, or altogether
# - float32 in, float32 out, the same shape, and the input as it was

# %%


def by_property(log_softmax):
    random = Random(0, "properties")
    for shape in ((1, 2), (3, 4), (2, 3, 5), (4, 1)):
        x = random.normal(shape).astype(np.float32)
        y = log_softmax(x.copy())
        assert y.shape == x.shape and y.dtype == np.float32
        assert np.allclose(np.exp(y).sum(axis=-1), 1, atol=1e-5)
        moved = log_softmax(x + np.float32(200))
        assert np.allclose(moved, y, atol=1e-3)


guess = predict("and this one?")
print(compare(guess, caught(by_property)))
for sentence, function in mutants:
    if passes(by_property, function):
        print("  lives:", sentence)

# %% [markdown]
# Look at who lives, and ask what input would show it. A probability that rounds
# to 0 needs two scores far apart in one row; a masked row needs a masked row.
# Each survivor is a corner of the input that no test has looked into. That is
# the whole use of mutants: they point at what you forgot.

# %%


def by_corners(log_softmax):
    by_property(log_softmax)
    y = log_softmax(np.array([[0.0, 150.0]], np.float32))
    assert np.allclose(y, [[-150.0, 0.0]])
    masked = np.full((2, 3), -np.inf, np.float32)
    assert np.all(log_softmax(masked) == -np.inf)


counts = [caught(test) for test in (by_example, by_property, by_corners)]
print(bars(counts, ["by example", "by property", "and corners"], width=40))

# %% [markdown]
# ## The other way to be bad
#
# `assert False` catches every mutant. It also accuses everybody who is
# innocent. Right code may add in another order, and then the last bits differ.
# How large is that difference? Measure it on two right functions before you
# choose a tolerance.

# %%
x = Random(1, "noise").normal((100, 1000)).astype(np.float32)
other = ALTERNATIVES["log_softmax"][0]
noise = float(np.abs(other(x) - ops.log_softmax(x)).max())
print(f"two right functions differ by {noise:.1e}")


def too_strict(log_softmax):
    x = Random(1, "noise").normal((5, 50)).astype(np.float32)
    assert np.array_equal(log_softmax(x), ops.log_softmax(x))


innocent = [ops.log_softmax.reference, *ALTERNATIVES["log_softmax"]]
accused = sum(not passes(too_strict, function) for function in innocent)
print(f"asked for equal bits, it accuses {accused} of {len(innocent)}")

# %% [markdown]
# A tolerance comes from what rounding can do, here about 1e-7 of the largest
# number for each addition. It does not come from trying until the test is
# green.
#
# The mark for a test is therefore
#
#     share of mutants caught - share of right implementations accused
#
# `pass` gets 0 - 0 = 0, and `assert False` gets 1 - 1 = 0.
#
# ## Where properties come from
#
# When the answer is not known, there is still much to ask:
#
# - **bounds and sums**: probabilities are at least 0 and sum to 1
# - **relations between two calls**: shift the input, permute it, give the rows
#   one by one, and say what must happen to the output. Attention over a longer
#   text must agree with attention over its beginning
# - **inverses**: decode(encode(text)) == text
# - **a slow twin**: the formula written with loops, so plainly that it can only
#   be right. This is the strongest of all: it knows every output
#
# And where inputs come from: sizes 0 and 1, sizes that differ from each other
# (in a square nobody notices a transpose), numbers that are large, tiny, equal,
# masked; the same list object again, to see whether it was changed.
#
# Here is a relation at work, without any knowledge of the right answer. If the
# future is hidden, then changing the last token must not change what the first
# ones read.

# %%
shape = (1, 6, 2, 4)
q, k, v = (Random(2, c).normal(shape).astype(np.float32) for c in "qkv")
before, _ = ops.attention(q, k, v)
k[:, -1], v[:, -1] = 9.0, 9.0
after, _ = ops.attention(q, k, v)
changed = np.abs(after - before).max(axis=(0, 2, 3)) > 0
print("positions that changed:", changed.astype(int))

# %% [markdown]
# ## Now you
#
# In `exercise.py` stand three empty tests, for `softmax`, `attention` and
# `bpe_merge`. **Now you: `test_softmax`, `test_attention`, `test_bpe_merge`.**
# `tinyllm check 11` runs each on every mutant and every right implementation
# that the library has. Three quarters of the mutants caught and nobody accused
# is a pass; then you are told who is still alive.
#
# The implementations run in another process. Your test can ask them anything,
# but it cannot look inside.
#
# What you have rebuilt is `tinyllm/testing/check.py`, which tests every
# function of the library with one set of properties; the inputs are drawn by
# Hypothesis, which also finds the *smallest* input that fails. The mutants are
# in `tinyllm/testing/mistakes`. Read them when you have passed, not before.
