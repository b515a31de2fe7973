# %% [markdown]
# # 17. T5 and translation
#
# GPT continues a text. Much of what we ask of a language model is something
# else: *here is a text, write another one*. A translation, a summary, an
# answer. T5 (Raffel et al., 2020) has both halves of the first transformer of
# 2017 for it: an **encoder** that reads, and a **decoder** that writes and
# looks at what was read. You build three of its ideas, and see a small T5
# translate sentences that it has never met.

# %%
import numpy as np

import tinyllm as tl
from tinyllm import ops
from tinyllm.course.lesson_runner import begin, compare, predict, progress
from tinyllm.course.page import curves, write_page
from tinyllm.data import load_corpus, two_texts
from tinyllm.data.corruption import span_corruption
from tinyllm.decode.beams import beam_search
from tinyllm.models.t5 import T5, T5Config
from tinyllm.train import next_token

folder = begin()

# %% [markdown]
# ## Two towers
#
#     the frogs called the singer        <start> ludolo pezak pedak
#                 |                                  |
#          ENCODER: each token            DECODER: each token sees the
#          sees all others      ------->  ones before it and, by cross-
#                                         attention, what was read
#                                                    |
#                                         ludolo pezak pedak sutam
#
# In the encoder nothing is masked, for nothing is guessed there: a word may
# look at what comes after it. The decoder is a GPT with one more part in each
# block, **cross-attention**: its queries come from the text that is written,
# its keys and values from the text that was read. Those do not change while
# the decoder writes, so they are computed once and kept.
#
# ## Text in, text out
#
# To learn from text without labels, T5 makes its own task, **span
# corruption**. Short spans are taken out. In place of each stands a *sentinel*,
# a token that says: here something is missing, number one. The decoder writes
# what was taken, sentinel by sentinel.

# %%
text = "Thank you for inviting me to your party last week"
names = [*text.split(" "), "<X>", "<Y>", "<Z>"]
kept, hidden = np.array([2, 4]), np.array([2, 2])  # 2 stay, 2 go, 4 stay, ...
ids, sentinels = np.arange(10), np.array([10, 11, 12])
read, written = ops.corrupt_spans(ids, kept, hidden, sentinels)
print("the encoder reads: ", " ".join(names[i] for i in read))
print("the decoder writes:", " ".join(names[i] for i in written))

# %% [markdown]
# **Now you: `corrupt_spans`.**
#
# The same text, taken apart and complete: whoever has both halves can put it
# together. And the answer is short. T5 hides 15 % of a text, in spans of 3
# tokens on average. The decoder, which is slow because it writes one token
# after the other, has little to write.

# %%
guess = predict("a text of 512 tokens: how many does the decoder write?")
text = np.zeros((1, 512), int)
batch = span_corruption(text, list(range(999, 900, -1)), 0)
print(compare(guess, batch.targets.shape[1]))
print(f"the encoder reads {batch.tokens.shape[1]}")

# %% [markdown]
# ## Where is a word?
#
# Attention by itself does not know the order of its keys (lesson 6). GPT-2 adds
# a vector for each position, LLaMA rotates queries and keys. T5 does the
# simplest thing of all: to the score of a query and a key it adds a number,
# **one learnt number for each distance**. Each head has numbers of its own, so
# one head can look at the word before, another at the words behind.
#
# A number for every distance would be too many, and nobody needs to know if a
# word is 97 or 98 tokens away. So distances share numbers. Near ones have one
# each; the farther away, the more distances fall into one *bucket*, and from
# 128 on all fall into the last.
#
# **Now you: `relative_buckets`.** There are two kinds. The encoder looks both
# ways, so it gives half of its 32 buckets to keys before the query, and half to
# keys after it. The decoder looks back only, and has all 32 for that.

# %%
for causal, name in ((False, "encoder"), (True, "decoder")):
    distance = np.array([3, 1, 0, -1, -2, -7, -8, -12, -20, -50, -200])
    found = ops.relative_buckets(distance, 32, 128, causal)
    print(f"{name}: " + " ".join(f"{d:>4}" for d in distance))
    print("  bucket " + " ".join(f"{bucket:>4}" for bucket in found))
guess = predict("encoder, a key 100 tokens before the query: the bucket?")
far = int(ops.relative_buckets(np.array([-100]), 32, 128, False)[0])
print(compare(guess, far))

steps = np.arange(0, 161)
lines = {
    name: ops.relative_buckets(-steps, 32, 128, causal).tolist()
    for causal, name in ((False, "encoder"), (True, "decoder"))
}
figures = [curves("Buckets of distances", "bucket by distance to an earlier "
                  "key", lines, at=steps.tolist())]

# %% [markdown]
# ## A language to translate
#
# The world of this library has a language of its own. Its verb stands at the
# end, its adjectives behind the noun, and endings say what is plural, what is
# the object, and when it happened. Its grammar is known, so we can say of every
# translation if it is right. In the test sentences subject, verb and object
# meet that never met in training: nothing can be looked up.

# %%
known = load_corpus("world:translation,n=12000").documents
pairs = [(each.prompt, each.truth) for each in known]
new = load_corpus("world:translation,n=100,split=test").documents
unseen = [(each.prompt, each.truth) for each in new]
for english, other in pairs[:3]:
    print(f"{english}\n    {other}")

text = "".join(f"{english}\n{other}\n" for english, other in pairs[:3000])
tokenizer = tl.BPETokenizer.train(text, vocab_size=1024)
tokenizer.add_special_tokens(["<pad>", "</s>"])
V = tokenizer.vocab_size
start, end = (tokenizer.special_tokens[name] for name in ("<pad>", "</s>"))
prompts = [[*tokenizer.encode(english), end] for english, _ in pairs]
answers = [[*tokenizer.encode(other), end] for _, other in pairs]


def batch(step, size=32):
    """Inputs for the encoder, targets for the decoder."""
    rows = np.arange(step * size, (step + 1) * size) % len(pairs)
    return two_texts(
        [prompts[i] for i in rows], [answers[i] for i in rows], 32
    )


def new_model(seed=0):
    config = T5Config(
        V, layers=2, heads=4, width=64, head_width=16, hidden=128, context=32,
        mlp="gated-gelu", tied=False, scaled=False, start=start, end=end,
    )
    return T5(config, seed)


# %% [markdown]
# Two encoder blocks and two decoder blocks, 64 numbers wide. We train it twice,
# with one difference: how large the numbers for the distances are at the
# *start*. There are 32 of them for each of 4 heads, in each tower: 256 of more
# than 200,000 parameters. Once they begin with a standard deviation of 1, once
# with 1 / sqrt(C), as T5's own code does.

# %%


def train(first_std, steps=350):
    """Train a small T5 -> the model and the loss of each step."""
    model = new_model()
    for tower in (model.encoder, model.decoder):
        attention = tower.block[0].layer[0].SelfAttention
        attention.relative_attention_bias.weight.data *= first_std
    losses = tl.fit(model, batch, steps, 3e-3, progress=progress,
                    loss=next_token, warmup=30, beta2=0.98, weight_decay=0.05)
    return model.eval(), losses


def translate(model, texts, beams=1):
    """Write the likeliest answer that a search with some beams finds."""
    found = beam_search(model, [tokenizer.encode(text) for text in texts],
                        max_tokens=20, beams=beams)
    return [tokenizer.decode(best[0][0][:-1]) for best in found]


def right(model, beams=1):
    """Count the 100 unseen sentences of which every letter is right."""
    found = translate(model, [english for english, _ in unseen], beams)
    hits = zip(found, unseen, strict=True)
    return sum(answer == other for answer, (_, other) in hits)


print(f"{new_model().num_parameters():,} parameters")
model, large = train(1.0)
print(f"distances begin with 1:           {right(model)} % of unseen right")
guess = predict("and if they begin with 1 / sqrt(64)? in percent")
other_model, small = train(64**-0.5)
low = right(other_model)
print(compare(guess, low))
print(f"distances begin with 1 / sqrt(C): {low} % of unseen right")

# %% [markdown]
# The same model, the same sentences, the same steps. What happened? Softmax
# over scores that differ by a tenth is nearly uniform: at the start no head can
# tell a neighbour from a stranger, and every word sees one and the same soup. To
# tell them apart, the numbers must grow to 1 or more; but AdamW moves a weight
# by no more than the rate, 0.003, at a step (lesson 8). T5 was trained with
# another rule, Adafactor, whose steps are *relative* to the size of the weights,
# and for millions of steps. An initial weight belongs to its optimizer; copy one
# without the other, and it "barely trains".

# %%
english, expected = unseen[0]
print(english)
print("  it should be:      ", expected)
print("  distances from 1:  ", translate(model, [english])[0])
print("  from 1 / sqrt(C):  ", translate(other_model, [english])[0])
losses = {"first numbers of 1": large, "of 1 / sqrt(C)": small}
figures.append(curves("Two trainings", "loss by step", losses))
lead = "How T5 sees distances, and what their first numbers do."
write_page(folder / "distances.html", "Distances", lead, figures)

# %% [markdown]
# ## Beam search
#
# A translation is right as a whole. Greedy decoding takes the likeliest token
# each time, and cannot take it back when it turns out to lead nowhere. **Beam
# search** keeps the N likeliest beginnings. At each step all of them are
# continued with all tokens, and of these N V texts the best N go on. Their
# probabilities multiply, so the logarithms add.
#
# **Now you: `beam_step`.** Here is a language of three tokens in which greedy
# decoding loses. First comes a with 0.5, b with 0.4 or c with 0.1. After a
# nothing is sure; after b comes c with 0.9.

# %%
first = np.log([[0.5, 0.4, 0.1]]).astype(np.float32)
after = {0: [0.3, 0.35, 0.35], 1: [0.05, 0.05, 0.9], 2: [0.4, 0.3, 0.3]}


def best_text(beams):
    """Search two steps with some beams -> the text and its probability."""
    _, tokens, scores = ops.beam_step(np.zeros(1, np.float32), first, beams)
    following = np.log([after[t] for t in tokens.tolist()])
    parents, last, totals = ops.beam_step(
        scores, following.astype(np.float32), beams
    )
    text = "abc"[tokens[parents[0]]] + "abc"[last[0]]
    return text, float(np.exp(totals[0]))


text, p = best_text(1)
print(f"greedy writes {text}, with probability {p:.3f}")
guess = predict("two beams: the probability of what they write?")
text, p = best_text(2)
print(compare(guess, round(p, 3)), f"for {text}")

# %% [markdown]
# With more beams the search finds likelier texts. Are they better? That depends
# on the model. One that is often unsure early in a sentence gains; one that has
# learnt its task has little to gain, and one that has learnt nothing finds
# likelier nonsense.

# %%
for name, each in (("trained well", model), ("trained badly", other_model)):
    counts = [right(each, beams) for beams in (1, 4)]
    print(f"{name}: {counts[0]} % with one beam, {counts[1]} % with four")

# %% [markdown]
# For translation four beams were the custom for years; for stories and talk
# people prefer sampling (lesson 9), because the likeliest text is a dull one.
# A long text also multiplies more probabilities than a short one, so real
# searches divide by a power of the length before they compare.
#
# You have rebuilt parts of `tinyllm/ops/hide.py`, `tinyllm/ops/relative.py` and
# `tinyllm/ops/sample.py`. The whole T5 is `tinyllm/models/t5.py`, 250 lines, the
# search is `tinyllm/decode/beams.py`. Train a larger one, then let it translate:
#
#     tinyllm train sft --model t5 --data world:translation --out runs/t5
#     tinyllm generate runs/t5 --prompt "the frogs see the cat ->" --beams 4
