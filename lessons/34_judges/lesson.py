# %% [markdown]
# # 34. People as judges
#
# Which answer is right, a program can often check; which is better, people must
# say. So one shows them two answers, not who wrote them. Chatbot Arena (Chiang
# et al., 2024) ranks models by millions of votes; many take it for the truth.
# Our world knows the true reward of an answer (lesson 23). So we can build
# judges who see it, and judges with a weakness, and watch a ranking bend.

# %%
import numpy as np

import tinyllm as tl
from tinyllm import ops
from tinyllm.course.lesson_runner import begin, compare, predict, spread
from tinyllm.course.page import curves, write_page
from tinyllm.eval.arena import VOTES, Preferred, duels, judged, strengths, won

folder = begin()

# %% [markdown]
# ## 1. From votes to strengths
#
# Bradley and Terry (1952) give each model a strength s, so that i beats j with
# probability s_i / (s_i + s_j). That is lesson 23's sigmoid, where the score is
# the logarithm of s. A beat B in 8 of 10 votes, and B beat C in 8 of 10. A and
# C never met.

# %%
wins = np.float32([[0, 8, 0], [2, 0, 8], [0, 2, 0]])  # row: who won
guess = predict("in how many of 100 votes would A beat C?")
s = np.full(3, 1 / 3, np.float32)
for _ in range(40):
    s = ops.bradley_terry_step(wins, s)
print("strengths:", s.round(3))
print(compare(guess, 100 * float(s[0] / (s[0] + s[2]))))

# %% [markdown]
# A is four times as strong as B, and B as C, so A is sixteen times as strong as
# C. Each step asks of each model: how many votes did it win, and how many should
# it have won, if the strengths were right? It multiplies the strength by the
# ratio (Hunter, 2004). In which order people voted does not matter.
#
# **Now you: `bradley_terry_step`.**
#
# ## 2. Four models
#
# Three models learn answers that people liked better, for 40, 150 and 400 steps.
# The fourth, a *talker*, learns 400 steps from people who like the longer answer.

# %%
SEEDS = 1
PAIRS = "world:preference,people=30"
MODELS = {"steps-40": (40, 0), "steps-150": (150, 0), "steps-400": (400, 0),
          "talker": (400, 1)}  # steps, length_bias
NAMES, contests = list(MODELS), []
for seed in range(SEEDS):
    opened = {}
    for name, (steps, length) in MODELS.items():
        setup = tl.prepare(tl.make_config({
            "recipe": "sft", "data": f"{PAIRS},n=6000,length_bias={length}",
            "preset": "laptop", "tokenizer": "word", "seed": seed,
            "model.layers": 2, "model.width": 64, "model.context": 96,
            "train.steps": steps, "train.lr": 4e-3, "train.batch": 32,
            "train.eval_every": 10**6, "train.sample_every": 10**6}))
        run = tl.Run(folder / "runs" / f"{name}-{seed}")
        run.create(setup.record(), setup.tokenizer)
        list(setup.train(run))
        opened[name] = tl.open_model(run.folder)
    contests.append(duels(opened, Preferred(PAIRS), 1200, seed))
duel = contests[0][1]
print(duel.question, *duel.answers, sep="\n")
guess = predict("how much more reward has the second answer?")
print(compare(guess, duel.rewards[1] - duel.rewards[0]), duel.models)

# %% [markdown]
# Such a pair of answers is a *duel*. There are 1,200, two models each in random
# order, on questions that no training asked. A careful judge, who sees the true
# reward, votes first. Points are 400 log10(s), less their mean.


# %%
def votes(contest, seed, judge="reward", **bias):
    """Let a judge vote on all duels -> what the first answers win."""
    said = [judged(duel, judge, bias, tl.Random(seed, "judge", i))
            for i, duel in enumerate(contest)]
    return np.array([VOTES[each] for each in said])


def points(contest, scores):
    """Return the points of all models, from what the first answers win."""
    logs = 400 * np.log10(strengths(won(NAMES, contest, scores), ties=1))
    return logs - logs.mean()


guess = predict("the model of 40 steps: how many points?")
careful = [votes(contest, seed) for seed, contest in enumerate(contests)]
first = np.array([*map(points, contests, careful)])
for k, name in enumerate(NAMES):
    print(f"{name:<9} {spread(first[:, k], '+.0f')} points")
print(compare(guess, float(first[:, 0].mean())))
for duel in contests[0][:5]:
    if "steps-150" in duel.models:
        print(duel.question, duel.answers[duel.models.index("steps-150")])

# %% [markdown]
# "Gladly." has a reward of 0.5: polite, and nothing wrong. The model of 150 steps
# tells facts about somebody else, and that costs 0.5. A vote says which of
# *these two* answers is better, not that one of them is good.
#
# ## 3. How sure is it?
#
# Other duels would have given other votes. The *bootstrap* (Efron, 1979) asks
# how much that matters: from the n votes draw n, some twice, others never, and
# compute the number again, a thousand times. Leave out the lowest and highest
# 2.5 %. Here for the share that the best model wins against that of 40 steps.

# %%
score = np.float32([
    x if duel.models[0] == "steps-400" else 1 - x
    for duel, x in zip(contests[0], careful[0], strict=True)
    if {*duel.models} == {"steps-400", "steps-40"}])
N = len(score)
guess = predict(f"of {N} votes it wins {score.sum():g}: percent at least?")
draws = tl.Random(0, N).integers(N, (1000, N))
low, high = ops.bootstrap_interval(score, draws)
print(compare(guess, 100 * low), f"and at most {100 * high:.4g}")

# %% [markdown]
# **Now you: `bootstrap_interval`.**
#
# Twice as sure costs four times the votes. How many does a ranking need? Draw n
# of the 1,200 votes, 200 times, and see how often the order is that of all.

# %%
COUNTS, right = (25, 50, 100, 200, 400, 800), []
guess = predict("100 rankings by 100 votes: how many have all places right?")
for seed, (contest, scores) in enumerate(zip(contests, careful, strict=True)):
    for n in COUNTS:
        drawn = tl.Random(seed, "votes", n).integers(len(contest), (200, n))
        found = [points([contest[i] for i in at], scores[at]).argsort()
                 for at in drawn]
        same = np.stack(found) == first[seed].argsort()
        right.append((same[:, -1].mean(), same.all(axis=1).mean()))
right = 100 * np.reshape(right, (SEEDS, -1, 2))
for n, both in zip(COUNTS, right.transpose(1, 2, 0), strict=True):
    best, whole = (spread(x, ".0f") for x in both)
    print(f"{n:>4} votes: best model right {best} %, all places {whole} %")
print(compare(guess, float(right[:, 2, 1].mean())))

# %% [markdown]
# The best is soon known, neighbours are not: who leads by 25 points wins 54 of
# 100 votes.
#
# ## 4. The longer answer
#
# People like long answers, even if they say no more. This judge is careful, but
# lets length decide a share of the votes.

# %%
SHARES = (0, 0.25, 0.5, 0.75, 1)
bent = np.array([
    [points(each, votes(each, seed, length=share)) for share in SHARES]
    for seed, each in enumerate(contests)])
guess = predict("from which share on does the talker win? (0 to 1)")
print("length decides ", *(f"{100 * share:>4.0f} %" for share in SHARES))
for k, name in enumerate(NAMES):
    print(f"{name:<14}", *(f"{x:+6.0f}" for x in bent[:, :, k].mean(axis=0)))
at = [np.interp(0, each[:, 3] - each[:, 2], SHARES) for each in bent]
print(compare(guess, float(np.mean(at))) + ", by seed:", np.round(at, 2))
write_page(
    folder / "judges.html", "How a ranking bends",
    "The same answers of four models. What changes is the judge.",
    [curves("Points, as length decides more of the votes",
            "points, by the share of votes that length decides",
            dict(zip(NAMES, bent.mean(axis=0).T, strict=True)), at=SHARES),
     curves("Rankings that are right", "percent, by votes of a careful judge",
            dict(zip(("the best model", "all four places"),
                     right.mean(axis=0).T, strict=True)),
            at=COUNTS, log_x=True)])

# %% [markdown]
# No answer has changed. Can the ranking be mended? Fit the strengths and a bonus
# of the longer answer at once, so that the votes get likeliest; what length
# explains is then not in the strengths: *length control* (Dubois et al., 2024).


# %%
def controlled(contest, scores):
    """Fit points and a bonus of length -> the points at equal length."""
    x = np.zeros((len(contest), 5))
    for row, duel in zip(x, contest, strict=True):
        row[[NAMES.index(name) for name in duel.models]] = 1, -1
        row[4] = np.sign(np.subtract(*(len(x.split()) for x in duel.answers)))
    w, calm = np.zeros(5), np.eye(5) / 100  # calm: keeps w finite
    for _ in range(20):  # Newton's method
        p = 1 / (1 + np.exp(-x @ w))
        slope = x.T @ (scores - p) - calm @ w
        w += np.linalg.solve((x.T * p * (1 - p)) @ x + calm, slope)
    return 400 / np.log(10) * (w[:4] - w[:4].mean())


guess = predict("length decides half: points of the talker, controlled?")
mended = np.array([
    [controlled(each, votes(each, seed, length=share)) for share in (0, 0.5)]
    for seed, each in enumerate(contests)])
for how, each in {
        "careful": bent[:, 0], "careful, controlled": mended[:, 0],
        "half by length": bent[:, 2], "controlled": mended[:, 1]}.items():
    print(f"{how:<19}", "; ".join(spread(x, "+.0f") for x in each.T))
print(compare(guess, float(mended[:, 1, 3].mean())))

# %% [markdown]
# In part. The talker no longer wins, but half of the votes say nothing of
# quality, so all points are nearer to 0. And control bends what was straight: it
# takes points from short answers that deserved them.
#
# ## 5. The first answer
#
# Models that judge often prefer what they read first (Zheng et al., 2023). This
# one does in half of the votes, and somebody always shows steps-150 first.


# %%
def turned(duel):
    """Exchange the two answers of a duel."""
    return type(duel)(duel.question, *(each[::-1] for each in duel[1:]))


guess = predict("how many points will steps-150 get?")
found = {"always first": [], "random order": [], "both orders": []}
for seed, contest in enumerate(contests):
    fixed = [turned(duel) if duel.models[1] == "steps-150" else duel
             for duel in contest]
    back = [turned(duel) for duel in contest]
    new, one, two = (
        votes(x, seed, first=0.5) for x in (fixed, contest, back))
    found["always first"].append(points(fixed, new))
    found["random order"].append(points(contest, one))
    found["both orders"].append(points(contest, (one + 1 - two) / 2))
for how, each in found.items():
    each = np.transpose(each)
    print(f"{how:<12}", "; ".join(spread(x, "+.0f") for x in each))
print(compare(guess, float(np.mean(found["always first"], axis=0)[1])))

# %% [markdown]
# In random order the weakness helps nobody, but all points come nearer to 0.
# Shown in both orders, two votes that contradict each other cancel.
#
# ## 6. Do judges agree?
#
# Without the truth one can ask two judges about the same duels. But they agree
# by chance, too. Cohen's kappa (1960) is (agreed - chance) / (1 - chance).


# %%
def kappa(one, two):
    """Return Cohen's kappa of two judges."""
    chance = sum((one == x).mean() * (two == x).mean() for x in (0, 0.5, 1))
    return ((one == two).mean() - chance) / (1 - chance)


guess = predict("kappa of the careful judge and one who takes the first?")
for bias in {"length": 0.5}, {"length": 1}, {"first": 0.5}, {"first": 1}:
    k = [kappa(careful[seed], votes(contest, seed, **bias))
         for seed, contest in enumerate(contests)]
    print(bias, "kappa", spread(k, ".2f"))
print(compare(guess, float(np.mean(k))))

# %% [markdown]
# But two judges who both take the longer answer always agree: kappa is 1, and
# says nothing of the truth either.
#
# With SEEDS = 3 the mean points were, lowest and highest seed in brackets,
#
#                 careful              half by length       controlled
#     steps-40      24 (4 to 41)        -97 (-108 to -80)    11 (-7 to 28)
#     steps-150   -141 (-180 to -104)   -61 (-73 to -38)    -81 (-106 to -56)
#     steps-400    122 (116 to 131)      55 (52 to 58)       63 (54 to 73)
#     talker        -5 (-56 to 45)      103 (85 to 123)       8 (0 to 21)
#
# The talker wins from a share of 35 % (26 to 43). By 100 votes, 65 % (62 to 67)
# of the rankings are right. Always first, steps-150 got 78 points (60 to 100).
# Now be the judge yourself:
#
#     tinyllm arena runs/steps-40-0 runs/steps-400-0 runs/talker-0 \
#         --data world:preference,people=30 --items 20
