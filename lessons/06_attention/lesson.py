# %% [markdown]
# # 6. Attention and positions
#
# So far every token is alone: embeddings, layers and norms treat each row by
# itself. But in "the cat sat because it was tired" the vector of "it" should
# come to know of the cat. Attention is how. It is the one part of a transformer
# in which tokens meet, and it fits in five lines.
#
# Vaswani et al., "Attention Is All You Need", 2017, section 3.2.

# %%
import time

import numpy as np

from tinyllm import ops
from tinyllm.rng import Random
from tinyllm.teach.stepping import begin, compare, predict

begin()
np.set_printoptions(precision=3, suppress=True)

# %% [markdown]
# ## A dictionary that answers softly
#
# A Python dictionary compares your query with its keys and returns the value of
# the one that is equal. Make it soft: compare the query with *every* key, turn
# the agreement into weights that sum to 1, and return the mean of all values by
# these weights. Now it always has an answer, and the answer has a gradient.
#
# Agreement is the dot product. Weights that sum to 1 are softmax. So, for one
# query:
#
#     y = softmax(q . k_1, q . k_2, ...) . (v_1, v_2, ...)

# %%
keys = np.array([[4.0, 0.0], [0.0, 4.0], [-4.0, 0.0]])
values = np.array([[10.0], [20.0], [30.0]])
for query in ([1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]):
    weights = ops.softmax.reference(keys @ np.array(query))
    answer = (weights @ values)[0]
    print(f"query {query}: weights {weights} answer {answer:.2f}")

# %% [markdown]
# In self-attention every token asks and every token is asked. Three linear
# layers make of each token's vector a *query* (what do I look for?), a *key*
# (what do I offer to be found by?) and a *value* (what do I tell?).
#
# ## Why divide by sqrt(D)?
#
# A dot product of two random vectors of width D is a sum of D random terms. How
# large is it, typically?

# %%
guess = predict("the standard deviation of q . k for D = 64")
q, k = Random(0, "q").normal((10000, 64)), Random(0, "k").normal((10000, 64))
print(compare(guess, float((q * k).sum(axis=1).std())))

for scale, name in ((1, "q . k"), (8, "q . k / sqrt(64)")):
    top = ops.softmax.reference(q[:64] @ k[:64].T / scale).max(axis=1)
    share = 100 * top.mean()
    print(f"{name:>17}: the favourite of 64 keys gets {share:.0f} %")

# %% [markdown]
# Without the division a fresh model looks at a single key, chosen by chance,
# and softmax is so sure of itself that its gradient is almost zero: nothing can
# be learnt. With it, the scores have size 1 whatever D is, and the look goes
# everywhere until training has reasons to point it.
#
# ## No looking ahead
#
# A language model predicts the next token. Could it see it, there would be
# nothing to learn. So a query may look at its own token and those before it;
# the scores of later ones are set to -inf *before* softmax, where exp makes
# them 0. That is the causal mask, and it has a fine effect: one pass over a
# text of T tokens trains T predictions at once, each with its own past.

# %%


def random_heads(T, H, D):
    """Random q, k and v, each (1, T, H, D)."""
    shape = (1, T, H, D)
    return [Random(1, x).normal(shape).astype(np.float32) for x in "qkv"]


T = 6
q, k, v = random_heads(T, 1, 8)
scores = q[0, :, 0] @ k[0, :, 0].T / 8**0.5
scores[np.triu_indices(T, 1)] = -np.inf
print(ops.softmax(scores))

# %% [markdown]
# Zeroing weights *after* softmax instead is a common slip: the rest no longer
# sums to 1, and worse, the masked scores have already had a say in it.
#
# When the queries are fewer than the keys, as in writing, where only the newest
# token asks, then the queries are the *last* S positions. Align the mask to the
# wrong end, and the newest token sees only the oldest key.
#
# ## Several heads
#
# One softmax has one favourite. "it" should look at "cat" for its meaning, and
# at "was" for its grammar. So the C channels are cut into H heads of D = C / H,
# each with an attention of its own, and the results are laid side by side. It
# costs nothing extra.
#
# Since 2019 keys and values are often shared by groups of query heads: 8 query
# heads, 2 kv heads, head h reads kv head h // 4. In writing, what is kept of
# the past (lesson 9) shrinks by as much.
#
# Our arrays are (B, T, H, D): batch, time, head, width.
#
# **Now you: `attention`.** It returns y, and lse, the logarithm of each query's
# sum of exponentials, which the backward pass needs. `lengths` is for batches
# whose rows are not equally long: row b has only its first lengths[b] keys.

# %%
y, lse = ops.attention(q, k, v)
print("y", y.shape, "lse", lse.shape)
alone = ops.attention(q[:, -1:], k, v)[0]  # the last token asks alone
print("the same bits as in the batch:", np.array_equal(alone[0, 0], y[0, -1]))

# %% [markdown]
# ## The price
#
# Each of T queries meets T keys. Twice the text, four times the work.

# %%


def milliseconds(T):
    """The median time of attention over T tokens, 4 heads of 32."""
    q, k, v = random_heads(T, 4, 32)
    took = []
    for _ in range(5):
        start = time.perf_counter()
        ops.attention(q, k, v)
        took.append(1000 * (time.perf_counter() - start))
    return sorted(took)[2]


base = milliseconds(512)
guess = predict("512 -> 4096 tokens, 8 times the text: times the work?")
print(compare(guess, milliseconds(4096) / base), "(measured on your machine)")

# %% [markdown]
# The time grows with the square. Memory need not: the library's kernel walks
# over blocks of keys with a running maximum and sum, and never stores the T x T
# table. `csrc/attention.c` tells how.
#
# ## Where am I?
#
# Something is missing. Shuffle the keys together with their values, and what
# does a query that sees all of them answer?

# %%
order = [3, 0, 5, 1, 4, 2]
before = ops.attention(q, k, v, causal=False)[0]
after = ops.attention(q, k[:, order], v[:, order], causal=False)[0]
print(f"largest change: {np.abs(before - after).max():.0e}")

# %% [markdown]
# The same. A sum has no order, so attention cannot tell "dog bites man" from
# "man bites dog". Positions must be put in. GPT-2 adds a learnt vector for each
# position to the embeddings. LLaMA and nearly all since *turn* queries and keys
# instead (Su et al., "RoFormer", 2021).
#
# Take channels as pairs, and a pair as an arrow in the plane. At position p,
# turn it by the angle p times f, where each pair has a frequency f of its own,
# from 1 down to almost nothing: a clock with many hands. Turn both arrows of a
# dot product by the same angle, and it stays what it was. So q . k depends only
# on the *difference* of the two angles, that is, on how far the tokens stand
# apart.
#
# **Now you: `rope_tables` and `rope`.** Here channel i is paired with channel i
# + D/2.

# %%
D = 16
one_q, one_k, _ = random_heads(1, 1, D)


def turned(x, position):
    return ops.rope(x, *ops.rope_tables(np.array([position]), D))


for p in (0, 5, 100):
    for back in (0, 3):
        dot = (turned(one_q, p + back) * turned(one_k, p)).sum()
        print(f"query at {p + back:>3}, key at {p:>3}: {dot:+.4f}")

# %% [markdown]
# Equal distance, equal product, wherever the two stand. And nothing is learnt
# for it.
#
# You have rebuilt `tinyllm/ops/attention.py` and `tinyllm/ops/rope.py`. Try
# them in the real model:
#
#     tinyllm train --mine 6 --steps 50
#
# All parts are there. Lesson 7 puts them on top of each other.
