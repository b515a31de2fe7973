# %% [markdown]
# # 1. What a language model is
#
# A language model answers one question: **given the text so far, how likely is
# each possible next token?** That is all. A model that answers it well can also
# write, by asking again and again; and to answer it well, it must have learnt a
# good deal about spelling, grammar and the world.
#
# Large models answer with billions of learnt numbers. In this lesson we answer
# by counting, as Shannon did in 1948 ("A Mathematical Theory of Communication",
# section 3), and build everything else that a language model needs: how to draw
# text from it, how to measure it, and how to know the best that is possible.

# %%
import textwrap

import numpy as np

from tinyllm import ops
from tinyllm.course.lesson_runner import bars, begin, compare, predict
from tinyllm.course.page import next_letters, write_page
from tinyllm.rng import Random
from tinyllm.world import stories

folder = begin()

# %% [markdown]
# ## The text
#
# The library brings its own stories. A small grammar writes them, whose rules
# and probabilities are known; that will be useful at the end of this lesson.
#
# Our tokens are characters. Each gets a number, its *id*. The last part of the
# text is *held out*: the model never sees it, so that it can be measured there.

# %%
text = stories.generate(n=3000)
print(textwrap.fill(text[:253], 76))
letters = sorted(set(text))
number = {letter: i for i, letter in enumerate(letters)}
ids = np.array([number[letter] for letter in text])
train, held_out = ids[:1_600_000], ids[1_600_000:]
V = len(letters)
print(f"{len(ids):,} characters, {V} different ones")
print(f"the last {len(held_out):,} are held out")

# %% [markdown]
# ## The simplest answer: count
#
# Which character comes next after a "q"? Look at every q in the text, and count
# what follows. Do that for all characters at once and you have a table:
# `counts[a, b]` is how often b came right after a. Divide each row by its sum,
# and it is a language model, called a *bigram* model because it looks at pairs.
#
# **Now you: `bigram_counts`.** Beware of a trap in NumPy: `counts[a, b] += 1`
# with arrays for a and b adds 1 *once* for each different pair.

# %%
counts = ops.bigram_counts(train, V)
for letter in "qt.":
    row = counts[number[letter]]
    best = [i for i in np.argsort(-row)[:4] if row[i]]  # not what never came
    print(f"after {letter!r}:")
    names = [repr(letters[i]) for i in best]
    print(bars(row[best] / row.sum(), names, width=40))

# %% [markdown]
# The whole table is best seen as a picture: a row for each character, and in it
# how likely each other one is to follow. Look for the row of q, for the block
# of the capitals, and for what may follow a comma.

# %%
probs = counts / counts.sum(axis=1, keepdims=True)
unit = "a row for the character before, a column for the one that follows"
picture = next_letters("Which character follows?", letters, probs, unit)
lead = "The bigram model of lesson 1, which is nothing but this table."
write_page(folder / "counts.html", "What follows", lead, [picture])

# %% [markdown]
# ## Writing: draw, append, ask again
#
# To draw from probabilities, lay them end to end on a line of length 1, throw a
# dart u that lands anywhere between 0 and 1, and take the token on whose
# stretch it lands. That is the op `sample`: the smallest id at which the
# running sum exceeds u. The randomness comes in as a number, so the same
# numbers always give the same text.
#
# **Now you: `sample`.**

# %%


def write(length, seed):
    """Draw a text, each character given the one before it."""
    darts = Random(seed).uniform(length)
    at, out = number["\n"], []
    for dart in darts:
        at = int(ops.sample(probs[at].astype(np.float32), dart))
        out.append(letters[at])
    return "".join(out)


print(textwrap.fill(write(300, seed=1), 76))

# %% [markdown]
# Not yet literature, but not arbitrary either: consonants and vowels alternate,
# and spaces come about as often as in the stories. The model does not know how
# long a word already is, so some are far too long.
#
# ## How good is it?
#
# Take the held-out text, and ask at each character which probability the model
# had given to the one that really came. Its *surprisal* is -ln p, in nats: 0
# for what was certain, large for what was thought unlikely. The mean surprisal
# is the **loss**, and exp(loss) is the **perplexity** (Jelinek et al., 1977): as
# if the model had to guess among that many equally likely characters. A good
# model is rarely surprised.
#
# A model that knows nothing has to guess among all of them.

# %%
guess = predict(f"its perplexity, where knowing nothing is {V}")
p = probs[held_out[:-1], held_out[1:]]
print(compare(guess, float(ops.perplexity(p.astype(np.float32)))))

# %% [markdown]
# **Now you: `perplexity`.** Average the logarithms, not the probabilities. Try
# both on two tokens with the probabilities 0.9 and 0.0001 to see why.
#
# Perplexity depends on the tokens: one over characters cannot be compared with
# one over words. The loss per *character* can, whatever the tokens are.
#
# ## More context
#
# One character of context is not much. Count what follows *two* characters, or
# four. Now many contexts of the held-out text never occurred in training, and
# nothing may get the probability 0. So each context gets a tenth of a count on
# top, spread evenly over all characters; this is called *additive smoothing*.

# %%


def loss_with_context(n):
    """Count what follows every n characters; the loss on held-out text."""

    def contexts(x):
        key = np.zeros(len(x) - n, np.int64)
        for i in range(n):
            key = key * V + x[i : len(x) - n + i]
        return key, x[n:]

    key, following = contexts(train)
    seen, times = np.unique(key * V + following, return_counts=True)
    before, totals = np.unique(key, return_counts=True)
    key, following = contexts(held_out)
    pair = np.searchsorted(seen, key * V + following).clip(max=len(seen) - 1)
    context = np.searchsorted(before, key).clip(max=len(before) - 1)
    hits = np.where(seen[pair] == key * V + following, times[pair], 0)
    total = np.where(before[context] == key, totals[context], 0)
    p = (hits + 0.1 / V) / (total + 0.1)
    return -np.log(p).mean(), len(before)


guess = predict("one character gave a loss of 2.29; what will eight give?")
losses = {}
for n in (0, 1, 2, 4, 6, 8):
    losses[n], used = loss_with_context(n)
    print(f"{n} characters before: loss {losses[n]:.4f}, "
          f"{used:>7,} contexts met")
print(compare(guess, losses[8]))

# %% [markdown]
# Every character of context helps, and every one multiplies the contexts that
# must be met to be counted.
#
# So why not simply count eight characters? Here it works, because a small
# grammar repeats itself: only lesson 9 will have a network that does better. But
# a table knows only the contexts that it has met. In real text most
# of eight characters are new, a table for them has no end, and nothing that it
# learns about "the cat sa" helps it with "the dog sa". A neural network need
# not have met a context to predict what follows, because it learns what
# contexts have in common. This is where counting ends and learning begins.
#
# ## The floor
#
# Could a better model bring the loss to zero? No. The next word is partly
# chance: a new hero is Ben or Lily, and no model can know which. The
# **entropy** of a choice, the sum of -p ln p, is the mean surprisal of somebody
# who knows all probabilities exactly. Nobody can do better on average.

# %%
fair, loaded = np.array([[0.5, 0.5], [0.9, 0.1]], np.float32)
guess = predict("the entropy of a fair coin, in nats")
print(compare(guess, float(ops.entropy(fair))))
print(f"a loaded coin: {float(ops.entropy(loaded)):.4f} nats")

# %% [markdown]
# **Now you: `entropy`.** An outcome with probability 0 adds nothing, even though
# log 0 is minus infinity.
#
# Nobody knows the entropy of real text. For these stories we know it exactly,
# because we know the grammar that wrote them: add up the entropy of every
# choice that the grammar makes in a story, and divide by the story's length.

# %%
floor = stories.entropy_per_char()
guess = predict(f"the floor, if 8 characters reach {losses[8]:.3f} nats")
print(compare(guess, floor))
print(bars([np.log(V), *losses.values(), floor],
           ["nothing", *(f"{n} before" for n in losses), "floor"], width=44))

# %% [markdown]
# A loss below the floor by more than chance means that the measuring is wrong:
# the text was seen before, or the loss is not what it seems. (On a short text
# luck alone can bring a loss a little below.) What lies above the floor is
# still to be learnt. `tinyllm train` draws this floor under every loss curve.
#
# You have rebuilt `tinyllm/ops/ngram.py`, and `sample` of
# `tinyllm/ops/sample.py`. From here on only one thing changes: where the
# probabilities come from. But first: are characters the right tokens? That is
# lesson 2.
