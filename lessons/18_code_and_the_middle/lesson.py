# %% [markdown]
# # 18. Code and the middle
#
# A GPT writes at the end of a text. A programmer hardly ever does: the cursor
# stands in the middle of a file, and what comes after it matters as much as
# what came before. Does that take another model? No. It takes a rearranged
# text. You cut a program in three, move the middle to its end, and train the
# GPT that you have. Then you let it write programs, run them, and count how
# many are right.

# %%
from itertools import islice

import tinyllm as tl
from tinyllm import ops
from tinyllm.course.lesson_runner import begin, compare, predict
from tinyllm.course.page import curves, write_page
from tinyllm.eval import Gaps, answers
from tinyllm.eval.gaps import line
from tinyllm.report.svg import box, diagram
from tinyllm.world.interpreter import run

folder = begin()

# %% [markdown]
# ## 1. Cut
#
# Two random places cut a text into prefix, middle and suffix. Five characters
# have six places for a cut: one before the first, one behind the last, and four
# between. The two places may be the same; then there is nothing in the middle.

# %%
text = "x + y"
guess = predict("how many ways are there to cut 5 characters in three?")
ways = {
    ops.split_middle(text, (i / 6, j / 6)) for i in range(6) for j in range(6)
}
print(compare(guess, len(ways)))
print(ops.split_middle("    return best", (0.5, 0.9)))

# %% [markdown]
# Each of the two places is uniform, and independent of the other. So a middle
# can be any part of a text: a third of it on average, sometimes all of it.
#
# Why cut *characters*, and not tokens? Because a cursor does not wait for the
# end of a token. Suppose that `return` is one token, and somebody has typed
# `ret`. A model that met only cuts between tokens has never seen that half, and
# does not know that `urn` can follow.
#
# **Now you: `split_middle`.**
#
# ## 2. Move
#
# A decoder predicts each token from those before it. So everything that it
# should know must come first. Four new tokens, *markers*, say which part is
# which (Bavarian et al., 2022):
#
#     PSM:   P prefix  S suffix  M middle  E
#     SPM:   P  S suffix  M prefix middle  E
#
# In PSM the three parts stand in the order prefix, suffix, middle. In SPM the
# suffix comes first, and then prefix and middle as one run of text, just as the
# file has it: this is often a little better, and half of the texts are made in
# each order. E says where the middle ends. Without it, a model would write the
# suffix once more, and go on.

# %%
P, S, M, E = 1000, 1001, 1002, 1003
names = {P: "P", S: "S", M: "M", E: "E"}
parts = ops.split_middle("return n", (0.4, 0.8))
orders = {}
for order, suffix_first in (("PSM", False), ("SPM", True)):
    prefix, middle, suffix = ([*part.encode()] for part in parts)
    ids = ops.move_middle(prefix, middle, suffix, (P, S, M, E), suffix_first)
    orders[order] = [names.get(i) or chr(i) for i in ids]
    print(order, " ".join(orders[order]))

# %% [markdown]
# The same tokens, rearranged. In the picture, blue is the text as it was, and
# the middle, which the model must write, is orange.

# %%
boxes = []
for row, (order, signs) in enumerate(orders.items()):
    boxes.append(box(40, 60 + 90 * row, order, width=60))
    for i, sign in enumerate(signs):
        style = "other" if sign in names.values() else "train"
        if i >= len(signs) - 1 - len(parts[1]) and sign != "E":
            style = "val"
        at = 110 + 52 * i
        boxes.append(box(at, 60 + 90 * row, sign, style=style, width=46))
words = "; ".join(f"{order}: {' '.join(s)}" for order, s in orders.items())
size = (110 + 52 * len(orders["PSM"]), 210)
picture = diagram("Two orders of one text", words, size, boxes, "tokens")

# %% [markdown]
# **Now you: `move_middle`.**
#
# ## 3. Train
#
# Nothing else changes: the same model, the same loss, on every token. Half of
# the programs stay as they are, so the model still learns to read from left to
# right. `pretrain.middle` is the share that is rearranged.
#
# Two more settings decide if a minute is enough. `pretrain.documents` gives
# each program a row of its own. A window that is cut out of a long text at
# random shows halves of programs, and half a prefix says little about a gap.
# And `pretrain.lines` makes most middles whole lines, for these are what
# somebody writes; their ends are ends of tokens, too, and sooner learnt. The
# programs are small functions of this library's world:

# %%
settings = {
    "data": "world:program,parts=1,examples=0,n=8000",
    "tokenizer": "bpe:512",
    "pretrain.documents": True,
    "pretrain.middle": 0.5,
    "pretrain.lines": 0.9,
    "model.layers": 3,
    "model.heads": 2,
    "model.kv_heads": 2,
    "model.width": 64,
    "model.hidden": 176,
    "model.init_std": 1 / 8,
    "train.batch": 32,
    "train.steps": 1200,
    "train.eval_every": 200,
    "train.eval_windows": 48,
    "train.sample_every": 10_000,
}
setup = tl.prepare(tl.make_config(settings))
print(setup.corpus.text()[:160])
losses = []
for event in setup.train():
    if hasattr(event, "val_loss"):
        losses.append(event.val_loss_per_char)
        print(f"step {event.step:4}  loss {losses[-1]:.3f} per character")
model = setup.model.eval()

# %% [markdown]
# That loss is measured on plain text, from left to right. Bavarian and others
# trained models of many sizes with and without moved middles: the loss from
# left to right did not change, up to nine texts in ten. They call it "FIM for
# free". (Here: 0.0533 and 0.0549 of two seeds, 0.0527 and 0.0537 without.)
#
# ## 4. Ask
#
# A file can be longer than the context. What should be left out? Not what is
# next to the cursor. So keep the *end* of the prefix and the *beginning* of the
# suffix, half of the room each; and if one side is short, the other may have
# what it leaves.

# %%
before, after = ops.trim_sides([*range(100)], [100, 101], 10)
guess = predict("room for 10 tokens, 100 before, 2 after: first one kept")
print(compare(guess, before[0]))

# %% [markdown]
# **Now you: `trim_sides`.**
#
# Here are functions whose operations never occurred together in training, each
# without one of its lines: the task `Gaps` cuts it out. The model reads suffix
# and prefix (SPM: what it writes then follows the prefix at once), and writes.

# %%
task = Gaps("world:program,parts=1,examples=0", line)
gaps = [*islice(task.items("test"), 30)]
opened = tl.Opened(model, setup.tokenizer)
for answer in answers(opened, task, gaps[:2], max_tokens=32):
    start, end = answer.item.question, answer.item.suffix
    print(f"{start}>>>{answer.text}<<<{end}")

# %% [markdown]
# ## 5. Run
#
# Is it right? Comparing with the line that was taken out would be unfair: many
# programs do the same. So run it, on inputs whose results are known. Never run
# what a model wrote with `exec`: it may delete your files as well. The world
# has an interpreter for a small part of Python, in which there are no files.

# %%
source = "def double(x):\n    return x + x"
print(run(source, "double", [21]))
try:
    run("def f():\n    return open('secrets')", "f", [])
except tl.UserError as error:
    print("refused:", str(error).partition(";")[0])

# %% [markdown]
# One more question. A model draws its tokens, so it gives another answer every
# time. If it may try k times, how often is at least one of them right? That is
# **pass@k** (Chen et al., 2021). You could draw k answers, and look; but that
# is a noisy number. Better: draw n > k answers, of which c pass, and compute
# the share of all choices of k among the n that hold one that passed. A choice
# without any takes its k from the n - c others: C(n - c, k) of C(n, k).

# %%
guess = predict("2 of 20 answers pass: what is pass@10?")
print(compare(guess, round(ops.pass_at_k([2], 20, 10), 4)))
print("drawn as if put back:", round(1 - (1 - 2 / 20) ** 10, 4))

# %% [markdown]
# The second formula looks natural, and is too small: it draws one answer twice.
#
# **Now you: `pass_at_k`.**

# %%
n, drawn = 10, tl.Sampling(0.8)
found = answers(opened, task, gaps, sampling=drawn, n=n, max_tokens=32)
tries = [found[i : i + n] for i in range(0, len(found), n)]
passed = [int(sum(each.score for each in part)) for part in tries]
chances = [ops.pass_at_k(passed, n, k) for k in range(1, n + 1)]
print(f"functions: pass@1 {chances[0]:.2f}, pass@10 {chances[-1]:.2f}")

# %% [markdown]
# Most of the lines are right, at the first try, in functions whose operations
# never met in training. Look at the functions above: the model cannot copy a
# line from anywhere; it has to read the docstring, and see what is missing
# between the prefix and the suffix. The loss alone does not tell how well it
# does, for most of it is about names and words. Running does.
#
# The settings decide. Another small model saw random windows of the same text,
# with cuts anywhere, for 300 steps: it filled one line in fifty. And this one
# fills only one in twenty of the gaps that may begin inside of a word, for it
# has hardly seen any.

# %%
unit = "share of problems, by tries"
tried = curves("pass@k", unit, {"pass@k": chances}, at=range(1, n + 1))
learnt = curves("loss", "nats per character, by 200 steps", {"loss": losses})
lead = "Measured on this machine."
page = folder / "middle.html"
write_page(page, "Code and the middle", lead, [picture, tried, learnt])

# %% [markdown]
# ## Exercises
#
# `tinyllm check 18` looks at `split_middle`, `move_middle`, `trim_sides` and
# `pass_at_k`. Then let your own functions prepare a training:
# `tinyllm train --mine 18`.
#
# To think about:
#
# * With temperature 0 all n answers are equal. What is pass@10 then?
# * A longer training makes pass@1 grow. Why does pass@10 grow first?
# * Most lines of a program say nothing new. Which gap is the hardest?
