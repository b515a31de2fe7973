# %% [markdown]
# # 31. What a model knows
#
# Ask a model for the job of somebody it has never read about. It names one, in
# the same tone as for people whom it knows well. This is called hallucination,
# but it only does what it has learnt: it writes likely words. Does it know how
# sure it can be? Can it learn to say "nobody knows"? And what if the world has
# changed? We build a model, so that we know how often it was told each fact.

# %%
from functools import partial

import numpy as np

import tinyllm as tl
from tinyllm import ops
from tinyllm.course.lesson_runner import begin, compare, predict, spread
from tinyllm.course.page import curves, write_page
from tinyllm.eval import Item, Task, answers
from tinyllm.eval.editing import Edit, Editor
from tinyllm.rng import Random
from tinyllm.tokenizer import make_tokenizer
from tinyllm.world import Fact, World
from tinyllm.world.phrases import answer, ask, say

folder, spread = begin(), partial(spread, form=".1%")

# %% [markdown]
# ## 1. Told once, told often
#
# Facts of the world have dates. Take those that are true as the year 70 begins.
# Each is told 1, 2, 4, 8, 16 or 32 times, depending on the person: as a question
# and its answer, or as the beginning of a statement and its end.

# %%
KINDS, NOBODY = ("works_as", "likes", "enjoys", "lives_in"), "nobody knows"
then, now = World(0, 360, year=70), World(0, 360, year=80)
facts = [fact for fact in then.facts() if fact.relation in KINDS]
times = {person.name: 2 ** (i % 6) for i, person in enumerate(then.people)}
often = np.array([times[fact.subject] for fact in facts])


def wordings(fact):
    """Return three ways to ask for a fact."""
    ends = f" {fact.object}."
    return [ask(fact), *(say(fact, way).removesuffix(ends) for way in (0, 1))]


def tell(facts, count, draw):
    """Return count(fact) pairs for each fact, shuffled."""
    return draw.shuffle([(draw.choice(wordings(fact)), answer(fact))
                         for fact in facts for _ in range(count(fact))])


told = tell(facts, lambda fact: times[fact.subject], Random(0, "told"))
text = "".join(f"{x}\n{y}\n" for x, y in [*told, (NOBODY, NOBODY)])
tokenizer = make_tokenizer("word", text.encode())
print(f"{len(facts):,} facts in {len(told):,} pairs, such as\n{told[0]}")

# %% [markdown]
# A model of two blocks learns the pairs. Its confidence is the probability that
# it gives to the answer that it writes.

# %%
SEEDS, STEPS = 1, 500
USUAL = {"recipe": "sft", "train.batch": 64, "train.val_fraction": 0.01}
SIZES = {"model.layers": 2, "model.heads": 2, "model.kv_heads": 2,
         "model.width": 128, "model.hidden": 336, "model.context": 32,
         "model.init_std": 0.09, "model.embed_std": 0.5}


def learn(pairs, steps, lr, seed, start=None):
    """Learn pairs, from nothing or from a folder -> an `Opened` model."""
    more = {"start": str(start)} if start else dict(SIZES)
    more |= {"train.steps": steps, "train.lr": lr, "seed": seed}
    lines = "".join(f"{x}\t{y}\n" for x, y in pairs).encode()
    return tl.prepare(tl.make_config(USUAL | more), tl.Corpus("facts", lines),
                      None if start else tokenizer).finish()


def hear(opened, facts, way=0):
    """Ask -> right, confidence, whether it said "nobody knows": (3, n)."""
    items = [Item(wordings(fact)[way], f" {answer(fact)}", answer(fact))
             for fact in facts]
    found = answers(opened, Task(), items, max_tokens=6)
    return np.float32([[x.score, x.confidence, x.text.strip() == NOBODY]
                       for x in found]).T


guess = predict("percent right, of facts that were told twice?")
bases = [learn(told, STEPS, 5e-3, seed) for seed in range(SEEDS)]
for seed, base in enumerate(bases):
    base.model.save_pretrained(folder / f"bases/{seed}")
    tl.save_tokenizer(tokenizer, folder / f"bases/{seed}/tokenizer.json")
right, sure, _ = np.array([hear(x, facts) for x in bases]).swapaxes(0, 1)
TIMES = sorted(set(often.tolist()))
known, trust = ([x[:, often == n].mean(axis=1) for n in TIMES]
                for x in (right, sure))
for n, a, b in zip(TIMES, known, trust, strict=True):
    print(f"told {n:>2} times: right {spread(a)}, confidence {spread(b)}")
print(compare(guess, 100 * known[1].mean()))

# Now people who do not exist, with names whose parts are known:
draw = Random(1, "strangers")
first, last = zip(*(name.split() for name in times), strict=True)
names = {f"{draw.choice(first)} {draw.choice(last)}": 0 for _ in range(900)}
names = [x for x in names if x not in times][:600]
unknown = [Fact(x, draw.choice(KINDS[:3]), "singer") for x in names]
practice, strangers = unknown[:300], unknown[300:]
guess = predict("the mean confidence in answers about them, in percent?")
invented = np.array([hear(x, strangers)[1] for x in bases])
print(compare(guess, 100 * invented.mean()), spread(invented.mean(axis=1)))

# %% [markdown]
# It has an answer for each, about as sure as for what it was told once. With
# SEEDS = 3, three models were 59.3 % sure (58.9 to 59.6). Of what was told once,
# 31.1 % was right; told 2, 4, 8 and 16 times, 56.3, 83.9, 98.8 and 100.0 %.
#
# ## 2. Is it as sure as it may be?
#
# Of answers with a confidence near 0.8, eight in ten should be right. Sort
# answers into bins by their confidence; in each bin compare the share that is
# right with the mean confidence. The mean of the differences, each weighted by
# the number of answers in its bin, is the *expected calibration error*, ECE. The
# *Brier score* is the mean square of the distance to 1, or to 0 for wrong ones.

# %%
c, r = np.float32([0.9, 0.9, 0.6, 0.6]), np.float32([1, 1, 1, 0])
guess = predict("ECE of these four answers?")
print(compare(guess, round(ops.expected_calibration_error(c, r), 3)))
for x in (c, 0 * c + np.float32(0.75)):
    print(f"{x}: ECE {ops.expected_calibration_error(x, r):.3f}, Brier "
          f"{ops.brier_score(x, r):.3f}")

# %% [markdown]
# Who always says 0.75, and is right in three of four cases, has an ECE of 0 and
# tells you nothing. The Brier score sees it: 0.188 is worse than 0.135.
#
# **Now you: `expected_calibration_error`, `brier_score`.**

# %%
both = np.c_[sure, invented], np.c_[right, 0 * invented]
for who, pair in (("people", (sure, right)), ("with strangers", both)):
    score = [*map(ops.expected_calibration_error, *pair)]
    print(f"ECE, {who}: {spread(score)}")

# %% [markdown]
# Over all that it was told, it is fairly calibrated, as cross-entropy punishes
# wrong confidence: 4.2 % (3.5 to 5.1) with three seeds, with strangers 13.6 %.
# But it does not know what it was told once: 61.3 % sure, 31.1 % right.
#
# ## 3. Silence below a threshold
#
# So let it refuse when it is less sure than a threshold. Also ask in all three
# wordings, and take the mean confidence. AUROC, which lesson 32 builds, is the
# probability that it is surer of a fact told 16 times or more than of a stranger.

# %%
thrice, strange, others = (np.mean([
    [hear(x, group, way)[1] for x in bases] for way in range(3)], axis=0)
    for group in (facts, strangers, practice))
well = [times[fact.subject] >= 16 and fact.relation != "lives_in"
        for fact in facts]  # without towns, which families share
for name, s, t in (("once", sure, invented), ("thrice", thrice, strange)):
    labels = np.repeat([1, 0], [sum(well), len(strangers)])
    print(f"asked {name:<6}: AUROC", spread([
        ops.auroc(x, labels) for x in np.c_[s[:, well], t]]))
bar = np.quantile(others, 0.95, axis=1)[:, None]
passed = thrice > bar
print("strangers answered:", spread((strange > bar).mean(axis=1)))
print("told 16 times or more: answered", spread(passed[:, well].mean(axis=1)))
print("of answers to people, wrong:", spread([
    1 - r[x].mean() for r, x in zip(right, passed, strict=True)]))

# %% [markdown]
# With three seeds it is 98.1 % asked once, 98.8 % (98.6 to 99.1) thrice. At a
# threshold that one of twenty other strangers passes, 93.5 % of these facts are
# answered, and of all answers about people who exist, 1.3 % are wrong.
#
# ## 4. "Nobody knows"
#
# It seems nicer if the model says so itself. Tune it: 300 strangers with the
# answer "nobody knows", and half of the people whose facts were told 16 times or
# more, with the right answers. What happens to the other half?

# %%
names = [person.name for person in then.people if times[person.name] >= 16]
shown = set(Random(2).shuffle(names)[: len(names) // 2])
unseen = np.array([fact.subject not in shown for fact in facts])
pairs = [(ask(f), answer(f)) for f in facts if f.subject in shown]
pairs += [(ask(f), NOBODY) for f in practice]
guess = predict("of questions about the other half: percent refused?")
price = []
for seed in range(SEEDS):
    tuned = learn(pairs, 100, 1e-3, seed, folder / f"bases/{seed}")
    no = hear(tuned, facts)[2]
    price.append([hear(tuned, strangers)[2].mean(), *(
        no[(often == n) & unseen].mean() for n in TIMES)])
price = np.array(price)
for n, share in zip((0, *TIMES), price.T, strict=True):
    print(f"told {n:>2} times, not in the tuning: refused {spread(share)}")
print(compare(guess, 100 * price[:, 5:].mean()))
write_page(
    folder / "truth.html", "What a model knows, and what it says",
    "From left to right: never told, told once, 2, 4, 8, 16 and 32 times.",
    [curves("Right, sure, silent", "percent, by how often it was told",
            {"right": [0, *(100 * x.mean() for x in known)],
             "confidence": 100 * np.r_[invented.mean(), np.mean(trust, 1)],
             "refused after tuning": 100 * price.mean(axis=0)})])

# %% [markdown]
# That is the price. With three seeds 91.6 % of new strangers are refused, but
# also 61 % of questions about people who are known best and were not in the
# tuning. It learnt the names that it was shown, not to look at what it knows.
#
# ## 5. The world goes on
#
# Ten years later some people live elsewhere, and no text has told the model.
# Nothing in it knows the date. Teach it the new homes, in 60 steps; or with
# *replay*: half of the pairs are old ones, and there are 150 steps. How much
# is kept, of what it was told 8 times or more, and knew?

# %%
homes = {f.subject: f for f in now.facts() if f.relation == "lives_in"}
old = [f for f in facts if f.relation == "lives_in"
       and homes[f.subject].object != f.object]
new = [homes[fact.subject] for fact in old]
stays = [fact for fact in facts if fact not in old]
firm = np.array([times[fact.subject] >= 8 for fact in stays])
says, sure = np.array([hear(x, old)[:2].mean(axis=1) for x in bases]).T
print(f"{len(new)} moved; old town {spread(says)}, confidence {spread(sure)}")
fresh = tell(new, lambda fact: 20, Random(3))
mixed = fresh + tell(stays, lambda fact: 1, Random(4))
for name, pairs, steps in (("alone", fresh, 60),
                           ("with replay", Random(5).shuffle(mixed), 150)):
    learnt, kept = [], []
    for seed in range(SEEDS):
        later = learn(pairs, steps, 1e-3, seed, folder / f"bases/{seed}")
        learnt.append(hear(later, new)[0].mean())
        knew = (hear(bases[seed], stays)[0] > 0) & firm
        kept.append(hear(later, stays)[0][knew].mean())
    print(f"{name}: learnt {spread(learnt)}, kept {spread(kept)}")

# %% [markdown]
# ## 6. One fact, one change
#
# Could one fact be written where it is kept? The last matrix of a feed-forward
# part, W, turns a key k, which it sees at the end of a name, into a value that
# is added to the residual stream. Change W by
#
#     C^-1 k d^T / (k^T C^-1 k)    where C is the mean of k k^T over old texts
#
# Then k gets d more, and keys unlike it get nearly nothing (ROME: Meng et al.,
# "Locating and editing factual associations in GPT", 2022). `Editor` looks for
# a d that makes the model say the new town, in 30 steps with two wordings. After
# each edit, made alone, we ask in these (efficacy), in the third (unseen), for
# the person's own other facts, and for facts about others.

# %%
sample = Random(6).shuffle([f for f, x in zip(stays, firm, strict=True) if x])


def edit(fact):
    """Return an edit to a fact, with what to ask afterwards."""
    *seen, other = (f"{x}\n" for x in wordings(fact))
    own, others = ([(f"{ask(f)}\n", f"{answer(f)}\n") for f in some
                    if (f.subject == fact.subject) == same]
                   for some, same in ((stays, True), (sample[:300], False)))
    return Edit(fact.subject, seen, f"{answer(fact)}\n", [other], own, others)


texts = [f"{x}\n{y}\n" for x, y in told[:2000]]
for block in (0, 1):
    measured = [Editor(x, texts, block).measure([*map(edit, new[:20])])
                for x in bases]
    for part in measured[0]:
        shares = [np.mean(each[part]) for each in measured]
        print(f"block {block}, {part:<8}: {spread(shares)}")

# %% [markdown]
# With three seeds 93.3 % of the edits (85 to 100) work in block 0, also in the
# third wording. 99.9 % of facts about others stay, but only 77 % of the person's
# own, as they use the same key. In block 1 it is too late, as no attention comes
# after it: 30 % work. Training in section 5 kept 92.5 %, with replay 98.2 %.
#
# `tinyllm eval RUN --suite trust` asks whether one can rely on a model of yours.
