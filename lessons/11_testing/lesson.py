# %% [markdown]
# # 11. Testing
#
# Numeric code is wrong quietly. A softmax over the wrong axis still returns
# numbers, and a model with an off-by-one mask still trains; finding either can
# take a week. So far a checker found your mistakes. In this lesson you write the
# checker: tests that tell right code from wrong, whoever wrote it.
#
# Whether a test is any good is itself a question with an answer. A test can be
# bad in two ways: it misses what is wrong, or it rejects what is right.

# %%
import numpy as np

from tinyllm import ops
from tinyllm.course.lesson_runner import bars, begin, compare, predict
from tinyllm.rng import Random
from tinyllm.testing import MISTAKES, VARIANTS

begin(digits=4)

# %% [markdown]
# ## Mutants
#
# Take correct code and put one mistake in: that is a **mutant**. A test that
# fails on it *kills* the mutant; otherwise the mutant *survives* (DeMillo,
# Lipton and Sayward, 1978). The library keeps a collection of mistakes that
# people really make; `tinyllm check` names your bug with it. These are the
# mutants of log_softmax.

# %%
mutants = MISTAKES["log_softmax"]
for sentence, _ in mutants:
    print("-", sentence)


def passes(test, function):
    """Return True if a test finds nothing wrong with a function."""
    try:
        with np.errstate(all="ignore"):
            test(function)
    except Exception:
        return False
    return True


def killed(test):
    """Count the mutants that a test kills."""
    return sum(not passes(test, function) for _, function in mutants)


# %% [markdown]
# ## A test by example
#
# The test that everybody writes first: an input, and the output that belongs to
# it, copied from a run that looked right.

# %%


def by_example(log_softmax):
    y = log_softmax(np.array([0.0, 0.0], np.float32))
    assert np.allclose(y, [-0.6931, -0.6931], atol=1e-4)


guess = predict(f"of {len(mutants)} mutants, how many does it kill?")
print(compare(guess, killed(by_example)))

# %% [markdown]
# Two equal numbers in a single row cannot tell one axis from the other, and
# nothing in them is large or masked. An example tests what its author happened
# to think of, and that is mostly the easy case.
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
print(compare(guess, killed(by_property)))
for sentence, function in mutants:
    if passes(by_property, function):
        print("  alive:", sentence)

# %% [markdown]
# Look at the survivors, and ask what *kind* of input would show each. A
# logarithm of a softmax that rounds to 0 needs two scores far apart in one row.
# A mistake with the maximum of a masked row needs a row of nothing but -inf.
# Each survivor is a corner of the input that no test has looked into. That is
# what mutants are for: they point at what you forgot.

# %%


def by_corners(log_softmax):
    by_property(log_softmax)
    y = log_softmax(np.array([[0.0, 150.0]], np.float32))
    assert np.allclose(y, [[-150.0, 0.0]])
    masked = np.full((2, 3), -np.inf, np.float32)
    assert np.all(log_softmax(masked) == -np.inf)


guess = predict("and how many with the two corners?")
counts = [killed(test) for test in (by_example, by_property, by_corners)]
print(compare(guess, counts[-1]))
print(bars(counts, ["by example", "by property", "and corners"], width=40))

# %% [markdown]
# ## False alarms
#
# `assert False` kills every mutant. It also rejects everything that is right.
# Correct code may add in another order, and then the last bits differ. How
# large is that difference? Measure it on two correct functions before you
# choose a tolerance.

# %%
x = Random(1, "noise").normal((100, 1000)).astype(np.float32)
other = VARIANTS["log_softmax"][0]
noise = float(np.abs(other(x) - ops.log_softmax(x)).max())
print(f"two correct functions differ by {noise:.1e}")


def too_strict(log_softmax):
    x = Random(1, "noise").normal((5, 50)).astype(np.float32)
    assert np.array_equal(log_softmax(x), ops.log_softmax(x))


correct = [ops.log_softmax.reference, *VARIANTS["log_softmax"]]
guess = predict(f"equal bits asked for: how many of {len(correct)} fail?")
rejected = sum(not passes(too_strict, function) for function in correct)
print(compare(guess, rejected))

# %% [markdown]
# A tolerance comes from what rounding can do, here about 1e-7 of the largest
# number for each addition. It does not come from raising it until the test is
# green.
#
# The mark for a test is therefore
#
#     share of mutants killed - share of correct implementations rejected
#
# `pass` gets 0 - 0 = 0, and `assert False` gets 1 - 1 = 0.
#
# ## Where properties come from
#
# When the answer is not known, there is still much to ask:
#
# - **bounds and sums**: probabilities are at least 0 and sum to 1
# - **relations between two calls** (*metamorphic* tests): shift the input,
#   permute it, give the rows one by one, and say what must happen to the output.
#   Attention over a longer text must agree with attention over its beginning
# - **inverses**: decode(encode(text)) == text
# - **a slow twin**, or *oracle*: the formula written with loops, so plainly that
#   it can only be right. This is the strongest of all: it knows every output
#
# And where inputs come from: sizes 0 and 1; sizes that differ from each other
# (in a square nobody notices a transpose); numbers that are large, tiny, equal,
# masked; and the same list again, to see whether it was changed.
#
# Here is a relation at work, without any knowledge of the right answer. If the
# future is hidden, changing the last token must not change what earlier ones
# read.

# %%
shape = (1, 6, 2, 4)
q, k, v = (Random(2, c).normal(shape).astype(np.float32) for c in "qkv")
before, _ = ops.attention(q, k, v)
k[:, -1], v[:, -1] = 9.0, 9.0
after, _ = ops.attention(q, k, v)
changed = np.abs(after - before).max(axis=(0, 2, 3)) > 0
guess = predict("the last of 6 tokens is changed: at how many is y?")
print(compare(guess, int(changed.sum())))
print("positions that changed:", changed.astype(int))

# %% [markdown]
# ## Now you
#
# `exercise.py` holds three empty tests. **Now you: `test_softmax`,
# `test_attention`, `test_bpe_merge`.** `tinyllm check 11` runs each on every
# mutant and every correct implementation that the library has. Three quarters
# of the mutants killed and no false alarm is a pass; then you are told which
# mutants survive.
#
# The implementations run in another process. Your test can ask them anything,
# but it cannot look inside.
#
# You have rebuilt `tinyllm/testing/check.py`, which tests every function of the
# library with one set of properties. Its inputs are drawn by Hypothesis, a
# library that also finds the *smallest* input that fails. The mutants are in
# `tinyllm/testing`: read them when you have passed, not before.
