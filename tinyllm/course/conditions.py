"""Describe on which inputs results are wrong: compare the inputs of failing and of passing cases."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinyllm.ops import OPS
from tinyllm.testing.check import arrays
from tinyllm.testing.relations import bind

FEWEST = 3  # failing cases that show a property
CHANCE = 1e-3  # the probability that all failing cases share a property by chance
OTHERS = 0.3  # the share of all cases that must be without the property


def condition(name: str, failing: Sequence[tuple], passing: Sequence[tuple], precise: float) -> str | None:
    """Find a property of all failing and few other inputs, such as "x has more than one axis"; or None.

    precise: at least this share of the inputs with the property must fail.

    Empty inputs count only if all failing inputs are empty, because little can be wrong on them.
    """
    if all(map(empty, failing)) and not all(map(empty, passing)):
        return "an input is empty"
    bad, good = ([facts(name, args) for args in some if not empty(args)] for some in (failing, passing))
    if len(bad) < FEWEST:
        return None
    best, share = None, precise
    for fact in bad[0]:
        with_it = sum(fact in each for each in good)
        without = (len(good) - with_it) / len(good + bad)
        if not all(fact in each for each in bad) or without < OTHERS or (1 - without) ** len(bad) > CHANCE:
            continue
        precision = len(bad) / (len(bad) + with_it)
        if precision > share + 0.05:  # of two that fit, the simpler property
            best, share = fact, precision
    return best


def empty(args: Sequence[Any]) -> bool:
    """Return True if an array, a list or a text among the arguments is empty."""
    nothing = any(x in ([], b"", {}) for x in args if not hasattr(x, "dtype"))
    return nothing or any(a.size == 0 for a in arrays(args))


def facts(name: str, args: Sequence[Any]) -> dict[str, None]:
    """Return properties of a case, such as "n is 0", simple ones first, as the keys of a dict."""
    found: list[str] = []
    given = bind(name, args)
    for argument, value in given.items():
        if value is not None and OPS[name].__signature__.parameters[argument].default is None:
            found.append(f"{argument} is given")
        if isinstance(value, bool):
            found.append(f"{argument} is {value}")
        elif value is None:
            found.append(f"{argument} is None")
        elif isinstance(value, np.ndarray):
            found += facts_of_array(argument, value)
        elif isinstance(value, int | float | np.generic):
            found += [f"{argument} is 0"] if value == 0 else []  # that a value is not 0 says nothing
            found += [f"{argument} is {'not ' if value != 1 else ''}1"]
        elif isinstance(value, list | tuple | bytes):
            found += [f"{argument} has {'one element' if len(value) == 1 else 'several elements'}"]
            found += [f"{argument} is a {type(value).__name__}"]
            plain = [x for x in value if isinstance(x, int)]
            found += [f"elements of {argument} are equal"] if len(set(plain)) < len(plain) else []
    for (a, x), (b, y) in itertools.permutations(given.items(), 2):
        if isinstance(x, np.ndarray) and x.dtype.kind in "iu" and type(y) is int and (x == y).any():
            found.append(f"an element of {a} is {b}")
    numbers = {key: float(x) for key, x in given.items()
               if isinstance(x, int | float) and not isinstance(x, bool)}
    for (a, x), (b, y) in itertools.combinations(numbers.items(), 2):
        signs = {"<": x < y, ">": x > y, "=": x == y, ">=": x >= y, "<=": x <= y}
        found += [f"{a} {sign} {b}" for sign, true in signs.items() if true]
    return dict.fromkeys(found)


def facts_of_array(name: str, a: np.ndarray) -> Iterator[str]:
    """Yield the properties of an array argument called `name`, in words."""
    yield f"{name} has {a.ndim} {'axis' if a.ndim == 1 else 'axes'}"
    if a.ndim != 1:
        yield f"{name} has {'no' if a.ndim < 1 else 'more than one'} axis"
    if a.ndim > 2:
        yield f"{name} has more than two axes"
    for i, n in enumerate(a.shape):
        yield f"{name}.shape[{i - a.ndim}] is {'' if n == 1 else 'not '}1"
    if a.size > 1:
        rows = a.reshape(-1, a.shape[-1])
        if any(len(np.unique(row)) < len(row) for row in rows[:50]):
            yield f"numbers in a row of {name} are equal"
    if (a == 0).any():
        yield f"{name} holds a zero"
    if a.dtype.kind == "f":
        finite = np.abs(a[np.isfinite(a)])
        if (a < 0).any():
            yield f"{name} holds a negative number"
        if len(finite) < a.size:
            yield f"{name} holds -inf"
        if (a == -np.inf).all(axis=-1).any() if a.ndim else False:
            yield f"a row of {name} is nothing but -inf"
        largest = float(finite.max(initial=0))
        for least in (1.0, 10.0, 80.0, 1e3, 1e18):
            if largest > least:
                yield f"{name} holds {f'numbers beyond {least:,.0f}' if least < 1e9 else 'huge numbers'}"
        if largest < 0.01:
            yield f"all numbers of {name} are tiny"
    if not a.flags.c_contiguous:
        yield f"{name} is a view with other strides"
    yield f"{name} is {a.dtype}"
