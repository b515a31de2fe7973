"""Check an implementation of an op: the C kernel, an override, or the specification in float32.

The right results are computed by the specification (the op's NumPy code) in float64 from the same numbers.
The error bounds in `catalog` say how far an implementation may differ.
"""

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tinyllm.ops import OPS
from tinyllm.testing.catalog import BOUNDS, NEIGHBOURS
from tinyllm.testing.relations import bind, parameters, specs_only

MAY_RETURN_INPUTS = {"clip_grads", "sum_to_shape"}  # they do so when there is nothing to compute


def check(name: str, function: Callable[..., Any], args: Sequence[Any]) -> None:
    """Check that a function agrees with an op's specification (its NumPy code) on one case.

    Results must have the right number, types and shapes, and share no memory with inputs or with each other.
    They must lie within the op's error bound around the specification's float64 results, and be NaN or
    infinite in the same places. A second run must give the same bits. Inputs must not be changed. Raises
    AssertionError with the op, the case, and the expected and the actual result.
    """
    args = tuple(bind(name, args).values())
    try:
        with specs_only():
            require_all(name, function, args)
    except AssertionError as error:
        raise AssertionError(f"{name}: {error}\n{describe(name, args)}") from None


def require_all(name: str, function: Callable[..., Any], args: tuple) -> None:
    """Check all properties listed in `check`; raise AssertionError at the first that does not hold."""
    before = [bits(value) for value in args]
    results = run(name, function, args)
    for argument, value, old in zip(parameters(name), args, before, strict=False):
        require(bits(value) == old, f"it changed its input {argument}")
    require_own_memory(name, results, args)
    require_close(name, results, expectation(name, args))
    again = run(name, function, args)
    require([bits(x) for x in again] == [bits(x) for x in results], "two runs on one input differ")


def require(holds: object, message: str) -> None:
    """Raise AssertionError unless `holds` is true; unlike `assert`, this also works under `python -O`."""
    if not holds:
        raise AssertionError(message)


def run(name: str, function: Callable[..., Any], args: Sequence[Any]) -> list[Any]:
    """Run a function on an op's arguments; return the list of its results.

    Arguments that the op changes in place are copied first, and the changed copies are the results.
    """
    named = dict(zip(parameters(name), args, strict=False))
    for argument in OPS[name].mutates:
        named[argument] = np.array(named[argument], order="C")
    with specs_only():
        result = function(*named.values())
    if OPS[name].mutates:
        require(result is None, f"it works in place and must return None, not {type(result).__name__}")
        return [named[argument] for argument in OPS[name].mutates]
    return Results(result)


class Results(list):
    """The list of a function's results; `kind` says whether it returned a tuple, a list or one value."""

    def __init__(self, value):
        super().__init__(value if isinstance(value, tuple | list) else [value])
        self.kind = type(value).__name__ if isinstance(value, tuple | list) else "value"


def require_container(results: list[Any], expected: list[Any]) -> None:
    """Raise AssertionError if a function returned None, or for example a list instead of a tuple."""
    got, want = getattr(results, "kind", None), getattr(expected, "kind", None)
    require(got != "value" or results[0] is not None, "it returned nothing (None): is a `return` missing?")
    if got and want and got != want and ("list" in (got, want) or len(results) == len(expected)):
        comma = ": is there a comma too many?" if got == "tuple" and want == "value" else ""
        raise AssertionError(f"it should return {type_of(expected)}, not {type_of(results)}{comma}")


def type_of(results: Any) -> str:
    """Name the type of what a function returned, with an article: "a list", "an array"."""
    name = results.kind
    if name == "value":
        is_array = isinstance(results[0], np.ndarray | np.generic)
        name = "array" if is_array else type(results[0]).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def widen(value: Any, old: type = np.float32, new: type = np.float64) -> Any:
    """Convert float32 arrays to float64, also inside a list; return other values unchanged."""
    if isinstance(value, list):
        return [widen(element, old, new) for element in value]
    with np.errstate(all="ignore"):
        is_old = isinstance(value, np.ndarray | np.generic) and value.dtype == old
        return value.astype(new) if is_old else value


def narrow(value: Any) -> Any:
    """Convert float64 arrays to float32, also inside a list; return other values unchanged."""
    return widen(value, np.float64, np.float32)


def bits(value: Any) -> Any:
    """Return a key for comparing values bit by bit: equal keys mean equal bits."""
    if isinstance(value, list):
        return [bits(element) for element in value]
    is_array = isinstance(value, np.ndarray | np.generic)
    return (value.dtype, value.shape, value.tobytes()) if is_array else repr(value)


def arrays(values: Iterable[Any]) -> Iterator[np.ndarray]:
    """Yield all arrays in a sequence of values, also arrays inside lists."""
    for value in values:
        if isinstance(value, list):
            yield from arrays(value)
        elif isinstance(value, np.ndarray):
            yield value


def require_own_memory(name: str, results: list[Any], args: Sequence[Any]) -> None:
    """Raise AssertionError if a result shares memory with an input or with another result."""
    if name in MAY_RETURN_INPUTS:
        return
    taken = list(arrays(args))
    for label, result in zip(OPS[name].outputs, arrays(results), strict=False):
        require(not any(np.may_share_memory(result, other) for other in taken),
                f"{label} shares memory with an input or another result; return a copy")
        taken.append(result)


def expectation(name: str, args: Sequence[Any]) -> tuple[list, list[list], Any]:
    """Return (right results, a list of other right results from NEIGHBOURS, error bounds) for a case."""
    wide = [widen(value) for value in args]
    expected = run(name, OPS[name].reference, wide)
    others = [run(name, OPS[name].reference, near) for near in NEIGHBOURS.get(name, lambda args: [])(wide)]
    bounds = BOUNDS.get(name, lambda args, expected: [0] * len(expected))(wide, expected)
    return expected, others, bounds


def require_close(name: str, results: list[Any], wanted: tuple) -> None:
    """Raise AssertionError unless every result agrees with `wanted`, a result of `expectation`."""
    expected, others, bounds = wanted
    if is_plain_list(expected):  # such as a list of tokens: it is one result, not several
        require_container(results, expected)
        require(list(results) == list(expected), f"it should return {list(expected)}, got {list(results)}")
        return
    for i, (label, got, want) in enumerate(labelled(name, results, expected)):
        require_form(label, got, want)
        if isinstance(want, list | tuple | str):  # show all of it, because one wrong element says little
            require(got == want, f"{label} should be {want!r}, got {got!r}")
            continue
        require_numbers(label, as_array(got), [as_array(x[i]) for x in (expected, *others)], bounds[i])


def is_plain_list(expected: list[Any]) -> bool:
    """Return True if the expected results are one list without arrays, such as a list of tokens."""
    return getattr(expected, "kind", "") == "list" and next(arrays(expected), None) is None


def labelled(name: str, results: list[Any], expected: list[Any]) -> list[tuple[Any, Any, Any]]:
    """Return (name, result, expected) for each result; raise AssertionError if there are too many or few."""
    require_container(results, expected)
    due = f"{len(expected)} result{'s' * (len(expected) != 1)}"
    require(len(results) == len(expected), f"it should return {due}, not {len(results)}")
    names = OPS[name].outputs
    labels = names if len(expected) == len(names) else range(len(expected))
    if not OPS[name].mutates:  # "the result", not "y", if y is also an argument, as in add(x, y)
        other = "the result" if len(expected) == 1 else "the returned {}"
        labels = [other.format(label) if label in parameters(name) else label for label in labels]
    return list(zip(labels, results, expected, strict=True))


WIDENED = (": float32 in, float32 out. NumPy's own numbers widen it, such as np.sqrt(n), np.arange(n) and a "
           "count, mask.sum(); write np.float32(...), int(...) or result.astype(np.float32)")


def require_form(label: object, got: Any, want: Any) -> None:
    """Raise AssertionError unless a result has the right type or, for arrays, the right dtype and shape."""
    if not isinstance(want, np.ndarray | np.generic):
        kind = type(want).__name__
        same = isinstance(got, type(want)) or (isinstance(want, float) and as_array(got).ndim == 0)
        same = same or (kind == "int" and isinstance(got, np.integer))  # NumPy's integers are accepted
        require(same, f"{label} should be {'an' if kind == 'int' else 'a'} {kind}, got {type(got).__name__}")
        return
    dtype = np.dtype(np.float32) if want.dtype.kind == "f" else want.dtype
    if type(got) is float and want.ndim == 0 and dtype.kind == "f":
        return  # a Python float has no dtype to compare
    if isinstance(got, np.ndarray | np.generic) and (got.shape, got.dtype) == (want.shape, dtype):
        return  # before the messages below, because NumPy is slow to format a dtype
    require(isinstance(got, np.ndarray | np.generic), f"{label} should be an array, got {type(got).__name__}")
    kept = " (with keepdims=True a sum or mean keeps its axis)" * (got.shape == (*want.shape, 1))
    require(got.shape == want.shape, f"{label} should have shape {want.shape}, got {got.shape}{kept}")
    floats = {got.dtype.kind, dtype.kind} == {"f"}
    require(got.dtype == dtype, f"{label} should be {dtype}, got {got.dtype}{WIDENED * floats}")


def as_array(value: Any) -> np.ndarray:
    """Return a result as an array; texts, and lists of different lengths, become an array of objects.

    Otherwise NumPy would pad all texts to the length of the longest.
    """
    try:
        return np.asarray(value, object if holds_text(value) else None)
    except ValueError:
        return np.asarray(value, object)


def holds_text(value: Any) -> bool:
    """Return True if a list, or a list inside it, holds text or bytes."""
    return isinstance(value, list | tuple) and any(isinstance(x, str | bytes) or holds_text(x) for x in value)


def require_numbers(label: object, got: np.ndarray, wanted: list[np.ndarray], bound: Any) -> None:
    """Raise AssertionError unless every number differs by at most `bound` from one of the wanted numbers."""
    if got.dtype.kind not in "fiub":
        require(got.tolist() == wanted[0].tolist(), f"{label} should be {wanted[0]}, got {got}")
        return
    right = np.zeros(got.shape, bool)
    with np.errstate(invalid="ignore", over="ignore"):
        for want in wanted:
            near = np.abs(got.astype(np.float64) - want) <= bound
            near &= np.isfinite(got) & np.isfinite(want)
            right |= near | (got == want) | (np.isnan(got) & np.isnan(want))
    if right.all():
        return
    at = tuple(int(i) for i in np.argwhere(~right)[0])
    allowed = np.broadcast_to(bound, got.shape)[at]
    off = f", more than {allowed:.2g} apart" if allowed > 0 and np.isfinite(got[at] - wanted[0][at]) else ""
    where = f"[{', '.join(map(str, at))}]" if at else ""
    share = f" ({np.sum(~right)} of {got.size} are wrong)" if got.size > 1 else ""
    due, wrong = digits(wanted[0][at]), digits(got[at])
    raise AssertionError(f"{label}{where} should be {due}, got {wrong}{off}{share}")


def digits(number: Any) -> str:
    """Write a float with at most 7 digits (-0 as 0), and an integer with all digits."""
    return f"{float(number) or 0.0:.7g}" if number.dtype.kind == "f" else f"{number}"


def outcome(name: str, function: Callable[..., Any], args: Sequence[Any]) -> list[Any] | None:
    """Run a function on copies of its arguments; return its results, or None if it raises an error."""
    own = [copy.deepcopy(value) for value in args]  # a wrong function may write into them
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):  # a mistake may cause warnings
            warnings.simplefilter("ignore")
            return run(name, function, own)
    except Exception:  # any error means that there is no result to compare
        return None


def agree(a: Any, b: Any, close: float) -> bool:
    """Return True if two results differ by at most `close` (relative) and are NaN in the same places."""
    a, b = as_array(a), np.asarray(b)
    if a.dtype.kind not in "fiub" or b.dtype.kind not in "fiub":
        return a.tolist() == b.tolist()
    if a.shape != b.shape:
        return False
    a, b = a.astype(np.float64), b.astype(np.float64)
    size, finite = np.abs(b), np.isfinite(b)
    with np.errstate(all="ignore"):
        near = np.abs(a - b) <= close * (size + size.max(where=finite, initial=0))
    equal = (a == b) | (np.isnan(a) & np.isnan(b))
    return bool(np.where(finite, near, equal).all())


def describe(name: str, args: Sequence[Any]) -> str:
    """Write the arguments of a case as lines of Python code; a comment marks arrays that are views."""
    lines = []
    for argument, value in zip(parameters(name), args, strict=False):
        lines.append(f"  {argument} = {as_text(value)}")
        if isinstance(value, np.ndarray) and not value.flags.c_contiguous:
            lines.append(f"  # {argument} is a view: not contiguous in memory")
    return "\n".join(lines)


def as_text(value: Any, limit: int = 400) -> str:
    """Write a value as Python code that runs after `import numpy as np`; shorten it to `limit` characters."""
    if isinstance(value, list | tuple) and any(isinstance(each, np.ndarray) for each in value):
        inner = ", ".join(as_text(each, limit) for each in value)
        text = f"[{inner}]" if isinstance(value, list) else f"({inner}{',' * (len(value) == 1)})"
    elif isinstance(value, np.ndarray | np.generic):
        text = array_as_text(np.asarray(value)) if value.size <= limit else (limit + 1) * " "
    else:
        text = repr(value)
    if len(text) <= limit:
        return text
    if isinstance(value, np.ndarray):
        few = np.array2string(value, threshold=0, edgeitems=2, max_line_width=1000, separator=", ")
        text = f"{value.dtype} {value.shape}: {' '.join(few.split())}"
    return text if len(text) <= limit else text[: limit - 4] + " ..."


MAKERS = {"int64": "np.array", "float64": "np.array", "bool": "np.array"}  # others are made by their type


def array_as_text(a: np.ndarray) -> str:
    """Write an array as Python code that makes an equal array, in the usual memory layout."""
    if not a.size and a.ndim != 1:
        return f"np.zeros({a.shape}, np.{a.dtype})"
    maker = MAKERS.get(str(a.dtype), f"np.{a.dtype}")
    return f"{maker}({numbers_as_text(a)})" if a.size else f"np.array([], np.{a.dtype})"


def numbers_as_text(a: np.ndarray) -> str:
    """Write an array as nested lists, with just enough digits to read back the same numbers."""
    if a.ndim:
        return f"[{', '.join(map(numbers_as_text, a))}]"
    text = str(a[()])
    return f"np.{text}" if text in ("nan", "inf") else "-np.inf" if text == "-inf" else text
