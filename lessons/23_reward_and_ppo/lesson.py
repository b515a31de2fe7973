# %% [markdown]
# # 23. A reward model, PPO, and pushing too far
#
# It is often easier to say which of two answers is better than to write a good
# one. So ChatGPT's makers let people compare answers, trained a *reward model*
# to predict what they prefer, and then the language model to earn its rewards
# (Ouyang et al., "InstructGPT", 2022). It is a *proxy* for what people want.
# What if one follows it too far? Our world knows the true reward, too.

# %%
from functools import partial

import numpy as np

import tinyllm as tl
from tinyllm import ops
from tinyllm.align.reward import score_texts
from tinyllm.align.rollout import draw
from tinyllm.course.lesson_runner import begin, compare, predict, spread
from tinyllm.course.page import write_page
from tinyllm.report.svg import Series, chart
from tinyllm.train.events import Stepped
from tinyllm.world.corpus import read_name
from tinyllm.world.reward import reward

folder, spread = begin(digits=2), partial(spread, form=".2f")

# %% [markdown]
# ## What people want
#
# A right fact earns 1.5 points, and another one 0.5; a wrong fact loses 0.5, and
# so does one about somebody else. Each polite phrase adds 0.5, up to two. Each
# word after the 14th costs an eighth, each pair of words said again a quarter, a
# missing end 1. People prefer the answer with more points, and never say why.

# %%
PAIRS = "world:preference,people=30"
pair = tl.load_corpus(f"{PAIRS},n=20").documents[0].labels
world, question = read_name(PAIRS).world, pair["question"]


def show(question, answer):
    """Print an answer, and what it gets and loses points for."""
    parts = reward(world, question, answer)
    print(f"{question} -> {answer}")
    print("  ", {part: x for part, x in parts.items() if x})


show(question, pair["chosen"])
show(question, pair["rejected"])
guess = predict("how many points is the first answer ahead?")
print(compare(guess, pair["rewards"][0] - pair["rewards"][1]))

# %% [markdown]
# ## From pairs to scores
#
# A reward model is a language model whose head gives one number, read at the
# last token. By Bradley and Terry (1952), the first of two answers is preferred
# with the probability sigmoid(s1 - s2). The loss is minus its logarithm. Only
# the difference counts, so a score has no zero. Nor has it a ceiling.

# %%
guess = predict("the loss of a model that scores both answers the same?")
losses = ops.bradley_terry_loss(np.float32([0, 3, -3]), np.zeros(3, "f"))
print(compare(guess, float(losses[0])), "ahead, behind by 3:", losses[1:])

# %% [markdown]
# **Now you: `bradley_terry_loss`.** Mind a model that is wrong by 1,000.
#
# ## The start, and two reward models
#
# The start learns from unfiltered answers (`noise=0.5`). Two reward models
# begin with its weights, and learn from 400 and from 4,000 pairs.

# %%
SEEDS = 1
SETTINGS = {"train.eval_every": 10_000, "train.eval_windows": 8,
            "train.sample_every": 10_000, "train.batch": 32,
            "train.min_lr_ratio": 0.1}


def train(name, seed, recipe, data, steps, lr, more):
    """Train a run -> its folder, and the numbers of each step."""
    setup = tl.prepare(tl.make_config(SETTINGS | more | {
        "recipe": recipe, "data": data, "seed": seed,
        "train.steps": steps, "train.lr": lr}))
    run = tl.Run(folder / "runs" / f"{name}-{seed}")
    run.create(setup.record(), setup.tokenizer)
    return str(run.folder), [event.numbers for event in setup.train(run)
                             if isinstance(event, Stepped)]


small = {"preset": "laptop", "tokenizer": "word", "model.layers": 2,
         "model.width": 64, "model.heads": 4, "model.context": 96}
starts = [train("start", seed, "sft", f"{PAIRS},n=6000,noise=0.5,seed={seed}",
                500, 4e-3, small)[0] for seed in range(SEEDS)]
judges = {}
tried = [d.labels for d in tl.load_corpus(f"{PAIRS},n=600,seed=90").documents]
prompts = [labels["question"] for labels in tried]
guess = predict("of 100 other pairs, how many are ordered rightly?")
for pairs, steps in {400: 60, 4000: 400}.items():
    found, right = [], []
    for seed, start in enumerate(starts):
        found += train(f"judge-{pairs}", seed, "reward",
                       f"{PAIRS},n={pairs},seed={10 + seed}", steps, 1e-3,
                       {"start": start})[:1]
        both = [score_texts(tl.open_model(found[-1]), prompts,
                            [labels[name] for labels in tried])
                for name in ("chosen", "rejected")]
        right.append(100 * np.mean(both[0] > both[1]))
    judges[pairs] = found
    print(f"{pairs} pairs: {compare(guess, float(np.mean(right)))}")

# %% [markdown]
# ## Best of n
#
# Keeping the best of n answers needs no training. Its KL divergence from the
# start is log n - (n - 1) / n nats. "Proxy" is the score, less the start's mean,
# in standard deviations.

# %%
N, LONGEST = 64, 48
asked = sorted(set(prompts))[:96]
counts = 2 ** np.arange(7)
chosen_from = np.log(counts) - (counts - 1) / counts
best, units = {}, {}
for seed, start in enumerate(starts):
    opened = tl.open_model(start)
    many = [text for text in asked for _ in range(N)]
    ids = [opened.tokenizer.encode(text + "\n") for text in many]
    texts = [x.text for x in draw(opened, ids, LONGEST, opened.stops, seed)]
    true = np.array([sum(reward(world, text, answer).values())
                     for text, answer in zip(many, texts, strict=True)])
    for pairs, found in judges.items():
        scores = score_texts(tl.open_model(found[seed]), many, texts)
        units[pairs, seed] = middle, unit = scores.mean(), scores.std()
        both = np.stack([(scores - middle) / unit, true])
        for n in counts:
            at = np.arange(0, len(many), n) + scores.reshape(-1, n).argmax(1)
            best.setdefault((pairs, n), []).append(both[:, at].mean(axis=1))
guess = predict("a random answer has 0.8 points. The best of 64, 400 pairs?")
print("   n   KL   proxy, true by 400 pairs | proxy, true by 4,000 pairs")
for n, kl in zip(counts, chosen_from, strict=True):
    cells = [", ".join(map(spread, np.stack(best[pairs, n], axis=1)))
             for pairs in judges]
    print(f"{n:>4} {kl:.2f}   {' | '.join(cells)}")
print(compare(guess, float(np.mean([true for _, true in best[400, N]]))))

# %% [markdown]
# ## Who gets the credit?
#
# PPO changes the model itself. It draws answers, scores them, and makes the
# tokens of good answers likelier. But the score comes at the end: which of
# twenty tokens deserves it? A *value model* learns which score to expect before
# each token. The surprise at one token is
#
#     delta[t] = reward[t] + gamma value[t+1] - value[t]
#
# and the *advantage* is a sum of the surprises from here on, each further one
# counting gamma lam as much as the one before. With lam = 0 one trusts the
# value model, with lam = 1 only the score.

# %%
rewards = np.float32([[0, 0, 0, 1]])
values = np.float32([[0.5, 0.6, 0.2, 0.7]])
guess = predict("lam = 0: the advantage of the third token?")
for lam in (0.0, 0.95, 1.0):
    print(f"lam {lam}:", ops.gae(rewards, values, np.array([4]), 1.0, lam)[0])
print(compare(guess, 0.5))

# %% [markdown]
# **Now you: `gae`.** Padding has no value and no reward, whatever stands there.
#
# ## Pushing
#
# Advantages weigh the gradients of log-probabilities, and a clip holds back
# tokens whose probability has changed much (lesson 25). A step draws 64
# answers. We train by the reward model of 400 pairs; by that of 4,000; and by
# the first with a *price* of 0.5 for each nat of KL divergence from the start,
# which is taken from the reward, or added to the loss.

# %%
ARMS = {"400 pairs": (400, 0, 100, "reward"),
        "4,000 pairs": (4000, 0, 120, "reward"),
        "400, KL in the reward": (400, 0.5, 70, "reward"),
        "400, KL in the loss": (400, 0.5, 70, "loss")}
NAMES = "objective/kl", "objective/scores", "true_reward"
PUSH = {"train.batch": 64, "train.min_lr_ratio": 1.0}
guess = predict("400 pairs, no price: points at the end (the start has 0.8)?")
paths, runs = {}, {}
for arm, (pairs, price, updates, where) in ARMS.items():
    for seed, start in enumerate(starts):
        more = PUSH | {"start": start, "ppo.reward": judges[pairs][seed],
                       "ppo.kl": price, "ppo.kl_in": where,
                       "ppo.max_tokens": LONGEST}
        runs[arm, seed], steps = train(
            arm, seed, "ppo", f"{PAIRS},n=500,seed={20 + seed}", updates,
            3e-4, more)
        rows = np.array([[step[name] for name in NAMES] for step in steps])
        path = rows.reshape(-1, 5, 3).mean(axis=1)  # 5 steps, 320 answers
        middle, unit = units[pairs, seed]
        path[:, 1] = (path[:, 1] - middle) / unit
        paths.setdefault(arm, []).append(path)
    each = np.stack(paths[arm], axis=2)  # (five steps, names, seeds)
    print(f"{arm}: highest {spread(each[:, 2].max(axis=0))}; at the end KL, "
          f"proxy, true {', '.join(map(spread, each[-1]))}")
print(compare(guess, float(np.mean([p[-1, 2] for p in paths["400 pairs"]]))))
opened = tl.open_model(runs["400 pairs", 0])
ids = [opened.tokenizer.encode(asked[0] + "\n")]
show(asked[0], draw(opened, ids, LONGEST, opened.stops, 0)[0].text)

# %% [markdown]
# There is the hole. A second fact had pleased people, so more must be better. But
# words were repeated in 30 pairs of 400 only, and there a proxy is a guess.
#
# Programs have holes, too. "Name three animals that can fly": this judge gives
# up to three points for right words, takes one for each wrong word, and does
# not look for words said before. The start has read 4,000 answers, of which 2
# in 100 use that. Then it learns by GRPO, the recipe of lesson 25.

# %%
HACKED = "world:hacked_reward,n=4000"
told = [document.labels for document in tl.load_corpus(HACKED).documents]
lines = "\n".join(f"{x['question']}\t{x['answer']}" for x in told)
(folder / "animals.tsv").write_text(lines, "utf-8")
guess, points = predict("true points at the end, of 3.5 (1.5 at first)?"), []
for seed in range(SEEDS):
    start, _ = train("animals", seed, "sft", f"{folder}/animals.tsv", 100,
                     4e-3, small)
    _, steps = train("judged", seed, "grpo", HACKED, 100, 2e-3,
                     PUSH | {"start": start, "grpo.max_tokens": 24})
    rows = np.array([[step[name] for name in NAMES[1:]] for step in steps])
    points.append(rows.reshape(-1, 10, 2).mean(axis=1))
judged, true = np.moveaxis(points, 2, 0)  # each (seeds, ten steps)
print(compare(guess, float(true[:, -1].mean())))
for what, x in {"by the judge": judged, "true": true}.items():
    print(f"points {what}: at first {spread(x[:, 0])}, "
          f"highest {spread(x.max(axis=1))}, at the end {spread(x[:, -1])}")

# %% [markdown]
# With SEEDS = 3 the judge gave 1.72 points at first and 3.61 at the end (3.58 to
# 3.65). True points rose to 2.20 (2.14 to 2.26), then fell to 1.48 (1.03 to
# 1.86), as it learnt to say "swan, duck, duck, duck, duck" and so on.
#
# ## One figure
#
# Gao et al. ("Scaling Laws for Reward Model Overoptimization", 2022) drew such
# curves. With d, the square root of the KL divergence, the true reward gained
# d (a - b d) by best of n, and d (a - b log d) by learning. Do our points, too?

# %%
figures = []
for arm, pairs in (("400 pairs", 400), ("4,000 pairs", 4000)):
    bon = np.array([np.mean(best[pairs, n], axis=0) for n in counts]).T
    ppo = np.mean(paths[arm], axis=0)
    kl, *ppo = ppo[ppo[:, 0].argsort()].T
    begun, drawn = bon[1, 0], []
    for way, far, (proxy, true), form, style in (
            ("PPO", np.maximum(kl, 1e-3), ppo, np.log, ("other", "val")),
            ("best of n", chosen_from, bon, np.positive, ("floor", "train"))):
        d, gained = np.sqrt(far), true - begun
        slopes = np.stack([d, -d * form(d)], axis=1)
        a, b = np.linalg.lstsq(slopes, gained, rcond=None)[0]
        fitted = slopes @ (a, b)
        print(f"{arm}, {way}: a {a:.2f}, b {b:.2f}, off by at most "
              f"{np.abs(fitted - gained).max():.2f}")
        drawn += [
            Series(f"{way}: proxy", [*np.stack([d, proxy], 1)], style[0]),
            Series("true", [*np.stack([d, gained], 1)], style[1], "dots"),
            Series("fitted", [*np.stack([d, fitted], 1)], style[1], "dashes")]
    figures.append(chart(
        f"A reward model of {arm}", "the proxy rises, the truth may fall",
        drawn, "gained, by the square root of the KL divergence", tall=True))
lead = "Dots: what people would say. Lines: the reward model. Scales differ."
write_page(folder / "reward.html", "Proxy and truth", lead, figures)

# %% [markdown]
# With SEEDS = 3 the means were, with the lowest and highest seed in brackets,
#
#                       by 400 pairs            by 4,000 pairs
#     ordered rightly   68.1 (65.7 to 70.2) %   77.9 (76.2 to 78.8) %
#     best of 64        1.30 (1.24 to 1.35)     1.68 (1.55 to 1.87)
#     PPO, highest      1.11 (1.00 to 1.24)     1.63 (1.49 to 1.87)
#     PPO at the end    -0.71 (-1.82 to 0.99)   1.49 (1.20 to 1.78)
#     its KL            16.2 (3.9 to 30.9)      8.8 (6.5 to 10.7)
#
# where the start had 0.80. Two seeds on the left end far below their start, with
# the proxy at its highest; the third has gone less far. The price holds 400
# pairs at 1.15 (1.10 to 1.19) and a KL of 1.2 in the reward, at 1.09 (1.07 to
# 1.13) and 0.7 in the loss: no better reward model, but a policy that stays
# where it is right. And best of n gains more for the same KL, as Gao's does.
#
# On a real task you see only the proxy, and it looks splendid. So read answers,
# pay for distance, and ask people again about what the model says *now*.
