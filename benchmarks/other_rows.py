"""Race ops on rows and on single numbers beside PyTorch, on one thread, in one process.

Backward passes call PyTorch's own kernels, without its autograd. Families of ops come one after the other;
`--data NAME` takes one of them, so that each can have a quiet machine.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np

from tinyllm import ops
from tinyllm.bench.race import Contender
from tinyllm.bench.rows import Race
from tinyllm.errors import UserError

WIDTHS = (8, 16, 17, 33, 48, 65, 100, 128, 200, 384, 500, 768, 1000, 2047, 4096)
ROWS = (1, 16, 256, 1024, 4096, 16384)
MOST = 1 << 24  # numbers in an array: 64 MiB
FAMILIES = "softmax", "norm", "cross_entropy", "gelu", "silu", "swiglu"  # what the names of their ops contain


def races(quick: bool, data: str = "") -> Iterator[Race]:
    """Yield a race for each op and shape; `data` names one family."""
    import torch

    if data and data not in FAMILIES:
        raise UserError(f"there is no family {data!r} of ops; there are {', '.join(FAMILIES)}")
    torch.set_num_threads(1)
    shapes = [(rows, n) for rows in ROWS for n in WIDTHS if rows * n <= MOST]
    torch.set_grad_enabled(False)  # what is timed makes no graph
    try:
        for part in [data] if data else FAMILIES:
            for rows, n in shapes[::20] if quick else shapes:
                for name, (ours, theirs) in pairs_of(rows, n).items():
                    if part in name:
                        yield {"op": name, "shape": f"{rows}x{n}", "threads": 1}, {
                            "tinyllm": partial(Contender, ours), "torch": partial(Contender, theirs)}, False
    finally:
        torch.set_grad_enabled(True)


def norm_pairs(x, w, b, dy):
    """Return (ours, PyTorch's) for the two norms, forward and backward, on arrays (rows, C) and (C,)."""
    import torch

    C, aten = x.shape[1], torch.ops.aten
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
    import torch

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
    import torch

    tx, tt = torch.from_numpy(x), torch.from_numpy(targets)
    one, done, aten = np.float32(1), torch.tensor(1.0), torch.ops.aten
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
    import torch

    tx, tdy, nn, aten = torch.from_numpy(x), torch.from_numpy(dy), torch._C._nn, torch.ops.aten
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
