# %% [markdown]
# # 30. Suites and their statistics
#
# A model is trained. What can it do? The usual answer is a suite: a table of
# tasks, a number for each. Every famous suite taught something, and broke in its
# own way. Here we train the models, write the test, and break it ourselves.
#
# * GLUE (Wang et al., 2018): nine tasks about sentences, one number. A year
#   later models were better at it than people: *saturation*.
# * HumanEval (Chen et al., 2021): 164 programs that are run, not compared. How
#   often a model may try is part of the number.
# * BIG-bench (Srivastava et al., 2022): over 200 tasks, models of many sizes.
#   Some scores grow, some *jump*, some never leave the level of guessing.
# * HELM (Liang et al., 2022): the same questions and *prompts* for all models,
#   and more than one metric.

# %%
import json
from functools import partial
from itertools import islice

import numpy as np

import tinyllm as tl
from tinyllm import ops
from tinyllm.course.lesson_runner import begin, compare, predict, spread
from tinyllm.course.page import curves, write_page
from tinyllm.eval import Evaluation, Row, answers, find_task, paired

folder, spread = begin(digits=3), partial(spread, form=".0%")

# %% [markdown]
# ## 1. When are two answers the same?
#
# People write "the cat", "Cat." and "cat". SQuAD's script (Rajpurkar et al.,
# 2016) compares words in small letters, without punctuation, and without "a",
# "an" and "the". Exact match is 1 if nothing else differs. F1 counts the shared
# words, and gives something for half an answer.

# %%
truth = "in the old mill"
for said in ("In the old mill.", "old mill", "the mill in old", "a barn"):
    print(f"{said:<17} exact match {ops.exact_match(said, truth):.0f}  "
          f"F1 {ops.token_f1(said, truth):.3f}")
guess = predict("the truth is 't u b a'. Exact match of 't u b'?")
print(compare(guess, ops.exact_match("t u b", "t u b a")))

# %% [markdown]
# A rule that is wise for English calls a wrong answer right, because "a" was a
# letter there. And F1 does not see the order. Every metric is blind somewhere;
# read a hundred answers before you believe one.
#
# **Now you: `exact_match` and `token_f1`.**
#
# ## 2. How sure is a score?
#
# Seven of ten were right. Of all such questions, how many would be? Many papers
# add and subtract 1.96 standard errors, sqrt(p (1 - p) / n) for a share p of n.
# We choose true scores: a 95 % interval should contain them in 95 of 100 trials.


# %%
def simple(right, n):
    """Return the interval p -+ 1.96 standard errors."""
    p = right / n
    half = 1.96 * (p * (1 - p) / n) ** 0.5
    return p - half, p + half


def covered(interval, p, n, trials=2000):
    """Return how often an interval holds the true score p, in percent."""
    right = (tl.Random("trials", n).uniform((trials, n)) < p).sum(axis=1)
    found = [interval(int(r), n) for r in right]
    return 100 * np.mean([low <= p <= high for low, high in found])


guess = predict("true 0.95, n 20: in how many of 100 does `simple` hold it?")
for p, n in ((0.5, 20), (0.95, 20), (0.95, 100), (0.7, 200)):
    print(f"true {p:.2f}, n {n:>3}: simple {covered(simple, p, n):4.1f} %, "
          f"Wilson {covered(ops.wilson_interval, p, n):4.1f} %")
print(compare(guess, round(float(covered(simple, 0.95, 20)), 1)))
print("20 of 20 right: simple", simple(20, 20),
      "Wilson", np.array(ops.wilson_interval(20, 20)))

# %% [markdown]
# After 20 of 20 the simple one is sure of perfection. Wilson (1927) asks instead
# which true scores make a result unsurprising. `tinyllm eval` prints Wilson's.
#
# **Now you: `wilson_interval`.**
#
# ## 3. Score by size
#
# We mix 1,500 training questions of each of four tasks of the world, and train
# four LLaMAs of two layers that differ in width. No test question is among them.
# Each line of the scores begins with the number of parameters.

# %%
TASKS = {"backwards": "world:checkable,length=4", "compare": "world:compare",
         "smallest": "world:extreme,size=3", "parity": "world:parity,size=12"}
tasks = {name: find_task(task) for name, task in TASKS.items()}
asked = {name: [*islice(x.items("test"), 400)] for name, x in tasks.items()}


def write(name, leaked=(), copies=1):
    """Write questions of all tasks, and copies of leaked ones -> the file."""
    own = [x for t in tasks.values() for x in islice(t.items("train"), 1500)]
    found = tl.Random(0).shuffle([*own, *list(leaked) * copies])
    said = [{"prompt": x.question, "answer": x.answer.strip()} for x in found]
    (folder / name).write_text("\n".join(map(json.dumps, said)))
    return str(folder / name)


def train(file, width, seed=0):
    """Train a model on a file of questions with answers."""
    heads = width // 8
    return tl.prepare(tl.make_config({
        "recipe": "sft", "data": file, "tokenizer": "word", "seed": seed,
        "model.layers": 2, "model.width": width, "model.hidden": 3 * width,
        "model.heads": heads, "model.kv_heads": heads, "model.context": 48,
        "train.steps": 400, "train.batch": 64, "train.weight_decay": 0.1,
    })).finish()


def score(opened, name, metric="right", limit=200, **more):
    """Return the score of a task."""
    row = Row(TASKS[name], metric, **more)
    return Evaluation(opened, limit=limit).measure(row)["score"]


for name, items in asked.items():
    print(f"{name:<10} {items[0].question} -> {items[0].truth}")

# %%
SEEDS, WIDTHS = 1, (8, 16, 32, 64)
guess = predict("of the four tasks, how many does the largest do above 90 %?")
mix, models, right, f1 = write("mix.jsonl"), {}, {}, {}
for width in WIDTHS:
    models[width] = [train(mix, width, seed) for seed in range(SEEDS)]
    size = models[width][0].model.num_parameters()
    right[size] = np.array([[score(x, name) for name in TASKS]
                            for x in models[width]])
    f1[size] = np.array([score(x, "backwards", "f1") for x in models[width]])
    said = " ".join(f"{name} {spread(x)}" for name, x in
                    zip(TASKS, right[size].T, strict=True))
    print(f"{size:>7,}: {said}  F1 {f1[size].mean():.2f}")
print(compare(guess, int((right[size].mean(axis=0) > 0.9).sum())))

# %% [markdown]
# One task jumps: absent, one size later nearly perfect, and then *saturated*: it
# cannot tell models apart. GLUE ended like this. One grows. Two stay near chance,
# 50 % for parity and 33 % for `compare`: a score needs its chance beside it.
#
# Is the jump in the model, or in the metric? A word of four letters is right if
# all four are. F1 of the same answers, the last column, is well above 0 where
# the exact score is 0. Before you call a jump a miracle, look for a metric that
# gives part of the credit (Schaeffer et al., "Are emergent abilities of large
# language models a mirage?", 2023).
#
# ## 4. Which model is better?
#
# Models find the same questions hard, so compare them question by question: here
# widths 32 and 64 on `smallest`. The paired test turns the signs of differences
# at random: p is how often chance alone makes as large a mean difference.

# %%
two = [np.array([x.score for x in answers(models[width][0],
                 tasks["smallest"], asked["smallest"])])
       for width in (32, 64)]
guess = predict("how many questions until p is below 0.05?")
needed = None
for n in (10, 25, 50, 100, 200, 400):
    first, second = (x[:n] for x in two)
    found = paired(first, second)
    low, high = ops.wilson_interval(int(first.sum()), n)
    print(f"n {n:>3}: {first.mean():.2f} ({low:.2f} to {high:.2f}) against "
          f"{second.mean():.2f}, p {found['p']:.3f}")
    needed = needed or (n if found["p"] < 0.05 else None)
print(compare(guess, needed or "more than 400"))

# %% [markdown]
# Without pairing, some 16 s (1 - s) / d^2 questions show a difference d from a
# score s in four of five tests: 8,400 for 0.70 against 0.72. HumanEval has 164.
# And the seed of a training is a second source of chance: see the end.
#
# ## 5. Leakage
#
# The model of width 32 is bad at comparing numbers. Now 100 of the test questions
# get into the training text, with answers. Nobody meant to cheat: they stood on a
# web page. The other test questions, those that differ from them, stay unseen.

# %%
COPIES = (0, 1, 4, 16)
old = asked["compare"][:100]
known = {x.question for x in old}
new = [x for x in asked["compare"] if x.question not in known]
guess = predict("each leaked question 4 times: percent right of these?")
seen, fresh = [], []
for copies in COPIES:
    runs = models[32] if not copies else [
        train(write(f"leak{copies}.jsonl", old, copies), 32, seed)
        for seed in range(SEEDS)]
    for found, items in ((seen, old), (fresh, new)):
        found.append([np.mean([each.score for each in answers(
            x, tasks["compare"], items)]) for x in runs])
    print(f"{copies:>2} copies: leaked {spread(seen[-1])}, "
          f"fresh {spread(fresh[-1])}", flush=True)
print(compare(guess, round(float(100 * np.mean(seen[2])))))
print("95 % interval of the last leaked score:",
      np.array(ops.wilson_interval(round(100 * seen[-1][0]), 100)))

# %% [markdown]
# The leaked test is solved. The fresh one says how much of that is ability. The
# interval is narrow and wrong: it knows how many questions there were, not where
# they came from. What helps: fresh questions, which cost nothing here, a search
# for the test in the training text, or a marker in its files, as BIG-bench has.
#
# ## 6. The prompt is part of the test
#
# The best model and the same questions, asked in other ways:

# %%
guess = predict("one letter in twenty exchanged with the next: % right?")
ways = {"as in training": {}, "one example before it": {"shots": 1},
        "typos": {"change": "typos"}, "CAPITALS": {"change": "capitals"},
        "a sentence before": {"change": "aside"}}
for way, how in ways.items():
    ways[way] = [score(x, "smallest", **how) for x in models[64]]
    print(f"{way:<22} {spread(ways[way])}")
print(compare(guess, round(100 * np.mean(ways["typos"]))))

# %% [markdown]
# Which is "the" score? Each is, of a model *with a prompt*, and they differ more
# than two models do. So HELM fixes the prompt for all, and says it. An example,
# which helps a large model, confuses this one, which saw single questions only.
#
# ## 7. How often may it try?
#
# pass@k of lesson 18 draws several answers; one right answer is enough. For
# programs that is fair: their tests choose. Now we ask for parity, even or odd:

# %%
guess = predict("ten answers to each: for how many of 100 is one right?")
drawn = answers(models[64][0], tasks["parity"], asked["parity"][:60], n=10,
                sampling=tl.Sampling(temperature=1))
scores = np.array([x.score for x in drawn], int).reshape(60, 10)
passed = scores.sum(axis=1).tolist()
for k in (1, 2, 5, 10):
    print(f"pass@{k:<2} {100 * ops.pass_at_k(passed, 10, k):5.1f} %")
print(compare(guess, round(100 * ops.pass_at_k(passed, 10, 10))))

# %% [markdown]
# Where there are two answers, ten coins find the right one. Without a test that
# chooses, pass@k measures patience. Here is what to remember, on one page:

# %%
sizes = list(right)
means = np.array([100 * right[size].mean(axis=0) for size in sizes])
write_page(
    folder / "measuring.html", "What breaks a test",
    "Four tasks by the size of the model, and a test that leaked.",
    [curves("Score by size", "percent, by parameters",
            dict(zip(TASKS, means.T, strict=True)), at=sizes, log_x=True),
     curves("One of them leaks: comparing", "percent, by copies of 100 "
            "test questions in the training text",
            {"leaked questions": 100 * np.mean(seen, axis=1),
             "fresh questions": 100 * np.mean(fresh, axis=1)}, at=COPIES)])

# %% [markdown]
# With SEEDS = 3, the means of three seeds (lowest to highest) were, in percent:
#
#     parameters   backwards       compare         smallest        parity
#       9,672        0             26 (18 to 32)    0              52
#      22,672       97 (90 to 100) 25 (22 to 28)    9 (6 to 12)    50 (45 to 55)
#      58,656      100             38 (33 to 46)   37 (34 to 40)   50 (45 to 52)
#     170,560      100             41 (38 to 43)   58 (56 to 61)   50 (46 to 52)
#
#     copies:  0               1               4               16
#     leaked   40 (34 to 48)   50 (39 to 55)   93 (91 to 95)   100
#     fresh    48 (43 to 53)   41 (34 to 44)   57 (54 to 59)    62 (59 to 65)
#
# Repeating questions of the test taught a little comparing, too: 14 points on
# fresh questions. The leaked ones claim 60.
#
# Lesson 34 asks people instead. On the command line, with models of yours:
#
#     tinyllm eval RUN RUN RUN --suite many --html many.html
