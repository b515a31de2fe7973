"""Measure how many known mistakes of every op the checker names, both listed ones and those made by rule.

    python tests/proofs/verify_names.py [--quick] [OP ...]

A mistake, handed in like a student's function, must get its own name, or the name of a mistake with the same
results, or none. --quick tries all listed mistakes, and a few by rule of four ops. OP: only these ops.
"""

import argparse
import sys

from tinyllm.course.drawing import CASE_KINDS, PLAIN, case_kind, properties
from tinyllm.course.matching import ROUNDED, alike, numbers_wrong, within
from tinyllm.course.naming import confirming, name_mistake
from tinyllm.testing import MISTAKES
from tinyllm.testing.by_rule import every_edit, two_mistakes
from tinyllm.testing.catalog import draw_cases
from tinyllm.testing.check import outcome
from tinyllm.testing.properties import FORM, PURE
from tinyllm.testing.relations import specs_only

QUICK = ("softmax_backward", "layernorm", "lr_schedule", "bpe_train")


def name_of(op, function):
    """Return the name of the mistake that the checker finds in a function, or None."""
    wrong, right = [], []
    count = 20 if op.startswith(("attention", "transformer", "linear_int")) else 60
    for args in (args for title in CASE_KINDS for args in properties(op, count).get(title, ())):
        results = outcome(op, function, args)
        bad = results is None or numbers_wrong(op, results, args)
        (wrong if bad else right).append((args, results))
    passing = [pair for pair in right if case_kind(pair[0]) in PLAIN]
    found = name_mistake(op, confirming(wrong), passing=[args for args, _ in confirming(passing)])
    return found and found[0]


def gives_wrong_numbers(op, function):
    """Return True if a function gives wrong results on a case; a raised error does not count."""
    pairs = ((args, outcome(op, function, args)) for args in draw_cases(op))
    return any(results is not None and numbers_wrong(op, results, args) for args, results in pairs)


def equal_on_all_cases(op, one, other):
    """Return True if two mistakes give the same results, up to rounding, on all ordinary cases."""
    pairs = ((args, (outcome(op, one, args), outcome(op, other, args))) for args in draw_cases(op)
             if case_kind(args) in PLAIN)
    return all(alike(*pair, ROUNDED) or within(op, args, *pair)
               or not any(out is None or numbers_wrong(op, out, args) for out in pair)
               for args, pair in pairs)


def try_names(op, every=1):
    """Name the mistakes of an op that are made by rule -> (how many are named, of how many, wrong names)."""
    known = [*every_edit(op), *two_mistakes(op), *MISTAKES.get(op, ())]
    named, tried, wrongly = 0, 0, []
    with specs_only():
        edits = [edit for edit in every_edit(op) if gives_wrong_numbers(op, edit[1])]
        for said, function in edits[::every]:
            name, tried = name_of(op, function), tried + 1
            named += name is not None
            theirs = [other for each, other in known if each == name]  # several, if edits share a sentence
            if name not in (None, said) and not any(equal_on_all_cases(op, function, x) for x in theirs):
                wrongly.append((said, name))
    return named, tried, wrongly


def unnamed(op):
    """List the mistakes of an op that do not get their own name, except those whose numbers are right."""
    with specs_only():
        return [said for said, function in MISTAKES.get(op, ())
                if function.breaks not in (PURE, FORM) and name_of(op, function) != said]


def main():
    """Name all mistakes, print the counts, and return 1 if a mistake gets a wrong name."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help=f"by rule, some of {', '.join(QUICK)}")
    parser.add_argument("ops", nargs="*", metavar="OP")
    args = parser.parse_args()
    named, tried, wrongly, listed = 0, 0, [], []
    for op in args.ops or sorted(MISTAKES):
        some = try_names(op, 4 if args.quick else 1) if op in QUICK or not args.quick else (0, 0, [])
        listed += unnamed(op)
        print(f"{op:30} {some[0]:5} of {some[1]:5} named", *some[2], sep="\n  ", flush=True)
        named, tried, wrongly = named + some[0], tried + some[1], wrongly + some[2]
    print(f"=> {named} of {tried} mistakes by rule named, {len(wrongly)} by the name of another; "
          f"{len(listed) or 'all'} of those listed {'not ' * bool(listed)}by their own", *listed, sep="\n  ")
    return 1 if wrongly or listed else 0


if __name__ == "__main__":
    sys.exit(main())
