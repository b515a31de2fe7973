# %% [markdown]
# # 38. Federated and private
#
# Your telephone learns which word you write next, and your letters never leave
# it. How does one model learn from texts that nobody may collect? And another
# question: if no text was sent, does the model keep it secret?

# %%
import copy

import numpy as np

import tinyllm as tl
from tinyllm import ops
from tinyllm.course.lesson_runner import begin, compare, predict, spread
from tinyllm.course.page import curves, write_page
from tinyllm.errors import UserError
from tinyllm.nn import inference
from tinyllm.parallel.federated import Client, dealt
from tinyllm.train import events
from tinyllm.world.corpus import read_name

folder = begin()
np.set_printoptions(precision=2, suppress=True)

# %% [markdown]
# ## 1. One model, five authors
#
# Five people write: the first mostly stories, the others letters, dialogues, an
# encyclopaedia, facts; a tenth of what they write is of any kind. In a *round* a
# server sends its weights to the five *clients*. Each trains them for ten steps
# on its own text and sends them back. The mean of the five models, weighted by
# their tokens (at most those of a round, or one could claim a trillion), is what
# the server sends next: *FedAvg* (McMahan et al., 2017).
#
# Why is a mean of models a model? Because they began at the same weights and did
# not go far. With one step of plain descent each, it is that of a large batch.
#
# **Now you: `federated_mean`.**
#
# A tenth of all texts is held out. We compare a *central* training on all texts,
# with as many tokens, the federation, and a client that stays alone.

# %%
SEEDS, CLIENTS, ROUNDS, LOCAL = 1, 5, 8, 10
BASE = {"tokenizer": "char", "model.layers": 2, "model.width": 64,
        "model.hidden": 176, "model.heads": 4, "model.kv_heads": 4,
        "model.context": 64, "train.lr": 1e-2, "train.optimizer": "adamw",
        "train.batch": 16, "train.eval_windows": 120,
        "train.sample_every": 10**6}
FEDERATED = {"recipe": "federated", "federated.clients": CLIENTS,
             "federated.local_steps": LOCAL, "train.steps": ROUNDS,
             "train.eval_every": 2}
CENTRAL = {"train.steps": ROUNDS * LOCAL, "train.eval_every": 2 * LOCAL}


def write_corpora(seed):
    """Return the authors' texts, facts with secrets, the secrets, ..."""
    authors = tl.load_corpus(
        "world:mix,kinds=stories letters dialogues encyclopaedia facts,"
        f"n=2500,clients={CLIENTS},difference=0.9,seed={seed}")
    name = f"world:mix,kinds=facts,secrets=4,n=1060,seed={seed}"
    told = {each.text: each for each in read_name(name).documents()}
    fresh = read_name(f"world:facts,n=150,split=test,seed={seed}").documents()
    texts = [*told, *(each.text for each in fresh)]
    facts = tl.Corpus("facts", "".join(f"{x}\n\n" for x in texts).encode(),
                      separator=b"\n\n")
    secrets = [x for x in told.values() if x.labels.get("planted")]
    return authors, facts, secrets, 150 / len(texts)


corpora = [write_corpora(seed) for seed in range(SEEDS)]
tokenizers = [tl.CharTokenizer.train((authors.data + facts.data).decode())
              for authors, facts, *_ in corpora]


def train(seed, settings, corpus, change=lambda loop: None, start=None):
    """Train on a corpus -> the setup, and the losses on what was held out."""
    config = tl.make_config(BASE | settings | {
        "seed": seed, "private.seed": seed})  # to be repeated; else secret
    setup = tl.prepare(config, corpus, tokenizers[seed],
                       model=copy.deepcopy(start))
    loop, losses = setup.train(), []
    change(loop)
    for event in loop:
        if isinstance(event, events.Evaluated):
            losses.append(event.val_loss_per_char)
    return setup, losses


def learn(name, settings, corpus_of=lambda seed: corpora[seed][0], **how):
    """Train with each seed, print the end -> the setups, the mean losses."""
    found = [train(seed, settings, corpus_of(seed), **how)
             for seed in range(SEEDS)]
    setups, losses = zip(*found, strict=True)
    said = spread([each[-1] for each in losses], ".2f")
    print(f"{name:<30} {said} nats a character", flush=True)
    return setups, np.mean(losses, axis=0)


guess = predict("a central training ends at which loss?")
_, central = learn("central", CENTRAL | {"train.batch": 16 * CLIENTS})
print(compare(guess, central[-1]))
guess = predict("and the federation?")
federation, mean = learn("federated", FEDERATED)
print(compare(guess, mean[-1]))
_, alone = learn("the first author alone", CENTRAL,
                 lambda seed: dealt(federation[seed], 0).corpus)
count = federation[0].model.num_parameters()
print(f"sent in a round: {8 * CLIENTS * count / 1e6:.1f} MB of weights")

# %% [markdown]
# The federation stays 0.1 behind, because what five models learn in ten steps is
# not quite what one learns in fifty. But the author who stays alone never learns
# what a letter looks like: 2.32 (SEEDS = 3; 1.99 central, 2.08 together).
#
# ## 2. One is silent, one lies
#
# Telephones run out of power: `Silent` never answers after the second round.
# Worse is somebody who answers *wrongly*, by mistake or on purpose. `Liar` trains
# as it should, and then sends five times its step, in the wrong direction. (What
# is not finite, or ten times as far as usual, the server refuses: that was easy.)


# %%
class Silent(Client):
    def train(self, weights, number):
        if number >= 2:
            raise UserError("no power")
        return super().train(weights, number)


class Liar(Client):
    def train(self, weights, number):
        reply, size = super().train(weights, number), np.float32(5)
        return reply._replace(weights={
            name: w - size * (reply.weights[name] - w)
            for name, w in weights.items()})


def put(loop, number, kind):
    """Put a client of another kind into a federation."""
    loop.clients[number] = kind(dealt(loop.parts, number), number)


guess = predict("one of five is silent: the loss at the end?")
_, silent = learn("one is silent", FEDERATED,
                  change=lambda loop: put(loop, 1, Silent))
print(compare(guess, silent[-1]))
guess = predict("one of five lies: the loss at the end?")
lies = {"change": lambda loop: put(loop, 3, Liar)}
_, lied = learn("one lies, mean", FEDERATED, **lies)
print(compare(guess, lied[-1]))

# %% [markdown]
# The silent one is hardly missed. The liar destroys what the others learnt: a
# mean trusts everybody. A *median* does not: for each weight, sort the five
# values and take the one in the middle. Or leave out the lowest and the highest,
# and take the mean of three, a *trimmed mean*. So many liars may say what they
# like: the result stays among what honest clients sent (Yin et al.,
# "Byzantine-robust distributed learning", 2018).
#
# **Now you: `trimmed_mean`.**

# %%
guess = predict("one lies, and the median counts: the loss?")
_, median = learn("one lies, median", FEDERATED | {"federated.trim": 0.5},
                  **lies)
print(compare(guess, median[-1]))
learn("one lies, trimmed mean", FEDERATED | {"federated.trim": 0.2}, **lies)

# %% [markdown]
# ## 3. What the weights tell
#
# No text was sent. What did the weights take along? A club goes on from the
# model of the federation, with 500 sentences of its members. 28 of them are
# secrets, each told once. Lesson 33 measured what a model knows of four digits:
# exposure, at most 13.3 bits, 1.44 if it knows nothing. To see whether it knows
# *whose* code it is, each sentence is also scored with another member's.


# %%
def exposures(seed, model):
    """Return mean bits of each member's own code, and of another's (2,)."""
    encode, secrets, found = tokenizers[seed].encode, corpora[seed][2], []
    codes = np.array([encode(f" {code:04}") for code in range(10_000)])
    for own, other in zip(secrets, secrets[1:] + secrets[:1], strict=True):
        prompt = encode(own.prompt)
        with inference(model):  # ten codes with the same start share a row
            cache = model.new_cache()
            model.hidden(np.array([prompt[:-1]]), cache)
            cache = [layer.keep([0] * 1000) for layer in cache]
            rows = np.insert(codes[::10, :4], 0, prompt[-1], axis=1)
            scores = model.head(model.hidden(rows, cache)).data
        nll = -ops.log_softmax(scores).repeat(10, axis=0)
        nll = np.take_along_axis(nll, codes[..., None], 2).sum(axis=(1, 2))
        found.append([ops.exposure(np.delete(nll, x), nll[x : x + 1])[0]
                      for x in (int(own.truth), int(other.truth))])
    return np.mean(found, axis=0)


def tune(name, epsilon):
    """Tune on the club's sentences -> setups, losses, mean bits."""
    setups, losses = zip(*(train(seed, {
        "pretrain.documents": True, "train.batch": 128, "train.steps": 140,
        "train.eval_every": 20, "train.weight_decay": 0.0,
        "train.val_fraction": share, "private.epsilon": epsilon,
    }, facts, start=federation[seed].model)
        for seed, (_, facts, _, share) in enumerate(corpora)), strict=True)
    bits = np.transpose([exposures(i, x.model) for i, x in enumerate(setups)])
    said = spread([x[-1] for x in losses], ".2f")
    print(f"{name:<13} loss {said}, own code {spread(bits[0])}, another's "
          f"{spread(bits[1])} bits", flush=True)
    return setups, np.mean(losses, axis=0), bits.mean(axis=1)


guess = predict("each secret told once: exposure in bits?")
_, plain, bits = tune("not private", 0.0)
print(compare(guess, bits[0]))

# %% [markdown]
# The sentences stayed in the club, and its weights tell them. Federated learning
# sends just that, weights: it alone keeps no secret.
#
# ## 4. Noise that can be proven
#
# Train twice: with all texts, and without one of them. If nobody can tell which
# of the two made a model, then it says nothing about that text. A training is
# (epsilon, delta)-*differentially private* if no example, whatever it says, makes
# a result likelier than exp(epsilon) times, but for a chance of delta. A step
# gets there in three moves (Abadi et al., "Deep learning with differential
# privacy", 2016): draw each example by a coin of its own; clip the gradient of
# *each* example to the length C; add normal noise of `noise` x C to their sum. So
# an example moves the sum by at most C, and the noise hides it.
#
# **Now you: `clip_factors`.**

# %%
print(ops.clip_factors(np.array([0.2, 1.0, 4.0], np.float32)))
guess = predict("the secrets with epsilon 8: exposure in bits?")
setups, eight, bits = tune("epsilon 8", 8.0)
print(compare(guess, bits[0]))
_, one, _ = tune("epsilon 1", 1.0)

# %% [markdown]
# ## 5. The accountant
#
# How much noise makes all steps cost 8? Each step costs something. If epsilons
# of single steps are added, the sum is far too large: nobody is unlucky in every
# step. The *Renyi divergence* of an order a, a mean of the a-th power of how much
# likelier a result became, adds up exactly, and turns into an epsilon in the end
# (Mironov et al., 2019). Each order is right, so the smallest epsilon counts.
#
# **Now you: `sampled_gaussian_rdp`**, the cost of one step.

# %%
config, plan = setups[0].config, setups[0].plan
noise, delta = config.private.noise, config.private.delta
share, steps = config.train.batch / plan.examples, config.train.steps
print(f"noise {noise:.2f}, {100 * share:.0f} % of {plan.examples} a step")


def epsilon(steps, share=share):
    """Return the epsilon of some steps, by the best of some orders."""
    orders = np.array([1.5, 2, 3, 4, 6, 8, 12, 16, 32, 64])
    costs = [ops.sampled_gaussian_rdp(a, share, noise) for a in orders]
    return ops.rdp_epsilon(steps * np.array(costs), orders, delta)


guess = predict(f"one step costs {epsilon(1):.2f}. {steps} of them?")
print(compare(guess, epsilon(steps)), "added:", round(steps * epsilon(1)))
print(f"each example in every step: {epsilon(steps, 1.0):.0f}")

# %% [markdown]
# Nobody knows which examples a step has drawn: without that, the same noise would
# cost several times as much.
#
# ## 6. The price
#
# With SEEDS = 3 (lowest, highest): a secret that is told once has 11.0 bits (10.2
# to 11.7) in the plain model, 2.1 (1.7 to 2.6) with epsilon 8, where another
# member's code has 1.9: most of what is left are digits likely for anybody.
# The price is the loss, 0.84 and 1.84. Noise is added once to a sum, so it costs
# less with more examples, and 500 are few.
#
# And what was *not* promised? A secret told 64 times is 64 examples. The start
# may have read it, too. With `tinyllm train federated --set private.epsilon=8`
# each client adds the noise: then weights tell the server little of a document.

# %%
write_page(folder / "federated.html", "Federated and private",
           f"Five authors, one model; then 28 secrets. Seeds: {SEEDS}.",
           [curves("Five authors", "nats a character, by round", {
               "federated": mean, "one lies, mean": lied,
               "one lies, median": median, "central": central},
               at=range(0, ROUNDS + 1, 2), dashed="central"),
            curves("A club with secrets", "nats a character, by step", {
                "not private": plain, "epsilon 8": eight, "epsilon 1": one},
                at=range(0, steps + 1, 20))])
