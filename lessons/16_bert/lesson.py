# %% [markdown]
# # 16. BERT
#
# A GPT reads from left to right, because it is trained to guess what comes
# next, and must not see it. Somebody who only wants to *understand* a text has
# no reason to look away from its second half. BERT (Devlin et al., 2019) looks
# both ways. For that it needs another game to learn from: hide some words, and
# guess them. You build that game, and two ways to use what was learnt: classes
# of texts from few labels, and vectors by which texts find each other.

# %%
import numpy as np

import tinyllm as tl
from tinyllm import nn, ops
from tinyllm.course.lesson_runner import begin, compare, predict, progress
from tinyllm.course.page import curves, write_page
from tinyllm.models.bert import Bert, BertConfig
from tinyllm.padding import padded
from tinyllm.runs.recipes.classify import TextBatch
from tinyllm.tokenizer import make_tokenizer
from tinyllm.train.objectives import masked_token, same_meaning, text_class

folder = begin()

# %% [markdown]
# ## Looking both ways
#
# The change in the model is small: `attention(q, k, v, causal=False)`. What
# does it buy? Here are claims about things, and what somebody did then.

# %%


def claims(dials):
    """Sentences of the world, and the word that follows them."""
    found = tl.load_corpus(f"world:sentiment,depth=1,{dials}").documents
    return [(each.prompt, each.answer.split()[0]) for each in found]


told = [f"{text} {word}" for text, word in
        claims("consequences=true,n=20000,seed=1")]
for sentence in told[:4]:
    print(sentence)

# %% [markdown]
# In the last one Leo lied: the song was not awful, so whoever hears it smiles.
# Hide the word "awful": what comes *after* it gives away what it must have
# been, together with what comes before. A model that reads to the left only can
# do no better than guess.
#
# ## The game
#
# Fifteen percent of the tokens are hidden, and the model guesses them. More
# would leave too little to guess from, fewer would teach too little per text.
# (Here it is a fifth, for sentences are short.) A hidden token becomes
# `[MASK]`. But not always! Nobody will write [MASK] when the model is used, and
# a model that meets no other task learns nothing about real words. So one in
# ten becomes some other token, and one in ten stays what it is; the model cannot
# know which words can be trusted, and must think about every one of them.
#
# **Now you: `mask_tokens`.** All randomness is given to you as numbers. The
# targets of tokens that are not hidden are -100, which the loss ignores.

# %%
tokenizer = make_tokenizer("word", "\n".join(told[:3000]).encode())
tokenizer.add_special_tokens(["[PAD]", "[CLS]", "[SEP]", "[MASK]"])
special, V = tokenizer.special_tokens, tokenizer.vocab_size
mask = special["[MASK]"]


def framed(text):
    """Each text stands between [CLS] and [SEP]."""
    return [special["[CLS]"], *tokenizer.encode(text), special["[SEP]"]]


def hide(tokens, step, rate=0.2):
    """Draw the random numbers of a step, and hide."""
    random = tl.Random(0, "hide", step)
    draws, how = random.uniform(tokens.shape), random.uniform(tokens.shape)
    draws[np.isin(tokens, list(special.values()))] = 1  # these are not hidden
    other = random.integers(V, tokens.shape)
    return ops.mask_tokens(tokens, draws, how, other, mask, rate)


tokens = np.array(framed(told[1]))
for step in range(3):
    seen, targets = hide(tokens, step)
    print(" ".join(tokenizer.decode([i]).strip() for i in seen))

many = np.zeros(10_000, int)
guess = predict("of 10,000 tokens at a rate of 0.2, how many become [MASK]?")
seen, targets = hide(many, 0)
print(compare(guess, int((seen == mask).sum())))
print(f"{int((targets != -100).sum()):,} of them count in the loss")

# %% [markdown]
# ## Pretraining
#
# Two blocks, 64 numbers wide. A block is the one of lesson 7, but for the mask
# and for the norms, which stand after each sum, as in 2017. No label is needed:
# the text is its own teacher.

# %%
BATCH = 64
rows = [framed(sentence) for sentence in told]


def hidden_batch(step):
    which = np.arange(step * BATCH, (step + 1) * BATCH) % len(rows)
    tokens, lengths = padded([rows[i] for i in which])
    seen, targets = hide(tokens, step)
    real = np.arange(tokens.shape[1]) < lengths[:, None]
    return TextBatch(seen, np.where(real, targets, -100), lengths=lengths)


config = BertConfig(
    V, context=48, layers=2, heads=4, width=64, hidden=256, init_std=64**-0.5
)
pretrained, fresh = Bert(config), Bert(config)
print(f"{fresh.num_parameters():,} parameters")
losses = tl.fit(pretrained, hidden_batch, 750, 3e-3, progress=progress,
                loss=masked_token, warmup=75, beta2=0.98, weight_decay=0.05)
for step in (0, 100, 400, 700):
    print(f"steps {step:>3} to {step + 50:>3}: loss "
          f"{np.mean(losses[step : step + 50]):.3f}")

# %% [markdown]
# Most of the words are easy: after "told the" comes "truth". The last tenths of
# the loss are the hard ones, and they are why this text was chosen. To guess
# "awful", or "lied", the model has to find out how many times a claim is turned
# round. Nobody told it to, and nobody gave a label.
#
# ## Fine-tuning
#
# Now a task: was the thing good? The answer is one bit, read from the vector of
# `[CLS]`, the first position, by a new linear layer. And labels are dear, so we
# have 200 of them. The labelled sentences do not say what anybody did, only
# what was claimed; those of the test have pairs of wording and thing that are in
# no training text. Twice the same training: from the pretrained weights, and
# from fresh ones.

# %%


def labelled(dials):
    """Claims alone, and whether the thing was good."""
    found = claims(dials)
    return [(text.partition(". Was")[0], word) for text, word in found]


few, asked = labelled("n=200"), labelled("n=500,split=test")
print(few[0])


def classes(examples):
    tokens, lengths = padded([framed(text) for text, _ in examples])
    targets = np.array([[word == "yes"] for _, word in examples]).astype(int)
    segments = np.zeros_like(tokens)
    return TextBatch(tokens, targets, segments=segments, lengths=lengths)


def few_batch(step):
    which = tl.Random(0, "few", step).integers(200, 32)
    return classes([few[i] for i in which])


def fine_tune(model):
    """Train on 200 labels -> the losses, and percent right of new texts."""
    model = model.for_task("classify", ["no", "yes"])
    losses = tl.fit(model, few_batch, 150, 1e-3, progress=progress,
                    loss=text_class, warmup=10, beta2=0.98,
                    weight_decay=0.05)
    with nn.inference(model):
        right = text_class(model, classes(asked))[1]["accuracy"]
    return losses, round(100 * right, 1)


without, percent = fine_tune(fresh)
print(f"fresh weights: {percent} % right, where chance is 50")
guess = predict("and from pretrained weights? in percent")
with_it, percent = fine_tune(pretrained)
print(compare(guess, percent))
print(f"pretrained weights: {percent} % right")

# %% [markdown]
# The same labels, the same model, the same steps. Look at the two curves: from
# fresh weights the loss falls as well. The model learns 200 sentences by heart;
# it does not learn what a lie is.

# %%
lead = "What hidden words teach, measured in lesson 16."
both = {"fresh weights": without, "pretrained": with_it}
write_page(folder / "bert.html", "BERT", lead, [
    curves("Pretraining", "loss of hidden words by step", {"loss": losses}),
    curves("200 labels", "loss by step", both),
])

# %% [markdown]
# ## A vector for a sentence
#
# To search in a million texts, nobody wants to run a model on a million pairs.
# Better to give each text one vector, once, such that texts that mean the same
# have vectors that point the same way. The simplest vector is the mean of all
# positions, and it works better than [CLS] (Reimers and Gurevych, 2019). There
# is one trap: texts in a batch have different lengths, and padding must not
# count.
#
# **Now you: `mean_pool` and `mean_pool_backward`.**

# %%
x = np.array([[[2.0], [4.0], [99.0]]], np.float32)  # one text of two tokens
guess = predict("the mean of 2, 4 and padding")
print(compare(guess, float(ops.mean_pool(x, np.array([2]))[0, 0])))

# %% [markdown]
# And how does one train it? With pairs of texts that mean the same. In a batch
# of N pairs each text has one partner and N - 1 strangers. Multiply all vectors
# with all others: N x N similarities. Then it is a class to be guessed, *which
# of the N is my partner?*, and lesson 4 has the loss for that. The strangers cost
# nothing; they are in the batch anyway. Similarities of vectors of length 1 lie
# between -1 and 1, too close together for softmax, so they are divided by a
# small temperature.
#
# **Now you: `contrastive_loss`.**

# %%
a = np.eye(4, dtype=np.float32)  # four vectors that have nothing in common
loss, logits, _ = ops.contrastive_loss(a, a, 1.0)
print(f"partners equal, temperature 1:    {float(loss):.4f}")
guess = predict("the same at temperature 0.05?")
loss, *_ = ops.contrastive_loss(a, a, 0.05)
print(compare(guess, float(loss)))
loss, *_ = ops.contrastive_loss(a, np.ones((4, 4), np.float32), 0.05)
print(f"all of b alike: {float(loss):.4f}, and ln 4 = {np.log(4):.4f}")

# %% [markdown]
# At temperature 1 even perfect vectors have a large loss. At 0.05 they have
# none.
#
# Here is a test that is hard to pass by accident: a sentence and its translation
# into the world's own language have not one word in common. Train on pairs of
# them, then give the model 100 new English sentences and 100 new translations,
# and let each sentence look for its own.

# %%
known = tl.load_corpus("world:translation,n=6000").documents
pairs = [(each.prompt, each.truth) for each in known]
new = tl.load_corpus("world:translation,n=100,split=test").documents
unseen = [(each.prompt, each.truth) for each in new]
text = "".join(f"{english}\n{other}\n" for english, other in pairs[:3000])
bilingual = make_tokenizer("word", text.encode())


def two_languages(examples):
    """Each English sentence, and behind it its translation."""
    both = [text for pair in examples for text in pair]
    tokens, lengths = padded([bilingual.encode(text) for text in both])
    return TextBatch(tokens, np.zeros((len(both), 1), int), lengths=lengths)


def pair_batch(step):
    at = step * 32 % len(pairs)
    return two_languages(pairs[at : at + 32])


def found(model):
    """Percent of unseen sentences that are nearest to their translation."""
    with nn.inference(model):
        return round(100 * same_meaning(model, two_languages(unseen))[1]
                     ["accuracy"])


searcher = Bert(BertConfig(
    bilingual.vocab_size, context=32, layers=1, heads=4, width=64, hidden=128,
    init_std=64**-0.5, task="encode",
))
print(f"before: {found(searcher)} % find their translation among 100")
tl.fit(searcher, pair_batch, 150, 3e-3, loss=same_meaning, warmup=15,
       progress=progress)
guess = predict("after 150 steps of 32 pairs? in percent")
percent = found(searcher)
print(compare(guess, percent))
print(f"after:  {percent} % of 100")

# %% [markdown]
# This is how search by meaning works, how a picture finds its caption (CLIP is
# this loss with pictures for one of the languages), and how a program finds the
# passages that a language model should read before it answers.
#
# You have rebuilt parts of `tinyllm/ops/hide.py` and `tinyllm/ops/pool.py`. The
# model is `tinyllm/models/bert.py`, which also opens real weights: point
# `tl.from_pretrained` at a folder of BERT or all-MiniLM, and the vectors are
# those of transformers. To train one of your own:
#
#     tinyllm train --model bert --data book.txt --out runs/bert
#     tinyllm train classify --data classes.tsv --set start=runs/bert
