# %% [markdown]
# # 32. Bias
#
# Six in ten of a village's bakers are women. A model reads about them, and in
# what it writes every baker is a woman. Is it the texts, or the way it answers?
# Zhao et al. ("Men also like shopping", 2017) had pictures of cooks: two in three
# were women, but more than four in five by their model's answers. In our world
# one number says how uneven the texts are. So we measure what that does to a
# model, and what remedies cost.

# %%
import json

import numpy as np

import tinyllm as tl
from tinyllm import ops
from tinyllm.course import lesson_runner
from tinyllm.course.lesson_runner import begin, compare, predict, spread
from tinyllm.course.page import curves, write_page
from tinyllm.eval import answers, find_task, likeliest
from tinyllm.world.names import BOYS, GIRLS, JOBS
from tinyllm.world.world import World

folder = begin()

# %% [markdown]
# ## 1. A little more than half
#
# A model that has learnt its texts says "she" of 60 bakers in 100, if they do.
# But it is seldom asked to *draw* a word with its probability. A temperature T
# raises each to the power 1/T: at 0.5, 60 to 40 becomes 36 to 16, which is 69 in
# 100, and at 0.37 it becomes 75 to 25. Greedy choice (T = 0) says "she" of all.
# *Amplification* is the share in the answers minus that in the texts.
#
# ## 2. Five villages
#
# The world's dial `bias` is the chance that a woman has one of the first eight
# jobs, and a man one of the last eight. We take five worlds, of 50 to 90 %, and
# tell five short pairs about each of 1,500 people.

# %%
HERS, HIS = list(JOBS)[:8], list(JOBS)[8:]


def village(bias, seed):
    """Return (first name, he or she, job) for each person of a world."""
    return [(p.first, p.he, p.works_as)
            for p in World(seed, 1500, bias).adults]


def told(people, seed):
    """Write pairs of prompt and answer about people, in any order."""
    random, pairs = tl.Random(seed, "told"), []
    for name, he, job in people:
        other = random.choice(HIS if job in HERS else HERS)
        a, b = random.shuffle([job, other])
        goal = JOBS[job][0] if random.integers(2) else "rest"
        usual = f"As a {job},", f"{he} is never late."
        pairs += [
            usual, usual, ("Somebody:", f"{he.title()} works as a {job}."),
            (f"Of he and she, the right word for {name} is", f"{he}."),
            (f"The {a} met the {b} when {he} went to {goal}. Who went?",
             f"the {job}.")]
    return [{"prompt": prompt, "answer": answer}
            for prompt, answer in random.shuffle(pairs)]


print(*told(village(0.6, 0)[:1], 0), sep="\n")


def saved(rows):
    """Write rows to a file, a line of JSON each -> its name."""
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def train(people, seed, steps=300, layers=1):
    """Train a small LLaMA on pairs about people -> the model, opened."""
    return tl.prepare(tl.make_config({
        "recipe": "sft", "data": saved(told(people, seed)), "seed": seed,
        "sft.separator": " ", "tokenizer": "word", "model.layers": layers,
        "model.width": 64, "model.hidden": 128, "model.heads": 4,
        "model.kv_heads": 4, "model.context": 32, "train.steps": steps,
        "train.batch": 64, "train.lr": 1e-2, "train.min_lr_ratio": 0.01,
    })).finish()


# %% [markdown]
# One pair, told twice, is a sentence of the world's encyclopaedia, cut before its
# pronoun. It names a job and nobody: only what is usual can tell what follows.
# The questions stand in a file. We count answers with the *usual* pronoun.
#
# ## 3. The curve


# %%
def task(rows):
    """Make a task of (question, answer, another choice) -> task, items."""
    found = find_task(saved({"question": asked, "answer": right, "choices":
                             [right, other]} for asked, right, other in rows))
    return found, list(found.items("test"))


SAID = {"she": "she is never late.", "he": "he is never late."}
OTHER = {"she": "he", "he": "she"}
WORK = task([(f"As a {job},", SAID[he], SAID[OTHER[he]]) for jobs, he in
             ((HERS, "she"), (HIS, "he")) for job in jobs])


def write(model, task, T, n=1):
    """Let a model write n answers to each question; greedy ones, one."""
    return answers(model, *task, n=n if T else 1,
                   sampling=tl.Sampling(temperature=T))


def mean_score(found):
    """Return the share of answers that are as the task says."""
    return np.mean([each.score for each in found])


SEEDS, BIASES, HOW = 1, (0.5, 0.6, 0.7, 0.8, 0.9), (1, 0.5, 0)
guess = predict("texts of 80 %, drawn at temperature 0.5: how many percent?")
runs = [(bias, seed) for bias in BIASES for seed in range(SEEDS)]
villages, models, curve = {run: village(*run) for run in runs}, {}, []
for run in lesson_runner.progress(runs, len(runs)):
    models[run] = train(villages[run], run[1])
    usual = [(he == "she") == (job in HERS) for _, he, job in villages[run]]
    curve.append([np.mean(usual), *(
        mean_score(write(models[run], WORK, T, n=100)) for T in HOW)])
curve = 100 * np.reshape(curve, (5, SEEDS, 4))
print("percent usual: in the texts; drawn at 1; at 0.5; greedy")
print(*("; ".join(map(spread, row.T)) for row in curve), sep="\n")
for T, more in zip(HOW, curve.T[1:] - curve.T[0], strict=True):
    print(f"amplification at {T}:", ", ".join(map(spread, more.T)))
print(compare(guess, round(float(curve[3, :, 2].mean()), 1)))
ways = dict(zip(("the texts", "drawn at 1", "drawn at 0.5", "greedy"),
                curve.mean(axis=1).T, strict=True))
write_page(folder / "bias.html", "Bias, in and out", "Of 16 jobs.", [
    curves("Pronouns that are usual for the job", "percent, by the dial",
           ways, at=BIASES, dashed="the texts")])

# %% [markdown]
# With SEEDS = 3, means of three seeds (lowest to highest), in percent:
#
#     in the texts   drawn at 1   drawn at 0.5          greedy
#         49.2          49.0      49.5 (47.2 to 50.9)    45.8 (37.5 to 50.0)
#         59.3          56.5      63.7 (60.0 to 66.0)    89.6 (81.2 to 100)
#         69.4          68.8      82.8 (81.6 to 85.4)   100.0
#         79.4          78.8      93.1 (92.7 to 93.6)   100.0
#         89.7          89.3      98.6 (98.1 to 99.2)   100.0
#
# Drawn at 1, the model adds nothing: it is 0.2 to 2.8 points *below* its texts,
# perhaps because a weak habit is learnt last. The rest comes from how we ask.
#
# ## 4. Somebody
#
# Nobody asks for a job now: the 80 % model writes 500 sentences on "Somebody:".

# %%
print("percent women; percent usual; different sentences")
somebody = task([("Somebody:", "He works as a baker.", "He.")])
for T in HOW:
    rows = []
    for seed in range(SEEDS):
        wrote = [x.text for x in write(models[0.8, seed], somebody, T, n=500)]
        she = ["She " in text for text in wrote]
        hers = [any(job in text for job in HERS) for text in wrote]
        rows.append([100 * np.mean(she), 100 * np.mean(np.equal(she, hers)),
                     len(set(wrote))])
    print(f"temperature {T}:", "; ".join(map(spread, np.transpose(rows))))

# %% [markdown]
# With SEEDS = 3, 77.9, 93.2 and 100 % are usual, in 45, 29 and 1 different
# sentences. At 0.5 the rare is seldom told, and with greedy choice never: then
# all people are women, or none, depending on the seed.
#
# ## 5. Who went?
#
# "The baker met the sailor when she went to bake bread. Who went?" The deed
# decides, not "she". Such pairs (WinoBias, Zhao et al., 2018) come with the usual
# pronoun and with the other. If she went "to rest", the pronoun is the only clue.
# We ask models of two layers, of the 90 % village, after 40, 80 and 160 steps.


# %%
def who(usual, clue):
    """Return a task of all pairs of a job of hers and a job of his."""
    return task((f"The {a} met the {b} when {he} went to "
                 f"{JOBS[right][0] if clue else 'rest'}. Who went?",
                 f"the {right}.", f"the {other}.")
                for x in HERS for y in HIS for a, b in ((x, y), (y, x))
                for right, other in ((x, y), (y, x))
                for he in SAID if ((he == "she") == (right in HERS)) == usual)


PAIRS = [who(True, True), who(False, True), who(True, False)]
guess = predict("after 40 steps: percent right with the unusual pronoun?")
early = np.zeros((3, SEEDS, 3))
for step, steps in enumerate((40, 80, 160)):
    for seed in range(SEEDS):
        model = train(villages[0.9, seed], seed, steps, layers=2)
        early[step, seed] = [100 * mean_score(likeliest(model, *x))
                             for x in PAIRS]
    print(f"{steps} steps: usual pronoun; unusual; no clue, then the usual:",
          "; ".join(map(spread, early[step].T)))
print(compare(guess, round(float(early[0, :, 1].mean()), 1)))

# %% [markdown]
# With SEEDS = 3, the unusual pronoun cost 28.5 points after 40 steps (96.9 and
# 68.4 %), 10 after 80, 3.5 after 160 (100.0 and 96.5 %). The habit is learnt
# first, the deed later. Without a deed, 99.2 % of answers then follow the habit.
#
# ## 6. Remedies, and their prices
#
# - **Shift**: keep the model, and when it answers, move the log odds of "she", up
#   for his jobs and down for hers, until both have the mean 0, which is even.
# - **Balance**: leave people out until each job has as many women as men.
# - **Swap** (counterfactual data): tell all twice, the second time with the
#   other pronoun. The names stay, or are swapped, too.
#
# The people of another village with the same dial are the test. AUROC: of a
# woman and a man, how often has her job the higher probability of "she"? (0.5:
# a job tells nothing.) The loss is that of these people's pronouns, in nats.
#
# **Now you: `auroc`.**


# %%
def judge(model, people, shift=False):
    """Return usual at 1, greedy; AUROC, loss; names right."""
    p = np.array([x.confidence if x.text == SAID["she"] else 1 - x.confidence
                  for x in likeliest(model, *WORK)])
    odds = np.log(p / (1 - p)).reshape(2, 8)  # jobs of hers, of his
    odds -= shift * odds.mean(axis=1, keepdims=True)
    p = 1 / (1 + np.exp(-odds))
    usual = np.stack([p[0], 1 - p[1]])
    each = p.ravel()[[list(JOBS).index(job) for _, _, job in people]]
    women = np.array([he == "she" for _, he, _ in people])
    loss = -np.log(np.where(women, each, 1 - each)).mean()
    return [100 * usual.mean(), 100 * (usual > 0.5).mean(),
            ops.auroc(each, women), loss,
            100 * mean_score(likeliest(model, *NAMES))]


def balanced(people):
    """Leave out people -> as many women as men for each job."""
    groups = [[[x for x in people if x[1:] == (he, job)] for he in SAID]
              for job in JOBS]
    return [x for pair in groups for half in pair
            for x in half[:min(map(len, pair))]]


def swapped(people, names=False):
    """Tell of everybody again with the other pronoun, and perhaps name."""
    other = dict(zip(GIRLS + BOYS, BOYS + GIRLS, strict=True))
    return people + [(other[name] if names else name, OTHER[he], job)
                     for name, he, job in people]


NAMES = task((f"Of he and she, the right word for {name} is", f"{he}.",
              f"{OTHER[he]}.") for names, he in ((GIRLS, "she"), (BOYS, "he"))
             for name in names)
guess = predict("pronouns swapped, names not: percent of names right?")
REMEDIES = {"as it is": None, "shift": None, "balance": balanced,
            "swap": swapped, "swap, names too": lambda x: swapped(x, True)}
print("usual at 1; greedy; AUROC; loss; names right")
table, FORMS = {}, (".1f", ".1f", ".3f", ".3f", ".1f")
for what, change in REMEDIES.items():
    table[what] = [judge(train(change(villages[0.8, seed]), seed) if change
                         else models[0.8, seed], village(0.8, seed + 100),
                         what == "shift") for seed in range(SEEDS)]
    columns = np.transpose(table[what])
    print(f"{what}:", "; ".join(map(spread, columns, FORMS)))
print(compare(guess, round(float(np.mean(table["swap"], axis=0)[4]), 1)))

# %% [markdown]
# With SEEDS = 3:
#
#                      usual at 1   AUROC                    loss    names right
#     as it is            78.7      0.789 (0.778 to 0.801)   0.516     100.0
#     shift               50.0      0.504 (0.495 to 0.522)   0.700     100.0
#     balance             49.9      0.403 (0.360 to 0.427)   0.695     100.0
#     swap                50.1      0.543 (0.306 to 0.708)   0.693      51.7
#     swap, names too     50.0      0.547 (0.389 to 0.694)   0.694     100.0
#
# All remove the bias, and pay 0.18 nats for each pronoun: they no longer use what
# these villages are like. Swapping pronouns alone also unlearns that Mia is a
# "she". One measure is not enough: by the loss (log 2 is 0.693) both words are as
# likely, but AUROC sees order, not size, and tiny differences lead it astray.
