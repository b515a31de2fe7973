"""Check that `tl.draw` shows what was computed, and leaves the graph as it was."""

import re
from html import escape

import numpy as np
import pytest
from helpers import refuses

import tinyllm as tl
from tinyllm.tensor import record


def leaf(x):
    return tl.Tensor(x, requires_grad=True)


def words(picture):
    return re.findall(r"<text[^>]*>([^<]+)<", picture)


def test_every_value_gradient_slope_and_operation_is_drawn_as_micrograd_draws_it():
    """Draw the neuron of micrograd's notebook, with the same numbers."""
    x1, x2, w1, w2, b = map(leaf, (2.0, 0.0, -3.0, 1.0, 6.8813735870195432))
    o = (x1 * w1 + x2 * w2 + b).tanh()
    drawn = words(tl.draw(o, **{name: value for name, value in locals().items() if name != "o"}))
    assert drawn.count("slope 1") == 5 and {"slope 0.5", "slope 0", "slope -3", "slope 2"} <= {*drawn}
    for said in ("x1 = 2, gradient -1.5", "w1 = -3, gradient +1", "x2 = 0, gradient +0.5", "*, gradient +0.5",
                 "w2 = 1, gradient +0", "b = 6.881, gradient +0.5", "0.7071, tanh, gradient +1"):
        assert ", ".join(drawn).count(said) == 1 + (said[0] == "*"), said
    o.backward()  # draw frees no step
    assert w1.grad == pytest.approx(1) and x1.grad == pytest.approx(-1.5)


def test_an_input_used_twice_gets_two_slopes_and_a_long_arrow_passes_below():
    t = leaf(3.0)
    picture = tl.draw(t * t / t, t=t)
    assert "slope 3 + 3" in words(picture) and "gradient +1" in words(picture)
    (bent,) = (d for d in re.findall(r'<path d="([^"Z]+)"', picture) if d.count("L") == 3)
    heights = [float(point.split()[1]) for point in bent[1:].split("L")]
    assert heights[0] < heights[1] == heights[2] > heights[3]


def test_a_model_names_its_parameters_and_arrays_show_shapes_and_lengths(tmp_path):
    model = tl.nn.Sequential(tl.nn.Linear(3, 2), tl.functional.relu, tl.nn.Linear(2, 1))
    loss = ((model(np.ones((4, 3), np.float32)) - 1) ** 2).mean()
    picture = tl.draw(loss)
    picture.save(tmp_path / "graph.html")
    assert escape((tmp_path / "graph.html").read_text("utf-8")) in picture._repr_html_()  # for a notebook
    drawn = words(picture)
    loss.backward()
    length = np.linalg.norm(model.layers[0].weight.grad)
    assert drawn[drawn.index("layers.0.weight (3, 2)") + 1] == f"gradient of length {length:.3g}"
    assert {"(4, 2)", "linear", "max or min", "sum", f"{loss.item():.4g}"} <= {*drawn}
    first, second = tl.functional.split(leaf(np.float32([0, 1, 2, 3])), 2)  # a step with several outputs
    drawn = words(tl.draw(first * second))
    assert drawn.count("split") == 1 and "gradient of length 3.74" in drawn  # of (2, 3, 0, 1)
    x, w = leaf(2.0), leaf(3.0)
    drawn = words(tl.draw(record(x.data + 1, (w * w, x), lambda dy: (None, dy)), w=w))
    assert drawn.count("gradient +0") == 2  # a backward pass may return None in place of zeros


def test_draw_refuses_freed_missing_and_large_graphs():
    x = leaf(2.0)
    y = x * x
    y.backward()
    for nothing in (x, y, tl.Tensor([1.0]), np.ones(2)):
        refuses(r"before its backward\(\)", tl.draw, nothing, error=ValueError)
    refuses("graph of 61 steps", tl.draw, sum([x] * 61), error=ValueError)


def test_a_record_keeps_no_array():
    """A record keeps the value of a single number only, so `draw` costs training no memory."""
    h = leaf(np.ones(2, np.float32)) * 2
    assert h._node.outputs == (((2,), np.float32, None),)
    assert h.sum()._node.outputs == (((), np.float32, 4.0),)
