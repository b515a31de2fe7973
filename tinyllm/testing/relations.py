"""Make cases from the shapes that an op declares, and those of backward ops from those of forward ops.

`layernorm_backward(dy, x, w, mean, rstd)` takes a gradient, then inputs and outputs of `layernorm` under the
same names, and returns a gradient for each differentiable input. `outputs` and `grads` in the decorator of
the forward op list these names, so no backward op needs cases of its own.
"""

import contextlib
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinyllm.ops import OPS, override, use
from tinyllm.testing.arrays import USUAL, floats, leading, sizes

SUFFIX = "_backward"
FORWARDS = tuple(name for name in OPS if name + SUFFIX in OPS)


@functools.cache
def parameters(name: str) -> tuple[str, ...]:
    """Return the names of an op's arguments, in order."""
    return tuple(OPS[name].__signature__.parameters)


def bind(name: str, args: Sequence[Any], named: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return {name: value} of an op's arguments, defaults included: bind("softmax", (x,)) is {"x": x}."""
    bound = OPS[name].__signature__.bind(*args, **named or {})
    bound.apply_defaults()
    return dict(bound.arguments)


_inside = False


@contextlib.contextmanager
def specs_only() -> Iterator[None]:
    """Make every op run its NumPy specification in a `with` block, without overrides or NumPy warnings."""
    global _inside
    if _inside:  # do not switch again, which takes longer than most cases
        yield
        return
    with override(**dict.fromkeys(OPS)), use("numpy"), np.errstate(all="ignore"):
        _inside = True
        try:
            yield
        finally:
            _inside = False


def run_spec(name: str, args: Sequence[Any]) -> Any:
    """Run the NumPy specification of an op, and of all ops that it calls."""
    with specs_only():
        return OPS[name].reference(*args)


def first(result: Any) -> Any:
    """Return the first result of an op, which is the only result with a gradient."""
    return result[0] if isinstance(result, tuple) else result


def backward_args(name: str, args: Sequence[Any], result: Any, dy: np.ndarray) -> tuple:
    """Return the arguments of `name`_backward: `dy`, and values picked from `args` and `result` of `name`."""
    known = bind(name, args)
    known |= zip(OPS[name].outputs, result if isinstance(result, tuple) else (result,), strict=True)
    if name == "embedding":
        known["vocab_size"] = known["w"].shape[0]
    return (dy, *(known[argument] for argument in parameters(name + SUFFIX)[1:]))


@st.composite
def backward_cases(draw: Any, name: str, cases: st.SearchStrategy, kinds: Sequence[str] = USUAL) -> tuple:
    """Draw a case of `name`_backward: draw a case of `name`, run the op, and draw dy."""
    args = draw(cases)
    result = run_spec(name, args)
    return backward_args(name, args, result, floats(draw, first(result).shape, kinds))


@st.composite
def declared_cases(draw: Any, name: str, axes: Mapping[str, Any] = {}, square: str = "",
                   **given: Any) -> tuple:
    """Draw a case of an op: float arrays of the shapes that it declares, as in shapes="x (..., I), w (I, O)".

    An op that declares none takes one array of any shape.

    axes: {axis: a strategy for its length}; the others have `sizes`, and "..." has `leading`.
    square: axes that are equally long in one case of three, where a forgotten transpose keeps the shape.
    given: for an argument, the kinds of its numbers, a strategy of its values, or a function of draw and
        {axis: length} that draws it.
    """
    declared = dict(zip(parameters(name), getattr(OPS[name].check, "axes", [["..."]]), strict=False))
    letters = dict.fromkeys(axis for each in declared.values() for axis in each or ())
    n = {axis: draw(axes.get(axis, leading if axis == "..." else sizes)) for axis in letters}
    if square and draw(st.sampled_from((False, False, True))):
        n |= dict.fromkeys(square, n[square[0]])
    args = []
    for argument in parameters(name):
        how = given.get(argument, USUAL)
        if isinstance(how, st.SearchStrategy):
            args.append(draw(how))
        elif callable(how):
            args.append(how(draw, n))
        else:
            lengths = (np.ravel(n[axis]).tolist() for axis in declared[argument])
            args.append(floats(draw, itertools.chain(*lengths), how))
    return tuple(args)
