"""Judge the results of a student's function on a case, and describe failures in words."""

import copy
import re
from collections.abc import Sequence
from typing import Any

from tinyllm.course.drawing import WRITES, defaults, per_case
from tinyllm.course.workers import Failure, printable
from tinyllm.ops import OPS
from tinyllm.testing.check import (
    Results,
    arrays,
    bits,
    expectation,
    is_plain_list,
    labelled,
    require_close,
    require_container,
    require_form,
)
from tinyllm.testing.properties import ARGUMENTS, FORM, PURE, STEADY
from tinyllm.testing.relations import bind, parameters

DIFFER = "two runs on one input differ"
INSIDE = "it stays inside its arrays"  # a property of functions in C


class OutOfBounds(Failure):
    """A C function failed because of an access outside its arrays."""


def complaint(name: str, title: str, worker: Any, function: str, args: Sequence[Any]) -> Failure | str | None:
    """Run the student's function on a case, check the property `title`; return what is wrong, or None."""
    if title == ARGUMENTS:
        return wrong_arguments(name, worker, function, args)
    answer = ask(name, worker, function, args, whole=title == PURE)
    if isinstance(answer, Failure):
        return Failure("failed", WRITES, answer.line) if "read-only" in answer.message else answer
    value, after = answer
    if title in (INSIDE, PURE):
        kept = title == INSIDE or (isinstance(after, list) and bits(after) == bits(list(args)))
        return None if kept else written(name, worker, function, args)
    try:
        if title == STEADY:
            again = ask(name, worker, function, args)
            same = bits(results_in(name, answer)) == bits(results_in(name, again))
            return again if isinstance(again, Failure) else None if same else DIFFER
        if title == FORM:
            if OPS[name].mutates and value is not None:
                return f"it works in place and should return nothing, got {type(value).__name__}"
            require_forms(name, results_of(name, value, after), args)
            return None
        require_close(name, results_of(name, value, after), right(name, args))
        return None
    except AssertionError as error:
        return left_alone(name, args, after) or str(error)
    except Exception as error:  # a value that cannot even be compared
        return f"the result cannot be compared with the right one ({type(error).__name__})"


def written(name: str, worker: Any, function: str, args: Sequence[Any]) -> Failure:
    """Return the Failure of a function that writes into an input, with the line that does so if found."""
    fixed = [copy.deepcopy(value) for value in args]
    for a in arrays(fixed):
        a.flags.writeable = False
    answer = ask(name, worker, function, fixed)
    found = isinstance(answer, Failure) and "read-only" in answer.message
    return Failure("failed", WRITES, answer.line if found else None)


def ask(name: str, worker: Any, function: str, args: Sequence[Any], names: Sequence[str] = (),
        whole: bool = False) -> Any:
    """Call the student's function in a worker; return (its value, its arguments afterwards) or a Failure.

    To save time, the worker does not send the arguments back, and they are None, unless the op works in place
    or `whole` is True. names: the arguments to pass by keyword.
    """
    whole = whole or bool(OPS[name].mutates)
    answer = worker.call(function, args, send_args=whole, names=names)
    return answer if whole or isinstance(answer, Failure) else (answer, None)


def wrong_arguments(name: str, worker: Any, function: str, args: Sequence[Any]) -> Failure | str | None:
    """Return what is wrong with the default values or argument names of a student's function, or None."""
    given, optional = bind(name, args), defaults(name)
    needed = [value for argument, value in given.items() if argument not in optional]
    usual = results_in(name, ask(name, worker, function, args))
    for names, values in (((), needed), (tuple(given), list(args))):
        answer = ask(name, worker, function, values, names)
        if isinstance(answer, Failure):
            return answer
        if bits(results_in(name, answer)) != bits(usual):
            words = ", ".join(f"{argument}={value}" for argument, value in optional.items())
            return f"without its optional arguments it gives other results: the defaults are {words}"
    return None


def results_in(name: str, answer: Any) -> list[Any] | None:
    """Return the list of results in a worker's answer; None for a Failure."""
    return None if isinstance(answer, Failure) else results_of(name, *answer)


def left_alone(name: str, args: Sequence[Any], after: Any) -> str | None:
    """Return a sentence if an op that must work in place did not change its arguments; else None."""
    names = ", ".join(OPS[name].mutates)
    if not names or bits(results_of(name, None, after)) != bits(results_of(name, None, list(args))):
        return None
    return f"it leaves {names} as they were; change them in place, as `x -= y` and `x[...] = y` do"


@per_case
def right(name: str, args: Sequence[Any]) -> tuple[Any, list, Any]:
    """Return (right results, other right results, error bounds) of an op on a case; see `expectation`."""
    return expectation(name, args)


def results_of(name: str, value: Any, after: Any) -> list[Any]:
    """Return the list of an op's results: its return values, or the arguments that it changed in place."""
    if OPS[name].mutates:
        places = [parameters(name).index(argument) for argument in OPS[name].mutates]
        return [after[i] for i in places] if isinstance(after, list) and len(after) > max(places) else []
    return Results(value)


def require_forms(name: str, results: list[Any], args: Sequence[Any]) -> None:
    """Raise AssertionError if a result has a wrong type or shape. Its numbers are not compared."""
    expected = right(name, args)[0]
    if is_plain_list(expected):
        return require_container(results, expected)
    for label, got, want in labelled(name, results, expected):
        require_form(label, got, want)


def failed_property(title: str, why: Failure | str, formed: bool, kind: str) -> str:
    """Return the broken property to report: a test of `title` may fail because another one is broken."""
    if format_failure(why) == WRITES:
        return PURE
    if isinstance(why, Failure):
        return INSIDE if isinstance(why, OutOfBounds) else kind
    return title if title in (STEADY, ARGUMENTS) else kind if formed else FORM


def format_failure(why: Failure | str) -> str:
    """Format what went wrong as one line for the student."""
    line = printable(why.message if isinstance(why, Failure) else why)
    if found := re.match(r"ModuleNotFoundError: No module named '(\w+)", line):
        library = ", not the library itself" if found[1] == "tinyllm" else ""
        return f"{line}: a check lets your code use Python and NumPy only{library}"
    if found := BROADCAST.search(line):
        line += advice(*(tuple(map(int, re.findall(r"\d+", shape))) for shape in found.groups()))
    if "with remapped shapes" in line:  # of matmul
        line += ": the leading axes differ; x.T reverses all axes of a batch, x.swapaxes(-1, -2) only two"
    return re.sub(r"^(\w+):$", r"\1", line)  # an exception without a message


BROADCAST = re.compile(r"could not be broadcast together with shapes \(([\d,]*)\) \(([\d,]*)\)")


def advice(a: tuple[int, ...], b: tuple[int, ...]) -> str:
    """Return ": ..." with what to do if one of two shapes lacks an axis of the other, or ""."""
    few, many = sorted((a, b), key=len)
    for later in range(len(many)):  # axes behind the one that is lacking
        if few == many[: len(many) - later - 1] + many[len(many) - later :]:
            return (f": the one of shape {few} has one axis less; [..., None{', :' * later}] adds it; "
                    "keepdims=True keeps it in a sum, mean or max")
    return ""
