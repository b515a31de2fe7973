"""List wrong values that people use in place of a right one: {sentence: expression}; {0} is the right value.

`by_rule` applies these to the arguments of an op and to its right results.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

TINY = ("1e-3", "1e-5", "1e-6", "1e-7", "1e-8", "1e-9", "1e-10", "1e-12")  # added to avoid a division by 0
ONE_OFF = {"{0} one too large": "{0} + 1", "{0} one too small": "{0} - 1"}
WHOLE = {  # for arrays of integers
    "the sign of {0} turned": "-{0}",
    "the absolute value of {0}": "np.abs({0})",
    "{0} taken for numbers without a sign": "{0}.view('u' + {0}.dtype.name)",
    "0, 1, 2, ... in place of {0}": "np.arange({0}.shape[-1])",
    "the differences of {0} in its place": "np.diff({0}, prepend=0)",
    "the elements of all rows of {0} together in each row":
        "np.broadcast_to({0}.reshape(-1), (*{0}.shape[:-1], {0}.size))",
    "{0} minus 128": "{0} - np.float32(128)", "128 added to {0}": "{0} + np.float32(128)",
}
REAL = {  # for floats, and arrays of floats
    "the sign of {0} turned": "-{0}",
    "the absolute value of {0}": "np.abs({0})",
    "1 - {0} where {0} belongs": "1 - {0}",
    "1 + {0} where {0} belongs": "1 + {0}",
    "{0} rounded to float16": "np.float32(np.float16({0}))",
    "{0} cut to whole numbers": "np.trunc({0})",
}
ANY = {  # for all arrays
    "{0} everywhere as its first number": "np.full_like({0}, {0}.flat[0] if {0}.size else 0)",
    "the first row of {0} in place of all": "np.broadcast_to({0}.reshape(-1, {0}.shape[-1])[0], {0}.shape)",
}
ALONG = {  # for all arrays, along axis {1}
    "{0} everywhere as it is at the first place along axis {1}":
        "np.take({0}, np.zeros({0}.shape[{1}], int), {1})",
    "{0} everywhere as it is at the last place along axis {1}":
        "np.take({0}, np.full({0}.shape[{1}], -1), {1})",
    "{0} in reverse order along axis {1}": "np.flip({0}, {1})",
    "{0} shifted by one place along axis {1}": "np.roll({0}, 1, {1})",
    "{0} shifted back by one place along axis {1}": "np.roll({0}, -1, {1})",
    "{0} in rising order along axis {1}": "np.sort({0}, axis={1})",
    "{0} in falling order along axis {1}": "-np.sort(-{0}, axis={1})",
    "the running sum of {0} along axis {1}": "np.add.accumulate({0}, {1})",
}
SPREAD = {  # for arrays of floats, along axis {1}
    "the mean of {0} everywhere along axis {1}": "{0} * 0 + {0}.mean(axis={1}, keepdims=True)",
    "the sum of {0} everywhere along axis {1}": "{0} * 0 + {0}.sum(axis={1}, keepdims=True)",
}
SOFT = "np.exp({0} - {0}.max(axis=-1, keepdims=True, initial=-1e9))"
ROWS = {  # for the rows of arrays of floats
    "each row of {0} divided by its length": "{0} / np.sqrt(({0} * {0}).sum(axis=-1, keepdims=True))",
    "the mean of each row of {0} taken away": "{0} - {0}.mean(axis=-1, keepdims=True)",
    "the largest number of each row of {0} taken away": "{0} - {0}.max(axis=-1, keepdims=True)",
    "each row of {0} divided by its sum": "{0} / {0}.sum(axis=-1, keepdims=True)",
    "{0} first divided by the square root of its width": "{0} / max({0}.shape[-1], 1) ** 0.5",
    "softmax of {0}": f"{SOFT} / {SOFT}.sum(axis=-1, keepdims=True)",
}


def kind(value: Any) -> str:
    """Return the kind of an array's numbers as NumPy's letter, such as "f"; return "" for other values."""
    return value.dtype.kind if isinstance(value, np.ndarray | np.generic) else ""


def changes(value: Any) -> dict[str, str]:
    """Return the wrong values that fit an array or a number like `value`, as {sentence: expression}."""
    axes, letter = range(-1, -np.ndim(value) - 1, -1), kind(value)
    real = letter == "f" or isinstance(value, float)
    found = REAL if real else WHOLE if letter in ("i", "u") and axes else {}
    if letter and axes:
        tables = ALONG | (SPREAD if real else {})
        found = found | ANY | (ROWS if real else {})
        found |= {said.format("{0}", axis): new.format("{0}", axis) for axis in axes
                  for said, new in tables.items()}
    return found


NUMBERS = {  # for results that are numbers
    "zeros in place of {0}": "np.zeros_like({0})", "1 in place of {0}": "np.ones_like({0})",
    "the sign of {0} turned": "-{0}", "twice {0}": "2 * {0}", "half of {0}": "{0} / 2",
    "{0} in int8, which wraps around": "{0}.astype('int8')",
    "{0} with one axis more, of length 1 at its end": "{0}[..., None]",
}
FLOATS = {  # for results that are floats
    "1 divided by {0}": "1 / {0}", "{0} rounded to whole numbers": "np.rint({0})",
    "negative numbers of {0} set to 0": "np.maximum({0}, 0)",
    "1 / n everywhere in place of {0}": "{0} * 0 + 1 / {0}.shape[-1]",
    **{f"{name} of {{0}}": f"np.{name}({{0}})" for name in ("exp", "log", "square", "sqrt")},
}
LISTS = {  # for results that are lists or texts
    "nothing in place of {0}": "{0}[:0]", "{0} without its last element": "{0}[:-1]",
    "{0} without its first element": "{0}[1:]", "{0} in reverse order": "{0}[::-1]",
    "{0} in rising order": "sorted({0})", "{0} twice": "{0} + {0}",
}
DICTS = {
    "nothing in place of {0}": "dict()", "keys and values of {0} exchanged": "dict(zip({0}.values(), {0}))",
    "{0} in reverse order": "dict(reversed({0}.items()))",
    "{0} without its last key": "dict(list({0}.items())[:-1])",
}


def result_changes(value: Any, arguments: dict[str, Any]) -> dict[str, str]:
    """Return the wrong values for a result like `value`; their expressions may use the op's arguments."""
    if isinstance(value, dict):
        return DICTS
    if isinstance(value, list | str):
        return LISTS | {f"{name} itself": f"list({name})" for name, x in arguments.items()
                        if isinstance(x, list | tuple | bytes)}
    found = NUMBERS | ONE_OFF | changes(value)
    if isinstance(value, float) or kind(value) == "f":
        found |= FLOATS | REAL
    for a, b in itertools.combinations(range(-np.ndim(value), 0), 2):
        found[f"{{0}} with its axes {a} and {b} exchanged"] = f"np.swapaxes({{0}}, {a}, {b})"
    for name, x in arguments.items():
        if kind(x) and np.shape(x) == np.shape(value):
            found[f"{name} itself"] = name
        for term in terms(name, x, np.shape(value)):
            found |= {f"{{0}} {sign} {term}": f"{{0}} {sign} {term}" for sign in ("+", "-", "*", "/")}
    return found


def terms(name: str, value: Any, shape: tuple[int, ...]) -> Iterator[str]:
    """Yield what may be added to a result or multiply it: an argument that fits, or the length of an axis."""
    scalar = isinstance(value, int | float) and not isinstance(value, bool)
    if scalar or (kind(value) and np.shape(value) in (shape, shape[-1:])):
        yield name
    for axis in range(-value.ndim, 0) if kind(value) else ():
        yield f"{name}.shape[{axis}]"
        yield f"{name}.shape[{axis}] ** 0.5"
