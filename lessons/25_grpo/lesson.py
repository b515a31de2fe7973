# %% [markdown]
# # 25. GRPO on checkable answers
#
# Lesson 23 needed a second model that says how good an answer is, and a third
# one that says how good was to be expected. For some questions both can go. A
# line of code can see whether a sum is right, or whether a program passes its
# tests. And what was to be expected? Ask the same question eight times, and
# compare. That is GRPO (Shao et al., "DeepSeekMath", 2024). DeepSeek-R1 learnt
# with it. The reward is the truth itself here, so nobody can cheat it. But the
# model learns from its own attempts. What if none of them is right?

# %%
import textwrap
from itertools import islice

import numpy as np

import tinyllm as tl
from tinyllm import ops
from tinyllm.course.lesson_runner import begin, compare, predict
from tinyllm.course.page import curves, write_page
from tinyllm.eval import answers, find_task
from tinyllm.runs.plan import doctor
from tinyllm.train import events

folder = begin()
np.set_printoptions(precision=3, suppress=True)

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
# The rarer the success, the more it counts. And look at the third group: where
# all answers earn the same, right or wrong, there is nothing to learn. So what
# counts is the share of groups with both. Suppose that each answer is right
# with probability p. A group of eight is of use unless all are right or all
# are wrong: 1 - p^8 - (1 - p)^8.

# %%
guess = predict("p is 1 %. Of 100 groups of eight, how many are of use?")
p = np.array([0.0, 0.01, 0.2, 0.5, 0.99])
useful = 100 * (1 - p**8 - (1 - p) ** 8)
print(compare(guess, round(float(useful[1]), 1)))
for share, groups in zip(p, useful, strict=True):
    print(f"right {100 * share:>3.0f} %: {groups:5.1f} of 100 groups of use")

# %% [markdown]
# **Now you: `group_advantages`.** Two of its settings are other people's
# algorithms. With `leave_one_out` an answer is compared with the *others* only,
# so that the comparison does not depend on the answer itself (RLOO, Ahmadian et
# al., 2024). Without `divide`, easy and hard questions weigh as their rewards
# say (Dr. GRPO, Liu et al., 2025).
#
# ## 2. Not too far
#
# A step changes the model, and then it would answer otherwise. If it is to take
# several steps with the same answers, each token must be weighted by the ratio
# r of its probability now to that when it was drawn. A step should not push the
# ratio far from 1, so its gain ends there:
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
# drawing, as below, every ratio is 1, and only the slope is left: r A.
#
# The ratio begins at *exactly* 1 only if drawing and training compute the same
# probability. In many programs they do not, because two engines round
# differently. Here both give the same bits, and the recipe refuses to go on if
# they ever differ.
#
# **Now you: `clipped_loss`.**
#
# ## 3. One training, four bases
#
# The world has a task that a line of code can check, and texts in which only
# half of the answers are right. A small LLaMA reads them for 400 steps. We keep
# it at the end, and at three moments before.

# %%
sizes = {"model.layers": 2, "model.width": 64, "model.hidden": 176,
         "model.heads": 4, "model.kv_heads": 4, "model.context": 32}
rarely = {"train.eval_every": 10**6, "train.sample_every": 10**6}
task = find_task("world:checkable,length=5")
asked = list(islice(task.items("test"), 250))  # in no text for training


def pretrain(seed, success, marks):
    """Train on texts of which `success` % are right; save at the marks."""
    setup = tl.prepare(tl.make_config(sizes | rarely | {
        "data": f"world:checkable,n=20000,length=5,success={success}",
        "tokenizer": "word", "pretrain.documents": True, "seed": seed,
        "train.steps": 400, "train.batch": 32, "train.lr": 6e-3}))
    for event in setup.train():
        if isinstance(event, events.Stepped) and event.step in marks:
            place = folder / "bases" / f"{success}-{event.step}-{seed}"
            setup.model.save_pretrained(place)
            tl.save_tokenizer(setup.tokenizer, place / "tokenizer.json")


def right(opened, n=1):
    """Draw n answers to each question: 1 for each right one -> (250, n)."""
    drawn = answers(opened, task, asked, n=n, max_tokens=8,
                    sampling=tl.Sampling(temperature=1))
    return np.array([each.score for each in drawn]).reshape(-1, n)


SEEDS, STEPS, MARKS = 1, 120, (50, 75, 175, 400)
for seed in range(SEEDS):
    pretrain(seed, 50, MARKS)
print("a question:", asked[0].question, "the answer:", asked[0].truth)
for mark in MARKS:
    places = [folder / f"bases/50-{mark}-{seed}" for seed in range(SEEDS)]
    scores = np.concatenate([right(tl.open_model(x), 8) for x in places])
    once = scores.max(axis=1).mean()
    print(f"{mark:>3} steps: right {100 * scores.mean():4.1f} %, "
          f"at least once in eight {100 * once:4.1f} %")

# %% [markdown]
# After 50 steps the base knows what an answer looks like, and no more. At the
# end about half of its answers are right, which is as good as its texts.
#
# ## 4. Rewards
#
# Now GRPO: each step draws eight answers to each of eight questions. The model
# reads no answers of others any more, and hears only "right" and "wrong".


# %%
def begin_grpo(base, steps, lr=2e-3, most=8):
    """Prepare a run of the recipe that starts with a base -> its setup."""
    return tl.prepare(tl.make_config(rarely | {
        "recipe": "grpo", "data": "world:checkable,n=5000,length=5",
        "start": str(folder / "bases" / base), "grpo.max_tokens": most,
        "seed": int(base[-1]), "train.steps": steps, "train.lr": lr}))


def grpo(base, steps, lr=2e-3, every=20):
    """Learn from rewards -> percent right, percent of groups of use, KL."""
    setup = begin_grpo(base, steps, lr)
    opened = tl.Opened(setup.model, setup.tokenizer)
    success, use, kl = [100 * right(opened).mean()], [], []
    for event in setup.train():
        if isinstance(event, events.Stepped):
            use.append(100 * (1 - event.numbers["frac_reward_zero_std"]))
            kl.append(event.numbers["objective/kl"])
            if event.step % every == 0:
                success.append(100 * right(opened).mean())
    return success, use, kl


guess = predict("of these four bases, how many end above 90 %?")
success, use = {}, {}
for mark in MARKS:
    runs = [grpo(f"50-{mark}-{seed}", STEPS) for seed in range(SEEDS)]
    ends = [run[0][-1] for run in runs]
    name = f"base of {mark} steps"
    success[name], use[name], kl = (
        np.mean(each, axis=0) for each in zip(*runs, strict=True))
    taught = (np.stack([run[1] for run in runs]) > 0).sum(axis=1).mean()
    print(f"{mark:>3} steps: right {success[name][0]:4.1f} % before, "
          f"{success[name][-1]:4.1f} after ({min(ends):.1f} to "
          f"{max(ends):.1f}); {taught:.0f} steps taught; KL {kl[-1]:.1f}")
print(compare(guess, sum(bool(x[-1] > 90) for x in success.values())))
by_20 = {name: x.reshape(-1, 20).mean(axis=1) for name, x in use.items()}
twice = {"dashed": "base of 75 steps"}  # which may lie on the base of 50
write_page(
    folder / "grpo.html", "GRPO from four bases",
    "What is right, of held-out letters, and what there was to learn from.",
    [curves("Answers that are right", "percent, by steps of GRPO", success,
            at=range(0, STEPS + 1, 20), **twice),
     curves("Groups with right and wrong answers", "percent, by steps",
            by_20, at=range(10, STEPS, 20), **twice)])

# %% [markdown]
# Nothing, noise, and learning. With SEEDS = 3 in the cell above, which begins
# with the training of the bases, the means of three seeds were
#
#     base of   right before   after (lowest to highest)   steps taught   KL
#      50          0.0 %        0.0 % ( 0.0 to  0.0)          2 of 120    3.5
#      75          0.3 %        0.4 % ( 0.0 to  1.2)         12 of 120    6.4
#     175         26.5 %       95.2 % (93.2 to 97.2)        112 of 120    1.5
#     400         48.3 %       98.4 % (98.0 to 99.2)         96 of 120    0.6
#
# The last two end far above their texts, of which half are right. Among eight
# answers of theirs there mostly was a right one; now it is the usual one.
#
# The first two learn nothing, but do not stand still: their KL divergence, in
# nats per answer, is the largest. With seed 0, one step of 120 had a group of
# use: a right answer by luck. AdamW divides a gradient by its usual size, so a
# rare one moves the weights as far as any other, and its momentum goes on
# moving them while the next steps bring zeros.
#
# ## 5. Three ways to learn nothing
#
# **Cut off.** Somebody gives the best base room for three tokens. No answer of
# four letters fits:

# %%
setup = begin_grpo("50-400-0", 3, most=3)
steps = [x for x in setup.train() if isinstance(x, events.Stepped)]
guess = predict("the norm of the gradient in the third step?")
print(compare(guess, steps[-1].grad_norm))
said = doctor(setup.plan, steps[-1].numbers)
print(textwrap.fill(said, 78))

# %% [markdown]
# No error, and a run that could go on for days. Read this line at step one.
#
# **Too fast.** Five times the rate, for half as long:

# %%
guess = predict("percent right, of a base with about 45 %, after 60 steps?")
fast, _, kl = grpo("50-400-0", 60, lr=1e-2)
print(f"right {fast[0]:.1f} % before, at the high rate {fast[-1]:.1f} %, "
      f"KL {kl[-1]:.1f}")
print(compare(guess, fast[-1]))

# %% [markdown]
# Now it is where the first base is, with nothing to learn from. A training on
# texts may recover from a step too far, as its texts stay the same. Here the
# model writes its own.
#
# **Nothing right to begin with.** That was the first base. But what is
# "nothing right"? Here is one that has read wrong answers only, each with one
# mistake: two letters exchanged, or one said twice or left out.

# %%
pretrain(0, 0, (400,))
guess = predict("400 steps on wrong answers, 120 of GRPO: percent right?")
wrong, _, _ = grpo("0-400-0", STEPS)
print(f"right {wrong[0]:.1f} % before, "
      f"after wrong texts and GRPO {wrong[-1]:.1f} %")
print(compare(guess, wrong[-1]))

# %% [markdown]
# No text had a right answer, and yet the base gives some: it has learnt how to
# turn letters around, and it makes mistakes at random, which now and then are
# none. That is enough. So ask what a model *draws*, not what it has read: draw
# a few hundred answers and count, before you pay for a training on rewards.
#
# The recipe is `tinyllm/align/recipes/grpo.py`, drawing is in
# `tinyllm/align/rollout.py`. On the command line, with a base of yours:
#
#     tinyllm train grpo --set start=RUN --data world:checkable
