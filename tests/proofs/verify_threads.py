"""Keeps the kernels' threads busy in every way at once, and waits for a wrong result or a hang.

    python tests/proofs/verify_threads.py [--quick]

Forks while other threads compute (the child's results and the parent's must be right), calls from several
Python threads, a pool resized between calls and during them, and interpreters that end while workers live.
Whatever takes too long is a hang. Exits with 1 on any.
"""

import argparse
import concurrent.futures
import faulthandler
import sys
import threading
import warnings

from busy import EXITS, in_child, leave, work

from tinyllm.ops.registry import _compiled

LIMIT = 900  # seconds until this process itself has hung


def forks(expected, rounds):
    """Fork again and again while two other threads compute; return how many results were wrong."""
    stop, wrong = threading.Event(), []

    def keep_busy():
        while not stop.is_set():
            if work() != expected:
                wrong.append("other thread")

    others = [threading.Thread(target=keep_busy) for _ in range(2)]
    for other in others:
        other.start()
    try:
        for _ in range(rounds):
            try:
                in_child(lambda: work() == expected)
            except AssertionError:
                wrong.append("child")
            if work() != expected:
                wrong.append("parent")
    finally:
        stop.set()
        for other in others:
            other.join()
    return len(wrong)


def calls_at_once(expected, rounds):
    """Call from four Python threads at once; return how many results were wrong."""
    with concurrent.futures.ThreadPoolExecutor(4) as callers:
        return sum(result != expected for result in callers.map(lambda _: work(), range(rounds)))


def resized(expected, rounds):
    """Resize the pool between calls, and while two others call; return how many results were wrong."""
    wrong = 0
    with concurrent.futures.ThreadPoolExecutor(2) as callers:
        for i in range(rounds):
            pending = [callers.submit(work) for _ in range(2 * (i % 2))]
            _compiled.threads(1 + i * 5 % 8)
            wrong += (work() != expected) + sum(result.result() != expected for result in pending)
    return wrong


def interpreters(rounds):
    """End interpreters in every way; return how many did not end well."""
    wrong = 0
    for i in range(rounds):
        for way in EXITS:
            code, text = leave(way)
            if (code, text) != (0, ""):
                print(f"an interpreter that ends {way}, round {i}: exit code {code}\n{text}")
                wrong += 1
    return wrong


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds")
    args = parser.parse_args(argv)
    if _compiled is None:
        sys.exit("the threads are the compiled kernels', and they are not built here")
    warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    scale = 1 if args.quick else 10
    expected, failures = work(), 0
    for threads in (2, 8):
        _compiled.threads(threads)
        for name, trial, rounds in (("forks while two threads compute", forks, 20 * scale),
                                    ("calls from four threads", calls_at_once, 40 * scale),
                                    ("times resized", resized, 20 * scale)):
            wrong = trial(expected, rounds)
            failures += wrong
            print(f"{threads} threads: {rounds} {name}, {wrong} wrong or hung", flush=True)
    wrong = interpreters(scale)
    failures += wrong
    print(f"{scale} x interpreters ended in each of {len(EXITS)} ways, {wrong} wrong or hung", flush=True)
    faulthandler.cancel_dump_traceback_later()
    print(f"=> forks, calls at once, resizing, exits: {failures or 'zero'} wrong results or hangs")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
