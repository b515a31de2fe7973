"""What is wrong with one answer, if anything: a student's results on one case, under one property."""

import re

from tinyllm.ops import OPS
from tinyllm.teach.drawing import WRITES
from tinyllm.teach.workers import Failure, printable
from tinyllm.testing.check import bits, expectation, require_close, require_form
from tinyllm.testing.properties import FORM, PURE, STEADY
from tinyllm.testing.relations import output_names, parameters


def complaint(name, title, worker, function, args):
    """What is wrong with one case under one property: a Failure, a sentence, or None if nothing is."""
    answer = worker.call(function, args, send_args=True)
    if isinstance(answer, Failure):
        return WRITES if "read-only" in answer.message else answer
    value, after = answer
    if title == PURE:
        same_bits = bits(list(after)) == bits(list(args)) if isinstance(after, list) else False
        return None if same_bits else WRITES
    try:
        results = results_of(name, value, after)
        if title == STEADY:
            again = worker.call(function, args, send_args=True)
            if isinstance(again, Failure):
                return again
            equal = [bits(x) for x in results] == [bits(x) for x in results_of(name, *again)]
            return None if equal else "two runs on one input differ"
        if title == FORM:
            require_forms(name, results, args)
        else:
            require_close(name, results, right(name, args))
    except AssertionError as error:
        return str(error)
    except Exception as error:  # a value so odd that no comparison stands it
        return f"the result cannot be compared with the right one ({type(error).__name__})"
    return None


_right: dict = {}  # id of a case -> the case, which must live as long, and what is right on it


def right(name, args):
    """What is right on a case; remembered, because a class is asked the same questions."""
    if id(args) not in _right:
        if len(_right) > 100_000:
            _right.clear()
        _right[id(args)] = (args, expectation(name, args))
    return _right[id(args)][1]


def results_of(name, value, after):
    """The list of an op's results: what it returned, or the arguments that it changed in place."""
    if OPS[name].mutates:
        places = [parameters(name).index(argument) for argument in OPS[name].mutates]
        return [after[i] for i in places] if isinstance(after, list) and len(after) > max(places) else []
    return list(value) if isinstance(value, tuple | list) else [value]


def require_forms(name, results, args):
    """Types and shapes alone. Raises AssertionError."""
    expected = right(name, args)[0]
    if len(results) != len(expected):
        raise AssertionError(f"it should return {len(expected)} results, not {len(results)}")
    labels = output_names(name) if len(expected) == len(output_names(name)) else range(len(expected))
    for label, got, want in zip(labels, results, expected, strict=True):
        require_form(label, got, want)


def said(why):
    """A complaint as one line."""
    line = printable(why.message if isinstance(why, Failure) else why)
    return re.sub(r"^(\w+):$", r"\1", line)  # an exception without a message


def strays(failure):
    """Whether a failure is that of a C function which left its arrays; `guard` then says where."""
    return failure.message.startswith("Outside: ")
