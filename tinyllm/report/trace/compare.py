"""Find the first difference between two captures of one text, with its op, layer and size.

The two trees of steps are walked together, in the order of execution. Where a part of the model ran the same
ops in both, these are compared one by one. Where it ran different ops (a layer with 8-bit weights runs other
ops than a float32 layer), only its inner parts and its outputs are compared.
"""

from dataclasses import dataclass
from typing import NamedTuple

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
    note: str = ""  # why there are no values: the shapes are different

    def place(self) -> str:
        """Describe where the difference is, such as "layer 0, h.0.attn: attention"."""
        layer = next((piece for piece in self.path.split(".") if piece.isdigit()), None)
        where = f"layer {layer}, {self.path}" if layer else self.path or "the model"
        if self.op_a == self.op_b:
            return f"{where}: {self.op_a}" if self.op_a else where
        return f"{where}: {self.op_a or 'several ops'} in A, {self.op_b or 'several ops'} in B"

    def amount(self) -> str:
        """Describe how much the two results differ, in numbers."""
        share = f"{100 * self.share:.2g} %" if np.isfinite(self.share) else "infinitely many times"
        return self.note or (f"{self.a:.6g} in A, {self.b:.6g} in B at {list(self.index)}: "
                             f"apart by {self.largest:.3g}, {share} of the largest value")


def compare(a: TracedCall, b: TracedCall) -> list[Difference]:
    """Compare two captures and return a `Difference` for each pair of steps that differ, in order."""
    if [(s.op, s.path) for s in a.steps] == [(s.op, s.path) for s in b.steps]:
        pairs = list(zip(a.steps, b.steps, strict=True))
    else:
        parts, others = ({step.path: step for step in whole.steps if step.op is None} for whole in (a, b))
        pairs = [(parts[path], others[path]) for path in parts if path in others and path != a.path]
    inner = [difference for pair in pairs for difference in compare(*pair)]
    return inner + _difference(a, b)


def first_difference(differences: list[Difference]) -> Difference | None:
    """Return the first difference that is too large to be caused by rounding, or None."""
    return next((d for d in differences if d.share > ROUNDING), None)


def _difference(a: TracedCall, b: TracedCall) -> list[Difference]:
    """Return a `Difference` for the first outputs of two steps that differ, or nothing if all are equal."""
    names = a.path, _op_names(a), _op_names(b)
    if len(a.outputs) != len(b.outputs):
        note = f"{len(a.outputs)} and {len(b.outputs)} results"
        return [Difference(*names, np.inf, np.inf, note=note)]
    for x, y in zip(a.outputs, b.outputs, strict=True):
        if np.shape(x) != np.shape(y):
            note = f"shapes {np.shape(x)} and {np.shape(y)}"
            return [Difference(*names, np.inf, np.inf, note=note)]
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        with np.errstate(invalid="ignore"):
            gap = np.where((x == y) | np.isnan(x) & np.isnan(y), 0.0, np.abs(x - y))
        if gap.any():
            gap = np.where(np.isnan(gap), np.inf, gap)
            index = np.unravel_index(gap.argmax(), gap.shape)
            largest, scale = float(gap[index]), float(np.abs(x[np.isfinite(x)]).max(initial=0.0))
            return [Difference(*names, largest, largest / scale if scale else np.inf,
                               tuple(map(int, index)), float(x[index]), float(y[index]))]
    return []


def _op_names(step: TracedCall) -> str:
    """Return the name of a step's op; for a part of one or two ops, return their names, else ""."""
    ops = [step.op] if step.op else [inner.op or "" for inner in step.ops()]
    return " + ".join(ops) if len(ops) < 3 else ""


class Layer(NamedTuple):
    """Root mean squares of a part of the model: of its output, of the differences; and their ratio."""

    path: str
    size: float
    difference: float
    share: float


def compare_layers(a: TracedCall, b: TracedCall) -> list[Layer]:
    """Compare two captures part by part: embeddings, layers, the last norm and the output layer, in order."""
    others = {part.path: part for part in b.parts()}
    found = []
    for part in a.parts():
        whole = part.is_block or (not part.in_block and part.path and any(s.op for s in part.steps))
        other = others.get(part.path) if whole else None
        if other and part.shape == other.shape:
            x, y = (p.outputs[0].astype(np.float64) for p in (part, other))
            size, difference = (float(np.sqrt(np.mean(np.square(z)))) for z in (x, x - y))
            share = difference / size if size else float(difference > 0)
            found.append(Layer(part.path, size, difference, share))
    return found


def describe_differences(a: TracedCall, b: TracedCall, ids: list[int], name_a: str, name_b: str) -> str:
    """Compare two captures of the same ids, op by op and layer by layer -> a text of 80 columns."""
    lines = [f"A  {name_a}", f"B  {name_b}", f"on {len(ids)} tokens", ""]
    differences = compare(a, b)
    if not differences:
        return "\n".join([*lines, f"no difference: all {len(list(a.ops()))} ops gave the same bits"])
    found = first_difference(differences)
    if found is None:
        found = max(differences, key=lambda d: d.share)
        lines += [f"no difference beyond rounding ({ROUNDING:g} of the largest value)",
                  f"largest: {found.place()}", paragraph(found.amount(), 2, 2)]
    else:
        lines += ["first difference:", f"  {found.place()}", paragraph(found.amount(), 2, 2)]
        if (before := differences[0]) is not found:
            lines.append(paragraph(f"before it only rounding, first in {before.place()}", 2, 2))
    layers = compare_layers(a, b)
    widest = max((layer.share for layer in layers), default=0) or 1
    rows = [[layer.path, f"{layer.size:.4g}", f"{layer.difference:.3g}", f"{100 * layer.share:.2g} %",
             bar(layer.share / widest)] for layer in layers]
    log_p = [log_softmax.reference(root.steps[-1].outputs[0][0].astype(np.float64)) for root in (a, b)]
    agree = (log_p[0].argmax(-1) == log_p[1].argmax(-1)).sum()
    lines += ["", *table(["after", "size", "difference", "share", ""], rows, "<>>><"), "",
              f"the likeliest next token is the same at {agree} of {len(ids)} positions"]
    if len(ids) > 1:
        nats = (-x[np.arange(len(ids) - 1), ids[1:]].mean() for x in log_p)
        lines.append("mean surprisal {:.4f} nats in A, {:.4f} in B".format(*nats))
    return "\n".join(lines)
