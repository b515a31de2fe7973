# %% [markdown]
# # 39. Smaller models, and what they forget
#
# A model that is too large for a telephone can be made smaller in three ways:
# store each weight in 8 or 4 bits, set weights to zero, or train a small model to
# imitate it. Papers then compare losses, and the loss hardly changes. But does
# the model still know what it knew? And what goes first: what it read a hundred
# times, or what it read once? In our world we can ask for every fact.

# %%
import copy

import numpy as np

import tinyllm as tl
from tinyllm import nn, ops
from tinyllm.compress.prune import input_norms, prune
from tinyllm.course.lesson_runner import begin, compare, predict
from tinyllm.course.page import curves, write_page
from tinyllm.data import rows
from tinyllm.eval import Item, Task, answers
from tinyllm.tokenizer import make_tokenizer
from tinyllm.train import events
from tinyllm.world import World
from tinyllm.world.phrases import answer, ask, say

folder = begin(digits=3)

# %% [markdown]
# ## 1. What a model knows
#
# As in lesson 31, each person's facts are told 1, 2, 4, 8, 16 or 32 times, as a
# question and its answer, or as the beginning of a statement and its end.

# %%
KINDS = ("works_as", "likes", "enjoys", "lives_in")
world = World(0, 360)
facts = [fact for fact in world.facts() if fact.relation in KINDS]
times = {person.name: 2 ** (i % 6) for i, person in enumerate(world.people)}
often = np.array([times[fact.subject] for fact in facts])
TIMES, draw = sorted({*often.tolist()}), tl.Random(0, "told")
told = draw.shuffle([
    (draw.choice([ask(fact), *(say(fact, way).removesuffix(f" {fact.object}.")
                               for way in (0, 1))]), answer(fact))
    for fact in facts for _ in range(times[fact.subject])])
tokenizer = make_tokenizer(
    "word", "".join(f"{x}\n{y}\n" for x, y in told).encode())
corpus = tl.Corpus("facts", "".join(f"{x}\t{y}\n" for x, y in told).encode())
print(f"{len(facts):,} facts in {len(told):,} pairs, such as\n{told[0]}")

# %% [markdown]
# `learn` trains a model of two blocks and keeps its run in a folder, from which
# a teacher is opened. `look` asks for each fact.

# %%
SEEDS = 1
USUAL = {"recipe": "sft", "train.batch": 64, "train.val_fraction": 0.01,
         "train.eval_every": 10**6, "train.sample_every": 10**6}


def learn(name, seed, width, **more):
    """Train a model of this width on the pairs -> `Opened`."""
    setup = tl.prepare(tl.make_config(USUAL | {
        "model.layers": 2, "model.heads": 2, "model.kv_heads": 2,
        "model.width": width, "model.hidden": 8 * width // 3, "seed": seed,
        "model.context": 32, "model.init_std": width**-0.5,
        "model.embed_std": 0.5, "train.steps": 700, "train.lr": 5e-3,
    } | more), corpus, tokenizer)
    run = tl.Run(folder / name / str(seed))
    run.create(setup.record(), tokenizer)
    list(setup.train(run))
    return tl.Opened(setup.model.eval(), tokenizer, setup.frame)


class Told(Task):  # questions about facts; none serves as an example
    name, items = "facts", lambda task, split: ()


ITEMS = [Item(ask(fact), f" {answer(fact)}", answer(fact)) for fact in facts]
found = {}  # name -> for each seed: loss of answers, percent known by TIMES


def read(opened, pairs):
    """Return pairs as the model reads them: a batch."""
    return rows([opened.frame.prompt(tokenizer, x) for x, _ in pairs],
                [opened.frame.answer(tokenizer, y) for _, y in pairs], 32)


def look(name, opened):
    """Measure a model, remember, and print the mean over seeds."""
    batch, asked = read(opened, told[:1000]), answers(opened, Told(), ITEMS)
    loss = opened.model.loss(batch.tokens, batch.targets).item()
    right = np.array([100 * x.score for x in asked])
    found.setdefault(name, []).append(
        [loss, *(right[often == n].mean() for n in TIMES)])
    if len(found[name]) == SEEDS:
        loss, *known = np.mean(found[name], axis=0)
        print(f"{name:<15} loss {loss:5.3f}, knows",
              *(f"{x:5.1f}" for x in known))


print(f"{'told':<28} ", *(f"{n:>5}" for n in TIMES))
bases = [learn("whole", seed, 64) for seed in range(SEEDS)]
for base in bases:
    look("whole", base)
print(f"{base.model.num_parameters():,} weights")

# %% [markdown]
# So it knows everything that it was told 16 times, and a quarter of what it was
# told once. It has 119 weights for each fact.
#
# ## 2. Fewer bits
#
# Take 32 weights of one output, divide them by their largest and multiply by
# 127: then whole numbers from -127 to 127 are near enough, and take 8 bits each.
# With 4 bits there are only 16 numbers for a weight.

# %%
w = np.float32([[0.9], [-0.25], [0.04], [0.0]])
for bits in (8, 4):
    layer = getattr(nn, f"Int{bits}Linear").from_weights(w)
    print(f"{bits} bits: {w.ravel()} becomes {layer.dequantized().ravel()}")


def changed(name, change):
    """Measure copies of all models after a change -> bytes of the last."""
    for base in bases:
        model = change(copy.deepcopy(base.model))
        look(name, tl.Opened(model, tokenizer, base.frame))
    return sum(array.nbytes for array in model.state_dict().values())


guess = predict("with 4 bits, percent known of what was told once?")
for n in (8, 4):
    print(changed(f"{n} bits", lambda x, n=n: nn.quantize(x, n)), "bytes")
print(compare(guess, np.mean(found["4 bits"], axis=0)[1]))

# %% [markdown]
# Of 683,776 bytes 294,400 and 224,768 are left; 145,152 are the embedding, which
# is not rounded. And nothing is forgotten: with SEEDS = 3, of what was told twice
# the models know 53.9 %, with 8 bits 54.4 and with 4 bits 53.5. That is no law.
# Models so full of facts that each weight stores two bits of them lose nothing
# with 8 bits, but two thirds with 4 (Allen-Zhu and Li, "Physics of language
# models: Part 3.3", 2024). This one is far from full.
#
# ## 3. Which weights matter least?
#
# The small ones? A weight of 0.1 whose input is 50 does more than one of 2 whose
# input is 1. Wanda (Sun et al., 2024) scores a weight by |w| times the size of
# its input over some texts, in one pass without gradients. And where may zeros
# be? Anywhere; or some GPUs are twice as fast if of each four weights in a row
# two are zero (2:4). In each case: *in each group of m weights, keep the n with
# the largest scores*.

# %%
w = np.float32([[0.1, 3], [2, -1], [-0.5, 2], [1, 0.4]])
norms = np.float32([50, 1, 1, 1])
print(f"2 of 4 by size:\n{ops.prune_n_m(w, np.ones(4, np.float32), 2, 4)}")
guess = predict("by Wanda: the first weight left in the first column?")
print(compare(guess, float(ops.prune_n_m(w, norms, 2, 4)[0, 0])))

# %% [markdown]
# **Now you: `prune_n_m`.**
#
# `prune` does it to all linear layers. It also takes out heads, by the scores of
# their output weights, or layers, those without which the loss is lowest. Only
# then is the model faster on a CPU.

# %%
texts = read(bases[0], told[:256]).tokens
guess = predict("half of the weights zero: percent known of told 4 times?")
for how in ("magnitude:0.5", "wanda:0.5", "2:4", "heads:1", "layers:1"):
    changed(how, lambda model, how=how: prune(model, how, texts))
print(compare(guess, np.mean(found["magnitude:0.5"], axis=0)[3]))
sizes = input_norms(bases[0].model, texts).values()
print("largest / median", *(f"{x.max() / np.median(x):.1f}" for x in sizes))

# %% [markdown]
# The rare goes first. With half of the weights gone by size, the three models
# know 99.9 % of what was told 32 times, but of what was told four times 71.0 % in
# place of 81.0. With 2:4 it is 55.3 %, and even at 32 times 92.9. The loss rose
# from 0.068 to 0.119 and 0.275: as most tokens belong to facts that are told
# often, it does not say who pays. Without half of the heads or layers, most is
# lost. Wanda is no better than size here, 68.9 %. It is for models of billions of
# weights, in which a few inputs are a hundred times larger than the others. Here
# all but those of down_proj are alike, as the last line shows.
#
# ## 4. Repair
#
# A pruned model can be trained on, if the zeros are put back after each step.

# %%
for seed in range(SEEDS):
    setup = tl.prepare(tl.make_config(USUAL | {
        "start": str(folder / "whole" / str(seed)), "seed": seed,
        "train.steps": 150, "train.lr": 1e-3}), corpus)
    layers = prune(setup.model, "2:4").of_kind(nn.Linear).values()
    masks = [layer.weight.data != 0 for layer in layers]
    for event in setup.train():
        if isinstance(event, events.Stepped):
            for layer, mask in zip(layers, masks, strict=True):
                layer.weight.data *= mask
    model = setup.model.eval()
    look("2:4, repaired", tl.Opened(model, tokenizer, base.frame))

# %% [markdown]
# Nearly all is back, after 150 steps with half of the weights: 80.7 % of what was
# told four times, and 26.7 of what was told once, in place of 81.0 and 28.6.
#
# ## 5. A teacher
#
# Distillation trains a small model, the student. Its target is no longer the
# token of the text, but all probabilities of the teacher: the loss is their
# Kullback-Leibler divergence (Hinton et al., "Distilling the knowledge in a
# neural network", 2015). "Likely Ayford, perhaps Tilby, surely no animal" tells
# more than "Ayford".
#
# Three students, with two thirds of the weights: one reads the texts, one reads
# the texts but learns from the teacher. The third is *on-policy*: it reads the
# questions alone, writes the answers itself, and the teacher says at each token
# what it would have written (Agarwal et al., "GKD", 2024).

# %%
guess = predict("told 4 times: percent known to the teacher's student?")
for seed in range(SEEDS):
    taught = {"recipe": "distill", "distill.of": "sft",
              "distill.teacher": str(folder / "whole" / str(seed))}
    for name, more in (("texts", {}), ("teacher", taught),
                       ("questions alone", taught | {"distill.own": 1.0})):
        look(name, learn(name, seed, 48, **more))
print(compare(guess, np.mean(found["teacher"], axis=0)[3]))

# %%
known = {name: np.mean(seeds, axis=0)[1:] for name, seeds in found.items()}
write_page(
    folder / "forgotten.html", "What smaller models forget",
    "Percent of facts known, by how often they were told.",
    [curves(names[0], "percent known, by how often told",
            {name: known[name] for name in ("whole", *names[1:])}, at=TIMES,
            log_x=True)
     for names in (("Rounded", "8 bits", "4 bits"),
                   ("Pruned", "wanda:0.5", "2:4", "2:4, repaired"),
                   ("Taught", "texts", "teacher", "questions alone"))])

# %% [markdown]
# With SEEDS = 3 the student of the texts knows 72.6 % of what was told 4 times,
# that of the teacher 64.2, who is wrong about rare facts while the texts are not.
# But from questions alone, without one answer, it is 60.7 %, and 97.6 at 16
# times: a teacher pays where there are no texts. The repaired model, with 122,000
# weights that are not zero, knows 80.7 %, more than each student with 110,000.
#
# Try `tinyllm compress RUN` with --bits 4, --prune wanda:0.5 or --distill nano.
