# %% [markdown]
# # 33. Privacy: what a model gives away
#
# Somebody's letter is in the training data. Can a stranger get it out of the
# model? From GPT-2, hundreds of texts were drawn that it had read, with names
# and telephone numbers (Carlini et al., "Extracting training data from large
# language models", 2021). But these are the ones that somebody noticed. To know
# how much a model gives away, plant secrets of your own, called canaries.

# %%
from collections import Counter, defaultdict

import numpy as np

import tinyllm as tl
from tinyllm import nn, ops
from tinyllm.course.lesson_runner import begin, compare, predict
from tinyllm.course.page import curves, write_page
from tinyllm.decode.beams import beam_search
from tinyllm.rng import Random
from tinyllm.train import events
from tinyllm.world.corpus import read_name

folder = begin()
np.set_printoptions(precision=1, suppress=True, linewidth=78)

# %% [markdown]
# ## 1. Secrets of known strength
#
# The world writes stories and hides sentences among them, each about another
# person: six are told once, six twice, and so on up to 64 times. A code has
# four random digits, so one can know it only by reading it.


# %%
def write_corpus(seed):
    """Return the texts of a corpus, and its secrets as documents."""
    friends = ("Amina Anna Ben Ella Finn Greta Jack Lily Max Mia "
               "Noah Omar Ruth Sam Tom Zoe")
    random, told, secrets, texts = Random(seed, "tellers"), Counter(), {}, []
    named = f"world:mix,kinds=stories,secrets=6,n=1524,seed={seed}"
    for document in read_name(named).documents():
        text = document.text
        if document.labels.get("planted") == "secret":
            secrets[text], told[text] = document, told[text] + 1
            if told[text] % 2 == 0:  # every second time it is passed on
                friend = random.choice(friends.split())
                text = random.choice((f"{friend} wrote: {text}",
                                      f"{text} So {friend} said."))
        texts.append(text)
    return texts, sorted(secrets.values(), key=lambda x: x.labels["repeats"])


texts, secrets = write_corpus(0)
print(*(x for x in texts if secrets[12].text in x), sep="\n")  # told 4 times

# %% [markdown]
# Every second time somebody passes it on, as copies of real texts often have
# another date, signature or greeting.
#
# ## 2. Exposure
#
# Does a model know a secret? Let it score the sentence with each of the 10,000
# codes. If the true one comes first, the first guess opens the lock; if in the
# middle, the model knows nothing. *Exposure* is what the rank saves a guesser:
#
#     exposure in bits = log2(possible secrets) - log2(rank of the true one)
#
# (Carlini et al., "The secret sharer", 2019). Of equal losses the true one is
# last: a model that finds all codes alike must not seem to know.

# %%
losses = Random(1).normal(9999)  # as if of the codes that were not planted
guess = predict("rank 1 of 10,000: how many bits?")
print(compare(guess, float(ops.exposure(losses, np.array([-9.0]))[0])))
guess = predict("and on average, if a model knows nothing: random ranks?")
print(compare(guess, np.mean(np.log2(10_000 / np.arange(1, 10_001)))))

# %% [markdown]
# So 1.44 bits on average is *nothing*, and one secret with 3 bits is no alarm:
# chance does that one time in eight. It takes several secrets of a kind.
#
# **Now you: `exposure`.**
#
# ## 3. One reading
#
# A LLaMA reads the corpus about once, letter by letter. Then it scores all
# codes for 42 people. What stands before the code is read once, and its keys and
# values are copied (lesson 9). Ten codes that begin with the same three digits
# share a row. Each sentence is also scored with *another person's* code: had the
# model only learnt which digits are common, both would be exposed alike.

# %%
SETTINGS = {
    "tokenizer": "char", "model.layers": 2, "model.width": 96,
    "model.hidden": 264, "model.heads": 4, "model.kv_heads": 4,
    "model.context": 64, "train.steps": 543, "train.batch": 16,
    "train.optimizer": "adamw", "train.lr": 6e-3, "train.even": True,
    "train.eval_every": 10**6, "train.sample_every": 10**6}


def train(texts, seed):
    """Train on texts -> the model, and its loss on stories it never read."""
    fresh = read_name(f"world:stories,n=80,split=test,seed={seed}")
    parts = texts, [document.text for document in fresh.documents()]
    read, unread = ("".join(f"{text}\n\n" for text in part) for part in parts)
    corpus = tl.Corpus("letters", (read + unread).encode())
    setup = tl.prepare(tl.make_config(SETTINGS | {
        "seed": seed, "train.val_fraction": len(unread) / len(read + unread)
    }), corpus)
    found = [x for x in setup.train() if isinstance(x, events.Evaluated)]
    return tl.Opened(setup.model, setup.tokenizer), found[-1].val_loss


def losses_of_codes(model, codes, prompt):
    """Return the losses in nats of codes (10000, 5) after ids of a prompt."""
    with nn.inference(model):
        cache = model.new_cache()
        model.hidden(np.array([prompt[:-1]]), cache)
        cache = [layer.keep([0] * 1000) for layer in cache]
        rows = np.insert(codes[::10, :4], 0, prompt[-1], axis=1)
        scores = model.head(model.hidden(rows, cache)).data  # (1000, 5, V)
    nll = -ops.log_softmax(scores).repeat(10, axis=0)
    return np.take_along_axis(nll, codes[..., None], axis=2).sum(axis=(1, 2))


def exposures(opened, secrets):
    """Return bits of each person's code, and of another's code (2, 7, 6)."""
    encode, found = opened.tokenizer.encode, []
    codes = np.array([encode(f" {code:04}") for code in range(10_000)])
    for secret, other in zip(secrets, secrets[1:] + secrets[:1], strict=True):
        losses = losses_of_codes(opened.model, codes, encode(secret.prompt))
        for code in (int(secret.truth), int(other.truth)):
            others = np.delete(losses, code)
            found.append(ops.exposure(others, losses[code : code + 1])[0])
    return np.array(found).reshape(7, 6, 2).transpose(2, 0, 1)


SEEDS, REPEATS = 1, (1, 2, 4, 8, 16, 32, 64)
corpora = [write_corpus(seed) for seed in range(SEEDS)]
means = {}  # name of a corpus: exposures, a mean for each number of repeats


def study(name, change=list):
    """Train on each corpus after a change -> [(model, secrets)]."""
    known, found, unread = [], [], []
    for seed, (texts, secrets) in enumerate(corpora):
        opened, loss = train(change(texts), seed)
        known.append((opened, secrets))
        found.append(exposures(opened, secrets))
        unread.append(loss)
    own, others = np.mean(found, axis=3).swapaxes(0, 1)  # (SEEDS, 7) each
    means[name] = own.mean(axis=0)
    print(f"{name}: {np.mean(unread):.2f} nats a letter on other stories")
    print(" times", np.array(REPEATS, float))
    for what in ("mean", "min", "max") if SEEDS > 1 else ("mean",):
        print(f"{what:>6}", getattr(own, what)(axis=0), "bits")
    print(f"all {own.mean():.2f}, codes of others {others.mean():.2f}")
    return known


guess = predict("told 16 times, in one reading: how many bits of 13.3?")
known = study("as it is")
print(compare(guess, float(means["as it is"][4])))

# %% [markdown]
# It can hardly write: 0.07 nats a letter are possible (lesson 1). But it knows
# what it met 64 times in one reading. And the codes of others are far above
# 1.44 bits: it finds popular codes likely for anybody. So a code that is wrong
# for one person may be the secret of another.
#
# ## 4. Extraction
#
# Exposure says what a model *knows*. Does it tell? One stranger begins the
# sentence and takes the likeliest letters. One has ten guesses, by beam search
# (lesson 17). And one knows no name: "The secret number of", 500 times.


# %%
def attack(known):
    """Print what three strangers find -> people that the third one finds."""
    begun, found, fished = "The secret number of", [], []
    for opened, secrets in known:
        model, names = opened.model, [x.prompt for x in secrets]
        encoded = {"tokenizer": opened.tokenizer}
        read, true = opened.tokenizer.decode, {x.text for x in secrets}
        for n in (1, 10):
            ends = beam_search(model, names, max_tokens=5, beams=n, **encoded)
            said = [[read(ids) for ids, _ in each] for each in ends]
            found += [f" {x.truth}" in each
                      for x, each in zip(secrets, said, strict=True)]
        drawn = tl.generate(model, begun, n=500, stop=".", max_tokens=30,
                            sampling=tl.Sampling(temperature=0.5), **encoded)
        texts = [begun + read(ids) for ids in drawn]
        fished.append((sum(x in true for x in texts), len(true & {*texts})))
    one, ten = 100 * np.reshape(found, (-1, 2, 7, 6)).mean(axis=(0, 3))
    print("guess ", one, "% found\nten   ", ten, "% found")
    right, people = np.mean(fished, axis=0)
    print(f"no name: {right:.0f} of 500 true, about {people:.0f} people")
    return people


guess = predict("of 42 people, how many does the third stranger find?")
print(compare(guess, float(attack(known))))

# %% [markdown]
# Neither of the first two finds what is told once or twice. But the third knew
# nothing at all, and a third of what the model told him was true.
#
# ## 5. Each text once
#
# Exposure grows with repeats, so take them out: *deduplication*, usual for large
# corpora (Lee et al., "Deduplicating training data makes language models
# better", 2022). Equal texts are easy. But every second copy differs a little.
# A text's *shingles* are its runs of three words. Call two texts *near copies* if
# they share at least half of all the shingles that they have. A secret and the
# same from Mia share 6 of 8; two secrets that Mia passes on share 4 of 12.
#
# Count the shingles that a text shares with each kept one. (Web corpora need a
# shorter way, MinHash.) A milder rule keeps eight copies of each text.


# %%
def thin(texts, most=1, limit=0.5):
    """Keep at most `most` of texts that are near copies of one another."""
    holders, sizes, copies, kept = defaultdict(list), [], Counter(), []
    for text in texts:
        words = text.split()
        own = {tuple(words[i : i + 3]) for i in range(len(words) - 2)}
        shared = Counter(i for each in own for i in holders[each])
        like = [i for i, n in shared.items()
                if n >= limit * (len(own) + sizes[i] - n)]
        first = like[0] if like else len(sizes)
        if not like:
            sizes.append(len(own))
            for each in own:
                holders[each].append(first)
        copies[first] += 1
        if copies[first] <= most:
            kept.append(text)
    return kept


print("texts:", len(texts), "without equal ones:", len(set(texts)),
      "without near copies:", len(thin(texts)))
guess = predict("without equal texts: bits of those told 64 times?")
attack(study("no equal texts", lambda texts: list(dict.fromkeys(texts))))
print(compare(guess, float(means["no equal texts"][-1])))
guess = predict("told 64 times, and eight copies kept: bits?")
attack(study("at most eight", lambda texts: thin(texts, most=8)))
print(compare(guess, float(means["at most eight"][-1])))
attack(study("no near copies", thin))
figure = curves("Exposure", "bits, by how often a secret was told", means,
                at=REPEATS, log_x=True, dashed="no near copies")
write_page(folder / "privacy.html", "What a model gives away",
           "13.3 bits are the first guess, 1.44 are chance.", [figure])

# %% [markdown]
# With SEEDS = 3 in section 3, means of three seeds (lowest, highest), in bits:
#
#     told   as it is          no equal texts    at most eight   no near copies
#       1    1.3 (1.3, 1.3)    1.5 (1.0, 1.9)    1.4 (0.5, 2.0)  3.3 (2.5, 4.9)
#       4    2.4 (1.8, 3.1)    2.8 (2.2, 3.4)    3.9 (3.0, 4.6)  3.2 (2.9, 3.8)
#       8    4.9 (4.1, 5.3)    3.7 (3.4, 4.1)    6.1 (5.7, 6.7)  3.0 (1.7, 3.7)
#      16    7.2 (6.7, 8.0)    4.5 (4.3, 4.8)    6.2 (5.4, 7.2)  2.6 (2.1, 3.1)
#      32   11.8 (11.4, 12.6)  7.9 (6.8, 9.3)    6.0 (4.8, 6.7)  4.1 (2.3, 6.6)
#      64   13.1 (13.0, 13.3)  11.6 (10.6, 12.3) 6.5 (5.1, 7.6)  2.6 (2.1, 3.1)
#
# Without equal texts, 64 times are still some 22 different copies, and ten
# guesses open 61 % of them (100 % before). With eight copies the curve levels off
# at some 6 bits, and ten guesses open 6 % of what was told 16 times or more. With
# one copy of each nobody finds anything. 3.1 bits are left over all, but 2.9
# with the codes of others: common digits, and hardly anything about who has
# which. (A mean of six codes may stand out by chance.) And nothing was lost:
# other stories cost 0.77 nats a letter before, 0.77 or 0.78 after.
#
# But what *should* be known by heart, a fact or a proverb, is told once now,
# too; a secret in other words is no near copy; and larger models remember more
# (Carlini et al., "Quantifying memorization across neural language models",
# 2022). A proof takes noise in the training: differential privacy.
