# %% [markdown]
# # 43. What a token costs
#
# Somebody sells a million tokens for a dollar. Somebody else says that a model
# "needs eight cards". Both can be worked out on the back of an envelope from a
# few sizes of a model and two numbers of a machine. You have counted parameters,
# operations and the bytes of a cache. This lesson turns them into seconds and
# money, *before* a model runs, and then lets it run.

# %%
from tinyllm import nn, ops
from tinyllm.bench.machine import Roof, measure_roof
from tinyllm.bench.rows import speeds, writing
from tinyllm.course.lesson_runner import begin, compare, predict
from tinyllm.course.page import curves, write_page
from tinyllm.models import build
from tinyllm.ops.runtime import threads
from tinyllm.report.summary import costs

folder = begin()
GB = 1e9

# %% [markdown]
# ## 1. Will it fit?
#
# GPT-3 (Brown et al., "Language Models are Few-Shot Learners", 2020) has 96
# layers, a width of 12,288 and a context of 2,048. `count_parameters` of lesson
# 7 takes its sizes. In half precision a number has 2 bytes:

# %%
LAYERS, WIDTH, VOCAB = 96, 12_288, 50_257
count = ops.count_parameters(VOCAB, 2048, LAYERS, WIDTH)
print(f"{count / 1e9:.1f} billion parameters")
guess = predict("gigabytes in half precision?")
print(compare(guess, round(2 * count / GB)))
for bits in (32, 16, 8, 4):
    needed = -(-count * bits / 8 // (80 * GB))
    print(f"{bits:>2} bits {count * bits / 8 / GB:>5.0f} GB: "
          f"{needed:.0f} cards of 80 GB, for the weights alone")

# %% [markdown]
# Scales are left out here: they add half a bit to 8 and to 4, as lesson 42
# showed. Beside the weights lies the KV cache, one for *each* text that is being
# written. `count_cache_bytes` is from lesson 15. Here are GPT-3's 96 heads of
# 128, as if it had longer contexts, and beside them the 8 shared heads of a
# model of 80 layers, LLaMA's 70B:

# %%
cases = (4096, 8192, 32_768, 131_072)
guess = predict("a text of 4,096 tokens, GPT-3's heads: gigabytes of cache?")
many, few = ([ops.count_cache_bytes(n, *sizes, 128, 16) / GB for n in cases]
             for sizes in ((96, 96), (80, 8)))
print(compare(guess, round(many[0], 1)))
for tokens, a, b in zip(cases, many, few, strict=True):
    print(f"{tokens:>7,} tokens: 96 x 96 heads {a:>6.1f} GB, "
          f"80 x 8 heads {b:>5.1f} GB")

# %% [markdown]
# At 128k one text of the first kind takes more memory than all weights, 618 GB
# against 350. Long contexts had to wait for shared heads (lesson 13) and smaller
# caches (lesson 20).
#
# ## 2. How much work?
#
# A weight takes part in a multiplication and an addition for each token, so a
# token costs about two operations a parameter. Attention comes on top, and grows
# with what stands before.
#
# **Now you: `count_token_flops`.** It is what one more token adds to lesson 7's
# `count_flops`.

# %%
whole, before = (ops.count_flops(VOCAB, n, LAYERS, WIDTH)
                 for n in (2048, 2047))
last = ops.count_token_flops(VOCAB, 2047, LAYERS, WIDTH)
print("what one more token adds:", last == whole - before)
print(f"{last / 1e9:.0f} billion operations, {last / count:.2f} a parameter")
guess = predict("after how many tokens is attention half of a layer's work?")
print(compare(guess, 6 * WIDTH - 1))

# %% [markdown]
# ## 3. Two numbers of a machine
#
# Lesson 10 drew the *roof*: a machine computes so many operations in a second,
# and reads so many bytes. It does both at once, so the slower one decides. What
# matters is how many operations a program makes with a byte that it has read.
# Writing one text, each weight is read from memory and used for *one* product.
# Reading a prompt, it is read once and used for all its tokens.
#
# **Now you: `roof_seconds`.**
#
# To keep other programs out of the figures, we measure on one core:

# %%
threads(1)
roof = measure_roof(1.0)
if not roof.gflops:
    roof = Roof(100.0, None, 10.0)
    print("no kernels were built here to measure with; an example of a")
FLOP, BYTE = roof.gflops * 1e9, roof.gb_per_second * 1e9
print(f"roof: {roof.gflops:.0f} GFLOP/s, {roof.gb_per_second:.1f} GB/s")
guess = predict("operations a byte to keep the arithmetic busy?")
print(compare(guess, round(FLOP / BYTE, 1)))

# %% [markdown]
# Writing makes 2 operations with the 4 bytes of a float32: *half* an operation a
# byte. Arithmetic waits nearly all the time. So fewer bits make writing faster
# by reading less, not by computing less. And a server that writes many texts at
# once reads the weights once for all of them. How far does that go?

# %%
SIZES = {  # width, layers, heads, channels of the MLP
    "1M": (128, 4, 4, 336),
    "11M": (384, 6, 6, 1024),
    "87M": (768, 12, 12, 2048),
}


def model_of(width, layers, heads, hidden, bits=32):
    """Build a LLaMA with random weights: they cost as much as others."""
    sizes = {"vocab_size": 1024, "context": 256, "width": width,
             "layers": layers, "heads": heads, "hidden": hidden}
    model = build({"model_type": "llama", **sizes}, seed=0)
    return model if bits == 32 else nn.quantize(model, bits)


middle = costs(model_of(*SIZES["11M"]), 128)
rows = [2**n for n in range(11)]
work = middle.flops, middle.context_bytes, middle.read_bytes
served = [n / ops.roof_seconds(n, *work, FLOP, BYTE) for n in rows]
no_cache = [n / ops.roof_seconds(n, work[0], 0, work[2], FLOP, BYTE)
            for n in rows]
for n in (1, 8, 64, 1024):
    print(f"{n:>5} texts at once: {served[rows.index(n)]:>8,.0f} tokens/s, "
          f"{no_cache[rows.index(n)]:>8,.0f} if caches were free to read")

# %% [markdown]
# At first each text more is a gift: the weights were read anyway. Then the
# caches, which nobody shares, take over, and the curve lies flat. That is why
# much of serving is about the cache.
#
# ## 4. Predict, then measure
#
# The same two divisions for three models with 32, 8 and 4 bits. `costs` counts
# what `tinyllm inspect` prints, `speeds` measures: one text of 256 tokens is
# read, and another is written after half a context. The roof is the best that
# the machine ever did, so it is measured again beside each model.

# %%
bill, rates = {}, {}
guess = predict("87M in float32: tokens written a second?")
for name, sizes in SIZES.items():
    for bits in (32, 8, 4):
        model = model_of(*sizes, bits)
        bill[name, bits] = costs(model, 256), costs(model, 128)
        rates[name, bits] = [b for _, b in speeds(model, roof, True).values()]
        again = measure_roof(0.3)
        FLOP = max(FLOP, (again.gflops or 0) * 1e9)
        BYTE = max(BYTE, (again.gb_per_second or 0) * 1e9)
print(compare(guess, round(rates["87M", 32][1])))
print(f"roof: {FLOP / 1e9:.0f} GFLOP/s, {BYTE / 1e9:.1f} GB/s")
print("              read: roof  measured       written: roof  measured")
writes = {}
for key, (full, half) in bill.items():
    read = 256 / full.seconds(256, FLOP, BYTE)[0]
    writes[key] = half.seconds(128, FLOP, BYTE)[1]
    pairs = zip((read, 1 / writes[key]), rates[key], strict=True)
    print(f"{key[0]:>4} {key[1]:>2} bits", *(
        f"{a:>8,.0f} {b:>8,.0f} {b / a:>5.2f}    " for a, b in pairs))

# %% [markdown]
# The larger a model, the nearer it comes to its roof. What the large ones read
# with 8 and 4 bits may be *above* it: the roof is measured with multiply-adds of
# float32, and processors multiply small whole numbers faster. (And the memory of
# a machine that others use may give a third of its best: if models beat the roof
# in writing, the probe had bad luck.) The small model writes far below it. What
# does it wait for, with so little to compute and to read? Make the matrices so
# tiny that there is nothing:

# %%
tiny = {n: writing(model_of(8, n, 1, 8)) for n in (2, 12)}
took = {n: min(each.sample(1, 0.0) for _ in range(5)) / 32
        for n, each in tiny.items()}
layer = (took[12] - took[2]) / 10
calls = took[2] - 2 * layer
print(f"a layer of nothing: {1e6 * layer:.0f} microseconds, and "
      f"{1e6 * calls:.0f} for each token")
worst = 1.0
for key, roof_time in writes.items():
    measured = 1 / rates[key][1]
    predicted = roof_time + calls + SIZES[key[0]][1] * layer
    said = zip(("roof", "roof and calls", "measured"),
               (roof_time, predicted, measured), strict=True)
    print(f"{key[0]:>4} {key[1]:>2} bits, milliseconds:",
          ", ".join(f"{what} {1e3 * each:.2f}" for what, each in said))
    worst = max(worst, predicted / measured, measured / predicted)
print(f"predicted within a factor of {worst:.2f}")

# %% [markdown]
# Python and the kernels' calls take a fixed time for each layer. A large matrix
# hides it. Four measured numbers, two of the roof and two of calls, predict nine
# speeds: in three runs on two busy cores within a factor of 1.4, 1.7 and 2.0.
#
# ## 5. Money
#
# A machine has a price an hour, and an hour has 3,600 seconds. The prices below
# are *examples*; put in your own. First yours, at 0.10 an hour:

# %%


def price(per_hour, tokens_per_second, tokens=1000):
    """The price of so many tokens."""
    return per_hour / 3600 / tokens_per_second * tokens


for (name, bits), both in rates.items():
    read, written = (price(0.1, rate) for rate in both)
    print(f"{name:>4} {bits:>2} bits: 1,000 tokens read {read:.7f}, "
          f"written {written:.7f}, {written / read:.0f} x")

# %% [markdown]
# A token that is written costs many times one that is read: price lists of
# services have two columns, too. Now GPT-3 on eight large cards. Take 300
# trillion operations and 2 trillion bytes a second for each, at 2 an hour, and
# texts of 2,048 tokens:

# %%
cards = 8 * 300e12, 8 * 2e12
cache = ops.count_cache_bytes(2048, LAYERS, LAYERS, 128, 16)
fits = int((8 * 80 * GB - 2 * count) // cache)
guess = predict("how many texts fit beside the weights in 640 GB?")
print(compare(guess, fits))
for n in (1, 8, fits):
    seconds = ops.roof_seconds(n, last, cache, 2 * count, *cards)
    print(f"{n:>3} texts: {n / seconds:>6,.0f} tokens/s, 1,000 tokens for "
          f"{price(16, n / seconds):.4f}")
seconds = ops.roof_seconds(2048, whole / 2048, 0, 2 * count, *cards)
print(f"read: {2048 / seconds:>8,.0f} tokens/s, 1,000 tokens for "
      f"{price(16, 2048 / seconds):.4f}")

# %% [markdown]
# One customer alone pays for the whole machine; thirty share it. (The machine
# must be busy for that: at night nobody pays.) The roof is the *least* cost:
# cards talk to each other, and programs reach perhaps half.
#
# In one picture: the tokens of the 11M model by the number of texts at once.

# %%
write_page(folder / "costs.html", "What a token costs",
           "Weights are read once for all texts; each has its own cache.",
           [curves("Tokens a second, by texts at once", "tokens/s",
                   {"with caches": served, "caches free to read": no_cache},
                   log=True, at=rows, log_x=True)])
