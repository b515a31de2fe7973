"""Find out from signatures which results an op has, and where the arguments of its backward op come from.

`layernorm_backward(dy, x, w, mean, rstd)` takes a gradient, then inputs and outputs of `layernorm` by name,
and returns one gradient for each differentiable input. So the cases and the gradient check of every backward
op follow from `outputs` and `grads` in the decorator of its forward op.
"""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinyllm.ops import OPS, override, use
from tinyllm.testing.arrays import USUAL, floats

SUFFIX = "_backward"
FORWARDS = tuple(name for name in OPS if name + SUFFIX in OPS)


@functools.cache
def parameters(name: str) -> tuple[str, ...]:
    """Return the names of an op's arguments, in order."""
    return tuple(OPS[name].__signature__.parameters)


def bind(name: str, args: Sequence[Any]) -> dict[str, Any]:
    """Name an op's arguments, defaults included: ("softmax", (x,)) -> {"x": x}."""
    bound = OPS[name].__signature__.bind(*args)
    bound.apply_defaults()
    return dict(bound.arguments)


_inside = False


@contextlib.contextmanager
def specs_only() -> Iterator[None]:
    """Run only specifications (NumPy) in a `with` block, despite backends and overrides; hide warnings."""
    global _inside
    if _inside:  # switching takes longer than most cases
        yield
        return
    with override(**dict.fromkeys(OPS)), use("numpy"), np.errstate(all="ignore"):
        _inside = True
        try:
            yield
        finally:
            _inside = False


def run_spec(name: str, args: Sequence[Any]) -> Any:
    """Run an op's specification; the ops that it calls are specifications too."""
    with specs_only():
        return OPS[name].reference(*args)


def first(result: Any) -> Any:
    """Return the first result of an op, which is the differentiable one."""
    return result[0] if isinstance(result, tuple) else result


def backward_args(name: str, args: Sequence[Any], result: Any, dy: np.ndarray) -> tuple:
    """Return the arguments of `name`_backward, given the arguments and result of the forward op, and dy."""
    known = bind(name, args)
    known |= zip(OPS[name].outputs, result if isinstance(result, tuple) else (result,), strict=True)
    if name == "embedding":
        known["vocab_size"] = known["w"].shape[0]
    return (dy, *(known[argument] for argument in parameters(name + SUFFIX)[1:]))


def backward_cases(name: str, cases: st.SearchStrategy, kinds: Sequence[str] = USUAL) -> st.SearchStrategy:
    """Return a strategy for cases of `name`_backward: draw a case of the forward op, run it, and draw dy."""

    @st.composite
    def draw_case(draw):
        args = draw(cases)
        result = run_spec(name, args)
        return backward_args(name, args, result, floats(draw, first(result).shape, kinds))

    return draw_case()
