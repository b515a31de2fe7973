# %% [markdown]
# # 9. Generating
#
# A trained model scores every possible next token. To write, choose one, append
# it, ask again. How to choose is the first half of this lesson: always taking
# the best is dull, and pure chance is wild. The second half is about not doing
# the same work twice, and about a theorem that makes that safe.

# %%
import textwrap
import time

import numpy as np

import tinyllm as tl
from tinyllm import nn, ops
from tinyllm.course import lesson_runner
from tinyllm.course.lesson_runner import bars, begin, compare, predict
from tinyllm.report.trace import examine, take_text
from tinyllm.report.trace.page import write_page
from tinyllm.world import stories

folder = begin()

# %% [markdown]
# First we train a model to write with, using the loop from lesson 8 for 500
# steps. It takes some seconds. Two things make it learn much faster than the
# model there. Its tokens are those of lesson 2, so that 64 of them are more
# than 200 characters. And its first weights have the size 1 / sqrt(C), which
# lesson 5 found to be the good one, instead of GPT-2's 0.02; it also bears a
# higher rate.

# %%
text = stories.generate(n=3000)
tokenizer = tl.BPETokenizer.train(text[:200_000], vocab_size=1024)
tokens = tokenizer.encode_to_numpy(text.encode())
V, C, steps, lr = tokenizer.vocab_size, 96, 500, 7e-3
config = tl.GPTConfig(
    V, context=128, layers=2, heads=3, width=C, init_std=C**-0.5
)
model = tl.GPT(config)
optimizer = tl.AdamW(model.parameters(), lr=lr)
for step in range(steps):
    optimizer.lr = ops.lr_schedule(step, steps, lr, 40, 0.1)
    loss = model.loss(*tl.get_batch(tokens, 0, step, batch=12, context=64))
    loss.backward()
    tl.clip_grad_norm(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
per_token = len(text) / len(tokens)
print(f"loss {loss.item():.3f} nats per token of {per_token:.2f} characters")
print(f"so {loss.item() / per_token:.3f} per character; lesson 1 had 0.287")

# %% [markdown]
# ## Greedy decoding
#
# The simplest choice is always the likeliest token.

# %%


def write(choose, prompt="Once upon a time", n=60):
    """Continue a prompt; choose turns logits (V,) into an id."""
    ids = tokenizer.encode(prompt)
    with nn.inference(model):
        for _ in range(n):
            logits = model(np.array([ids[-64:]])).data[0, -1]
            ids.append(int(choose(logits)))
    return tokenizer.decode(ids)


def show(text):
    print(textwrap.indent(textwrap.fill(text, 74), "  "))


show(write(np.argmax))

# %% [markdown]
# *Greedy* decoding takes the safe continuation every time. It always tells this
# one story, and sooner or later it runs in circles. A likely text is not a
# typical text: people surprise each other all the time.
#
# ## Temperature
#
# Divide the logits by a temperature before softmax. Below 1, differences grow
# and the favourite wins more often; near 0 it always wins. Above 1, everything
# becomes possible. At 1 the model speaks with its own probabilities.
#
# **Now you: `temperature`.** The bars are what the model expects after "there
# was a girl called".

# %%
with nn.inference(model):
    prompt = tokenizer.encode("there was a girl called")
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
    random = tl.Random(seed)

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
# There are 1,024 tokens, in real models a hundred thousand, and at any place
# nearly all are nonsense. Each has a tiny probability, but together they
# are likely enough that one of them is drawn every few words, and after one
# nonsense token the model must go on from nonsense.
#
# **top-k** keeps the k likeliest (Fan et al., 2018). But sometimes there is one
# sensible next token, and sometimes there are fifty. **top-p**, or *nucleus
# sampling* (Holtzman et al., 2020), keeps the smallest set of tokens whose
# probabilities reach p: few where the model is sure, many where it is not. What
# is cut gets the logit -inf, and softmax shares its probability out among the
# rest.
#
# **Now you: `top_k` and `top_p`.** Of equal logits, the smaller id is kept
# first.

# %%
guess = predict(f"of {V:,} tokens, top-p 0.9 after 'Once upon a' keeps")
with nn.inference(model):
    for prompt in ("Once upon a", "there was a girl called"):
        logits = model(np.array([tokenizer.encode(prompt)])).data[0, -1]
        kept = int(np.isfinite(ops.top_p(logits, 0.9)).sum())
        print(f"{prompt[-22:]!r:>25}: {compare(guess, kept)}")
        guess = None
for cut in ({}, {"k": 40}, {"p": 0.9}):
    print("cut:", cut)
    show(write(sampler(2, **cut)))

# %% [markdown]
# **Repetition.** A third method makes tokens that were used already less
# likely: a positive logit is divided by a penalty above 1 and a negative one
# multiplied, so that both go down (Keskar et al., 2019, section 4.1). It
# cannot tell an idle repetition from a name that should come back:

# %%
prompt = np.array(tokenizer.encode("a boy called Tom. One day, Tom met"))
with nn.inference(model):
    logits = model(prompt[None]).data[0, -1]
for penalty in (1.0, 1.5):
    p = ops.softmax(ops.repetition_penalty(logits, prompt, penalty))
    lost = 100 * p[np.unique(prompt)].sum()
    print(f"penalty {penalty}: {lost:.1f} % for the tokens of the prompt")

# %% [markdown]
# **Now you: `repetition_penalty`.** How often a token was used does not matter,
# only whether.
#
# ## The KV cache
#
# Look again at `write`: for every new token it runs the model over the
# *whole* text. But earlier tokens do not see later ones, so their vectors, at
# every layer, are the same as last time. Only their keys and values are needed
# again, by the newest token's queries. Keep these: that is the **KV cache**.
# Then each step computes one token, not T.

# %%


def seconds(cached, n=120):
    """Write n tokens, with the cache or without -> (time, ids)."""
    ids = [tokenizer.encode("Once")[0]]
    start = time.perf_counter()
    with nn.inference(model):
        cache = model.new_cache() if cached else None
        x = np.array([ids])
        for _ in range(n):
            ids.append(int(model(x, cache).data[0, -1].argmax()))
            x = np.array([ids[-1:] if cached else ids])
    return time.perf_counter() - start, ids


without, slow_ids = seconds(False)
guess = predict("120 tokens: how many times as fast with the cache?")
with_cache, fast_ids = seconds(True)
print(compare(guess, without / with_cache), "(measured on your machine)")
print("the same text:", slow_ids == fast_ids)

# %% [markdown]
# ## The theorem
#
# The same text might be luck; a last bit that differs would change it sooner or
# later. So here is the claim, and it is a strong one: **with the cache and
# without, the logits are the same bits.** The argument has two parts. Attention
# takes the queries as the *last* S positions of the keys, whether the keys were
# computed just now or long ago. And every kernel of the library sums each
# output in one fixed order, whatever else is in the batch. So nothing can
# differ, at any layer.

# %%
text = tokenizer.encode("Once upon a time there was a little frog.")
text = np.array([text])
T = text.shape[1]
guess = predict(f"of {T} x {V:,} logits, how many will differ in any bit?")
different = 0
with nn.inference(model):
    at_once = model(text).data
    for chunk in (1, 3, 7, T):
        cache, parts = model.new_cache(), []
        for i in range(0, text.shape[1], chunk):
            parts.append(model(text[:, i : i + chunk], cache).data)
        unequal = int((np.concatenate(parts, axis=1) != at_once).sum())
        print(f"read in chunks of {chunk:>2}: the same bits: {unequal == 0}")
        different = max(different, unequal)
print(compare(guess, different))

# %% [markdown]
# (On NumPy alone, without the kernels, the last bits may differ: the order in
# which its matrix product sums depends on the shapes.)
#
# What does the cache cost? For each token and layer two vectors of C numbers.
# For GPT-2 with its 12 layers, 768 channels and 1,024 tokens, in float32:

# %%
guess = predict("the KV cache of GPT-2 in megabytes")
print(compare(guess, 2 * 12 * 768 * 1024 * 4 / 1e6))

# %% [markdown]
# With long texts, or many of them at once, the cache can exceed the weights.
# That is why query heads share their keys and values, and why so much effort
# goes into storing them in fewer bits.
#
# ## Inside the model
#
# `tinyllm trace` writes a page of what a model does with a text: how surprised
# it was by each token, where each head looked, every op with its FLOPs, and what
# the cache costs and saves. Here is that page for the model of this lesson.

# %%
ids, given = take_text(model, tokenizer, "Once upon a time there was a", 30)
page = examine(model, tokenizer, ids, given)
write_page(page, "Lesson 9", folder / "trace.html")
lesson_runner.show_page(folder / "trace.html")

# %% [markdown]
# You have rebuilt the larger part of `tinyllm/ops/sample.py`;
# `tinyllm/decode/engine.py` is the loop, and `tinyllm/nn/cache.py` the cache.
# Everything you wrote so far was NumPy. Where does the speed come from? That is
# lesson 10.
