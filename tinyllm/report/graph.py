"""Draw the graph of a tensor's computation: each step with its value, gradient and slopes."""

from html import escape
from inspect import getclosurevars
from pathlib import Path
from typing import Any

import numpy as np

from tinyllm.report.page import Html, assemble, write
from tinyllm.report.svg import arrow, box, diagram, label
from tinyllm.tape import Node, gradients, topological
from tinyllm.tensor import Tensor

MOST = 60  # steps in a picture; a larger one cannot be read
SIGNS = {"add": "+", "mul": "*", "truediv": "/", "pow": "**", "getitem": "[ ]", "choose": "max or min"}
HIGH = 110  # the distance between two rows
GAP = 140  # between the boxes of two columns


class Picture(Html):
    """A picture as HTML. A notebook shows it below the cell; `save` writes a page."""

    def __repr__(self):
        return "<a picture: a notebook shows it, and .save('graph.html') writes a page>"

    def _repr_html_(self):
        return f'<iframe srcdoc="{escape(self._page())}" sandbox width="100%" height="600"></iframe>'

    def save(self, path: str | Path) -> None:
        """Write a page with the picture. Raises UserError when the file cannot be written."""
        write(path, self._page())

    def _page(self):
        lead = "Values are computed to the right, gradients back to the left."
        return assemble("A computation is a graph", lead, [self], "Drawn by tinyllm.")


def draw(y: Tensor, /, **names: Any) -> Picture:
    """Draw how a tensor was computed: `tl.draw(loss, a=a, b=b)` also names a and b; `**globals()` names all.

    Each box has a value, the operation that made the value, and the gradient of y with respect to it. For an
    array, the box has the shape and the gradient's length. If y is not a single number, gradients are those
    of the sum of y. The slope beside an arrow is the derivative of one number with respect to another. Inputs
    that need no gradient are left out. Draw before `backward()`, which frees the graph. Raises ValueError if
    there is no graph or it has more than 60 steps.
    """
    last = getattr(y, "_node", None)
    if last is None or last.backward is None:
        raise ValueError("no graph: draw a result of tensors with requires_grad=True, before its backward()")
    steps = topological(last)
    if len(steps) > MOST:
        raise ValueError(f"nobody can read a graph of {len(steps)} steps: draw one of at most {MOST}")
    inputs = [source[0] for step in steps for source in step.sources if source]
    leaves = dict.fromkeys(part for part in inputs if isinstance(part, Tensor))
    found: dict[Any, Any] = {}
    grads = gradients(y, np.ones_like(y.data), found) | {step: dys[0] for step, dys in found.items()}
    called = {t.source[0]: name for name, t in names.items()
              if isinstance(t, Tensor) and t.source and name[0] != "_"}
    texts = {part: _text(part, called.get(part) or getattr(part, "name", "")) for part in [*leaves, *steps]}
    far = GAP + max(110, 9 * max(map(len, texts.values())))
    places = _places(steps, leaves)
    columns, rows = (1 + max(axis) for axis in zip(*places.values(), strict=True))
    centres = {part: (far * (column + 0.5), HIGH * (row + 0.5)) for part, (column, row) in places.items()}
    shapes = [shape for step in steps for shape in _arrows(step, centres, far)]
    words = []
    for part, (x, height) in centres.items():
        operation, dx = _operation(part) if isinstance(part, Node) else "", grads.get(part)
        dx = np.zeros(1) if dx is None else dx  # a backward pass may return None in place of zeros
        said = f"{dx.item():+.4g}" if dx.size == 1 else f"of length {np.linalg.norm(dx):.3g}"
        shapes += [box(x, height, texts[part], operation, "train", far - GAP),
                   label(x, height + 37, f"gradient {said}", "val")]
        words.append(f"{texts[part]}, gradient {said}")
    title, unit = f"The graph of {called.get(last, 'a tensor')}", "blue: values; orange: gradients"
    return Picture(diagram(title, "; ".join(words), (far * columns, HIGH * rows), shapes, unit))


def _text(part, name):
    """Return the name and the value of a leaf or a step; of an array, its shape."""
    shape, value = (part.shape, part.data) if isinstance(part, Tensor) else part.outputs[0][::2]
    if np.prod(shape) != 1:
        return f"{name} {shape}".strip()
    return f"{name} = {np.asarray(value).item():.4g}".removeprefix(" = ")


def _operation(step):
    """Return the name of a step's operation, from the function that contains its backward pass."""
    name = step.backward.__qualname__.split(".<locals>")[0].split(".")[-1].strip("_")
    if name == "apply":
        name = getclosurevars(step.backward).nonlocals["op_backward"].__name__.strip("_")
    return SIGNS.get(name, name.removesuffix("_backward"))


def _places(steps, leaves):
    """Return {step or leaf: (column, row)}: each is to the left of the steps that use it, near their rows."""
    users: dict[Any, list] = {part: [] for part in [*leaves, *steps]}
    column = dict.fromkeys(leaves, 0)
    for step in steps:
        sources = [source[0] for source in step.sources if source]
        column[step] = 1 + max(column[source] for source in sources)
        for i, source in enumerate(sources):
            users[source].append((step, i))
    for leaf in leaves:
        column[leaf] = min(column[user] for user, _ in users[leaf]) - 1
    columns = [[part for part in users if column[part] == i] for i in range(1 + max(column.values()))]
    rows: dict[Any, int] = {}
    for parts in reversed(columns):
        parts.sort(key=lambda part: np.mean([rows[user] + i / 9 for user, i in users[part]] or [0]))
        first = (max(map(len, columns)) - len(parts)) // 2  # whole rows: long arrows pass between them
        rows |= {part: first + i for i, part in enumerate(parts)}
    return {part: (column[part], rows[part]) for part in users}


def _arrows(step, centres, far):
    """Draw an arrow to a step from each of its inputs, with the slope where both are single numbers."""
    (shape, dtype, value), *others = step.outputs
    shares = step.sources if value is None or others else step.backward(np.ones(shape, dtype))
    slopes: dict[Any, list] = {}
    for source, share in zip(step.sources, shares, strict=True):
        if source:
            single = isinstance(share, (np.ndarray, np.generic)) and share.size == 1
            slopes.setdefault(source[0], []).extend([f"{share.item():.4g}"] if single else [])
    half = (far - GAP) / 2  # half the width of a box
    for part, said in slopes.items():
        (x, y), (end, height) = centres[part], centres[step]
        points = [(x + half, y), (end - half, height)]
        if end - x > 1.5 * far:  # a long arrow passes below the boxes in between
            low = max(y, height) + HIGH / 2
            points[1:1] = [(x + far / 2, low), (end - far / 2 - 60, low)]
        yield arrow(points, f"slope {' + '.join(said)}" if said else "", "train")
