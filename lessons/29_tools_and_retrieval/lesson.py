# %% [markdown]
# # 29. Tools and retrieval with sources
#
# 27 times 43? A model that writes the answer at once has to know the product.
# You would take a calculator. And where does Ines Acorn live? You would look it
# up, and name your source. A small model can learn both: to write a *call* before
# it answers (Toolformer, Schick et al., 2023), and to read where it would have to
# remember (retrieval, Lewis et al., 2020). What if a tool fails, or a text lies?

# %%
import json
import re
from dataclasses import replace
from itertools import islice

import numpy as np

import tinyllm as tl
from tinyllm.course.lesson_runner import begin, compare, predict, spread
from tinyllm.course.page import curves, told, write_page
from tinyllm.data import load_corpus
from tinyllm.eval import Answer, answers, find_task
from tinyllm.eval.agent import tools_of, with_tools
from tinyllm.eval.retrieval import Index, attribution, passages_of
from tinyllm.world import World

folder = begin()
SEEDS = 1  # 3 gives the means of three seeds that the text states

# %% [markdown]
# ## 1. A call is text
#
# The world has word problems with two or three numbers: one is at most eleven,
# the others are below 100. No calculation of the test is in a training text.

# %%
problems = find_task("world:calculator")
sums = list(islice(problems.items("test"), 200))
print(sums[0].question, sums[0].answer, f"or {sums[0].truth}", sep="\n")

# %% [markdown]
# To the model, a call is text like any other. When it has written the bracket
# that closes a call, a *loop* around it stops drawing, runs the tool, and adds
# ` => ` and the result; then the model goes on.
#
# It learns that from texts with calls. Their results do not count in the loss:
# the model will never have to write them, and cannot guess them.

# %%
small = {"recipe": "sft", "model.layers": 2, "model.width": 64,
         "model.hidden": 176, "model.heads": 2, "model.kv_heads": 2,
         "model.init_std": 0.125, "train.optimizer": "muon", "train.lr": 5e-3,
         "train.batch": 32, "sft.packed": False, "train.val_fraction": 0.02}


def prepare_solver(way, seed):
    """Prepare a training on word problems, with calls or without."""
    return tl.prepare(tl.make_config(small | {
        "data": f"world:calculator,n=8000,steps={way}", "tokenizer": "world",
        "sft.separator": " ", "model.embed_std": 0.125, "model.context": 96,
        "train.weight_decay": 0.5, "train.steps": 400, "seed": seed}))


setup = prepare_solver("true", 0)
batch = setup.plan.batches(0)
counted = batch.targets[0][batch.targets[0] >= 0]
print("read:  ", setup.tokenizer.decode(batch.tokens[0].tolist()).strip())
print("learnt:", setup.tokenizer.decode(counted.tolist()))


def solve(way, seed, ask):
    """Train a model -> percent right, and the model."""
    opened = prepare_solver(way, seed).finish()
    return percent(ask(opened, problems, sums)), opened


def percent(found, good=lambda answer: answer.score):
    """Return the percentage of good answers, by default of right ones."""
    return 100 * np.mean([float(good(answer)) for answer in found])


# %%
guess = predict("percent right without the calculator?")
tooled = [solve("true", seed, with_tools) for seed in range(SEEDS)]
alone = [solve("false", seed, answers) for seed in range(SEEDS)]
print(compare(guess, alone[0][0]))
print("percent without:", spread([right for right, _ in alone]))
print("percent with the calculator:", spread([right for right, _ in tooled]))

# %% [markdown]
# With SEEDS = 3 in the first cell, the means are 99.8 % with the calculator (99.5
# to 100) and 4.2 % without (3.0 to 6.0). Little is to be learnt: copy the story's
# numbers behind `[calc` with signs that fit, then the result.
#
# ## 2. When the tool fails

# %%
tools = {"the calculator": tools_of(World())["calc"],
         "it fails": lambda given: 1 // 0, "it lies": lambda given: "1066",
         "it talks": lambda given: "7 " * 500_000}
for name, tool in tools.items():
    found = with_tools(tooled[0][1], problems, sums[:1], tools={"calc": tool})
    print(f"{name}: {found[0].text[:66]}")

# %% [markdown]
# A failure is *told* to the model, as text. Ours has never read an error, so what
# follows is babble. A long result is cut to 200 characters; one that does not fit
# into the context ends the answer. And the model believes what it is told.
#
# ## 3. Finding a passage
#
# The world has a sentence for each of 1,440 facts about people. Which one answers
# a question? Count the words that they share. But "the" should count less than
# "Acorn", a second mention less than the first, and a word of a long text less:
# chance may bring it. BM25 (Robertson and Zaragoza, 2009) adds for each such word
#
#     idf tf / (tf + k1 (1 - b + b length / mean length))
#     idf = ln(1 + (N - df + 0.5) / (df + 0.5))
#
# tf: how often the word is in the text; df: how many of the N texts have it. k1
# (here 1.5) sets how much a second mention adds, b (0.75) how much length costs.
#
# **Now you: `bm25_scores`.** The library's index calls it. We ask 300 questions,
# and look how far down the list the right passage is:

# %%
asked = [*islice(find_task("world:retrieval,missing=0").items("test"), 300)]
passages, MOST = passages_of(World()), 24
index = Index(passages)


def split(item):
    """Return the passages of an item, without numbers, and its question."""
    text, question = re.fullmatch(r"(.*\.) (.*\?)", item.question).groups()
    return re.split(r" ?\[\d+\] ", text)[1:], question


def states(passage, item):
    """Say if a passage has the person and the object that are asked for."""
    labels = item.source.labels
    return labels["subject"] in passage and labels["right"] in passage


guess = predict("percent of questions whose best passage by BM25 is right?")
found = [[passages[i] for i in index.search(split(item)[1], MOST)]
         for item in asked]
hit = [[states(text, item) for text in texts]
       for texts, item in zip(found, asked, strict=True)]
recall = 100 * np.maximum.accumulate(hit, axis=1).mean(axis=0)
print(compare(guess, float(recall[0])))
print(f"among the first 8: {recall[7]:.1f} %, {MOST}: {recall[-1]:.1f} %")

# %% [markdown]
# "Earns a living as" shares no word with "job", and "the job of Karl" may be that
# of another Karl. (`Index(texts, encoder)` compares vectors, as in lesson 16.)
#
# ## 4. Reading
#
# From a passage, our reader writes the answer with its source, or "not said":

# %%
DIALS = "split=all,passages=1,wrong=1,missing=0.5,n=2500"
documents = [x for other in range(1, 9) for x in
             load_corpus(f"world:retrieval,world={other},{DIALS}").documents
             if x.prompt.count(x.labels["subject"]) == 2]
documents += 3 * [x for x in documents
                  if x.labels["relation"] == "best_friend"]
pairs = [{"prompt": x.prompt, "answer": x.answer} for x in documents]
(folder / "reading.jsonl").write_text("\n".join(map(json.dumps, pairs)))
print(documents[0].text, documents[1].text, sep="\n")


def train_reader(seed):
    """Train a model to read one passage."""
    return tl.prepare(tl.make_config(small | {
        "data": str(folder / "reading.jsonl"), "tokenizer": "word",
        "sft.separator": "", "model.embed_std": 1.0, "model.context": 32,
        "train.weight_decay": 0.1, "train.steps": 900, "seed": seed,
    })).finish()


readers = [train_reader(seed) for seed in range(SEEDS)]

# %% [markdown]
# These are eight *other* worlds, with other facts about people of the same names:
# a model that learns the world of the test by heart need not read. Texts about
# friends are there four times, as towns can be learnt as a list, but names must
# be copied. It learns only from passages about the person in question: to compare
# names is easy for a line of code, and too hard for so small a model.

# %%
NOWHERE = "not said [0]"


def read(items, given=None):
    """Let each reader answer items from passages; the surest counts."""
    given = given or [split(item)[0] for item in items]
    task, found = find_task("world:retrieval"), []
    places = [(i, n, text) for i, texts in enumerate(given)
              for n, text in enumerate(texts, 1)
              if items[i].source.labels["subject"] in text]
    asks = [replace(items[i], question=f"[1] {text} {split(items[i])[1]}")
            for i, _, text in places]
    for reader in readers:
        best = [(0.0, NOWHERE)] * len(items)
        said = answers(reader, task, asks)
        for (i, n, _), each in zip(places, said, strict=True):
            if each.text.endswith(" [1]"):
                cited = f"{each.text.strip()[:-4]} [{n}]"
                best[i] = max(best[i], (each.confidence, cited))
        found.append([Answer(x, text, task.score(x, text), sure)
                      for x, (sure, text) in zip(items, best, strict=True)])
    return found


def true(answer):
    """Return True if an answer is true in the world, not in its passage."""
    return answer.text.startswith(f"{answer.item.source.labels['right']} [")


items = list(islice(find_task("world:retrieval").items("test"), 400))
there = [x for x in items if x.source.labels["source"]]
missing = [x for x in items if not x.source.labels["source"]]
guess = predict("percent `not said` where no passage has the answer?")
refused = [*map(percent, read(missing))]
print(compare(guess, refused[0]))
right = read(there)
print("the right answer, with its source:", spread([*map(percent, right)]))
print("not said, where it is missing:", spread(refused))
print(attribution(right[0]))

# %% [markdown]
# Three seeds: 99.8 % right with the right source (99.4 to 100), and 98.8 % "not
# said" where it is missing (97.6 to 100). And if one is *outdated*? We put the
# true passage beside a false one, as if that had been true once. The surer answer
# counts; or, if passages have dates, a line of code takes the newest.

# %%
task = find_task("world:retrieval,missing=0,false=1")
aged = [x for x in islice(task.items("test"), 300)
        if x.source.labels["false"]]
old = [split(x)[0][x.source.labels["source"] - 1] for x in aged]
new = [text.replace(x.truth[:-4], x.source.labels["right"])
       for x, text in zip(aged, old, strict=True)]
both = [list(zip(*x, strict=True)) for x in zip(
    *(read(aged, [[text] for text in x]) for x in (old, new)), strict=True)]
for how, good in {
        "the surer counts": lambda two: two[0].confidence > two[1].confidence,
        "the newest counts": lambda two: two[1].text == NOWHERE,
        "no newer one is found": lambda two: two[0].text != NOWHERE}.items():
    print(f"outdated, if {how}:", spread([percent(x, good) for x in both]))

# %% [markdown]
# Three seeds: 49.4 % are outdated without dates (47.9 to 50.4), 0.2 % with dates
# (0 to 0.7), and all if no newer one is found. Now more and more passages are
# false. Then the index finds 24, and in the end we take out the right one.

# %%
SHARES, obeyed, right = (0, 25, 50, 75, 100), [], []
guess = predict("half of the passages are false: percent of true answers?")
for share in SHARES:
    task = find_task(f"world:retrieval,missing=0,false={share / 100}")
    found_all = read([*islice(task.items("test"), 150)])
    obeyed.append(np.mean([percent(x) for x in found_all]))
    right.append(np.mean([percent(x, true) for x in found_all]))
print(compare(guess, right[2]))
print("with the index, true:",
      spread([percent(x, true) for x in read(asked, found)]))
without = [[text for text in texts if not states(text, x)]
           for texts, x in zip(found, asked, strict=True)]
print("without the right passage, `not said`:", spread([
    percent(x, lambda x: x.text == NOWHERE) for x in read(asked, without)]))
write_page(
    folder / "tools.html", "Tools and retrieval",
    "What a call is worth, and whom a reader obeys.",
    [curves("False passages", "percent, by percent of false passages",
            {"as the passage says": obeyed, "true": right}, at=SHARES),
     told("A call, and what the tool said",
          with_tools(tooled[0][1], problems, sums[:1])[0].text)])

# %% [markdown]
# The reader says what is written, true or not; its source lets one check it. With
# the index 83.3 % of the answers are true (three seeds, 82.7 to 84.0): no reader
# finds what the index has missed. With the right passage taken out, 88.2 % are
# "not said" (84.7 to 94.3): one of 24 misleads more often than one of three.
#
# The loop is `tinyllm/eval/agent.py`, the index `tinyllm/eval/retrieval.py`:
#
#     tinyllm train sft --data world:lookup --tokenizer world --out runs/look
#     tinyllm eval runs/look --task world:lookup --metric tools
