"""How many floating-point operations an op's call takes, by its formula.

A multiplication and an addition are two operations. Matrix products and attention count as in
`Module.flops`. The small ops count one for each +, -, *, / and for each exp, tanh, erf or square root of the
specification, for every number that comes out; those of single numbers per row are left out.
"""

import math

PRODUCTS = ("matmul", "linear", "linear_gelu", "linear_int8", "linear_int4", "attention")
PER_NUMBER = {  # operations for each number of the first output
    "add": 1, "layernorm": 8, "rmsnorm": 4, "gelu_tanh": 9, "gelu": 5, "silu": 4, "swiglu": 5, "rope": 3,
    "softmax": 4, "log_softmax": 5,
}  # fmt: skip


def op_flops(name, args, result):
    """Count the operations of one call; args is {name: value} -> int, 0 where nothing is computed."""
    y = result[0] if isinstance(result, tuple) else result
    if name == "attention":
        return 4 * args["q"].shape[2] * args["q"].shape[3] * pairs(args)
    if name == "matmul":
        return 2 * y.size * args["a"].shape[-2 if args["transpose_a"] else -1]
    if name in PRODUCTS:
        return 2 * y.size * args["x"].shape[-1]
    return PER_NUMBER.get(name, 0) * getattr(y, "size", 0)


def pairs(args):
    """How many keys the queries of one head look at, all rows together."""
    (B, S), T = args["q"].shape[:2], args["k"].shape[1]
    lengths = [T] * B if args["lengths"] is None else args["lengths"].tolist()
    if not args["causal"]:
        return S * sum(lengths)
    return sum(max(0, n - S + s + 1) for n in lengths for s in range(S))


def short(n):
    """Write a count with three digits and a unit: 85056 -> 85.1 k."""
    power = min(int(math.log10(n) // 3), 5) if n else 0
    return f"{n / 1000**power:.3g} {['', 'k', 'M', 'G', 'T', 'P'][power]}".strip()
