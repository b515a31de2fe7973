# %% [markdown]
# # 25. GRPO on checkable answers
#
# Lesson 23 needed a second model that says how good an answer is, and a third
# that says how good was to be expected. For some questions both can go. A line
# of code sees whether a sum is right. And what was to be expected? Ask the same
# question eight times, and compare: that is GRPO (Shao et al., "DeepSeekMath",
# 2024), with which DeepSeek-R1 learnt. The reward is the truth itself. But the
# model learns from its own attempts. What if none of them is right?

# %%
from itertools import islice

import numpy as np

import tinyllm as tl
from tinyllm import ops
from tinyllm.align.rollout import draw
from tinyllm.course.lesson_runner import begin, compare, predict, spread
from tinyllm.course.page import curves, write_page
from tinyllm.eval import find_task
from tinyllm.runs.plan import doctor
from tinyllm.train.events import Stepped

folder = begin(digits=3)

# %% [markdown]
# ## 1. Better than the others
#
# A group is K answers to one question, drawn from the model. The *advantage* of
# an answer is its reward minus the mean of its group, divided by the group's
# standard deviation. Every token of the answer gets it: if the answer is better
# than its group, all its tokens become likelier, else less likely.

# %%
rewards = np.zeros((3, 8), np.float32)
rewards[0, 2] = 1  # one answer of the first group is right
rewards[1, :4] = 1  # four of the second, and none of the third
found = ops.group_advantages(rewards)
guess = predict("the advantage of the one right answer among eight?")
print(compare(guess, round(float(found[0, 2]), 3)))
print(found)

# %% [markdown]
# The rarer the success, the more it counts. In the third group all earn the
# same: there is nothing to learn. If each answer is right with probability p, a
# group of eight is of use with probability 1 - p^8 - (1 - p)^8.

# %%
guess = predict("p is 1 %. Of 100 groups of eight, how many are of use?")
p = np.array([0.0, 0.01, 0.2, 0.5, 0.99])
useful = 100 * (1 - p**8 - (1 - p) ** 8)
print(compare(guess, round(float(useful[1]), 1)))
print("right, of 100:", 100 * p, "groups of use:", useful)

# %% [markdown]
# **Now you: `group_advantages`.** With `leave_one_out` an answer is compared
# with the *others* only (RLOO, Ahmadian et al., 2024). Without `divide`, easy
# and hard questions weigh as their rewards say (Dr. GRPO, Liu et al., 2025).
#
# ## 2. Not too far
#
# A step changes the model, and then it would answer otherwise. To take several
# steps with the same answers, weigh each token by the ratio r of its
# probability now to the one it was drawn with. Far from 1 the gain ends:
#
#     loss = -min(r A, clip(r, 1 - low, 1 + high) A)

# %%
ratio = np.float32([0.5, 0.9, 1.0, 1.1, 1.5])
for advantage in (1.0, -1.0):
    A = np.full_like(ratio, advantage)
    loss, clipped = ops.clipped_loss(np.log(ratio), 0 * ratio, A)
    print(f"advantage {advantage:+.0f}: loss {loss} clipped {clipped}")
guess = predict("A = 2, r = 0.5, low = high = 0.2: what is the loss?")
loss, _ = ops.clipped_loss(np.log(ratio), 0 * ratio, 0 * ratio + 2)
print(compare(guess, round(float(loss[0]), 3)))

# %% [markdown]
# A good token that has become less likely (r = 0.5) is not clipped: it must be
# able to come back. That is what the minimum is for. With one step for each
# drawing, as below, every ratio is 1, and only the slope is left: r A. It is
# *exactly* 1 only if drawing and training round alike, as they do here.
#
# **Now you: `clipped_loss`.**
#
# ## 3. One training, four bases
#
# A small LLaMA reads texts for 400 steps. Half of their answers are right. We
# keep it at the end, and at three moments before.

# %%
rarely = {"train.eval_every": 10**6, "train.sample_every": 10**6}
small = {"model.layers": 2, "model.width": 64, "model.hidden": 176,
         "model.heads": 4, "model.kv_heads": 4, "model.context": 32}
TASK = "world:checkable,length="
asked = list(islice(find_task(f"{TASK}5").items("test"), 250))  # never read


def pretrain(seed, success, marks):
    """Train on texts of which `success` % are right; save at the marks."""
    setup = tl.prepare(tl.make_config(small | rarely | {
        "data": f"{TASK}5,n=20000,success={success}", "tokenizer": "word",
        "pretrain.documents": True, "train.steps": 400, "train.batch": 32,
        "train.lr": 6e-3, "seed": seed}))
    for event in setup.train():
        if isinstance(event, Stepped) and event.step in marks:
            place = folder / "bases" / f"{success}-{event.step}-{seed}"
            setup.model.save_pretrained(place)
            tl.save_tokenizer(setup.tokenizer, place / "tokenizer.json")


def attempt(opened, n=1, asked=asked):
    """Draw n answers to each question -> which are right, how likely."""
    asked = [each for each in asked for _ in range(n)]
    ids = [opened.tokenizer.encode(each.question) for each in asked]
    drawn = draw(opened, ids, 12, ["\n"], seed=0)
    right = [drawn[i].text.strip() == x.truth for i, x in enumerate(asked)]
    sure = [np.exp(sum(each.logprobs)) for each in drawn]
    return np.reshape(right, (-1, n)), np.reshape(sure, (-1, n))


SEEDS, MARKS = 1, (50, 75, 175, 400)
for seed in range(SEEDS):
    pretrain(seed, 50, MARKS)
print("a question:", asked[0].question, "the answer:", asked[0].truth)
bases = {mark: [tl.open_model(folder / f"bases/50-{mark}-{seed}")
                for seed in range(SEEDS)] for mark in MARKS}
for mark, found in bases.items():
    right = np.concatenate([attempt(base, 8)[0] for base in found])
    print(f"{mark:>3} steps: right {100 * right.mean():4.1f} %, at least "
          f"once in eight {100 * right.any(axis=1).mean():4.1f} %")

# %% [markdown]
# ## 4. Rewards
#
# Now GRPO: each step draws eight answers to each of eight questions. The model
# reads no answers of others any more, and hears only "right" and "wrong".


# %%
def grpo(base, steps=120, lr=2e-3, most=8):
    """Learn from rewards -> percent right, groups of use, setup, step."""
    setup = tl.prepare(tl.make_config(rarely | {
        "recipe": "grpo", "data": f"{TASK}5,n=5000", "train.lr": lr,
        "start": str(folder / "bases" / base), "seed": int(base[-1]),
        "grpo.max_tokens": most, "grpo.unfinished": 0, "train.steps": steps}))
    success, use = [100 * attempt(setup)[0].mean()], []
    for event in setup.train():
        if isinstance(event, Stepped):
            last = event
            use.append(100 * (1 - event.numbers["frac_reward_zero_std"]))
            if event.step % 20 == 0:
                success.append(100 * attempt(setup)[0].mean())
    return success, use, setup, last


guess = predict("of these four bases, how many end above 90 %?")
success, use = {}, {}
for mark in MARKS:
    rights, uses, tuned, ends = zip(
        *(grpo(f"50-{mark}-{seed}") for seed in range(SEEDS)), strict=True)
    name = f"base of {mark} steps"
    success[name], use[name] = np.mean(rights, axis=0), np.mean(uses, axis=0)
    print(f"{mark:>3} steps: right {success[name][0]:4.1f} % before, "
          f"{spread([right[-1] for right in rights])} after; "
          f"{np.count_nonzero(uses) / SEEDS:.0f} steps taught; KL",
          spread([end.numbers["objective/kl"] for end in ends]))
print(compare(guess, sum(bool(x[-1] > 90) for x in success.values())))
by_20 = {name: x.reshape(-1, 20).mean(axis=1) for name, x in use.items()}
write_page(folder / "grpo.html", "GRPO from four bases", "By steps.", [
    curves("Answers that are right", "percent of held-out letters", success,
           at=range(0, 121, 20), dashed="base of 75 steps"),
    curves("Groups with right and wrong answers", "percent", by_20,
           at=range(10, 120, 20), dashed="base of 75 steps")])

# %% [markdown]
# Nothing, noise, and learning. With SEEDS = 3 the means of three seeds were
#
#     base of   right before   after (lowest to highest)   steps taught   KL
#      50          0.0 %        0.0 % ( 0.0 to  0.0)          1 of 120    1.5
#      75          0.3 %        3.7 % ( 0.0 to 11.2)         30 of 120    6.3
#     175         26.5 %       93.5 % (88.0 to 98.0)        114 of 120    1.5
#     400         48.3 %       98.5 % (98.0 to 99.2)         95 of 120    0.9
#
# The last two end far above their texts. The second depends on luck, and moves
# farthest (KL, in nats per answer): AdamW divides a gradient by its usual size,
# so a rare one, from one right answer, counts as much as any other.
#
# ## 5. Sure, and right?
#
# A model is *calibrated* if of its answers with the probability p a share p is
# right. Here are both for the last base, of four or five letters and of six,
# which nobody ever showed it. The *gap* |p - right| is taken in five ranges of
# p, and averaged over all answers (ECE).

# %%
six = [each for each in islice(find_task(f"{TASK}6").items("test"), 800)
       if len(each.truth.split()) == 6][:250]
guess = predict("of six letters no answer is right. How sure is it after?")
for letters, items in {"4 or 5": asked, "6": six}.items():
    for when, models in {"before": bases[400], "after": tuned}.items():
        rows = []
        for model in models:
            right, sure = (x.ravel() for x in attempt(model, 4, items))
            ranges = np.minimum(5 * sure, 4).astype(int)
            gap = abs(np.bincount(ranges, right - sure)).sum() / len(sure)
            rows.append(100 * np.array([right.mean(), sure.mean(), gap]))
        print(f"{letters} letters, {when}: right, p, gap:",
              *map(spread, np.transpose(rows)))
print(compare(guess, round(float(np.mean(rows, axis=0)[1]))))

# %% [markdown]
# With SEEDS = 3, p rose from 24.8 to 97.2 % where 48.2 and then 98.2 % were
# right, so that the gap fell from 25.0 to 1.3. Of six letters nothing was right,
# and p rose, too: from 7.0 to 55.4 % (50.6 to 58.3). Rewards made it sure.
#
# ## 6. Three ways to learn nothing
#
# **Cut off.** Somebody gives the best base room for three tokens, too few for
# four letters, and takes nothing from cut answers (`grpo.unfinished` is 0):

# %%
guess, norms = predict("the norm of the gradient in the third step?"), []
for seed in range(SEEDS):
    *_, setup, last = grpo(f"50-400-{seed}", 3, most=3)
    norms.append(last.grad_norm)
print(compare(guess, max(norms)))
print(doctor(setup.plan, last.numbers))

# %% [markdown]
# No error, and a run that could go on for days. Read this line at step one.
#
# **Too fast.** Five times the rate. **Nothing right to begin with.** A base of
# wrong answers, each with one mistake: two letters exchanged, or one said twice
# or left out. Only one of the two learns nothing:

# %%
for seed in range(SEEDS):
    pretrain(seed, 0, (400,))
for what, base, lr in (("at the high rate", 50, 1e-2),
                       ("after wrong texts", 0, 2e-3)):
    guess = predict(f"the rate {lr}: percent right after 120 steps?")
    paths, *_ = zip(*(grpo(f"{base}-400-{seed}", lr=lr)
                      for seed in range(SEEDS)), strict=True)
    begun, *_, ended = np.transpose(paths)
    print(f"right {spread(begun)} % before, {what} {spread(ended)} %")
    print(compare(guess, float(ended.mean())))

# %% [markdown]
# With SEEDS = 3, 48.3 % fell to 0.0, but 7.6 (4.8 to 9.6) rose to 96.4 (94.4 to
# 99.2). The first ruined its only texts, which it writes itself. And the second
# base had read no right answer, but its mistakes are random, and now and then
# there is none. So ask what a model *draws*, not what it has read.
#
# ## 7. Longer and longer
#
# The first GRPO took the mean over the tokens of each answer, "sequence". Then
# a wrong one is punished less if it goes on (Liu et al., 2025). This is the
# smallest model that can do it: half of its answers are right, and two numbers
# say how likely one more word is, in wrong answers and in right ones.


# %%
def ramble(how, seed, steps=200, most=60):
    """Learn when to end -> mean lengths of wrong and of right answers."""
    random, more = np.random.default_rng(seed), np.full(2, 1.4)
    for _ in range(steps):
        right = random.integers(2, size=(32, 8))
        on = 1 / (1 + np.exp(-more[right]))  # the chance of another word
        n = random.geometric(1 - on).clip(max=most)
        weights, _ = ops.answer_weights(n.ravel(), most, how, most)
        each = weights[:, 0].reshape(n.shape) / weights.sum()
        each *= ops.group_advantages(right.astype("f"))
        slope = each * ((n - 1) * (1 - on) - on * (n < most))
        more += np.bincount(right.ravel(), slope.ravel()) / 2
    return [n[right == which].mean() for which in (0, 1)]


guess = predict("with the mean, words of a wrong answer at the end?")
for how in ("constant", "token", "sequence"):
    wrong, right = np.transpose([ramble(how, seed) for seed in range(3)])
    print(f"{how}: wrong {spread(wrong)}, right {spread(right)} words")
print(compare(guess, round(float(wrong.mean()), 1)))

# %% [markdown]
# Wrong answers go on, right ones stop at once, though no word is worth anything.
# Divided by the same number for all, nothing moves. The base of 175 steps learnt
# to be right first: its wrong answers are 0.1 words longer, as much as by seed.
#
# The recipe is `tinyllm/align/recipes/grpo.py`:
#
#     tinyllm train grpo --set start=RUN --data world:checkable
