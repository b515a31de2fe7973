# %% [markdown]
# # 19. Pictures and text
#
# A language model reads vectors. That they come from a table of tokens is only
# a habit: `embed` could take them from anywhere. In this lesson they come from
# a picture, and the GPT that you know says what it sees, without any new layer
# but one. It is how Fuyu reads pictures (Bavishi et al., 2023), and nearly how
# most models do that look at photographs.

# %%
import dataclasses

import numpy as np

import tinyllm as tl
import tinyllm.functional as F
from tinyllm import nn, ops
from tinyllm.course.lesson_runner import begin, compare, predict, progress
from tinyllm.course.page import dots, write_page
from tinyllm.data import load_corpus, rows

folder = begin()

# %% [markdown]
# ## A picture is an array
#
# The world of this library has pictures: 16 x 16 dots at night, with one thing
# or two. Each dot is three bytes: red, green, blue. Here is the red of one.

# %%
learnt = load_corpus("world:caption,n=4000").shown
picture, prompt, caption = learnt[3]
for row in picture[:, :, 0]:
    print("".join(f"{byte:4}" for byte in row))
print(f"{prompt}\n  {caption}")
guess = predict("how many numbers are one such picture?")
print(compare(guess, picture.size))

# %% [markdown]
# ## Patches
#
# Could each dot be a token? There are 256 of them, and attention looks at all
# pairs: a photograph of a million dots is out of the question. So cut the
# picture into squares, *patches*, and let each be a token (Dosovitskiy et al.,
# "An Image is Worth 16x16 Words", 2021).

# %%
guess = predict("with 4 x 4 patches: pairs, as a part of those of dots: 1 in")
print(compare(guess, (16 * 16) ** 2 // (4 * 4) ** 2))

# %% [markdown]
# Cutting is a riddle of shapes. The bytes lie in memory row by row: 48 of the
# top row, then 48 of the next. A patch takes 12 of one row, 12 of the next, and
# so on. `reshape` alone never moves a byte, so it can only cut strips. Try it
# with a picture of 4 x 4 dots that are numbered, and squares of 2 x 2.

# %%
numbered = np.arange(16).reshape(1, 4, 4, 1)
print(numbered[0, :, :, 0])
guess = predict("the third number of the first patch is")
found = ops.patches(numbered, 2)
print(compare(guess, int(found[0, 0, 2])))
print("patches:", found[0].tolist())
print("strips: ", numbered.reshape(1, 4, 4)[0].tolist())

# %% [markdown]
# **Now you: `patches`.** Name the axes: B pictures, H / side squares below each
# other, side rows in a square, W / side squares side by side, side columns, and
# the colours. Which two must change places?
#
# ## One layer
#
# A token's vector is a row of the embedding, picked by its number. A patch has
# no number, but it *is* numbers: 4 x 4 x 3 of them. One linear layer makes C
# out of these. (Picking row i of a table is the same product, with a vector
# that is 1 at place i and 0 elsewhere.)

# %%
width, side = 96, 4
guess = predict(f"from a patch to {width} numbers: parameters of the layer")
look = nn.Linear(side * side * 3, width)
print(compare(guess, look.num_parameters()))
seen = ops.patches(picture[None], side).astype(np.float32) / 127.5 - 1
print(seen.shape, "->", look(tl.Tensor(seen)).shape)

# %% [markdown]
# ## In the middle of a text
#
# Where do these vectors go? The text keeps a place for each patch: a special
# token, here called `<|picture|>`, sixteen times. Its own vector is thrown away
# and a patch's is put there.
#
# **Now you: `place` and `place_backward`.** Gradients go where the vectors came
# from. What was thrown away has changed nothing, so it gets none.

# %%
text = tl.Tensor(np.ones((1, 5, 2), np.float32), requires_grad=True)
two = tl.Tensor(np.full((2, 2), 7, np.float32), requires_grad=True)
at = np.array([[False, True, False, True, False]])
mixed = F.apply(ops.place, text, two, at)
print(mixed.data[0, :, 0])
guess = predict("of the 10 numbers of text, how many get a gradient?")
(mixed * mixed).sum().backward()
print(compare(guess, int((text.grad != 0).sum())))

# %% [markdown]
# Nothing else is new. Patches come one after another, from left to right and
# from top to bottom, as words do, and attention is causal: a patch sees only
# those before it. (Many models let all patches see each other. Both work: by
# the time a word is written, it sees all of them.) Angles tell how far apart
# two patches stand in the row, so that the one above is four places back.
#
# ## Learning to describe
#
# A row of training is the picture, the prompt, and the caption. Only the
# caption counts in the loss. The model is two blocks of the family `fuyu`.

# %%
texts = [f"{prompt} {caption}\n" for _, prompt, caption in learnt]
tokenizer = tl.BPETokenizer.train("".join(texts), vocab_size=350)
tokenizer.add_special_tokens(["<|picture|>"])
mark = tokenizer.special_tokens["<|picture|>"]
sizes = {"context": 64, "layers": 2, "heads": 4, "hidden": 384}
model = tl.build({
    "model_type": "fuyu", "vocab_size": tokenizer.vocab_size, "picture": mark,
    "side": 16, "patch": side, "width": width, **sizes,
})
start = [mark] * 16 + tokenizer.encode(prompt)
print("... " + tokenizer.decode(start[14:]))


def batch_of(examples):
    """Lay examples out as rows -> a Batch with pictures."""
    pictures, _, captions = zip(*examples, strict=True)
    answers = [tokenizer.encode(f" {caption}\n") for caption in captions]
    batch = rows([start] * len(answers), answers, context=64)
    return dataclasses.replace(batch, pictures=np.stack(pictures))


def batches(step):
    chosen = tl.Random(0, "batch", step).integers(len(learnt), 32)
    return batch_of([learnt[i] for i in chosen])


losses = tl.fit(model, batches, steps=400, lr=3e-3, progress=progress)
for step in (0, 50, 100, 200, 399):
    print(f"step {step:3}  loss {losses[step]:.3f}")

# %% [markdown]
# How much of that is writing, and how much seeing? How captions are written can
# be learnt without eyes. What they say cannot, and the world is known: one
# thing or two, in 4 or 6 ways to stand, each of 51 colours and shapes that meet
# in training. So a blind model can never do better than this:

# %%
ways = np.array([4 * 51, 6 * 51**2])
share = np.array([51 / 64, (51 / 64) ** 2])  # those without a new combination
share = share / share.sum()
guess = predict("nats for a caption, at best, with closed eyes")
blind = float((share * (np.log(ways) - np.log(share))).sum())
print(compare(guess, round(blind, 2)))
length = np.mean([len(tokenizer.encode(f" {one}\n")) for *_, one in learnt])
print(f"or {blind / length:.3f} for each of its {length:.1f} tokens")


def nats(examples, pictures=None):
    """Return the loss of whole captions, with other pictures if given."""
    batch = batch_of(examples)
    pictures = batch.pictures if pictures is None else pictures
    with tl.no_grad():
        loss = model.loss(batch.tokens, batch.targets, pictures=pictures)
    return loss.item() * batch.count / len(examples)


known = {picture.tobytes() for picture, *_ in learnt}
more = load_corpus("world:caption,n=600,seed=9").shown
new = [one for one in more if one[0].tobytes() not in known][:200]
others = np.stack([picture for picture, *_ in new[1:] + new[:1]])
print(f"with its own picture       {nats(new):6.2f} nats a caption")
print(f"with the next one's       {nats(new, others):7.2f}")

# %% [markdown]
# A model that believes a wrong picture does worse than one that looks at none:
# it looks. Compare the blind one with the losses of training above, which are
# for each token. When did it begin to look?
#
# ## Did it understand?
#
# It has never met these pictures. But is a red moon in a new place news? Harder
# is a thing whose colour and shape it has seen often, and *never together*: the
# world keeps 13 of the 64 pairs for testing. An answer counts if every
# character is right.

# %%


def describe(examples):
    """Return the likeliest caption for each picture."""
    cache = model.read(np.stack([picture for picture, *_ in examples]))
    found = tl.generate(
        model, [start] * len(examples), max_tokens=40, stop="\n",
        sampling=tl.Sampling(temperature=0), tokenizer=tokenizer, cache=cache,
    )
    return [tokenizer.decode(ids).strip() for ids in found]


together = load_corpus("world:caption,n=200,split=test").shown
guess = predict("percent right where colour and shape never met")
right = {}
for name, examples in (("new scenes", new), ("new pairs", together)):
    pairs = zip(describe(examples), examples, strict=True)
    hits = [said == caption for said, (*_, caption) in pairs]
    right[name] = 100 * float(np.mean(hits))
    print(f"{name:<11} {right[name]:5.1f} % of {len(examples)} right")
print(compare(guess, right["new pairs"]))

# %% [markdown]
# Look how the cache was used: the pictures are read into it first, and each
# text continues from there. So many questions about one picture would read it
# only once.
#
# ## Where does it look?
#
# Cover one patch with sky, and see how much harder the caption becomes. Do that
# for each of the sixteen.

# %%
chosen = new[int(np.argmax([len(caption) for *_, caption in new]))]
picture, _, caption = chosen
covered = np.repeat(picture[None], 16, axis=0)
for i, one in enumerate(covered):
    row, column = side * (i // 4), side * (i % 4)
    one[row : row + side, column : column + side] = picture[7, 7]
rises = np.array([nats([chosen], one[None]) for one in covered])
rises = np.maximum(rises - nats([chosen]), 0).reshape(4, 4)
print(caption)
print(np.array2string(rises, precision=1, suppress_small=True))
sky = int((covered == picture).all(axis=(1, 2, 3)).sum())
print(f"{sky} patches were sky already")

# %%
shade = np.repeat((255 * rises / rises.max())[..., None], 3, axis=-1)
figures = [
    dots("The picture", picture, f"it says: {describe([chosen])[0]}", side),
    dots("What a covered patch costs", shade.astype(np.uint8),
         f"black is 0, white {rises.max():.1f} nats"),
]
page = folder / "pictures.html"
write_page(page, "Pictures and text", "Measured on this machine.", figures)

# %% [markdown]
# Compare the two pictures on that page. Patches of sky cost nothing, and most of
# the others little: what they show can be guessed from their neighbours. Dear
# are those without which the thing might be another one.
#
# ## Larger ones
#
# A photograph of 300 x 300 dots in Fuyu-8B is a hundred patches of 30 x 30, and
# each goes through one such layer. Most other models first send the patches
# through an encoder of pictures that was trained before, and put what comes out
# in the places of marks (LLaVA: Liu et al., 2023). The rest is the same.
#
# `tinyllm/models/fuyu.py` is the model, `tinyllm/ops/patch.py` has your three
# functions. Train it on them, or train it to answer questions as well:
#
#     tinyllm train --mine 19 --steps 50
#     tinyllm train sft --model fuyu --data world:picture_question
