"""Prove what the texts of the world promise, over many documents of every kind, with extreme dials.

    python tests/proofs/verify_world.py [--quick] [--documents N] [KIND ...]

Every document reads back as itself; a second, independent way to the truth agrees; its own answer scores 1.
For prose, the mean of -logprob and the mean length over N documents lie within three standard errors of the
exact values, four with other dials than the usual ones. Exits with 1 where a promise is broken.
"""

import argparse
import sys
import time
from dataclasses import replace

from tinyllm.rng import Random
from tinyllm.testing.corners import corner
from tinyllm.world import KINDS, World
from tinyllm.world.prose import Prose

WORLD = World()


def broken(kind, random, dials):
    """Write a document -> what it breaks, or None."""
    document = kind(WORLD, random, dials)
    read = kind.read(WORLD, document.text)
    if read is not None and document.logprob is not None and dials != kind.dials():
        read = replace(read, logprob=document.logprob)  # a text does not say with which dials it was written
    if read != document:
        return f"reads back as {read}, was {document}"
    if kind.solve(WORLD, document) != document.truth:
        return f"solved as {kind.solve(WORLD, document)!r}: {document}"
    right = document.labels.get("right") is not False and not document.labels.get("mistaken")
    if document.prompt and kind.score_answer(document.answer, kind.entry(document)) != right:
        return f"its answer does not score {right:d}: {document}"
    return None


def entropy_holds(kind, dials, n):
    """Compare the exact entropy and mean length with means over n documents; print the worse of the two."""
    found = [kind(WORLD, Random("entropy", kind.name, i), dials) for i in range(n)]
    worst = 0.0
    drawn = [-d.logprob for d in found], [len(d.text) for d in found]
    for exact, values in zip(kind.expectation(WORLD, dials), drawn, strict=True):
        mean = sum(values) / n
        error = (sum((v - mean) ** 2 for v in values) / n / n) ** 0.5
        if abs(mean - exact) > 1e-9:  # of some kinds every document has the same probability
            worst = max(worst, abs(mean - exact) / (error or 1e-9))
    said = " ".join((kind.name, *(f"{dial}={value}" for dial, value in vars(dials).items())))
    print(f"=> {said}: -logprob and length over {n:,} documents within {worst:.2f} standard errors")
    return worst <= (3 if dials == kind.dials() else 4)  # of so many others, one is beyond 3 by chance


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="100 documents of each kind")
    parser.add_argument("--documents", type=int, default=100_000, help="of each kind")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="default: all")
    args = parser.parse_args(argv)
    n, failures, began = 100 if args.quick else args.documents, 0, time.monotonic()
    names = args.kinds or list(KINDS)
    for name in names:
        kind = KINDS[name]
        wrong = []
        for i in range(n):
            dials = corner(kind.Dials, Random("dials", name, i // 20))
            wrong += filter(None, [broken(kind, Random("proof", name, i), dials)])
        failures += len(wrong)
        print(f"{name:20} {n:,} documents, {len(wrong)} broken", *wrong[:1], flush=True)
        if isinstance(kind, Prose):
            every = {kind.dials(), *(corner(kind.Dials, Random("dials", name, i)) for i in range(20))}
            failures += sum(not entropy_holds(kind, dials, max(n, 1000)) for dials in sorted(every, key=repr))
    seconds = f"{time.monotonic() - began:.0f} s"
    print(f"=> {len(names)} kinds, {n:,} documents each: {failures} broken promises, {seconds}")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
