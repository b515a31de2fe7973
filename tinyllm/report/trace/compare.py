"""Find the first difference between two captures of one text, with its op, layer and size.

The two trees of steps are walked together, in the order of execution. Where a part of the model ran the same
ops in both, these are compared one by one. Where it ran different ops (a layer with 8-bit weights runs other
ops than a float32 layer), only its inner parts and its outputs are compared.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinyllm.ops.softmax import log_softmax
from tinyllm.report.terminal import bar, paragraph, table
from tinyllm.report.trace.capture import TracedCall

ROUNDING = 1e-5  # as a share of the largest value: summing in another order can cause such differences


@dataclass(frozen=True)
class Difference:
    """A step whose results differ between two captures, most at `index`, where the values are `a` and `b`."""

    path: str  # the part of the model, such as h.0.attn
    op_a: str  # the op that ran there, or "" for a part of several ops
    op_b: str
    largest: float  # the largest absolute difference; infinite where a number is missing or not finite
    share: float  # the same, as a share of the largest value in the first capture
    index: tuple = ()
    a: float = 0.0
    b: float = 0.0
    note: str = ""  # why there are no values: the shapes or the steps are different

    @property
    def beyond_rounding(self) -> bool:
        """Return True if the difference is too large to be caused by rounding."""
        return self.share > ROUNDING


def compare(a: TracedCall, b: TracedCall) -> list[Difference]:
    """Compare two captures and return a `Difference` for each pair of steps that differ, in order."""
    return list(_walk(a, b))


def first_difference(differences: list[Difference]) -> Difference | None:
    """Return the first difference that is too large to be caused by rounding, or None."""
    return next((d for d in differences if d.beyond_rounding), None)


def _walk(a: TracedCall, b: TracedCall) -> Iterator[Difference]:
    alike = [step.label for step in a.steps] == [step.label for step in b.steps]
    for pair in zip(a.steps, b.steps, strict=True) if alike else _common_parts(a, b):
        yield from _walk(*pair)
    if found := _difference(a, b):
        yield found


def _common_parts(a: TracedCall, b: TracedCall) -> list[tuple[TracedCall, TracedCall]]:
    """Return the pairs of parts that both steps called exactly once."""
    parts_a, parts_b = ([step for step in s.steps if step.op is None and step.path != s.path] for s in (a, b))
    paths = [step.path for step in parts_a], [step.path for step in parts_b]
    return [(x, y) for x in parts_a for y in parts_b
            if x.path == y.path and paths[0].count(x.path) == paths[1].count(x.path) == 1]


def _difference(a, b):
    """Compare the outputs of two steps; return a Difference, or None if they are equal."""
    ops = [_what(step) for step in (a, b)]
    for x, y in zip(a.outputs, b.outputs, strict=False):
        x, y = np.asarray(x), np.asarray(y)
        if x.shape != y.shape:
            return Difference(a.path, *ops, np.inf, np.inf, note=f"shapes {x.shape} and {y.shape}")
        if x.size and x.dtype.kind in "fiu" and not np.array_equal(x, y, equal_nan=x.dtype.kind == "f"):
            return _values(a.path, ops, x, y)
    if len(a.outputs) != len(b.outputs):
        return Difference(a.path, *ops, np.inf, np.inf,
                          note=f"{len(a.outputs)} and {len(b.outputs)} results")
    return None


def _values(path, ops, x, y):
    x, y = x.astype(np.float64), y.astype(np.float64)
    with np.errstate(invalid="ignore"):
        gap = np.where(x == y, 0.0, np.abs(x - y))  # inf and inf are no difference
    gap = np.where(np.isnan(x) & np.isnan(y), 0.0, np.where(np.isnan(gap), np.inf, gap))
    index = np.unravel_index(gap.argmax(), gap.shape)
    largest = float(gap[index])
    scale = float(np.abs(x[np.isfinite(x)]).max(initial=0.0))
    share = largest / scale if scale else np.inf
    return Difference(path, *ops, largest, share, tuple(map(int, index)), float(x[index]), float(y[index]))


def _what(step: TracedCall) -> str:
    """Return the name of a step's op; for a part of one or two ops, return their names, else ""."""
    ops = [step.op] if step.op else [inner.op or "" for inner in step.ops()]
    return " + ".join(ops) if len(ops) < 3 else ""


@dataclass(frozen=True)
class Layer:
    """The difference between the outputs of one part of a model in two captures.

    `size` is the root mean square of the first capture's output, `difference` that of the differences.
    """

    path: str
    size: float
    difference: float

    @property
    def share(self) -> float:
        """Return `difference` divided by `size`."""
        return self.difference / self.size if self.size else float(self.difference > 0)


def compare_layers(a: TracedCall, b: TracedCall) -> list[Layer]:
    """Compare two captures part by part: embeddings, layers, the last norm and the output layer, in order."""
    others = {part.path: part for part in b.parts()}
    found = []
    for part in a.parts():
        whole = part.is_block or (not part.in_block and part.path and any(s.op for s in part.steps))
        other = others.get(part.path) if whole else None
        if other and part.outputs[0].shape == other.outputs[0].shape:
            x, y = (p.outputs[0].astype(np.float64) for p in (part, other))
            found.append(Layer(part.path, _rms(x), _rms(x - y)))
    return found


def _rms(x):
    return float(np.sqrt(np.mean(x * x)))


@dataclass
class Comparison:
    """The results of comparing two captures of one text, op by op (`differences`) and layer by layer."""

    name_a: str
    name_b: str
    tokens: int
    steps: int  # ops that A ran
    differences: list
    layers: list
    agree: int  # positions at which both find the same token likeliest
    nats: tuple[float, float] | None  # mean surprisal of the text in A and in B; None for a single token


def compare_captures(a: TracedCall, b: TracedCall, ids: list[int], name_a: str, name_b: str) -> Comparison:
    """Compare two captures of the same ids; the result calls them name_a and name_b."""
    log_p = [log_softmax.reference(root.steps[-1].outputs[0][0].astype(np.float64)) for root in (a, b)]
    agree = int((log_p[0].argmax(-1) == log_p[1].argmax(-1)).sum())
    nats = None
    if len(ids) > 1:
        in_a, in_b = (float(-x[np.arange(len(ids) - 1), ids[1:]].mean()) for x in log_p)
        nats = in_a, in_b
    steps = len(list(a.ops()))
    return Comparison(name_a, name_b, len(ids), steps, compare(a, b), compare_layers(a, b), agree, nats)


def place(difference: Difference) -> str:
    """Describe where a difference is, such as "layer 0, h.0.attn: attention"."""
    path = difference.path
    layer = next((piece for piece in path.split(".") if piece.isdigit()), None)
    where = f"layer {layer}, {path}" if layer else path or "the model"
    ops = (difference.op_a, difference.op_b)
    if ops[0] == ops[1]:
        return f"{where}: {ops[0]}" if ops[0] else where
    return f"{where}: {ops[0] or 'several ops'} in A, {ops[1] or 'several ops'} in B"


def amount(difference: Difference) -> str:
    """Describe how much two results differ, in numbers."""
    if difference.note:
        return difference.note
    share = f"{100 * difference.share:.2g} %" if np.isfinite(difference.share) else "infinitely many times"
    return (
        f"{difference.a:.6g} in A, {difference.b:.6g} in B at {list(difference.index)}: "
        f"apart by {difference.largest:.3g}, {share} of the largest value"
    )


def show_comparison(comparison: Comparison) -> str:
    """Format the comparison of two captures for a terminal of 80 columns."""
    c = comparison
    lines = [f"A  {c.name_a}", f"B  {c.name_b}", f"on {c.tokens} tokens", ""]
    if not c.differences:
        return "\n".join([*lines, f"no difference: all {c.steps} ops gave the same bits"])
    found = first_difference(c.differences)
    if found is None:
        worst = max(c.differences, key=lambda d: d.share)
        lines += [f"no difference beyond rounding ({ROUNDING:g} of the largest value)",
                  f"largest: {place(worst)}", paragraph(amount(worst), 2, 2)]
    else:
        lines += ["first difference:", f"  {place(found)}", paragraph(amount(found), 2, 2)]
        if c.differences[0] is not found:
            lines.append(paragraph(f"before it only rounding, first in {place(c.differences[0])}", 2, 2))
    widest = max((layer.share for layer in c.layers), default=0) or 1
    rows = [[layer.path, f"{layer.size:.4g}", f"{layer.difference:.3g}", f"{100 * layer.share:.2g} %",
             bar(layer.share / widest)] for layer in c.layers]
    lines += ["", *table(["after", "size", "difference", "share", ""], rows, "<>>><"), ""]
    lines.append(f"the likeliest next token is the same at {c.agree} of {c.tokens} positions")
    lines += [f"mean surprisal {c.nats[0]:.4f} nats in A, {c.nats[1]:.4f} in B"] if c.nats else []
    return "\n".join(lines)
