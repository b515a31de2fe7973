# %% [markdown]
# # 10. Kernels
#
# Everything so far was about what to compute. This lesson is about how fast.
# You will follow one matrix product from three loops in Python to the speed
# limit of the machine, a factor of many thousands, and see at each step what
# was in the way. Then you write two kernels in C yourself.
#
# All times below are measured on your machine, now. They differ from anyone
# else's, and a little from one run to the next.

# %%
import numpy as np

import tinyllm as tl
from tinyllm import ops
from tinyllm.bench.machine import measure_roof
from tinyllm.course.kernels import measure
from tinyllm.course.lesson_runner import bars, begin, compare, predict, timed
from tinyllm.course.page import roofline, write_page
from tinyllm.ops import registry

folder = begin()

# %% [markdown]
# `timed` takes the shortest of several runs, because a disturbance only ever
# makes a run longer. What it runs on are random matrices.

# %%
kernels = registry._compiled  # None where no compiler was at hand
threads_before = tl.threads()
tl.threads(1)  # one core, so that the steps can be compared


def matrix(n, name):
    return tl.Random(0, name).normal((n, n)).astype(np.float32)


# %% [markdown]
# ## The roof
#
# A processor has two limits. It can do so many multiplications and additions in
# a second, if the numbers are already in its registers; and it can fetch so
# many bytes in a second from memory. Together they are its *roofline*
# (Williams, Waterman and Patterson, 2009). No program is faster than the roof,
# so how near you are to it is the honest measure: "twice as fast as before"
# does not say how much is left to gain.

# %%
roof = measure_roof(0.5)
if roof.gflops:
    print(f"arithmetic: {roof.gflops:.0f} GFLOP/s (10^9 operations a second)")
    print(f"memory:     {roof.gb_per_second:.1f} GB/s")
    ridge = roof.gflops / roof.gb_per_second * 4
    print(f"it can do {ridge:.0f} operations while it fetches one number")
else:
    print("no kernels were built here: nothing to measure the roof with")

# %% [markdown]
# The last line decides how a kernel is written. A product of two n x n matrices
# does 2 n^3 operations on 3 n^2 numbers: hundreds for each number, if it is
# kept near. Softmax does a few operations for each number, so it can only be as
# fast as memory, and what counts is to go through memory once.
#
# ## Step 0: loops in Python
#
# The definition, as it stands.

# %%


def loops(a, b):
    m, k, n = len(a), len(b), len(b[0])
    y = [[0.0] * n for _ in range(m)]
    for i in range(m):
        for j in range(n):
            total = 0.0
            for p in range(k):
                total += a[i][p] * b[p][j]
            y[i][j] = total
    return y


n = 64
a, b = matrix(n, "a"), matrix(n, "b")
seconds = timed(loops, a.tolist(), b.tolist())
speed_of_loops = 2 * n**3 / seconds / 1e9
print(f"loops in Python: {speed_of_loops:.3f} GFLOP/s")

# %% [markdown]
# For every multiplication, Python looks up what `*` means for two objects,
# makes a new object for the result, and counts who still needs the old one. The
# multiplication itself is a tiny part of that.
#
# ## Step 1: NumPy
#
# One call, `a @ b`, for the whole product: Python is asked once, and the loops
# run in a library that was compiled.

# %%
n = 512
a, b = matrix(n, "a"), matrix(n, "b")
speed_of_numpy = 2 * n**3 / timed(np.matmul, a, b) / 1e9
guess = predict("how many times as fast as the loops is NumPy?")
print(compare(guess, speed_of_numpy / speed_of_loops))

# %% [markdown]
# For the product NumPy has a first-class kernel (its BLAS), which may use all
# cores. For most other things it has one loop per call, and each call goes
# through memory once: `np.exp(x - x.max()) / ...` reads and writes the whole
# array several times. That is why the library's specifications are in NumPy and
# its kernels are not.
#
# ## Step 2: Cython
#
# Cython is Python that is compiled to C. With declared types its loops become
# plain loops in C. Here are ours again, from `csrc/glue/matmul.pxi`:
#
#     cdef int64_t i, j, p
#     cdef float total
#     for i in range(rows):
#         for j in range(columns):
#             total = 0
#             for p in range(depth):
#                 total += a[i * depth + p] * b[p * columns + j]
#             y[i * columns + j] = total

# %%
if kernels:
    seconds = timed(kernels.matmul_ladder, "cython", a, b)
    speed_of_cython = 2 * n**3 / seconds / 1e9
    guess = predict("and how many times as fast is Cython?")
    print(compare(guess, speed_of_cython / speed_of_loops))
else:
    print("no kernels were built here, and so no Cython either")

# %% [markdown]
# The interpreter is gone, and the product is still far from NumPy's. What is
# left is not the language: you will see that C does no better with these loops.
# This library computes in C, and uses Cython only as the door between Python
# and C: it checks types, asks for memory, and calls C. For many kernels the build
# writes all of it (`csrc/bindings.py`). This is what softmax gets:
#
#     def softmax(x):
#         x = f32(x, "x", 1)
#         y = empty(x.shape)
#         if x.size:
#             run_softmax(y, x, rows_of(x), x.shape[-1])
#         return y
#
# `run_softmax` passes the addresses of both arrays on to C.
#
# Python's safety ends here. C gets pointers and sizes, believes them, and
# cannot complain. What does such a call cost when there is nothing to do?

# %%
one = np.ones((1, 1), np.float32)
guess = predict("the softmax of a single number: how many microseconds?")
print(compare(guess, timed(ops.softmax, one) * 1e6), "(mostly the call)")

# %% [markdown]
# ## Step 3: C, and a ladder
#
# The library keeps the versions of its product that came before the present
# one, so that they can be raced (`csrc/ladder.c`; the C files are in the
# library's sources, not in what pip installs). Each does exactly the same
# multiplications. What changes is only *the order in which memory is read*.
#
# - naive: the three loops, as in Cython. b is read down its columns, and from
#   each piece of 64 bytes that memory delivers, one number of 4 bytes is used
# - reordered: the loops in another order, so that all is read as it lies
# - tiled: a tile of b that fits into the cache serves all rows of a
# - packed: the tile is first copied to where it is contiguous
# - registers: a block of y stays in registers, which are faster still

# %%
n, speeds = 768, {}
if kernels:
    a, b = matrix(n, "a"), matrix(n, "b")
    for rung in kernels.RUNGS[:-1]:  # the last uses several threads
        took = timed(kernels.matmul_ladder, rung, a, b)
        speeds[rung] = 2 * n**3 / took / 1e9
    guess = predict("from naive to reordered: how many times as fast?")
    print(compare(guess, speeds["reordered"] / speeds["naive"]))
    one_core = measure_roof(0.5)
    print(bars(speeds.values(), list(speeds), width=40))
    share = 100 * speeds["registers"] / one_core.gflops
    print(f"GFLOP/s; the last is {share:.0f}% of what one core can do")

# %% [markdown]
# The second version costs nothing but the exchange of two lines. It also lets
# the compiler use *vectors*: neighbours in memory can be multiplied eight or
# sixteen at a time. "Tiled" alone may even lose: rows of b that lie far apart
# compete for the same few places of the cache. Nobody knows such things
# beforehand; everybody measures.
#
# And all cores together, against the first line of this lesson:

# %%
tl.threads(threads_before)
speed = 2 * n**3 / timed(ops.matmul, a, b) / 1e9
print(f"{tl.threads()} threads: {speed:.0f} GFLOP/s,")
print(f"{speed / speed_of_loops:,.0f} times the loops in Python")

# %% [markdown]
# ## Softmax, where memory is the limit
#
# Here the measure is GB/s: how many bytes must be read and written at least,
# divided by the time. The array is too large for any cache, and the roof is
# that of memory, now for all threads.

# %%
x = np.ones((4096, 4096), np.float32)
must_move = 2 * x.nbytes  # read once, written once
rates = {}
functions = {"NumPy": ops.softmax.reference, "the kernel": ops.softmax}
for name, function in functions.items():
    rates[name] = must_move / timed(function, x) / 1e9
if kernels:
    rates["the roof"] = measure_roof(0.5).gb_per_second
print(bars(rates.values(), list(rates), width=40))

# %% [markdown]
# Now draw the roof: on the left programs that wait for memory, on the right
# those that wait for arithmetic. Softmax does about 5 operations for the 8
# bytes of a number that it reads and writes; our product does 2 n^3 for the 12
# n^2 bytes of three matrices, 128 for each byte.

# %%
if kernels:
    tl.threads(1)
    dots = {
        "softmax": (5 / 8, 5 / 8 * must_move / timed(ops.softmax, x) / 1e9),
        "product, naive": (n / 6, speeds["naive"]),
        "product, registers": (n / 6, speeds["registers"]),
    }
    tl.threads(threads_before)
    roof = one_core.gflops, one_core.gb_per_second
    lead = "One core of your machine, as measured just now."
    page = folder / "roofline.html"
    write_page(page, "The roofline", lead, [roofline(*roof, dots)])

# %% [markdown]
# ## Now you
#
# Open `exercise.c`. **Now you: `softmax`, then `matmul`**, and `tinyllm check
# 10` compiles it and tries it on the cases of the library's own tests. Any size
# may be 0; rows may be masked.
#
# C does not stop you when you read x[n]. It reads whatever is there, and the
# result is right, or wrong, or right until something else changes. The checker
# therefore puts each of your arrays between *guard pages*, memory that nobody
# may touch: the first element too many ends in a segmentation fault. It happens
# in another process, and what you see is a sentence, such as
#
#     it touches x[6], after the end of x, which has 6 elements
#
# The same trick finds such bugs in real programs; so do the sanitizers of the
# compiler, `-fsanitize=address,undefined`, with which this library's kernels
# are tested.
#
# One more trap. Compilers have a switch, `-ffast-math`, that lets them assume
# that no number is infinite or NaN. It breaks masks, silently. The checker
# compiles without it, and so does the library.
#
# When it passes, run this lesson again and see how fast it is.

# %%
for op, unit in (("softmax", "GB/s"), ("matmul", "GFLOP/s")):
    yours = measure(op, folder)
    said = yours if isinstance(yours, str) else f"{yours:.2f} {unit}"
    if kernels and not isinstance(yours, str):
        top = one_core.gflops if op == "matmul" else one_core.gb_per_second
        said += f", {100 * yours / top:.1f}% of the roof of one core"
    print(f"your {op}: {said}")

# %% [markdown]
# A plain softmax in C spends its time in `expf`, one number after another, and
# may well be slower than NumPy, whose `exp` works on vectors. The library's own
# exponential is a page of arithmetic (`csrc/simd.h` in its sources). A matmul
# with the loops in the right order should come near to "reordered" above.
#
# You have rebuilt the first rungs of `softmax.c` and `matmul.c`. Each C file of
# the library's sources opens with such a story: the simple loop, what each
# version changed, and what it bought.
