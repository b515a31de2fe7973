# %% [markdown]
# # 12. Capstone
#
# You have built every part of a language model, one at a time. Now put them
# together: a GPT whose training calls your own functions wherever you have
# written one. It is small, so that it takes seconds; otherwise it is the same
# model, loop and data as everywhere in this course.
#
# It ends with a report that you can hand in, and with a story that nobody wrote
# but your own functions.

# %%
import numpy as np

from tinyllm.course import capstone
from tinyllm.course.assemble_capstone import gather, parts_in
from tinyllm.course.lesson_runner import begin, compare, note, predict
from tinyllm.course.page import curves, told, write_page

folder = begin()

# %% [markdown]
# ## Your parts
#
# One file is handed in. This gathers what you have written in lessons 4 to 9,
# if their folders are beside this one. Once you have changed the file yourself,
# it is left alone.

# %%
print(gather(folder))
parts, missing = parts_in(folder)
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
# How do you know that a model is right, if every seed gives another loss? In
# two ways. Over many seeds the final loss stays in a range. And for *one* seed
# it is an exact number: same weights, same batches, same arithmetic. The
# library's own losses are the same bits on every machine; a correct function of
# yours may add in another order, and then the last digits differ, and no more.

# %%
settings = capstone.SETTINGS
steps, last = settings["train.steps"], capstone.LAST
print(f"{steps} steps of {settings['train.batch']} rows of 16 characters,")
print(f"{settings['model.layers']} layers, width {settings['model.width']}")
V = capstone.setup(0).tokenizer.vocab_size
guess = predict(f"the first loss; the text has {V} different characters")
print(compare(guess, capstone.expected(0)[0]))
finals = [capstone.final(capstone.expected(seed)) for seed in range(3)]
low, high = capstone.limits()
guess = predict(f"and the mean of the last {last} of {steps} steps?")
print(compare(guess, finals[0]))
print(f"the final loss with seed 0 is {finals[0]:.4f}")
print("with seeds 0, 1, 2:", *(f"{loss:.4f}" for loss in finals))
print(f"the range over many seeds: {low} to {high}")

# %% [markdown]
# ## Yours
#
# Now the same three trainings run on your parts. Compare step by step, and look
# at *where* the two begin to differ:
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
report = None
if parts:
    report = capstone.hand_in(folder, parts, missing)
    for run in report["runs"]:
        print(f"seed {run['seed']}: {run['final_loss']:.4f}", end="")
        print(f", the library {run['library']:.4f}")
        if run["remark"]:
            print(f"  {run['remark']}")
    theirs = np.array(capstone.expected(0))
    apart = np.abs(np.array(report["runs"][0]["losses"]) - theirs)
    print(f"largest difference at any step, seed 0: {apart.max():.4f}")
else:
    print("no part is yours yet, so there is nothing to report")

# %% [markdown]
# ## The report
#
# `report.md` is for people, `report.json` for programs: which parts were yours,
# with what versions, every loss, and whether the range was reached. The same
# functions give the same bytes, so anyone can check it by running it again.
# That is what `tinyllm check 12` does, with your functions in a process of
# their own, once each of them is right by itself: a loss that a wrong function
# reports proves nothing.

# %%
if report:
    print((folder / "report.md").read_text("utf-8"))
    print(capstone.conclusion(report, folder))

# %% [markdown]
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
    print(f"\n{note(my_story)}\n")
    end, counted = np.mean(mine[-20:]), 0.287
    print(f"{end:.3f} nats per character; the table of lesson 1: {counted}")
    if not all(run["exact"] for run in report["runs"]):
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
