# %% [markdown]
# # 9. Generating
#
# A trained model scores every possible next token. To write, choose one, append
# it, ask again. How to choose is this lesson's first half: always the best is
# dull, and by chance alone is wild. The second half is about not doing the same
# work twice, and about a theorem that makes it safe.

# %%
import textwrap
import time

import numpy as np

import tinyllm as tl
from tinyllm import ops
from tinyllm.data import get_batch, load_corpus
from tinyllm.nn import inference
from tinyllm.rng import Random
from tinyllm.teach.stepping import bars, begin, compare, predict

begin()
corpus = load_corpus("stories")
tokenizer = tl.CharTokenizer.train(corpus.text())
tokens = tokenizer.encode_to_numpy(corpus.data)
V = tokenizer.vocab_size
config = tl.GPTConfig(V, context=128, layers=3, heads=4, width=96)
model = tl.GPT(config)
optimizer = tl.AdamW(model.parameters(), lr=3e-3)
for step in range(400):  # it need not be good, only not hopeless
    optimizer.lr = ops.lr_schedule(step, 400, 3e-3, 40, 0.1)
    loss = model.loss(*get_batch(tokens, 0, step, batch=12, context=64))
    loss.backward()
    tl.clip_grad_norm(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
print(f"loss {loss.item():.3f}")

# %% [markdown]
# ## Always the likeliest

# %%


def write(choose, prompt="Once upon a time ", n=160):
    """Continue a prompt; choose turns logits (V,) into an id."""
    ids = tokenizer.encode(prompt)
    with inference(model):
        for _ in range(n):
            logits = model(np.array([ids[-64:]])).data[0, -1]
            ids.append(int(choose(logits)))
    return tokenizer.decode(ids)


def show(text):
    print(textwrap.indent(textwrap.fill(text, 74), "  "))


show(write(np.argmax))

# %% [markdown]
# *Greedy* choice likes the safe continuation and runs in circles. A likely text
# is not a typical text: people surprise each other all the time.
#
# ## Temperature
#
# Divide the logits by a temperature before softmax. Below 1, differences grow
# and the favourite wins more often; at 0 it always wins. Above 1, everything
# becomes possible. At 1 the model speaks with its own probabilities.
#
# **Now you: `temperature`.**

# %%
with inference(model):
    prompt = tokenizer.encode("Once upon a time ")
    logits = model(np.array([prompt])).data[0, -1]
best = np.argsort(-logits)[:6]
names = [repr(tokenizer.decode([i])) for i in best]
for t in (0.5, 1.0, 2.0):
    p = ops.softmax(ops.temperature(logits, t))
    print(f"temperature {t}: all others {100 * (1 - p[best].sum()):.1f} %")
    print(bars(p[best], names, width=36))

# %%


def sampler(seed, t=1.0, k=None, p=None):
    """A way to choose: temperature, then top-k, then top-p, then a dart."""
    random = Random(seed)

    def choose(logits):
        logits = ops.temperature(logits, t)
        logits = ops.top_k(logits, k) if k else logits
        logits = ops.top_p(logits, p) if p else logits
        return ops.sample(ops.softmax(logits), np.array(random.uniform()))

    return choose


for t in (0.3, 1.0, 1.6):
    print(f"temperature {t}:")
    show(write(sampler(1, t)))

# %% [markdown]
# ## Cutting off the tail
#
# There are dozens of characters, in real models a hundred thousand tokens, and
# nearly all are nonsense here. Each has a tiny probability, but together they
# are likely enough that every few words one of them is drawn, and after one
# nonsense the model must go on from nonsense.
#
# **top-k** keeps the k best. But sometimes there is one sensible next token,
# and sometimes there are fifty. **top-p** (Holtzman et al., 2020) keeps the
# smallest set of tokens whose probabilities reach p: few where the model is
# sure, many where it is not. What is cut gets the logit -inf, and softmax
# shares the rest out anew.
#
# **Now you: `top_k` and `top_p`.** Say what happens to ties: with equal logits,
# the smaller id is kept first.

# %%
with inference(model):
    for prompt in ("Once upon a ti", "there was a girl called "):
        logits = model(np.array([tokenizer.encode(prompt)])).data[0, -1]
        kept = int(np.isfinite(ops.top_p(logits, 0.9)).sum())
        print(f"{prompt[-22:]!r:>25}: top-p 0.9 keeps {kept}")
for p in (None, 0.9):
    show(write(sampler(2, 1.0, p=p)))

# %% [markdown]
# **Repeating.** A third brake makes tokens that were used already a little less
# likely: a positive logit is divided by the penalty and a negative one
# multiplied, so that both go down. (Keskar et al., 2019.)
#
# **Now you: `repetition_penalty`.** How often a token was used does not matter,
# only whether.
#
# ## Not twice the same
#
# Look again at `write`: for every new character it runs the model over the
# *whole* text. But earlier tokens do not see later ones. Their vectors, at
# every layer, are the same as last time. Only their keys and values are needed
# again, by the newest token's queries. Keep them: that is the **KV cache**, and
# then each step costs one token, not T.

# %%


def seconds(cached, n=120):
    """Write n characters, with the cache or without -> (time, ids)."""
    ids = tokenizer.encode("O")
    start = time.perf_counter()
    with inference(model):
        cache = model.new_cache() if cached else None
        x = np.array([ids])
        for _ in range(n):
            ids.append(int(model(x, cache).data[0, -1].argmax()))
            x = np.array([ids[-1:] if cached else ids])
    return time.perf_counter() - start, ids


without, slow_ids = seconds(False)
guess = predict("120 characters: how many times as fast with the cache?")
with_cache, fast_ids = seconds(True)
print(compare(guess, without / with_cache), "(measured on your machine)")
print("the same text:", slow_ids == fast_ids)

# %% [markdown]
# ## The theorem
#
# The same text might be luck; a last bit that differs would change it sooner or
# later. So here is the claim, and it is a strong one: **with the cache and
# without, the logits are the same bits.** Attention asks that the queries are
# the *last* S positions of the keys, whether the keys were computed just now or
# long ago; and every kernel of the library sums each output in one fixed order,
# whatever else is in the batch. So nothing can differ.

# %%
text = tokenizer.encode("Once upon a time there was a little frog.")
text = np.array([text])
with inference(model):
    at_once = model(text).data
    for chunk in (1, 3, 7, 41):
        cache, parts = model.new_cache(), []
        for i in range(0, text.shape[1], chunk):
            parts.append(model(text[:, i : i + chunk], cache).data)
        same = np.array_equal(np.concatenate(parts, axis=1), at_once)
        print(f"read in chunks of {chunk:>2}: the same bits: {same}")

# %% [markdown]
# (On NumPy alone, without the kernels, the last bits may differ: its matrix
# product sums in an order that depends on the shapes.)
#
# What does the cache cost? Two vectors of C numbers for each token and layer:
# for GPT-2 with its 12 layers, 768 channels and 1,024 tokens, in float32:

# %%
guess = predict("the KV cache of GPT-2 in megabytes")
print(compare(guess, 2 * 12 * 768 * 1024 * 4 / 1e6))

# %% [markdown]
# For a large model with a long text it exceeds the weights. That is why query
# heads share their keys and values, and why so much ingenuity goes into storing
# them in fewer bits.
#
# You have rebuilt the larger part of `tinyllm/ops/sample.py`;
# `tinyllm/generate.py` is the loop, and `tinyllm/nn/cache.py` the cache.
# Everything so far was NumPy. Where does the speed come from? Lesson 10.
