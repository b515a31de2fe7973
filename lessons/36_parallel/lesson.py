# %% [markdown]
# # 36. Many processors, one model
#
# A large model is trained on thousands of processors. Each holds a part, and
# sends the rest. What is cut: the batch, the matrices, or the layers? Here the
# processes are threads; `mpiexec -n 4 tinyllm train` starts real ones.

# %%
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from queue import SimpleQueue

import numpy as np

import tinyllm as tl
import tinyllm.functional as F
from tinyllm import ops
from tinyllm.course.lesson_runner import begin, compare, predict
from tinyllm.course.page import write_page
from tinyllm.data import Batch, get_batch
from tinyllm.models import build
from tinyllm.report.page import table, tag
from tinyllm.report.svg import box, diagram, label
from tinyllm.tensor import Tensor
from tinyllm.train import Group, next_token
from tinyllm.train.loop import forward_backward
from tinyllm.world import stories

folder = begin()
tl.threads(1)
N = 4  # processes

# %% [markdown]
# ## 1. Cut the batch
#
# Each process has the whole model and a quarter of the batch. The sum of the
# four gradients is that of the batch: with it all take the same step, and stay
# equal. But how do they add their arrays, so that all get the sum? If one
# collects, it receives three arrays and sends three, while the others wait.
#
# Let them stand in a *ring*. Each cuts its array into N slices, and sends only
# to the next process.

# %%
for step, slices in enumerate(ops.ring_sends(N)):
    print(f"step {step}: processes 0 to 3 send slices", *slices)

# %% [markdown]
# Follow slice 0. Process 0 sends it, process 1 adds its own slice 0 and sends
# the sum, then 2 does, and 3 has the sum of all. That was half of the way. Then
# the sum goes round once more. **Now you: `ring_sends`.**

# %%
class Process(Group):
    """A thread for the training loop: k sends to i by boxes[i][k]."""

    def __init__(self, rank, boxes, ring=True):
        self.rank, self.size, self.boxes = rank, len(boxes), boxes
        self.ring, self.sent = ring, 0  # bytes

    def send(self, array, to):
        self.sent += array.nbytes
        self.boxes[to % self.size][self.rank].put(np.array(array))

    def receive(self, sender):
        return self.boxes[self.rank][sender % self.size].get(timeout=20)

    def gather(self, value):
        for box_of in self.boxes:
            box_of[self.rank].put(value)
        return [self.receive(rank) for rank in range(self.size)]

    def all_reduce(self, numbers):
        if not self.ring:
            return reduce(np.add, self.gather(numbers))  # in order of ranks
        slices = np.array_split(numbers.reshape(-1), self.size)
        for step, sends in enumerate(ops.ring_sends(self.size)):
            self.send(slices[sends[self.rank]], self.rank + 1)
            k, got = sends[self.rank - 1], self.receive(self.rank - 1)
            slices[k] = slices[k] + got if step < self.size - 1 else got
        return np.concatenate(slices).reshape(numbers.shape)


def together(work, ring=True):
    """Run work(process) in N threads -> results, mean bytes sent."""
    boxes = [[SimpleQueue() for _ in range(N)] for _ in range(N)]
    group = [Process(rank, boxes, ring) for rank in range(N)]
    with ThreadPoolExecutor(N) as pool:
        results = list(pool.map(work, group))
    return results, sum(process.sent for process in group) / N


text = stories.generate(n=3000)
tokenizer = tl.CharTokenizer.train(text)
tokens = tokenizer.encode_to_numpy(text.encode())
LAYERS, C, H, T, ROWS, STEPS = 4, 64, 176, 64, 16, 5
SIZES = {"model_type": "llama", "vocab_size": tokenizer.vocab_size,
         "context": T, "layers": LAYERS, "heads": 4, "kv_heads": 4,
         "width": C, "hidden": H, "init_std": 0.125}
BATCHES = [Batch(*get_batch(tokens, 0, i, ROWS, T)) for i in range(STEPS)]
P, MB, counted = build(SIZES).num_parameters(), 1e6, {}  # bytes sent


def train(group):
    """Train in four pieces, shared by a group -> all weights in one array."""
    model = build(SIZES)
    optimizer = tl.AdamW(model.parameters(), lr=0.01)
    for batch in BATCHES:
        forward_backward(model, batch, next_token, N, group)
        optimizer.step()
        optimizer.zero_grad()
    return np.concatenate([p.data.reshape(-1) for p in model.parameters()])


guess = predict(f"{4 * P / MB:.3f} MB of gradients: MB that each sends?")
alone = train(Group())
for name, ring in (("in order", False), ("ring", True)):
    weights, sent = together(train, ring)
    print(f"{name:<9} all are equal:",
          all(np.array_equal(w, weights[0]) for w in weights),
          "; bits of one process:", np.array_equal(weights[0], alone),
          f"; difference {abs(weights[0] - alone).max():.0e}")
counted["data"] = sent / STEPS
print(compare(guess, counted["data"] / MB))

# %% [markdown]
# Each sends 2 (N - 1) of N slices: not quite twice its array, be it with four
# processes or with 1,000. But in float32, x0 + (x1 + x2) and (x0 + x1) + x2
# differ in the last bit, and in a ring each slice's sum begins elsewhere.
# tinyllm lets each process add one slice in the order of ranks, as one process
# adds its pieces; that sends as much. So a bug on four machines shows on one.
#
# Each still holds all weights, gradients and AdamW's means: 16 bytes a weight.
# In *ZeRO* (Rajbhandari et al., 2020; `parallel.zero=true`) each updates a
# quarter of the weights, and keeps the means of these only: 8 + 8 / N bytes.
#
# ## 2. Cut the matrices
#
# A matrix of a model with 70 billion weights takes a gigabyte. In x @ A @ B,
# give each process some *columns* of A: it computes these columns of x @ A, and
# sends nothing. They meet the *rows* of B with the same numbers. The sum of
# what comes out in all is the product (Shoeybi et al., "Megatron-LM", 2019).

# %%
rng = np.random.default_rng(0)
x, a, b = (rng.normal(0, 0.2, shape).astype(np.float32)
           for shape in ((ROWS * T, C), (C, H), (H, C)))
parts = ops.column_row_products(x, a, b, N)
print(parts.shape, f"error {abs(parts.sum(axis=0) - x @ a @ b).max():.0e}")

# %% [markdown]
# **Now you: `column_row_products`.** In an MLP, a curve stands between the two,
# such as SiLU. It takes each number alone, so columns are fine. Had A been cut
# into rows, each process had an addend of every number, and silu(p + q) is not
# silu(p) + silu(q). In attention the columns are heads.
#
# So a layer needs two sums forward, after attention and after the MLP, and two
# back. Here is an MLP, both ways.

# %%
def mlp(group):
    """Run a part of an MLP on x, forward and backward -> y, gradient of x."""
    own = np.array_split(np.arange(H), group.size)[group.rank]
    t = Tensor(x, True)
    y = F.matmul(F.silu(F.matmul(t, a[:, own])), b[own])
    y.backward(x)
    return group.all_reduce(y.data), group.all_reduce(t.grad)


guess = predict(f"{LAYERS} layers, {ROWS} x {T} tokens, width {C}: MB sent?")
results, sent = together(mlp)
print("largest errors:", *(f"{abs(p - q).max():.0e}" for p, q in zip(
    results[0], mlp(Group()), strict=True)))
counted["tensor"] = 2 * LAYERS * sent  # attention sends as much as the MLP
print(compare(guess, counted["tensor"] / MB))

# %% [markdown]
# Gradients cost the size of the *model*, these sums that of the *batch*, in
# every layer, and all wait for them: cut matrices among fast neighbours only.
#
# ## 3. Cut the layers
#
# Process 0 computes the first layer, process 1 the second: a *pipeline*. Only
# activations are sent, and their gradients back. But while the last computes,
# the others wait, unless the batch is cut into pieces. *GPipe* (Huang et al.,
# 2019) does all forward passes first. *1F1B*, one forward, one backward, goes
# back as early as it can. p is the forward pass of piece p, -p the backward.

# %%
PIECES = 8
orders = {"GPipe": ops.pipeline_order(N, PIECES, True),
          "1F1B": ops.pipeline_order(N, PIECES)}
print(*orders["GPipe"][:1], "(in all stages)", *orders["1F1B"], sep="\n")


def clock(order):
    """Begin each pass as soon as it can -> {(stage, pass): its end}."""
    ends, free, rows = {}, [0] * N, order.tolist()
    while any(rows):
        for s, row in enumerate(rows):
            forward = row[:1] > [0]  # else backward, which takes 2 units
            before = (s - 1 if forward else s + 1, row[0]) if row else None
            if before in ends or (before and before[0] in (-1, N)):
                free[s] = max(free[s], ends.get(before, 0)) + 2 - forward
                ends[s, row.pop(0)] = free[s]
    return ends


guess = predict("GPipe: percent of the time spent waiting?")
clocks = {name: clock(order) for name, order in orders.items()}
idle = [100 - 300 * PIECES / max(ends.values()) for ends in clocks.values()]
print(compare(guess, idle[0]), f"and in 1F1B {idle[1]:.2f}")

# %% [markdown]
# **Now you: `pipeline_order`.** Both wait (S - 1) / (M + S - 1) of the time,
# with S stages and M pieces. What does 1F1B gain? Run both, on the model.

# %%
def pipeline(group, order):
    """Compute the gradients of one layer -> parameters, most pieces kept."""
    model, rank, kept, most = build(SIZES), group.rank, {}, 0
    body, last, pieces = model.model, N - 1, list(BATCHES[0].split(PIECES))
    for p in order[rank].tolist():
        if p > 0:
            x = (Tensor(group.receive(rank - 1), True) if rank else
                 body.embed_tokens(pieces[p - 1].tokens))
            y = body.layers[rank](x, body.rope(np.arange(T)))
            if rank < last:
                group.send(y.data, rank + 1)
            else:
                y = F.linear_cross_entropy(body.norm(y), model.lm_head.weight,
                                           pieces[p - 1].targets) / PIECES
            kept[p] = x, y
            most = max(most, len(kept))
        else:
            x, y = kept.pop(-p)
            y.backward(group.receive(rank + 1) if rank < last else None)
            if rank:
                group.send(x.grad, rank - 1)
    return dict(model.named_parameters()), most


model = build(SIZES)
forward_backward(model, BATCHES[0], next_token, PIECES)
guess, kept = predict("GPipe: how many pieces does stage 0 keep?"), {}
for name, order in orders.items():
    results, counted["pipeline"] = together(lambda g, o=order: pipeline(g, o))
    kept[name] = [most for _, most in results]
    grads = {k: q.grad for part, _ in results for k, q in part.items()
             if q.grad is not None}
    same = [np.array_equal(grads[k], p.grad) for k, p in
            model.named_parameters()]
    print(f"{name:<6} keeps {kept[name]}; bits of one process:", all(same))
print(compare(guess, kept["GPipe"][0]))

# %% [markdown]
# 1F1B keeps no more pieces than there are stages. So it can take more, smaller
# pieces, and then all wait less.
#
# ## 4. What each holds and sends

# %%
def costs(P, L, C, tokens, N):
    """Return {way: (bytes of weights, gradients and means; bytes sent)}."""
    ring, x = 2 * (N - 1) / N, 4 * tokens * C
    return {"data": (16 * P, ring * 4 * P),
            "tensor": (16 * P / N, 4 * L * ring * x),
            "pipeline": (16 * P / N, ring * x)}


print("bytes sent are those of the formula:", counted == {
    way: sent for way, (_, sent) in costs(P, LAYERS, C, ROWS * T, N).items()})
guess = predict("LLaMA 7B, 8 processes, 65,536 tokens: GB sent by tensor?")
large = costs(6.74e9, 32, 4096, 65536, 8)
print(compare(guess, large["tensor"][1] / 1e9))
head = ["", "here: sends", "7B: holds", "7B: sends"]
rows = [[way, f"{sent / MB:.2f} MB", *(f"{n / 1e9:.1f} GB" for n in each)]
        for way, each in large.items() for sent in [counted[way]]]
for row in [head, *rows]:
    print(*(f"{cell:<14}" for cell in row))

shapes = []
for top, (name, ends) in zip((40, 280), clocks.items(), strict=True):
    for s in range(N):
        shapes += [label(50, top + 5 + 52 * s, f"{name} {s}"), label(
            1020, top + 5 + 52 * s, f"keeps {kept[name][s]}")]
    for (s, p), end in ends.items():
        wide, style = (26, "train") if p > 0 else (52, "val")
        shapes += [box(110 + 26 * end - wide / 2, top + 52 * s, str(abs(p)),
                       "", style, wide)]
words = f"narrow: forward, wide: backward; {idle[0]:.0f} % of the time: idle"
figure = diagram("4 stages, 8 pieces", words, (1080, 470), shapes, words)
write_page(folder / "parallel.html", "What is cut, held and sent",
           "The batch (data), matrices (tensor), or the layers (pipeline).",
           [tag("div", figure, table("A process", head, rows))])

# %% [markdown]
# All are used at once: tensor inside a machine, pipeline between machines, data
# over all. `tinyllm plan` finds the best grid for the machines in the news.
