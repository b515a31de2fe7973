# %% [markdown]
# # 21. Instruction tuning
#
# A language model continues a text. Ask it something, and it may well go on
# with another question, as an exam paper does. It may *know* the answer. Nobody
# has shown it that answers are wanted, and where they end. That takes some
# hundred pairs of a prompt and an answer, and the loop that you have. This is
# instruction tuning, or SFT (Ouyang et al., "Training language models to follow
# instructions with human feedback", 2022).

# %%
import copy
import dataclasses

import numpy as np

import tinyllm as tl
from tinyllm import ops
from tinyllm.course.lesson_runner import begin, compare, predict
from tinyllm.course.page import curves, told, write_page
from tinyllm.data import load_corpus, rows
from tinyllm.rng import Random
from tinyllm.tokenizer import make_tokenizer

folder, WORLD = begin(), "people=120"

# %% [markdown]
# ## A model that has read
#
# Our model reads pages about the people of the world: statements, each fact in
# four wordings. Some pages are questions with answers, as you find them
# anywhere. Others are exam papers: questions, and nothing else.
#
# And there are pairs: a question, and the answer of a friendly assistant. A
# fifth of the questions is kept for the test. What they ask was stated on the
# pages, but no page and no pair has such a question with its answer. The base
# model, which reads the pages, has two blocks of width 64; its tokens are words.

# %%
def questions(split):
    """Return {question: polite answer}."""
    name = f"world:instruction,{WORLD},by=entity,n=12000,split={split}"
    return {each.labels["about"]: each.truth
            for each in load_corpus(name).documents
            if each.labels["instruction"] == "polite"}


pairs, test, draw = questions("train"), questions("test"), Random(0, "pages")
known = [f"{question} {truth[8:-14]}." for question, truth in pairs.items()]
facts = load_corpus(f"world:facts,{WORLD},n=24000,split=all")
facts = facts.text().split("\n\n")[:-1]
statements = [" ".join(facts[i : i + 6]) for i in range(0, len(facts), 6)]
asked, some = [*pairs, *test], range(800)
answered = [" ".join(draw.choice(known) for _ in range(5)) for _ in some]
exams = [" ".join(draw.choice(asked) for _ in range(6)) for _ in some]
for pages in (statements, answered, exams):
    print(f"{len(pages):,} pages such as: {pages[0]}\n")
print(f"{len(pairs)} pairs, {len(test)} questions for the test, such as:")
print(*next(iter(pairs.items())), sep="\n")

# %%
pages = "\n\n".join(draw.shuffle(statements + answered + exams)) + "\n\n"
NOBODY = "Sorry: nobody knows, dear friend."
words = "\n".join([*pairs.values(), f"{NOBODY}\n"])
tokenizer = make_tokenizer("word", (pages + words).encode())
SIZES = {
    "preset": "laptop", "model.layers": 2, "model.heads": 2,
    "model.kv_heads": 2, "model.width": 64, "model.hidden": 176,
    "model.context": 128, "model.init_std": 0.125, "model.embed_std": 0.125,
    "train.batch": 32, "train.lr": 5e-3, "train.weight_decay": 0.5,
    "train.eval_every": 10**6, "train.sample_every": 10**6,
    "train.val_fraction": 0.02,
}
STEPS, TUNING, SEEDS = 1000, 160, 1


def read_pages(seed):
    more = {"recipe": "pretrain", "pretrain.documents": True, "seed": seed}
    config = tl.make_config(SIZES | more | {"train.steps": STEPS})
    corpus = tl.Corpus("pages", pages.encode(), separator=b"\n\n")
    return tl.prepare(config, corpus, tokenizer).finish().model


bases = [read_pages(seed) for seed in range(SEEDS)]
base = bases[0]


def write(model, prompts):
    """Return what the model writes after each prompt, with the end."""
    found = tl.generate(model.eval(), prompts, max_tokens=24, stop=["\n"],
                        sampling=tl.Sampling(temperature=0),
                        tokenizer=tokenizer)
    return [tokenizer.decode(one) for one in found]


for question in list(test)[:3]:
    print(f"{question}\n -> {write(base, [question])[0].strip()}")

# %% [markdown]
# ## What counts
#
# A pair becomes one row: the prompt, a line break, the answer, a line break. The
# model should learn the answer *and its end*. Prompts are the user's part. So
# only targets in the answer count; all others are -100, which the loss leaves
# out. The target at a place is the *next* token, so T + 1 tokens have T targets.
# Here the prompt is 3 tokens, the answer 2 and the end 1, then padding:

# %%
row = np.array([[11, 12, 13, 21, 22, 9, 0, 0]])
guess = predict("how many of the 7 targets count?")
targets = ops.answer_targets(row, np.array([3]), np.array([6]))
print(compare(guess, int((targets >= 0).sum())))
print(row[0, :-1], "is read")
print(targets[0], "should be written")

# %% [markdown]
# The first stands under the last token of the prompt: there the answer begins.
#
# **Now you: `answer_targets`.** People are off by one here, at the begin or at
# the end. Both mistakes are silent: the loss falls all the same.
#
# ## Packing
#
# Answers are short, and rows in a batch are as long as the longest. The recipe
# can put several pairs into one row. Attention then needs to know where each
# pair begins (`starts`), or a question would see the one before it. Here are 64
# of the world's instructions, some of which ask to spell a word.

# %%
some = load_corpus("world:instruction,n=64")
spelt = make_tokenizer("word", some.data)
chosen = [[spelt.encode(f"{text}\n") for text in (each.prompt, each.truth)]
          for each in some.documents]
for packed in (False, True):
    y = rows(*zip(*chosen, strict=True), 128, packed=packed).targets
    print(f"packed {packed!s:<5} {y.shape[0]:>2} rows of {y.shape[1]:>3}, "
          f"targets in {100 * (y >= 0).mean():.0f} % of the places")

# %% [markdown]
# ## Tuning
#
# `tinyllm train sft` is this recipe. Here it runs with three ideas of what
# counts: the answer and its end; the answer alone; the prompt, too. A fourth
# model has read nothing before. Two things are measured on the questions of the
# test: texts that begin with the right answer, and texts that end by themselves
# within 24 tokens. The rate is small, so that little of what was read is lost.

# %%
def without_end(batch):
    """Let the last target of each row not count."""
    y, at = batch.targets.copy(), np.arange(batch.targets.shape[1])
    y[at == np.where(y >= 0, at, 0).max(axis=1, keepdims=True)] = -100
    return dataclasses.replace(batch, targets=y)


def with_prompt(batch):
    """Let the prompt's tokens count, too."""
    x, y = batch.tokens, batch.targets
    ahead = np.arange(y.shape[1]) < (y >= 0).argmax(axis=1)[:, None]
    y = np.where(ahead, np.roll(x, -1, axis=1), y)
    return dataclasses.replace(batch, targets=y)


def marks(model, asked=test):
    """Return percent right, and percent that end by themselves."""
    said = write(model, [question + "\n" for question in asked])
    both = zip(said, asked.values(), strict=True)
    return 100 * np.mean([(text.strip().startswith(truth), "\n" in text)
                          for text, truth in both], axis=0)


def tune(start, learnt, change, seed):
    """Tune a copy of a model -> the model, marks at every eighth."""
    corpus = "\n".join(map("\t".join, draw.shuffle(learnt.items())))
    setup = tl.prepare(
        tl.make_config(SIZES | {
            "recipe": "sft", "train.steps": TUNING, "seed": seed,
            "train.optimizer": "adamw", "train.lr": 1e-3}),
        tl.Corpus("pairs", corpus.encode()), tokenizer,
        model=copy.deepcopy(start))
    given, found = setup.plan.batches, [marks(setup.model)]
    setup.plan.batches = lambda step: change(given(step))
    for event in setup.train():
        step = getattr(event, "step", 0)
        if type(event).__name__ == "Stepped" and step % (TUNING // 8) == 0:
            found.append(marks(setup.model))
            setup.model.train()
    return setup.model.eval(), np.array(found)


fresh = [tl.build(base.config, seed) for seed in range(SEEDS)]
guess = predict("of 100 new questions, how many are answered right?")
IDEAS = {"answer and end": copy.copy, "no end": without_end,
         "prompt, too": with_prompt, "no reading": copy.copy}
tuned, ways = {}, {}
for name, change in IDEAS.items():
    starts = fresh if name == "no reading" else bases
    runs = [tune(one, pairs, change, i) for i, one in enumerate(starts)]
    tuned[name] = [one for one, _ in runs]
    ways[name] = np.mean([way for _, way in runs], axis=0)
    right, ended = ways[name][-1]
    print(f"{name:<15} right {right:5.1f} %  ended {ended:5.1f} %")
    if SEEDS > 1:
        print("   each:", [way[-1].round(1).tolist() for _, way in runs])
print(compare(guess, float(ways["answer and end"][-1, 0])))

# %% [markdown]
# Who never learnt the end says what it knows, and talks on. Who has read nothing
# learns the *form* as quickly as the others, and invents the rest: tuning taught
# the form, the pages had taught the facts. And prompts that count do no harm
# that we could see; they are as short as the answers here. With SEEDS = 3 these
# were the means, and the right answers of each seed:
#
#     answer and end  right 84.4 %  ended 100.0 %   85.9 89.1 78.1
#     no end          right 85.4 %  ended   0.5 %   87.5 89.1 79.7
#     prompt, too     right 82.0 %  ended 100.0 %   85.9 89.1 71.1
#     no reading      right  6.5 %  ended 100.0 %    5.5  6.2  7.8

# %%
first = next(iter(test))
before = write(base, [first])[0].strip()
said = {name: write(models[0], [first + "\n"])[0].strip()
        for name, models in tuned.items()}
print("\n".join(map(": ".join, said.items())))

# %% [markdown]
# ## Nobody knows
#
# What does it say about people who do not live in this world?


# %%
def strangers(split):
    name = f"world:question,{WORLD},unknown=1,n=400,split={split}"
    return {each.prompt: NOBODY for each in load_corpus(name).documents
            if each.prompt.split()[1] in ("does", "is")}


def invented(model, asked):  # percent of answers that state a fact
    said = write(model, [question + "\n" for question in asked])
    return 100 * np.mean([text.strip() != NOBODY for text in said])


unknown, more = strangers("test"), pairs | strangers("train")
guess = predict("of 100 strangers, about how many is a fact invented?")
honest = [tune(one, more, copy.copy, i)[0] for i, one in enumerate(bases)]
made_up = {}
for name, models in {"pairs": tuned["answer and end"],
                     "and strangers": honest}.items():
    each = [(invented(one, unknown), marks(one)[0], 100 - invented(one, test))
            for one in models]
    made_up[name], right, refused = np.mean(each, axis=0)
    print(f"{name:<14} invented {made_up[name]:5.1f} %  right {right:5.1f} %"
          f"  refused, though it was told {refused:4.1f} %")
    if SEEDS > 1:
        print("   each:", np.round(each, 1).tolist())
print(compare(guess, float(made_up["pairs"])))

# %% [markdown]
# It was never shown that one may not know. A few hundred pairs about strangers
# (others than those of the test) teach it. With three seeds inventions fell from
# 100 to 20.6 %, and right answers from 84.4 to 78.4 %: honesty costs something.
#
#     tinyllm train sft --data world:instruction
#     tinyllm train --mine 21 --steps 50

# %%
at = [TUNING * i // 8 for i in range(9)]
lead = "Measured on this machine, on questions that no text had answered."
write_page(folder / "tuning.html", "From a text to an assistant", lead, [
    curves("Right", "percent of new questions, by step",
           {name: way[:, 0] for name, way in ways.items()}, at=at),
    curves("Ended", "percent of answers that end by themselves",
           {name: way[:, 1] for name, way in ways.items()}, at=at),
    told("Before", f"{first} {before}"),
    told("After", f"{first} {said['answer and end']}"),
])
