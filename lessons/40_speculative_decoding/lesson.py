# %% [markdown]
# # 40. Speculative decoding
#
# A model writes one token at a time, and for each it reads all its weights from
# memory. But to *check* five tokens it reads them only once. So let a small model
# propose some tokens, and the large one look at all of them. It keeps what it
# would have written itself (Leviathan, Kalman and Matias, 2023): the text is the
# same, to the last byte. How much time is won?

# %%
from functools import partial
from itertools import islice
from statistics import median

import numpy as np

import tinyllm as tl
from tinyllm import nn, ops
from tinyllm.bench.race import Contender, race
from tinyllm.course.lesson_runner import begin, compare, predict, spread
from tinyllm.course.page import curves, write_page
from tinyllm.decode.speculative import DraftModel, Lookup
from tinyllm.train.events import Evaluated
from tinyllm.world.corpus import read_name

folder, spread = begin(), partial(spread, form=".2f")
np.set_printoptions(precision=3)
TEXTS = "world:stories,n=3000,length=short"
stories = [story.text for story in
           islice(read_name(TEXTS + ",split=test").documents(), 40)]


def prepare(layers, width, steps, lr=1e-3, seed=0):
    """Return a LLaMA that will read stories for some steps."""
    return tl.prepare(tl.make_config({
        "data": TEXTS, "tokenizer": "word", "pretrain.documents": True,
        "model.layers": layers, "model.width": width, "seed": seed,
        "model.hidden": width * 8 // 3 // 8 * 8, "model.heads": width // 32,
        "model.kv_heads": width // 32, "model.context": 128, "train.lr": lr,
        "train.steps": steps, "train.batch": 12, "train.eval_every": 10**6,
        "train.sample_every": 10**6}))


def times(contenders, seconds):
    """Let functions take turns -> times, in units of the first."""
    found = race({n: Contender(f) for n, f in contenders.items()}, seconds)
    first = next(iter(found.values()))
    return {name: median(np.divide(x, first)) for name, x in found.items()}


# %% [markdown]
# ## 1. Five for the price of one
#
# A pass of a model of four layers of width 256 reads 14 megabytes of weights, for
# one token or for five: it waits for memory. Here are passes of 1, 2, 5 and 9
# tokens after 100 others, of one text and of 64 texts at once.


# %%
def passes(model, rows):
    """Return the times of passes of some tokens."""
    cache, ids = model.new_cache(rows, 128), np.ones((rows, 100), int)

    def read(n):
        for layer in cache:
            layer.rewind([100] * rows)
        model.head(model.hidden(ids[:, :n], cache))

    with nn.inference(model):
        model.hidden(ids, cache)
        return times({n: lambda n=n: read(n) for n in (1, 2, 5, 9)}, 2)


target = prepare(4, 256, 170)
guess = predict("a pass of five tokens: how many times that of one?")
alone = passes(target.model, 1)
print(compare(guess, alone[5]))
for rows, found in {1: alone, 64: passes(target.model, 64)}.items():
    print(f"{rows:>2} texts:", *(f"{n} tokens {x:.2f} x  "
                                 for n, x in found.items()))

# %% [markdown]
# Of one text, four tokens more are almost a gift. With 64 texts every weight is
# used 64 times once it is read, and what takes time is multiplying. So proposals
# are for one user who waits, not for a server with a full batch.
#
# ## 2. The same random number
#
# Token n of a text is drawn with the n-th random number u of its seed: the tokens
# lie side by side on a line from 0 to 1, each as long as it is likely, and u
# points to one. The draft draws *its* token with the same u. If it is the same
# token, the model's own one was proposed, and is kept.

# %%
p = np.float32([0.2, 0.4, 0.4])  # the model
q = np.float32([0.4, 0.4, 0.2])  # the draft
guess = predict("how likely is it that u points to the same token in both?")
print(compare(guess, float(ops.coupled_acceptance(p, q))))

# %% [markdown]
# Draw the two lines, one above the other. The distributions have 0.2 + 0.4 + 0.2
# = 0.8 in common, the sum of min(p, q). But where the draft has more of the first
# token, the second is pushed aside. **Now you: `coupled_acceptance`.**
#
# The rule of the paper reaches 0.8. It keeps a proposed token with probability
# min(1, p / q). If it is refused, a token is drawn from what the draft has too
# little of: max(p - q, 0). Then every token still has the distribution p:

# %%
N = 20_000
first = ops.sample(np.tile(q, (N, 1)), tl.Random(1).uniform(N))
u = tl.Random(2).uniform((N, 2))
drawn = [ops.speculative_accept(np.stack([p, p]), q[None], first[i:][:1], x)
         for i, x in enumerate(u)]
print("p", p, "drawn", np.bincount([each[0] for each in drawn]) / N)
guess = predict("of 100 proposals, how many are kept?")
print(compare(guess, 100 * float(np.mean([len(each) - 1 for each in drawn]))))

# %% [markdown]
# **Now you: `speculative_accept`.** Most servers use it. Its text is as good as
# one without a draft, but it is *another* text. With the shared number the bytes
# are the same with any draft and with none, which one comparison tests. tinyllm
# does that, and pays with some acceptance. How much, between trained models?
#
# ## 3. A pair
#
# We train this model, and a draft of one layer of width 64, on the same stories.

# %%
SEEDS, PLAIN = 1, tl.Sampling()  # temperature 1
pairs = []
for seed in range(SEEDS):
    both = prepare(4, 256, 170, 6e-3, seed), prepare(1, 64, 350, 8e-3, seed)
    for setup in both:
        *_, last = (x for x in setup.train() if isinstance(x, Evaluated))
        print(f"{setup.model.config.layers} layers: {last.val_loss:.3f}")
    pairs.append([setup.model for setup in both])
tokenizer = target.tokenizer
begun = [tokenizer.encode(story)[:4] for story in stories]


def write(model, draft=None, sampling=PLAIN, texts=begun[:5]):
    """Continue texts one by one -> tokens of each, tokens a pass."""
    engine = tl.Engine(model, tokenizer, draft=draft, batch=1)
    written = [engine.add(ids, sampling, max_tokens=100, stop="\n", seed=i)
               for i, ids in enumerate(texts)]
    for _ in engine:
        pass
    return [s.tokens for s in written], engine.written / engine.passes


print(tokenizer.decode(begun[1] + write(pairs[0][0], texts=begun[1:2])[0][0]))
kept, line, most = [], [], []
guess = predict("of 100 proposed tokens, how many are the model's own?")
for model, small in pairs:
    texts, per_pass = write(model, DraftModel(small, 1), texts=begun)
    kept.append(per_pass - 1)
    rows = [np.array([a + b[:-1]]) for a, b in zip(begun, texts, strict=True)]
    p, q = (np.concatenate([ops.softmax(net(x).data[0, 3:]) for x in rows])
            for net in (model, small))
    line.append(ops.coupled_acceptance(p, q).mean())
    most.append(np.minimum(p, q).sum(axis=-1).mean())
print(compare(guess, 100 * float(np.mean(kept))))
print("kept", spread(kept), "coupled_acceptance", spread(line),
      "sum of min(p, q)", spread(most))

# %% [markdown]
# We counted: at 83.3 % of all places both draw the same token, just as
# `coupled_acceptance` says. But a pass begins after each refused token, where the
# next is hard, too (81.7 %), and at a story's end a proposal is too late.
#
# ## 4. Tokens in a pass
#
# A pass with n proposals writes the ones that are right, and one more that the
# model draws itself. If each is right with probability a, that makes on average
#
#     1 + a + a^2 + ... + a^n = (1 - a^(n+1)) / (1 - a)

# %%
NS = (1, 2, 3, 4, 5, 6)
guess = predict("tokens a pass with four proposals?")
measured = np.array([[write(model, DraftModel(small, n), texts=begun)[1]
                      for n in NS] for model, small in pairs])
predicted = np.array([[sum(a**i for i in range(n + 1)) for n in NS]
                      for a in kept])
print(compare(guess, float(measured[:, 3].mean())))
for n, *found in zip(NS, measured.T, predicted.T, strict=True):
    print(f"n = {n}: tokens a pass, predicted:", *map(spread, found))

# %% [markdown]
# ## 5. The same bytes, sooner
#
# Each draft's texts are compared with those of the model alone. Then all take
# turns, by the clock.

# %%
ways = {"temperature 1": PLAIN,
        "0.8, min p 0.1": tl.Sampling(0.8, min_p=0.1)}  # as the command draws
speed = {}
guess = predict("temperature 1, n = 3: how many times as fast?")
for name, sampling in ways.items():
    rows, same = [], True
    for model, small in pairs:
        drafts = {0: None} | {n: DraftModel(small, n) for n in NS}
        texts = [write(model, each, sampling)[0] for each in drafts.values()]
        same &= all(each == texts[0] for each in texts)
        found = times({n: partial(write, model, draft, sampling)
                       for n, draft in drafts.items()}, 5)
        rows.append([1 / found[n] for n in NS])
    speed[name] = np.mean(rows, axis=0)
    print(f"{name}: the same texts: {same}; speed by n:",
          *(f"{n}: {spread([row[n - 1] for row in rows])} x " for n in NS))
print(compare(guess, float(speed["temperature 1"][2])))
write_page(folder / "speculative.html", "Drafts", "By proposals.", [
    curves("Tokens in a pass", "tokens", {
        "measured": measured.mean(axis=0),
        "predicted": predicted.mean(axis=0)}, at=NS, dashed="predicted"),
    curves("Speed", "times that without a draft", speed, at=NS)])

# %% [markdown]
# The tokens go on growing with n, the speed does not: each proposal is a pass of
# the draft. With one thread of two busy cores it was 1.2 x with one proposal, 1.7
# to 1.8 x with three to six.
#
# ## 6. No draft at all
#
# If a text repeats itself, look where its last three tokens stood before, and
# propose what came next. Here a mask forces the shipped model to write a story,
# then to write it again with another name, so that only the look-up counts.

# %%
shipped = tl.open_model("shipped")
once, copy = map(shipped.tokenizer.encode, (
    stories[0], "\n\n" + stories[0].replace("Mia", "Rosie")))
guess = predict("tokens a pass while it writes the edited copy?")
for what, told, text in (("a story", once[:1], once[1:]),
                         ("its copy", once, copy)):
    engine = tl.Engine(shipped.model, draft=Lookup(4))
    engine.add(told, max_tokens=len(text),
               mask=lambda ids, all=told + text: [all[len(ids)]])
    for _ in engine:
        pass
    print(f"{what}: {engine.written / engine.passes:.2f} tokens a pass")
print(compare(guess, engine.written / engine.passes))

# %% [markdown]
# On the command line, two runs with one tokenizer, or the text so far:
#
#     tinyllm generate runs/large --draft runs/small
#     tinyllm generate runs/large --draft lookup
