# %% [markdown]
# # 37. Scaling laws
#
# In 2020 a laboratory had money for one very large model. How large should it
# be, and how much text should it read? Nobody can try twice. So they trained
# hundreds of small models, found a law, and trusted it (Kaplan et al.,
# "Scaling laws for neural language models"). GPT-3 was made by that law. Two
# years later Hoffmann et al. found another: models had been far too large, and
# had read too little. Here you find such a law yourself, where the truth is
# known.

# %%
import numpy as np

from tinyllm import ops
from tinyllm.course.lesson_runner import begin, compare, predict
from tinyllm.course.page import curves, write_page
from tinyllm.runs.scaling import (
    LARGER,
    NAMES,
    STEPS,
    WIDTHS,
    Facts,
    fit_law,
    intervals,
    isoflop,
    last,
    measure,
    predicted_loss,
    read_points,
)

folder = begin()
np.set_printoptions(precision=3, suppress=True)

# %% [markdown]
# ## 1. A text with a floor
#
# The loss of a text cannot fall to zero, because nobody knows what comes next.
# The lowest possible loss is the text's entropy, and of human texts nobody
# knows it. So take facts: a first name and a last name have a value. One fact
# is told a third of the time, others once in 600,000, as words are in texts
# (Zipf's law). One time in ten, a random value is told.

# %%
facts = Facts()
told = np.sort(facts.shares)[::-1]
print(f"{len(told):,} facts; shares {told[0]:.3f}, {told[9]:.4f}, ... "
      f"{told[-1]:.7f}")
guess = predict("the loss of one who knows all facts, in nats?")
print(compare(guess, facts.floor))

# %% [markdown]
# It is known exactly, and so is the loss of a model: there are 4,096 facts, so
# we ask for all of them and weigh each by its share. No sample, no noise.
#
# ## 2. Small runs
#
# Four sizes, each with five budgets: 200 to 3,200 steps of 256 facts. In each
# run, the learning rate falls to zero at its own end.

# %%
SEEDS = 1
small = [measure(facts, width, steps, seed) for seed in range(SEEDS)
         for width in WIDTHS for steps in STEPS]
points = np.array([last(run) for run in small])
above = points[:, 2].reshape(SEEDS, len(WIDTHS), -1).mean(axis=0)
above -= facts.floor
print("nats above the floor after 51,200 ... 819,200 facts")
for n, row in zip(points[:: len(STEPS), 0], above, strict=False):
    print(f"{n:8,.0f} parameters ", *(f"{x:.3f}" for x in row))

# %% [markdown]
# Read a row: more facts help, but each doubling helps a small model less, as
# it has no room for them. Read a column: of size, the same is true.
#
# ## 3. The law
#
# Say L = E + A / N^alpha + B / D^beta, for N parameters and D facts. E is the
# floor, the second term is paid for being small, the third for reading little.
# Which five numbers? Those that predict the logarithms of the losses best. But
# not by squares, as one run that went wrong would bend the law: Huber's
# function grows as a square near zero, and then as a line.

# %%
law = np.array([0.706, 290.0, 0.875, 37.0, 0.475])
params, tokens, losses = points.T
wrong = losses * np.where(np.arange(len(losses)) == 0, 2, 1)
for delta in (1e-3, 1e3):
    error = [ops.scaling_error(law, params, tokens, x, delta)
             for x in (losses, wrong)]
    print(f"delta {delta:g}: {error[1] / error[0]:.1f} times the error, if "
          "one loss is doubled")

# %% [markdown]
# **Now you: `scaling_error`.**
#
# `fit_law` goes down from 72 starts, and keeps the best law that it reaches.
# No model was near the floor. Will the law find it?

# %%
guess = predict("which floor will be found? The lowest loss is "
                f"{losses.min():.3f}")
law = fit_law(points)
print(compare(guess, law[0]))


def said(name, law, points=points):
    """Print a law, and the exponent a of the best size, with intervals."""
    def numbers(law):
        return np.array([law[0], law[2], law[4], law[4] / (law[2] + law[4])])

    low, high = intervals(points, law, numbers)
    print(f"{name:<14}", *(f"{sign} {x:.3f} ({y:.3f} to {z:.3f}) " for
                           sign, x, y, z in zip(("E", "alpha", "beta", "a"),
                                                numbers(law), low, high,
                                                strict=True)))


said("small runs", law)
print(f"floor, in truth: {facts.floor:.3f}")

# %% [markdown]
# The intervals are bootstraps: the law is fitted again to 20 runs drawn from
# the 20, some twice, some never. With SEEDS = 3 all 60 runs give E 0.706
# (0.643 to 0.732), which is 3.2 % too low. One seed alone gives 0.697, 0.725
# or 0.676: the floor is far from all runs, so small errors of these are large
# ones of E.
#
# ## 4. How large, for a given sum?
#
# A step forward and backward takes about 6 N D operations (lesson 43). With C
# of them, the best N is where more parameters and more facts buy the same. Put
# D = C / 6 N into the law, and look for the lowest point: N grows as C^a, with
# a = beta / (alpha + beta).

# %%
flops = np.geomspace(3e9, 1.6e11, 9)
best, read = ops.compute_optimal(law, flops)
for c, n in isoflop(points, flops):
    print(f"{c:.1e} FLOPs: parabola {n:8,.0f}, law "
          f"{ops.compute_optimal(law, np.array([c]))[0][0]:8,.0f} parameters")

# %% [markdown]
# **Now you: `compute_optimal`.**
#
# The parabolas need no law: at one C, draw the loss over the logarithm of N,
# and take the lowest point. With SEEDS = 3 parabola and law agree within 8 %,
# and a is 0.35 (0.30 to 0.45): for ten times the FLOPs, 2.2 times the size and
# 4.5 times the facts. Facts of which most are rare want to be read. Texts are
# different.
#
# ## 5. Held to it
#
# Now a run of four times the FLOPs of the largest: twice the size, twice the
# facts. What the law says stands before the run begins.

# %%
sizes = measure(facts, LARGER[0], 1, 0)["params"], 256 * LARGER[1]
said_before = predicted_loss(law, *sizes)
guess = predict(f"{sizes[0]:,} parameters, {sizes[1]:,} facts: the loss?")
large = [measure(facts, *LARGER, seed) for seed in range(SEEDS)]
loss = np.mean([last(run)[2] for run in large])
print(compare(guess, loss))
off = 100 * (said_before / loss - 1)
print(f"predicted {said_before:.4f}, measured {loss:.4f}, floor "
      f"{facts.floor:.4f}: {off:+.2f} % of the loss")

# %% [markdown]
# With SEEDS = 3, 0.7634 is predicted and 0.7694 measured: 0.8 % too low. That
# sounds better than it is. Most of a loss is floor, and of the 0.040 above it,
# 15 % are missing. Ask of a prediction what it is a percentage of. The reason:
# the small models do not quite follow the law. With a fifth, of 4,980
# parameters, E was 4.8 % and the prediction 1.4 % too low, so it was left out.
# That was chosen after the larger run had been seen, which one must say.
#
# ## 6. Four ways to be wrong
#
# * **No floor.** Without E, the loss falls for ever.
# * **Too few sizes.** Two sizes cannot tell E from A / N^alpha.
# * **Schedules that do not end.** It is cheap to train each size once, for long,
#   and to read the loss on the way. But on the way, the learning rate is high.
# * **Embeddings.** Kaplan et al. did not count them among the parameters.

# %%
ways = {"as above": points}
ways["two sizes"] = points[np.isin(params, np.unique(params)[:2])]
ways["on the way"] = np.array([
    (run["params"], *each) for run in small[len(STEPS) - 1 :: len(STEPS)]
    for each in zip(run["tokens"], run["losses"], strict=True)])
ways["no embeddings"] = points.copy()
widths = {run["params"]: width for run, width in zip(
    small, np.repeat(np.tile(WIDTHS, SEEDS), len(STEPS)), strict=True)}
ways["no embeddings"][:, 0] -= [4 * NAMES * widths[n] for n in params]
laws = {name: fit_law(each) for name, each in ways.items()}
laws["no floor"] = fit_law(points, floor=False)
guess = predict("without a floor, the predicted loss of the larger run?")
for name, each in laws.items():
    n = sizes[0] - 4 * NAMES * LARGER[0] * (name == "no embeddings")
    print(f"{name:<14} predicts {predicted_loss(each, n, sizes[1]):.4f}")
    said("", each, ways.get(name, points))
print(compare(guess, predicted_loss(laws["no floor"], *sizes)))

# %% [markdown]
# With SEEDS = 3, the law without a floor promises 0.725, and that of two sizes
# 0.721. Both are below the floor: no model can do that. And their intervals
# are narrow! A bootstrap tells how much the runs vary, not if the law is
# right. Runs on the way give a floor of 0.584, 20 % too low, because a run
# that has not ended is worse than one of its length that has. Without
# embeddings, alpha is 0.61 in place of 0.88, and a is 0.44 in place of 0.35:
# the same runs, other advice.
#
# ## 7. The real ones
#
# These are 240 runs of Hoffmann et al., read from a figure of their paper by
# Besiroglu et al. ("Chinchilla scaling: a replication attempt", 2024), who
# found that the published law does not fit the published points. Their own fit
# has E 1.82, alpha 0.348 and beta 0.366, with standard errors of 0.03, 0.02
# and 0.02.

# %%
runs = read_points(folder / "chinchilla.csv")
chinchilla = fit_law(runs)
said("Chinchilla", chinchilla, runs)
c, n = np.log(isoflop(runs, np.geomspace(6e18, 3e21, 10))).T
print(f"a by parabolas: {np.polyfit(c, n, 1)[0]:.3f}")
guess = predict("for Chinchilla's 5.88e23 FLOPs: the best size, in billions?")
n, d = ops.compute_optimal(chinchilla, np.array([5.88e23]))
print(compare(guess, n[0] / 1e9), f"with {d[0] / 1e12:.1f} trillion tokens")

# %% [markdown]
# Chinchilla has 70 billion parameters and read 1.4 trillion tokens: 6 N D is
# 5.88e23. Kaplan et al. said a = 0.73: for ten times the FLOPs, a model five
# times as large that reads twice as much. Hoffmann et al. said 0.5: three
# times and three times. Why? Kaplan's points are not published. But take
# Chinchilla's law, count as Kaplan did, at Kaplan's sizes, 768 to 1.5 billion
# parameters without embeddings: with them, N is about M + 47491 M^(1/3)
# (Pearce and Song, "Reconciling Kaplan and Chinchilla scaling laws", 2024).

# %%
m = np.geomspace(768, 1.5e9, 4000)  # without embeddings
whole = m + 47491 * np.cbrt(m)
best = []
for c in np.geomspace(1e13, 5e20, 60):
    at = predicted_loss(chinchilla, whole, c / 6 / m).argmin()
    best += [(c, m[at])] if 0 < at < len(m) - 1 else []
guess = predict("Kaplan found 0.73. And this a?")
print(compare(guess, np.polyfit(*np.log(best).T, 1)[0]))

# %%
flops = np.geomspace(3e9, 3e12, 40)
write_page(
    folder / "scaling.html", "Laws and a larger run",
    "A run cannot be repeated when it is the largest of all.", [
        curves("Above the floor", "nats, by thousands of facts", {
            f"{n:,.0f} parameters": row for n, row in zip(
                points[:: len(STEPS), 0], above, strict=False)},
            at=[0.256 * n for n in STEPS], log=True, log_x=True),
        curves("Beyond the runs", "loss at the best size, by GFLOPs", {
            name: predicted_loss(laws[key], *ops.compute_optimal(
                laws[key], flops)) for name, key in
            (("the law", "as above"), ("two sizes", "two sizes"))} | {
                "floor": np.full(len(flops), facts.floor),
                "no floor": predicted_loss(laws["no floor"], *(
                    ops.compute_optimal(laws["no floor"], flops)))},
            at=list(flops / 1e9), log=True, log_x=True)])

# %% [markdown]
# So 0.78: most of Kaplan's 0.73 is how parameters were counted, in models so
# small that most of them are embeddings. GPT-3, with 175 billion parameters,
# read 0.3 trillion tokens.
#
# Say which schedule, which parameters and which runs, and keep one run to be
# held to. `tinyllm scaling --out DIR` does all this with three seeds, and
# `tinyllm scaling FILE --out DIR` with your own runs.
