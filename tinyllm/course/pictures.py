"""Draw pictures for lessons: a transformer, rotary positions, tokens, dots and more."""

from collections.abc import Iterable, Sequence

import numpy as np

from tinyllm.report.diagram import Arrow, Box, Dial, diagram, label
from tinyllm.report.page import Html, figure, tag
from tinyllm.report.svg import heat_map
from tinyllm.report.tokens import running, visible

ATTENTION = (("norm", "each token: mean 0, variance 1", "other"), ("linear", "C to 3 C: q, k and v", "train"),
             ("attention", "H heads; tokens read from each other", "val"), ("linear", "C to C", "train"))
MLP = (("norm", "each token: mean 0, variance 1", "other"), ("linear", "C to 4 C", "train"),
       ("GELU", "each number by itself", "floor"), ("linear", "4 C to C", "train"))
STREAM = 430  # where the residual stream runs


def transformer() -> Html:
    """Draw a GPT at the left and one of its blocks, larger, at the right, as HTML."""
    shapes: list = [Arrow([(120, 590), (120, 42)], style="thick")]
    model = [(575, "tokens", "(T)", ""), (500, "embedding", "+ position", "train"),
             (410, "block 1", "", "val"), (350, "block 2", "", "val"), (250, "block N", "", "val"),
             (165, "norm", "", "other"), (80, "logits", "(T, V)", "train")]
    shapes += [Box(120, y, text, note, style, height=50 if note else 40) for y, text, note, style in model]
    shapes.append(Box(120, 300, "...", "", "val", 60, 30))
    shapes += [Arrow([(197, 350), (STREAM - 85, y)], style="faint", head=False) for y in (30, 600)]
    shapes.append(Arrow([(STREAM, 610), (STREAM, 22)], style="thick train"))
    shapes.append(label(STREAM, 626, "the residual stream, (T, C)", "small"))
    for bottom, layers, name in ((560, ATTENTION, "x + attention(norm(x))"), (285, MLP, "x + mlp(norm(x))")):
        shapes += _branch(bottom, layers, name)
    words = "two branches leave the residual stream and are added to it: attention, then the MLP"
    unit = "read from the bottom to the top"
    return diagram("A GPT, and one of its blocks", words, (960, 640), shapes, unit)


def _branch(bottom, layers, name):
    """Return a branch of a block: out of the stream, up through its layers, and back by a sum."""
    x, step = 620, 55
    top = bottom - step * (len(layers) - 1)
    yield Arrow([(STREAM, bottom), (x - 75, bottom)])
    for i, (text, note, style) in enumerate(layers):
        y = bottom - step * i
        yield Box(x, y, text, "", style)
        yield label(x + 90, y, note, "small left")
        if i:
            yield Arrow([(x, y + step - 20), (x, y + 20)])
    add = top - step
    yield Arrow([(x, top - 20), (x, add), (STREAM + 17, add)])
    yield Box(STREAM, add, "+", "", "train", 34, 34, round=True)
    yield label(x + 90, add, name, "left")


def clocks(frequencies: np.ndarray, pairs: Sequence[tuple[int, int]]) -> Html:
    """Draw rotary positions as HTML dials: a row per (query position, key position), a column per frequency.

    A dial has two hands, for the query and for the key, at the angles frequency * position.
    """
    gap, shapes = 200, list[Html | Dial]()
    for column, f in enumerate(frequencies):
        shapes.append(label(250 + gap * column, 24, f"f = {f:.3g}", "big"))
        for row, positions in enumerate(pairs):
            query, key = (float(f * position) for position in positions)
            shapes.append(Dial(250 + gap * column, 130 + 180 * row, 74, [(key, "val"), (query, "train")]))
    for row, (query, key) in enumerate(pairs):
        shapes.append(label(20, 119 + 180 * row, f"query at {query}", "left train"))
        shapes.append(label(20, 141 + 180 * row, f"key at {key}", "left val"))
    words = "in each column the angle from key to query is the same in every row"
    size = (250 + gap * len(frequencies) - 90, 30 + 180 * len(pairs))
    return diagram("Rotary positions", words, size, shapes, f"green: the angle between them; {words}")


def dots(title: str, picture: np.ndarray, unit: str = "", patch: int = 1) -> Html:
    """Draw a picture (H, W, 3) of bytes as HTML, with lines between patches of `patch` dots."""
    H, W, _ = picture.shape
    squares = [
        tag("rect", x=x, y=y, width=1, height=1, fill="#" + bytes(picture[y, x]).hex())
        for y in range(H)
        for x in range(W)
    ]
    lines = "".join(f"M{x} 0V{H}" for x in range(patch, W, patch))
    lines += "".join(f"M0 {y}H{W}" for y in range(patch, H, patch))
    drawn = [tag("title", title), *squares, tag("path", d=lines, stroke="#888", stroke_width=0.06)]
    image = tag("svg", drawn, role="img", viewBox=f"0 0 {W} {H}", aria_label=f"{title}: {unit}",
                style="display: block; width: 100%", shape_rendering="crispEdges")
    return figure(title, unit, image)


def next_letters(title: str, letters: Sequence[str], probs: np.ndarray, unit: str) -> Html:
    """Draw the probabilities (V, V) of the next letter as HTML, with a row for each previous letter."""
    names = [visible(letter.encode()) for letter in letters]
    picture = heat_map(np.sqrt(probs), f"{title}: {len(letters)} rows", names)
    return figure(title, unit, tag("div", picture, class_="wide"), class_="drawn")


def coloured(title: str, unit: str, tokens: Iterable[bytes]) -> Html:
    """Draw as HTML a text cut into tokens; neighbours have different colours."""
    styles = ("--s:40", "--s:40; --hot: var(--cool)")
    drawn = [tag("span", running(each), class_="heat", style=styles[i % 2]) for i, each in enumerate(tokens)]
    return figure(title, unit, tag("div", drawn, class_="text"))
