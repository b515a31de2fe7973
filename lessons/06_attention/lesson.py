# %% [markdown]
# # 6. Attention and positions
#
# So far every token is alone: embeddings, layers and norms treat each row by
# itself. But in "the cat sat because it was tired" the vector for "it" should
# pick up information about the cat. Attention does this. It is the one part of
# a transformer in which tokens meet, and it fits in five lines.
#
# Vaswani et al., "Attention Is All You Need", 2017, section 3.2.

# %%
import numpy as np

from tinyllm import ops
from tinyllm.course.lesson_runner import begin, compare, predict, timed
from tinyllm.course.page import clocks, weights, write_page
from tinyllm.rng import Random

folder = begin(digits=3)

# %% [markdown]
# ## A soft dictionary
#
# A Python dictionary compares your query with its keys and returns the value of
# the one that is equal. Make it soft: compare the query with *every* key, turn
# the similarities into weights that sum to 1, and return the mean of all values
# by these weights. Now it always has an answer, and the answer has a gradient.
#
# The similarity is the dot product. The weights come from softmax. So, for one
# query:
#
#     weights = softmax(q . k_1, q . k_2, ...)
#     y = weights_1 v_1 + weights_2 v_2 + ...

# %%
keys = np.array([[4.0, 0.0], [0.0, 4.0], [-4.0, 0.0]])
values = np.array([[10.0], [20.0], [30.0]])
guess = predict("values 10, 20, 30: what answers the query [0, 0]?")
for query in ([1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]):
    w = ops.softmax.reference(keys @ np.array(query))
    print(f"query {query}: weights {w} answer {(w @ values)[0]:.2f}")
print(compare(guess, float((w @ values)[0])))

# %% [markdown]
# In *self-attention* every token asks and every token is asked. Three linear
# layers turn each token's vector into a *query* (what am I looking for?), a
# *key* (what can I be found by?) and a *value* (what do I pass on?).
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
    print(f"{name:>17}: the largest of 64 weights is {share:.0f} %")

# %% [markdown]
# Without the division a fresh model looks at little but a single key, chosen by
# chance, and where softmax is that sure its gradient is almost zero: nothing
# can be learnt. With it, the scores have size 1 whatever D is, and attention is
# spread out until training has reasons to point it somewhere.
#
# ## No looking ahead
#
# A language model predicts the next token. If it could see that token, there
# would be nothing to learn. So a query may look at its own token and those
# before it; the scores of later ones are set to -inf *before* softmax, which
# makes their weights 0. That is the **causal mask**. Thanks to it, one pass
# over a text of T tokens trains T predictions at once, each with its own past.

# %%


def random_heads(T, H, D):
    """Random q, k and v, each (1, T, H, D)."""
    shape = (1, T, H, D)
    return [Random(1, x).normal(shape).astype(np.float32) for x in "qkv"]


T = 6
q, k, v = random_heads(T, 1, 8)
scores = q[0, :, 0] @ k[0, :, 0].T / 8**0.5
scores[np.triu_indices(T, 1)] = -np.inf
seen = ops.softmax(scores)
guess = predict(f"of {T} x {T} weights, how many are not 0?")
print(compare(guess, int((seen > 0).sum())))
print(seen)

# %% [markdown]
# Zeroing weights *after* softmax instead is a common mistake: the rest no
# longer sums to 1, because the masked scores were already counted in the sum.
#
# There may be fewer queries than keys, as in generating, where only the newest
# token asks. Then the queries are the *last* S positions. Align the mask to the
# wrong end, and the newest token sees only the oldest key.
#
# ## Multi-head attention
#
# One softmax gives one set of weights. But "it" should look at "cat" for its
# meaning, and at "was" for its grammar. So the C channels are cut into H heads
# of D = C / H, each with an attention of its own, and the results are laid side
# by side. It takes no more parameters or products than one wide head.
#
# Keys and values can be shared by groups of query heads (Shazeer, 2019; Ainslie
# et al., 2023): with 8 query heads and 2 kv heads, head h reads kv head h // 4.
# What generating must keep of the past (lesson 9) then shrinks to a quarter.
#
# Our arrays are (B, T, H, D): batch, time, head, head width.
#
# **Now you: `attention`.** It returns y, and lse, the logarithm of each query's
# sum of exponentials, which the backward pass needs. Write it in three steps,
# and check after each: first with as many heads for q as for k and v; then let
# several query heads share one of k and v; last `lengths`, for batches whose
# rows are not equally long: row b has only its first lengths[b] keys. After the
# first step, `tinyllm check 6` says that 1 property of attention holds.

# %%
y, lse = ops.attention(q, k, v)
print("y", y.shape, "lse", lse.shape)
alone = ops.attention(q[:, -1:], k, v)[0]  # the last token asks alone
print("the same bits as in the batch:", np.array_equal(alone[0, 0], y[0, -1]))

# %% [markdown]
# With the library's kernels these are the same bits. In NumPy, and so in your
# attention, the last digits may differ.
#
# ## The price
#
# Each of T queries meets T keys. Twice the text, four times the work.

# %%
base = timed(ops.attention, *random_heads(512, 4, 32))
guess = predict("512 -> 2048 tokens, 4 times the text: times the work?")
longer = timed(ops.attention, *random_heads(2048, 4, 32), seconds=1)
print(compare(guess, longer / base), "(measured on your machine)")

# %% [markdown]
# The time grows with the square. Memory need not: the library's kernel walks
# over blocks of keys with a running maximum and sum, and never stores the T x T
# scores (as FlashAttention does; Dao et al., 2022).
#
# ## Positions
#
# Something is missing. Shuffle the keys together with their values, and what
# does a query that sees all of them answer?

# %%
order = [3, 0, 5, 1, 4, 2]
before = ops.attention(q, k, v, causal=False)[0]
after = ops.attention(q, k[:, order], v[:, order], causal=False)[0]
print(f"largest change: {np.abs(before - after).max():.0e}")

# %% [markdown]
# Nothing but rounding. A sum has no order, so attention cannot tell "dog bites
# man" from "man bites dog". Positions must be put in. GPT-2 adds a learnt
# vector for each position to the embeddings. LLaMA, like most later models,
# *rotates* queries and keys instead: rotary position embedding, **RoPE** (Su et
# al., 2021).
#
# Take channels as pairs, and each pair as an arrow in the plane. At position p,
# turn the arrow by the angle p f, where each pair has its own frequency f, from
# 1 down to almost nothing, like the hands of a clock. If both arrows of a dot
# product are turned by the same angle, the product does not change. So q . k
# depends only on the *difference* of their angles, that is, on how far apart
# the tokens are. Here are the clocks of four pairs, for two tokens that are 3
# apart, at the beginning of a text and 100 tokens later.

# %%
frequencies = 10000.0 ** (-np.arange(4) / 8)  # of a head of width 16
picture = clocks(frequencies, [(5, 2), (105, 102)])
lead = "Each pair of channels is a hand that turns at its own speed."
write_page(folder / "clocks.html", "Positions as angles", lead, [picture])

# %% [markdown]
# **Now you: `rope_tables` and `rope`.** Here channel i is paired with
# channel i + D/2.

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
# Equal distance, equal product, wherever the two tokens are. And nothing has to
# be learnt for it.
#
# ## Four heads to look at
#
# What a head attends to is best seen in a picture: a row for each query, and in
# it the weight of every key. Here are four heads that nobody trained: one with
# random queries and keys, the same without 1/sqrt(D), one whose keys and
# queries say which word it is, and one whose queries are turned to the position
# before. (`attention` does not return its weights, but with the values 1 0 0
# ..., 0 1 0 ... its output *is* the weights.)

# %%
words = ["the", "cat", "and", "the", "dog", "and", "the", "frog"]
T, D = len(words), 64
one_hot = np.eye(T, D, dtype=np.float32)[None, :, None]


def look(q, k):
    """The weights of one head over the words, (T, T)."""
    return ops.attention(q, k, one_hot)[0][0, :, 0, :T]


q, k, _ = random_heads(T, 1, D)
vocabulary = sorted(set(words))
ids = [vocabulary.index(word) for word in words]
meaning = Random(2).normal((len(vocabulary), D)).astype(np.float32)
word = meaning[ids].reshape(1, T, 1, D)
same = np.full((1, T, 1, D), 2, np.float32)
here = ops.rope(same, *ops.rope_tables(np.arange(T), D))
before = ops.rope(same, *ops.rope_tables(np.arange(T) - 1, D))
heads = {
    "random": look(q, k),
    "random, without 1/sqrt(D)": look(q * D**0.5, k),
    "the same word": look(word, word),
    "the word before, by RoPE": look(before, here),
}
pictures = [weights(name, words, rows) for name, rows in heads.items()]
lead = "A row for each query; in it the weight of each key, in percent."
write_page(folder / "attention.html", "Four heads", lead, pictures)

# %% [markdown]
# Trained heads do just such things, among others (Clark et al., 2019). When you
# have trained a model, `tinyllm trace` draws all of its heads.
#
# You have rebuilt `tinyllm/ops/attention.py` and `tinyllm/ops/rope.py`. Try your
# attention in the real model:
#
#     tinyllm train --mine 6 --steps 50
#
# That is a GPT, which learns a vector for each position and never calls `rope`.
# LLaMA does (`tinyllm/models/llama.py`); here is a small one on yours:
#
#     import tinyllm as tl
#     from exercise import rope, rope_tables
#     sizes = {"vocab_size": 65, "context": 16, "layers": 2, "heads": 2,
#              "kv_heads": 1, "width": 32, "hidden": 64}
#     with tl.override(rope=rope, rope_tables=rope_tables):
#         llama = tl.Llama(tl.LlamaConfig(**sizes))
#         print(llama(np.arange(16)).shape)
#
# All parts are there. Lesson 7 puts them together.
