"""Find the first difference between two captures of one text, with its op, layer and size.

The two trees of steps are walked together, in the order of execution. Where a part of the model ran the same
ops in both, these are compared one by one. Where it ran different ops (a layer with 8-bit weights runs other
ops than a float32 layer), only its inner parts and its outputs are compared.
"""

from dataclasses import dataclass

import numpy as np

from tinyllm.report.terminal import paragraph
from tinyllm.report.trace.capture import TracedCall

ROUNDING = 1e-5  # as a share of the largest value: summing in another order can cause such differences


@dataclass(frozen=True)
class Difference:
    """A step whose results differ between two captures."""

    path: str  # the part of the model, such as h.0.attn
    op_a: str  # the op that ran there, or "several ops"
    op_b: str
    share: float  # the largest difference, as a share of the largest value in the first capture
    amount: str  # the two values that differ most, and their distance, as text


def compare(a: TracedCall, b: TracedCall) -> list[Difference]:
    """Compare two captures and return a `Difference` for each pair of steps that differ, in order."""
    if [(s.op, s.path) for s in a.steps] == [(s.op, s.path) for s in b.steps]:
        pairs = list(zip(a.steps, b.steps, strict=True))
    else:
        parts, others = ({step.path: step for step in whole.steps if step.op is None} for whole in (a, b))
        pairs = [(parts[path], others[path]) for path in parts if path in others and path != a.path]
    return [*(found for pair in pairs for found in compare(*pair)), *_difference(a, b)]


def first_difference(differences: list[Difference]) -> Difference | None:
    """Return the first difference that is too large to be caused by rounding, or None."""
    return next((d for d in differences if d.share > ROUNDING), None)


def _difference(a: TracedCall, b: TracedCall) -> list[Difference]:
    """Return a `Difference` for the first outputs of two steps that differ, or nothing if all are equal."""
    names = a.path, _op_names(a), _op_names(b)
    shapes, others = ([np.shape(x) for x in step.outputs] for step in (a, b))
    if shapes != others:
        return [Difference(*names, np.inf, f"shapes {shapes} and {others}")]
    for x, y in zip(a.outputs, b.outputs, strict=True):
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        with np.errstate(invalid="ignore"):
            gap = np.where((x == y) | np.isnan(x) & np.isnan(y), 0.0, np.abs(x - y))
        if gap.any():
            gap = np.where(np.isnan(gap), np.inf, gap)
            index = np.unravel_index(gap.argmax(), gap.shape)
            scale = np.abs(x[np.isfinite(x)]).max(initial=0.0)
            share = float(gap[index] / scale) if scale else np.inf
            amount = (f"{x[index]:.6g} in A, {y[index]:.6g} in B at {list(map(int, index))}: "
                      f"apart by {gap[index]:.3g}, {100 * share:.2g} % of the largest value")
            return [Difference(*names, share, amount)]
    return []


def _op_names(step: TracedCall) -> str:
    """Return the name of a step's op, or the names of the one or two ops of a part."""
    ops = [step.op] if step.op else [inner.op or "" for inner in step.ops()]
    return " + ".join(ops) if len(ops) < 3 else "several ops"


def describe_differences(a: TracedCall, b: TracedCall) -> str:
    """Compare two captures of the same text, op by op -> a text of 80 columns."""
    differences = compare(a, b)
    if not differences:
        return f"no difference: all {len(list(a.ops()))} ops gave the same bits"
    found = first_difference(differences)
    if found is None:
        return f"no difference beyond rounding ({ROUNDING:g} of the largest value)"
    layer = next((f"layer {piece}, " for piece in found.path.split(".") if piece.isdigit()), "")
    what = found.op_a if found.op_a == found.op_b else f"{found.op_a} in A, {found.op_b} in B"
    place = f"{layer}{found.path or 'the model'}: {what}"
    return f"first difference:\n  {place}\n{paragraph(found.amount, 2, 2)}"
