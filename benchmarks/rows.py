"""Run the ops on rows and on single numbers beside PyTorch: `python benchmarks/rows.py`.

One thread each, in one process, by turns: a round times PyTorch and then tinyllm on the same arrays, and a
ratio is the median over the rounds of PyTorch's time divided by ours, so that above 1 tinyllm is faster.
Backward passes call PyTorch's own kernels, without its autograd. Families of ops come one after the other;
`--only NAME` takes the ops whose name contains NAME, so that each family can have a quiet machine, in less
than a minute. `--each` prints every shape.
"""

import argparse
import statistics
import time

import numpy as np
import torch

import tinyllm
from tinyllm import ops

aten = torch.ops.aten
WIDTHS = (8, 16, 17, 33, 48, 65, 100, 128, 200, 384, 500, 768, 1000, 2047, 4096)
ROWS = (1, 16, 256, 1024, 4096, 16384)
MOST = 1 << 24  # numbers in an array: 64 MiB
GOAL = 0.95
FAMILIES = "softmax", "norm", "cross_entropy", "gelu", "silu", "swiglu"  # what the names of their ops contain


def norm_pairs(x, w, b, dy):
    """Return (ours, PyTorch's) for the two norms, forward and backward, on arrays (rows, C) and (C,)."""
    C = x.shape[1]
    tx, tw, tb, tdy = map(torch.from_numpy, (x, w, b, dy))
    _, mean, rstd = ops.layernorm(x, w, b)
    _, tmean, trstd = torch.native_layer_norm(tx, [C], tw, tb, 1e-5)
    _, root = ops.rmsnorm(x, w)
    pairs = {
        "layernorm": (lambda: ops.layernorm(x, w, b), lambda: torch.native_layer_norm(tx, [C], tw, tb, 1e-5)),
        "layernorm backward": (
            lambda: ops.layernorm_backward(dy, x, w, mean, rstd),
            lambda: aten.native_layer_norm_backward.default(tdy, tx, [C], tmean, trstd, tw, tb, [True] * 3),
        ),
        "rmsnorm": (lambda: ops.rmsnorm(x, w), lambda: torch.rms_norm(tx, [C], tw, 1e-5)),
    }
    with torch.enable_grad():  # PyTorch has no kernel for this one
        leaves = tx.clone().requires_grad_(), tw.clone().requires_grad_()
        y = torch.rms_norm(leaves[0], [C], leaves[1], 1e-5)
    pairs["rmsnorm backward"] = (
        lambda: ops.rmsnorm_backward(dy, x, w, root),
        lambda: torch.autograd.grad(y, leaves, tdy, retain_graph=True),
    )
    return pairs


def softmax_pairs(x, dy):
    """Return (ours, PyTorch's) for softmax and its logarithm, forward and backward, on arrays (rows, n)."""
    tx, tdy, f32 = torch.from_numpy(x), torch.from_numpy(dy), torch.float32
    y, logs = ops.softmax(x), ops.log_softmax(x)
    ty, tlogs = torch.softmax(tx, -1), torch.log_softmax(tx, -1)
    return {
        "softmax": (lambda: ops.softmax(x), lambda: torch.softmax(tx, -1)),
        "softmax backward": (lambda: ops.softmax_backward(dy, y),
                             lambda: torch._softmax_backward_data(tdy, ty, -1, f32)),
        "log_softmax": (lambda: ops.log_softmax(x), lambda: torch.log_softmax(tx, -1)),
        "log_softmax backward": (lambda: ops.log_softmax_backward(dy, logs),
                                 lambda: torch._log_softmax_backward_data(tdy, tlogs, -1, f32)),
    }


def loss_pairs(x, targets):
    """Return (ours, PyTorch's) for the mean cross-entropy of logits (rows, V), forward and backward."""
    tx, tt = torch.from_numpy(x), torch.from_numpy(targets)
    one, done = np.float32(1), torch.tensor(1.0)
    _, lse = ops.cross_entropy(x, targets)
    tlogs = torch.log_softmax(tx, -1)
    _, weight = aten.nll_loss_forward.default(tlogs, tt, None, 1, -100)

    def backward():
        dlogs = aten.nll_loss_backward.default(done, tlogs, tt, None, 1, -100, weight)
        return torch._log_softmax_backward_data(dlogs, tlogs, -1, torch.float32)

    return {
        "cross_entropy": (lambda: ops.cross_entropy(x, targets),
                          lambda: torch._C._nn.cross_entropy_loss(tx, tt)),
        "cross_entropy backward": (lambda: ops.cross_entropy_backward(one, x, targets, lse), backward),
    }


def activation_pairs(x, dy):
    """Return (ours, PyTorch's) for the activation functions, forward and backward, on arrays of one shape."""
    tx, tdy, nn = torch.from_numpy(x), torch.from_numpy(dy), torch._C._nn
    return {
        "gelu": (lambda: ops.gelu(x), lambda: nn.gelu(tx)),
        "gelu backward": (lambda: ops.gelu_backward(dy, x), lambda: aten.gelu_backward.default(tdy, tx)),
        "gelu_tanh": (lambda: ops.gelu_tanh(x), lambda: nn.gelu(tx, approximate="tanh")),
        "gelu_tanh backward": (lambda: ops.gelu_tanh_backward(dy, x),
                               lambda: aten.gelu_backward.default(tdy, tx, approximate="tanh")),
        "silu": (lambda: ops.silu(x), lambda: nn.silu(tx)),
        "silu backward": (lambda: ops.silu_backward(dy, x), lambda: aten.silu_backward.default(tdy, tx)),
        "swiglu": (lambda: ops.swiglu(x, dy), lambda: nn.silu(tx) * tdy),
    }


def pairs_of(rows, n):
    """Draw arrays of one shape -> {op: (ours, PyTorch's)}, functions without arguments."""
    rng = np.random.default_rng(rows * 10007 + n)
    x, dy = (rng.standard_normal((rows, n), np.float32) for _ in range(2))
    w, b = (rng.standard_normal(n, np.float32) for _ in range(2))
    targets = rng.integers(0, n, rows)
    return softmax_pairs(x, dy) | norm_pairs(x, w, b, dy) | loss_pairs(x, targets) | activation_pairs(x, dy)


def seconds(run, times):
    """Call a function `times` times -> processor time of this thread for each: other programs run, too."""
    start = time.thread_time()
    for _ in range(times):
        run()
    return (time.thread_time() - start) / times


def ratio(ours, theirs, rounds):
    """Time two functions in turn -> the median of their time / our time, and our median time."""
    times = max(1, min(200, int(3e-4 / min(seconds(ours, 1), seconds(ours, 2)))))
    seconds(theirs, times)
    taken = [(seconds(theirs, times), seconds(ours, times)) for _ in range(rounds)]
    return statistics.median(t / o for t, o in taken), statistics.median(o for _, o in taken)


def measure(only, each):
    """Return {op: {(rows, width): ratio}}."""
    found: dict[str, dict] = {}
    for rows in ROWS:
        for n in WIDTHS:
            if rows * n > MOST:
                continue
            for name, (ours, theirs) in pairs_of(rows, n).items():
                if only not in name:
                    continue
                r, took = ratio(ours, theirs, 7 if rows * n > 1 << 20 else 31)
                found.setdefault(name, {})[rows, n] = r
                if each:
                    print(f"{name:24} {rows:6} x {n:<5} {r:6.2f} {took * 1e6:10.1f} us", flush=True)
    return found


def line(name, ratios):
    """Write one line of the table."""
    worst = min(ratios, key=ratios.get)
    slower = sum(r < GOAL for r in ratios.values())
    at = " x ".join(map(str, worst))
    median = statistics.median(ratios.values())
    return f"{name:24} {median:6.2f} {ratios[worst]:6.2f}  {at:14} {slower:3} of {len(ratios)}"


def main():
    """Measure, and print for every op the median, the worst shape and how many are below the goal."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="ops whose name contains this")
    parser.add_argument("--each", action="store_true", help="print every shape")
    args = parser.parse_args()
    tinyllm.threads(1)
    torch.set_num_threads(1)
    with torch.no_grad():
        found = {}
        for name in [args.only] if args.only else FAMILIES:
            found |= measure(name, args.each)
    print(f"PyTorch {torch.__version__} / tinyllm, one thread each; above 1 tinyllm is faster")
    print(f"{'op':24} {'median':>6} {'worst':>6}  {'rows x width':14} below {GOAL}")
    for name, ratios in found.items():
        print(line(name, ratios))
    print(line("all", {(name, *shape): r for name, ratios in found.items() for shape, r in ratios.items()}))


if __name__ == "__main__":
    main()
