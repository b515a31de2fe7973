# %% [markdown]
# # 0. Set-up
#
# A lesson is a script. Run it in a terminal and it stops before every piece of
# code: read, predict, press Enter, see. q leaves it, and with `--from 3` it
# starts at step 3. Or open it as a notebook: an editor that knows the percent
# format can, and `jupytext --to ipynb lesson.py` makes one for Jupyter. Either
# way it is your copy: change it, break it, print more.
#
# This first lesson looks at your machine, shows the commands that you will use
# all the time, and ends with a function so small that only the way of working
# is new.

# %%
import subprocess
import sys

import numpy as np

import tinyllm as tl
from tinyllm import ops
from tinyllm.course.lesson_runner import begin, compare, predict, timed

begin()

# %% [markdown]
# ## The doctor
#
# `tinyllm doctor` says what your machine and your installation can do, and what
# to mend if something is missing. Here are the lines that matter now, above all
# `kernels`: with a C compiler most functions run as compiled code; without one
# everything runs on NumPy, more slowly, and gives the same results up to
# rounding.

# %%
doctor = [sys.executable, "-m", "tinyllm", "doctor"]
said = subprocess.run(doctor, capture_output=True, text=True).stdout
facts, _, verdict = said.partition("\n\n")  # a blank line, then what is wrong
for line in facts.splitlines():
    if line.startswith(("kernels", "threads", "trial")):
        print(line)
print(verdict)

# %% [markdown]
# ## One idea, written twice
#
# Every numeric idea in tinyllm is written twice: once as a few lines of NumPy,
# the *specification*, which is for reading, and once as a C kernel, which is
# for speed. Tests hold the two together, and one switch chooses between them.
#
# Here is one that lesson 4 builds, softmax.

# %%
x = np.linspace(-3, 3, 1_000_000).astype(np.float32).reshape(1000, 1000)
guess = predict("a million numbers through softmax in NumPy: milliseconds?")
print(compare(guess, 1000 * timed(ops.softmax.reference, x)))

# %%
print(ops.softmax)
if ops.softmax.compiled:
    guess = predict("and as a C kernel: milliseconds?")
    took = 1000 * timed(ops.softmax.compiled, x)
    print(compare(guess, took), "(measured on your machine)")
else:
    print("The C kernels are not installed; everything still works,")
    print("more slowly. See `tinyllm doctor`.")

# %% [markdown]
# ## Your code in the real model
#
# These functions are called *ops*. Any of them can be replaced by your own for
# as long as a block lasts. Nothing is simulated: the library's own GPT, which
# lesson 7 puts together, now calls you. Here is an `add` that counts how often
# it is called.

# %%
calls = 0


def counted_add(x, y):
    global calls
    calls += 1
    return x + y


config = tl.GPTConfig(vocab_size=65, context=16, layers=2, heads=2, width=32)
model = tl.GPT(config)
tokens = np.zeros((1, 16), int)
print("There are 2 layers with 2 additions each,")
print("plus one that adds token and position embeddings.")
guess = predict("how many calls?")
with tl.override(add=counted_add):
    model.loss(tokens, tokens)
print(compare(guess, calls))

# %% [markdown]
# ## The same bits
#
# With the C kernels, results do not depend on how many threads work, on your
# processor, or on what else is in the batch. So when a lesson says that the
# loss is 3.675531, you will see 3.675531. The same holds for your grade: anyone
# can compute it again.

# %%
before = tl.threads()
losses = []
for n in (1, 2, 3):
    tl.threads(n)
    losses.append(model.loss(tokens, tokens).item())
tl.threads(before)
print("the loss on 1, 2 and 3 threads:", *(f"{x:.6f}" for x in losses))
assert losses[0] == losses[1] == losses[2]

# %% [markdown]
# ## Now you
#
# Open `exercise.py` beside this file. It holds one stub. **Now you: `add`.**
# Then
#
#     tinyllm check 0          says how many properties hold, and names your bug
#     tinyllm hint 0           gives a hint, then a better one
#     tinyllm solution 0 add   shows the library's code, and notes that you looked
#
# A task is *passed*, *failed*, *timed out*, *blocked* (the file does not run, or
# your code asked for something that it may not have, such as another file) or
# *not attempted*. Try being wrong on purpose, with `return x`, or with
# `x += y`, and see what it says.
#
# You have then rebuilt `add` of `tinyllm/ops/elementwise.py`. Run this lesson
# again: from now on it uses your `add`, and says so. The next lesson makes a
# language model by counting.
