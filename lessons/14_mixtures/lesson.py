# %% [markdown]
# # 14. Mixtures of experts
#
# Two thirds of a transformer's parameters are in its MLPs, and every token
# passes through all of them, a comma as well as a name. What if each token used
# only the part that it needs? Then a model could know much and still answer
# quickly. That is the idea of Mixtral, DeepSeek, Qwen's large models and
# others: instead of one MLP a block has several, the *experts*, and a small
# layer, the *router*, sends every token to a few of them.
#
# Shazeer et al., "Outrageously Large Neural Networks", 2017; Jiang et al.,
# "Mixtral of Experts", 2024.

# %%
import time

import numpy as np

import tinyllm as tl
from tinyllm import ops
from tinyllm.course.lesson_runner import begin, compare, predict
from tinyllm.models.mixtral import Experts
from tinyllm.world import stories

begin(digits=3)

# %% [markdown]
# ## Large and cheap
#
# Mixtral 8x7B has 32 blocks of width 4,096. Each has attention with 8 shared
# heads of keys and values (lesson 13), and 8 experts, gated MLPs with a hidden
# width of 14,336. A token uses 2 of the 8.

# %%
C, F, LAYERS, V = 4096, 14336, 32, 32000
attention, expert = 2 * C * C + 2 * C * 1024, 3 * C * F
around = LAYERS * (attention + 8 * C + 2 * C) + 2 * V * C + C
print(f"all parameters: {(around + LAYERS * 8 * expert) / 1e9:.1f} billion")
guess = predict("of how many billions does one token make use?")
print(compare(guess, round((around + LAYERS * 2 * expert) / 1e9, 1)))

# %% [markdown]
# So it costs as much as a model of 13 billion, and has room for what a model of
# 47 billion knows. The memory it needs is that of 47.
#
# ## The router
#
# The router is one matrix (C, E) and a softmax: a probability for each expert.
# The token goes to the `top` best, and their results are added, weighted by the
# probabilities, which Mixtral first divides by their sum.

# %%
logits = np.float32([[2.0, 0.5, 1.5, -1.0], [0.0, 3.0, 0.0, 0.0]])
p = ops.softmax(logits)
chosen_p, chosen = ops.route(p, p, 2)
print(p)
print("chosen:", chosen.tolist())
print(chosen_p / chosen_p.sum(axis=1, keepdims=True))

# %% [markdown]
# The second token has three experts that it likes equally little; the lowest
# number wins, so that the same text always takes the same way.
#
# How does a router learn? "Expert 2, not 3" is a choice, and a choice has no
# slope. But the *weight* of a chosen expert has one. If its result helped, the
# gradient raises its probability, and a little less of it helped by others.
# An expert that was not chosen learns nothing from this token.
#
# **Now you: `route`.** It takes the scores that decide and the probabilities
# that weigh as two arguments. You will see below why they may differ.
#
# ## The product
#
# Each expert now has tokens of its own, here more, there fewer. Calling eight
# MLPs one after the other, each with its handful of rows, wastes time. So the
# library sorts the rows by expert and multiplies them all in one call. No
# expert has a limit, so no token is dropped: the layer is *dropless*.

# %%
tokens, experts = 6, 3
x = tl.Random(0).normal((tokens, 4)).astype(np.float32)
w = tl.Random(1).normal((experts, 4, 2)).astype(np.float32)
expert_of = np.array([2, 0, 2, 2, 0, 2])
order = np.argsort(expert_of, kind="stable")
counts = np.bincount(expert_of, minlength=experts)
print("rows by expert:", order, "counts:", counts)
y = np.empty((tokens, 2), np.float32)
y[order] = ops.grouped_linear(x[order], w, counts)  # and back to their places
alone = np.stack([row @ w[e] for row, e in zip(x, expert_of, strict=True)])
print("as each token by itself:", np.allclose(y, alone, atol=1e-6))

# %% [markdown]
# Expert 1 got nobody. That must be no special case: a product of no rows.
#
# **Now you: `grouped_linear`.**
#
# ## The rich get richer
#
# An expert that is chosen learns, gets better, and is chosen again. The others
# stay as they were born. In the end a few do all the work, and the rest is dead
# weight. The *balance loss* pulls against it. For each expert take its load,
# the share of tokens that chose it, and its mean probability; multiply, add
# over the experts, and multiply by their number E:

# %%
E = 8
even = np.full((E, E), 1 / E, np.float32)
print("all alike:", ops.balance_loss(even, np.arange(E)[:, None]))
one = np.eye(E, dtype=np.float32)[np.zeros(E, int)]  # expert 0, probability 1
guess = predict("and if every token chooses the same one of 8, quite surely?")
print(compare(guess, float(ops.balance_loss(one, np.zeros((E, 1), int)))))

# %% [markdown]
# The load is a count and has no gradient. The mean probability has: it falls
# fastest for the expert with the most tokens (Fedus et al., "Switch
# Transformers", 2022).
#
# **Now you: `balance_loss`.**
#
# ## Balance without a loss
#
# The balance loss has a price: its gradient disturbs what the model wants to
# learn. DeepSeek-V3 does without. Each expert has a bias that is added to the
# scores *for the choice only*; the weight stays the probability. After every
# step the bias moves up a little for experts with too few tokens, and down for
# those with too many. Nothing is differentiated. Here is a router with strong
# opinions about 1,000 tokens, whom nobody trains:

# %%
taste = np.linspace(0, 2, E).astype(np.float32)
p = ops.softmax(tl.Random(2).normal((1000, E)).astype(np.float32) + taste)
bias, fullest = np.zeros(E, np.float32), []
for _ in range(150):
    _, chosen = ops.route(p, p + bias, 2)
    counts = np.bincount(chosen.ravel(), minlength=E)
    fullest.append(counts.max())
    bias = ops.balance_bias(bias, counts, 0.002)
print("tokens of the fullest expert at first:", fullest[0])
guess = predict("after 150 moves? (2,000 choices, 8 experts)")
print(compare(guess, int(fullest[-1])))
print("biases:", bias)

# %% [markdown]
# **Now you: `balance_bias`.** It is one line, if you look at the sign alone.
#
# ## Is it worth it?
#
# A small LLaMA, and mixtures that do the same work for each token: two experts
# of half the hidden width out of eight. One mixture is balanced, one is not.

# %%
text = stories.generate(n=3000)
tokenizer = tl.CharTokenizer.train(text)
ids = tokenizer.encode_to_numpy(text.encode())
known, held_out = ids[:-100_000], ids[-100_000:]
V = tokenizer.vocab_size
sizes = {"vocab_size": V, "context": 32, "layers": 2, "heads": 4}
sizes |= {"kv_heads": 2, "width": 64, "init_std": 0.125}
KINDS = {
    "dense": {"model_type": "llama", "hidden": 160},
    "not balanced": {"model_type": "mixtral", "hidden": 80, "balance": 0},
    "balanced": {"model_type": "mixtral", "hidden": 80, "balance": 0.02},
}


def train(kind, steps):
    """Train one kind of model -> the model, ms a step."""
    model, start = tl.build(sizes | KINDS[kind]), time.process_time()
    tl.fit(  # lesson 8's loop
        model, lambda step: tl.get_batch(known, 0, step, 16, 32), steps,
        optimizer=tl.AdamW(model.parameters(), lr=3e-3), warmup=20)
    return model.eval(), time.process_time() - start


STEPS, models = 120, {}
test = tl.get_batch(held_out, 99, 0, batch=64, context=32)
for kind in KINDS:
    model, took = train(kind, STEPS)
    models[kind] = model
    size = sum(p.data.size for p in model.parameters())
    with tl.no_grad():
        loss = model.loss(*test).item()
    print(f"{kind:<13} {size:>7,} parameters  loss {loss:.3f}"
          f"  {1000 * took / STEPS:.0f} ms a step")

# %% [markdown]
# And how are the experts used? The share of all choices that went to each of
# the eight, in the first block:

# %%
for kind in list(KINDS)[1:]:
    layer = next(iter(models[kind].of_kind(Experts).values()))
    share = layer.counts / layer.counts.sum()
    print(f"{kind:<13} {share}  emptiest {share.min():.2f}")

# %% [markdown]
# After so few steps nobody starves yet, but without the loss some experts have
# begun to.
#
# The mixture has three times the parameters, and after so few steps nothing to
# show for them: each expert has met a quarter of the tokens. Room pays when
# there is much to know and long to learn it. And a step takes longer, because
# rows must be sorted, brought together and brought back. So look at both
# columns, steps and seconds, whenever somebody praises a mixture.
#
# What does an expert know? Look at the letters of a text: which experts does
# the router want for each?

# %%
text = "Mia had a red kite."
with tl.no_grad():
    models["balanced"](np.array([tokenizer.encode(text)]))
rows = layer.p.data
for letter, row in list(zip(text, rows, strict=True))[:5]:
    print(repr(letter), row)

# %% [markdown]
# Nobody told the experts what to be, and they seldom become what people would
# call one. They divide letters, not subjects.
#
# The layer is `Experts` in `tinyllm/models/mixtral.py`, which is LLaMA with this
# layer as its MLP, balanced by the loss. Train a mixture on your functions:
#
#     tinyllm train --mine 14 --steps 50
