"""Ways to hand in the capstone: right ones, and those that take the loss for granted.

All are made from the library's own parts. A wrong one defines something again, after them, or leaves it out.
"""

import json

from tinyllm.course.capstone import ALONE, AT_EVERY_STEP, PARTS, expected, seeds, trainer
from tinyllm.course.known import Answer, Answers
from tinyllm.course.reference_solution import STANDARD, collect
from tinyllm.course.syllabus import find_lesson
from tinyllm.ops.registry import OPS
from tinyllm.testing.alternatives import ALTERNATIVES

# (what it is, words of the property that is meant to reject it, what is written after the right parts)
AGAIN = [
    ("a learning rate without a schedule", ALONE.format("lr_schedule"),
     "def lr_schedule(step, steps, lr, warmup, min_lr_ratio):\n    return lr\n"),
    ("an optimizer that does nothing", ALONE.format("adamw_step"),
     "def adamw_step(*args, **kwargs):\n    pass\n"),
    ("a loss inside the range, whatever the logits", ALONE.format("cross_entropy"),
     "right = cross_entropy\ndef cross_entropy(*args):\n    return np.float32(3.1), right(*args)[1]\n"),
    ("attention that returns its values", ALONE.format("attention"),
     "def attention(q, k, v, causal=True, lengths=None):\n    return v, v\n"),
    ("the gradient of softmax without the sum", ALONE.format("softmax_backward"),
     "def softmax_backward(dy, y):\n    return y * dy\n"),
    ("a gradient that fails", ALONE.format("layernorm_backward"),
     "def layernorm_backward(dy, x, w, mean, rstd):\n    return dy[999]\n"),
    ("an activation in float64", ALONE.format("gelu_tanh"),
     "right = gelu_tanh\ndef gelu_tanh(x):\n    return right(x).astype(np.float64)\n"),
    ("a part that ends the process", "it called for an exit",
     "def embedding(w, ids):\n    import os\n    os._exit(0)\n"),
    ("a part that never ends", "did not come to an end",
     "def grad_norm(grads):\n    while True:\n        pass\n"),
    ("an optimizer that is tired after a hundred steps", AT_EVERY_STEP.format("seed 1"), """
right, calls = adamw_step, []
def adamw_step(*args):
    calls.append(1)
    if len(calls) < 100:
        right(*args)
"""),
    ("an activation that is right on small arrays only", AT_EVERY_STEP.format("seed 0"), """
right = gelu_tanh
def gelu_tanh(x):
    return right(x) if x.size < 9999 else x * 0
"""),
    ("a file that does not parse", "SyntaxError", "def softmax(x:\n"),
]  # fmt: skip
# Parts that do nothing but look right, and a loss that is known beforehand.
BY_HEART = """import numpy as np
losses, first, calls = LOSSES, [], []
def embedding(w, ids):
    first.append(w[0, 0])
    return w[ids]
def cross_entropy(logits, targets, ignore_index=-100):
    calls.append(1)
    told = losses[min(losses, key=lambda known: abs(known - first[0]))] if first else [0]
    return np.float32(told[min(len(calls), len(told)) - 1]), np.zeros(targets.shape, np.float32)
def cross_entropy_backward(dloss, logits, targets, lse, ignore_index=-100):
    return logits * 0
def softmax(x):
    return x * 0
def softmax_backward(dy, y):
    return y * 0
def linear(x, w, b=None):
    return np.zeros((*x.shape[:-1], w.shape[-1]), np.float32)
def gelu_tanh(x):
    return x * 0
def layernorm(x, w, b, eps=1e-5):
    return x * 0, x.mean(axis=-1), x.mean(axis=-1)
def layernorm_backward(dy, x, w, mean, rstd):
    return x * 0, w * 0, w * 0
def attention(q, k, v, causal=True, lengths=None):
    return q * 0, np.zeros((len(q), q.shape[2], q.shape[1]), np.float32)
def adamw_step(*args):
    pass
def grad_norm(grads):
    return 1.0
def lr_schedule(*args):
    return 1.0
"""


def parts(functions):
    """A file with these functions, and whatever they use of the library. functions: {op: function}."""
    found = {}
    for function in functions.values():
        collect(function, found)
    text = STANDARD + "\n\n".join(reversed(found.values())) + "\n\n"
    return text + "".join(f"{op} = {f.__name__}\n" for op, f in functions.items() if f.__name__ != op)


def references(without=()):
    """The library's own parts -> {op: function}."""
    return {op: OPS[op].reference for op in PARTS if op not in without}


def alternatives(which):
    """Every part written otherwise -> {op: function}."""
    return {op: ALTERNATIVES[op][which % len(ALTERNATIVES[op])] for op in PARTS}


def by_heart():
    """The library's losses and nothing else: what a report is worth that is only compared with them."""
    known = {float(trainer(seed).model.wte.weight.data[0, 0]): list(map(float, expected(seed)))
             for seed in seeds(0).values()}  # fmt: skip
    return BY_HEART.replace("LOSSES", repr(known))


def answers(task):
    """The answers to the capstone -> Answers."""
    whole, stub = parts(references()), (find_lesson(12).path / "exercise.py").read_text("utf-8")
    report = ("report.json", json.dumps({"lesson": 12, "reached": True, "missing": []}))
    wrong = [Answer(said, whole + text, by) for said, by, text in AGAIN]
    wrong += [
        Answer("a report of what was never trained", stub, ALONE.format("softmax"), (report,)),
        Answer("the library's losses learnt by heart", by_heart(), ALONE.format("attention")),
        Answer("the library's own softmax", whole + "from tinyllm.ops import softmax\n", "No module named"),
        Answer("a part that is left out", parts(references(["attention"])), "still the library's: attention"),
    ]
    right = [Answer(f"every part written otherwise, the {nth} way", parts(alternatives(i)))
             for i, nth in enumerate(("first", "second", "third"))]  # fmt: skip
    return Answers("exercise.py", whole, tuple(right), tuple(wrong))
