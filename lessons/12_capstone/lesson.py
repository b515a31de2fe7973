# %% [markdown]
# # 12. Capstone
#
# You have built every part of a language model, one at a time. Now put them
# together: a GPT whose training calls your own functions wherever you have
# written one. It is small, so that it takes seconds; otherwise it is the same
# model, loop and data as everywhere in this course.
#
# It ends with a file that you can hand in, and with a story that nobody wrote
# but your own functions.

# %%
import numpy as np

from tinyllm.course import capstone
from tinyllm.course.lesson_runner import begin, compare, predict
from tinyllm.course.page import curves, told, write_page
from tinyllm.report.terminal import paragraph

folder = begin()

# %% [markdown]
# ## Your parts
#
# One file is handed in. This gathers what you have written in lessons 4 to 9,
# if their folders are beside this one. Once you have changed the file yourself,
# it is left alone.

# %%
print(capstone.gather(folder))
parts, missing = capstone.parts_in(folder)
for op, lesson in capstone.PARTS.items():
    state = f"not written yet: lesson {lesson}" if op in missing else "yours"
    print(f"  {op:<24} {state}")

# %% [markdown]
# What is missing is lent to you by the library. The rest of what training calls
# (the backwards of matrix products, the sums of the residual stream, splitting
# heads) is the library's in any case.
#
# ## What must come out
#
# How do you know that a model is right, if every seed gives another loss? By
# choosing *one* seed: then the loss is an exact number, because it has the same
# weights, the same batches and the same arithmetic. The library's own losses
# are the same bits on every machine; a correct function of yours may add in
# another order, and then the last digits differ, and no more.

# %%
settings = capstone.SETTINGS
steps = settings["train.steps"]
print(f"{steps} steps of {settings['train.batch']} rows of 16 characters,")
print(f"{settings['model.layers']} layers, width {settings['model.width']}")
reference = capstone.reference(0)
V, right = reference.setup.tokenizer.vocab_size, reference.right[:, 0]
guess = predict(f"the first loss; the text has {V} different characters")
print(compare(guess, right[0]))
guess = predict(f"and the mean of the last 10 of {steps} steps?")
print(compare(guess, np.mean(right[-10:])))
print(f"the final loss is {np.mean(right[-10:]):.4f}")

# %% [markdown]
# ## Yours
#
# Now the same training runs on your parts. Compare step by step, and look at
# *where* the two begin to differ:
#
# - at step 1: a forward function is wrong, because no update has happened yet
# - at step 2: a backward or the optimizer, because there has been one update
# - later, and slowly: the schedule, or a small term
#
# A model with a wrong backward may still learn, and a final loss near 3.1 is no
# more than the letter frequencies of lesson 1: fifty steps are not enough to
# learn more. So "the loss goes down" proves little; it may even end lower by
# chance. The exact numbers are what counts.

# %%
if parts:
    yours = capstone.train(0, parts)
    wrong = capstone.difference(0, yours)
    print(f"your parts: {np.mean(yours[-10:]):.4f}")
    apart = np.abs(np.subtract(yours, right)).max()
    print(f"largest difference at any step: {apart:.4f}")
    print(wrong or "the losses are the library's at every step")
    print(f"{len(parts)} of {len(capstone.PARTS)} parts are yours")
else:
    print("no part is yours yet, so there is nothing to train")

# %% [markdown]
# You hand in `exercise.py`. `tinyllm check 12` tries each of your functions by
# itself, and then trains once more, with them in a process of their own: a loss
# that a wrong function reports proves nothing.
#
# If a part is wrong, let the library find it:
#
#     tinyllm train --mine 4,5,6,8 --steps 50
#     tinyllm blame
#
# `blame` repeats the first steps, each time with fewer of your parts, until the
# loss is right.
#
# ## A story
#
# Fifty steps teach no words. Now let a GPT learn long enough to write: the one
# of lesson 9, a little smaller, for 400 steps. Each calls your functions, in
# NumPy, so it may take a minute. The library trains the same GPT beside it, and
# if your parts are right the two curves lie on each other. Then your functions
# write.

# %%


def heard(step, loss):
    if step % 50 == 0:
        print(f"  step {step}: {loss:.3f} nats per character")


if parts:
    mine, my_story = capstone.tell(parts, heard)
    theirs, their_story = capstone.tell()
    both = {"on your parts": mine, "on the library's": theirs}
    unit = "loss in nats per character, by step"
    figures = [
        curves("Two trainings", unit, both, dashed="on the library's"),
        told("Written by your functions", my_story),
        told("Written by the library's", their_story),
    ]
    lead = f"{len(parts)} of {len(capstone.PARTS)} parts are yours."
    page = folder / "story.html"
    write_page(page, "A GPT on your own parts", lead, figures)
    print(f"\n{paragraph(my_story, further=0)}\n")
    end, counted = np.mean(mine[-20:]), 0.287
    print(f"{end:.3f} nats per character; the table of lesson 1: {counted}")
    if wrong:
        print("(a part is wrong, as said above, and so is this story)")
else:
    print("Write some parts first, and run this lesson again.")

# %% [markdown]
# If your parts are right: **you have built a GPT.** Every number behind that
# story went through functions that you wrote. Show it to somebody.
#
# What else is in the library is the same, faster. `tinyllm/models/gpt.py` is
# the model and `tinyllm/train/loop.py` is the loop. Give `tinyllm train
# --data` something of your own to read.
