"""Run every kernel at guard pages, and compare its bits over levels, divisions of its loops and compilers.

    python tests/proofs/verify_kernels.py [--quick]

The cases are those of `tinyllm.testing`, some with infinities, NaN and subnormals among the numbers, and a
few large ones. Inputs are read-only; inputs, results and scratch memory end at a page that nobody may touch,
or begin behind one (guarded.c). Beside the levels of this CPU there are, but with --quick, NEON's and
AVX-512's arithmetic on AVX2, and this CPU's levels by clang, if it is installed. Exits with 1 on a fault,
other bits or a kernel that no case calls.
"""

import argparse
import contextlib
import ctypes
import faulthandler
import functools
import os
import re
import sys
import tempfile

import numpy as np
from busy import work
from native import CSRC, HERE, LEVELS, compiler, have, library, run
from verify_bits import NANO, trained

from tinyllm.ops import OPS
from tinyllm.ops.registry import _compiled
from tinyllm.rng import Random
from tinyllm.testing.arrays import arrange
from tinyllm.testing.catalog import draw_cases
from tinyllm.testing.check import bits, copied
from tinyllm.testing.relations import parameters

TABLE = re.findall(r"^    X\(\w+, \w+, (\w+),", (CSRC / "tinyllm.h").read_text(), re.MULTILINE)
WAYS = [(name, backend) for name, op in OPS.items() for backend in ("compiled", "bf16")
        if backend in op.implementations]
REFUSALS = TypeError, ValueError, IndexError, ArithmeticError
SPECIAL = np.array([np.inf, -np.inf, np.nan, 1e-40, -0.0, 3e38], np.float32)
NUMBERS = np.concatenate([SPECIAL, Random("numbers").normal(5000)])
TWO = Random("a").normal((13, 400)), Random("b").normal((400, 33))
RUNGS = _compiled.RUNGS[1:]  # the first is not in the table
OTHERS = {  # what is no op, and what is large
    **{name: lambda name=name: getattr(_compiled, name)(NUMBERS)
       for name in ("exp", "log", "tanh", "sigmoid")},
    **{f"the rung {rung}": lambda rung=rung: _compiled.matmul_ladder(rung, *TWO) for rung in RUNGS},
    "large arrays": work,
    "a training": lambda: [list(each) for each in trained(NANO, 1)[0].state_dict().values()],
}


# --- one setting after the other ----------------------------------------------------------------------------


def special(args, seed):
    """Copy arguments, with a sixteenth of their numbers replaced by special ones in every second case."""
    args, random = [copied(value) for value in args], Random(seed, "special")
    for a in args if seed % 2 else ():
        if isinstance(a, np.ndarray) and a.dtype == np.float32 and a.size:
            a[random.uniform(a.shape) < 1 / 16] = SPECIAL[seed // 2 % SPECIAL.size]
    return args


def placed(value, layout):
    """Copy the arrays of an argument to guard pages."""
    if isinstance(value, list):
        return [placed(each, layout) for each in value]
    return arrange(value, layout) if isinstance(value, np.ndarray) else value


def outcome(name, function, args, layout):
    """Return the bits of the results, or the error that refuses the arguments. All NaN are alike."""
    values = dict(zip(parameters(name), args, strict=False))
    for argument, value in values.items():
        values[argument] = placed(value, layout)
        if argument in OPS[name].mutates:  # from the pool, which is guarded, too
            values[argument] = _compiled.empty(value.shape, value.dtype)
            values[argument][...] = value
    try:
        results = function(*values.values())
    except REFUSALS as error:
        return repr(error)
    results = [values[argument] for argument in OPS[name].mutates] or results
    return bits([canonical(x) for x in (results if isinstance(results, tuple | list) else [results])])


def canonical(x):
    """Return an array with one pattern for all NaN: which of two a sum passes on, the compiler chooses."""
    is_float = isinstance(x, np.ndarray) and x.dtype.kind == "f"
    return np.where(np.isnan(x), np.float32(np.nan), x) if is_float else x


def cases(name, count):
    drawn = draw_cases(name, count) + draw_cases(name, max(2, count // 8), empty=True)
    return [special(args, seed) for seed, args in enumerate(drawn)]


def same_everywhere(settings, count):
    """Run all ways in all settings; return how many gave other bits somewhere."""
    wrong = 0
    for name, backend in WAYS:
        print(name, backend, end=" ", flush=True)  # a fault ends the process: this was its kernel
        differ = set()
        for args in cases(name, count):
            first = {}
            for level, use, layout in settings:
                with use():
                    found = outcome(name, OPS[name].checked(backend), args, layout)
                group = level if backend == "bf16" else ""  # which is promised at one level alone
                if first.setdefault(group, found) != found:
                    differ.add(f"{level}, {layout}")
        wrong += report(differ)
    for name, compute in OTHERS.items():
        print(name, end=" ", flush=True)
        found = {}
        for level, use, layout in settings:
            with use():
                found[f"{level}, {layout}"] = bits(compute())
        wrong += report({setting for setting, each in found.items() if each != next(iter(found.values()))})
    return wrong


def report(differ):
    """End the line of an op; return 1 if it has other bits in some settings, else 0."""
    print(f"OTHER BITS: {'; '.join(sorted(differ))}" if differ else "", flush=True)
    return bool(differ)


# --- settings -----------------------------------------------------------------------------------------------

KERNELS = ctypes.CDLL(_compiled.__file__, ctypes.RTLD_GLOBAL)  # for levels that were built elsewhere


def active():
    """Return the variable that points at the kernels that run."""
    return ctypes.c_void_p.in_dll(KERNELS, "kernels")


def settings_of(services, libraries):
    """Return (level, a function that returns a context, layout) for all levels and divisions of loops."""
    tables = {}
    for level in _compiled.levels():
        _compiled.use_level(level)
        tables[level] = active().value
    for path in libraries:
        for level in ("narrow", "wide", "avx2", "avx512"):
            with contextlib.suppress(ValueError):
                table = ctypes.c_char.in_dll(ctypes.CDLL(path), f"kernels_{level}")
                tables[f"{level} by {os.path.basename(path)}"] = ctypes.addressof(table)

    @contextlib.contextmanager
    def use(table, pieces):
        _compiled.threads(3 if pieces else 1)
        for name, value in (("end", not pieces), ("pieces", pieces), ("fill", 0xFF if pieces else 0x3C)):
            ctypes.c_int.in_dll(services, f"guard_{name}").value = value
        active().value = table
        yield

    return [(level, functools.partial(use, table, pieces), layout) for level, table in tables.items()
            for pieces, layout in enumerate(("guarded", "guarded before"))]


def uncalled(settings):
    """Return the kernels that no case calls: stubs in place of all kernels tell their names."""
    found, old = set(), active().value
    stub = ctypes.CFUNCTYPE(ctypes.c_int64)
    stubs = [stub(lambda name=name: found.add(name) or 0) for name in TABLE]
    addresses = [ctypes.cast(each, ctypes.c_void_p) for each in stubs]
    table = (ctypes.c_void_p * (1 + len(TABLE)))(None, *addresses)  # the first is the level's name
    with settings[0][1]():
        active().value = ctypes.addressof(table)
        for name, backend in WAYS:
            for args in cases(name, 4):
                outcome(name, OPS[name].checked(backend), args, "plain")
        for compute in list(OTHERS.values())[:-1]:
            compute()
        for what in ("fma", "bf16", "read"):
            _compiled.probe(what, 1, NUMBERS)
    active().value = old
    return set(TABLE) - found


def inside(quick, services, *libraries):
    """Run all of it in this process, which began with the services preloaded; return the exit code."""
    faulthandler.enable()
    settings = settings_of(ctypes.CDLL(services), libraries)
    missing = uncalled(settings)
    if missing:
        print(f"no case calls {', '.join(sorted(missing))}")
    wrong = same_everywhere(settings, 8 if quick else 100) + len(missing)
    levels = len(settings) // 2
    print(f"=> {len(TABLE)} kernels at guard pages, {levels} levels, loops whole and in pieces: "
          f"{'FAILED' if wrong else 'zero faults, one set of bits'}")
    return 1 if wrong else 0


def built(folder, quick):
    """Compile the services and, but for a quick run, levels by every compiler -> paths."""
    yield library("guarded.so", [HERE / "guarded.c"], folder)
    for name, command in () if quick else (("cc", compiler()), ("clang", ["clang"])):
        if not have(command[0]):
            print(f"not tried: {command[0]} is not installed")
            continue
        levels = LEVELS if name == "cc" else [CSRC / "level_avx2.c", CSRC / "level_avx512.c"]
        yield library(f"{name}.so", levels, folder, ["-O1"], command)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the levels of this CPU, fewer cases")
    parser.add_argument("inside", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.inside:
        return inside(args.quick, *args.inside)
    with tempfile.TemporaryDirectory() as folder:
        paths = list(built(folder, args.quick))
        words = [sys.executable, __file__, *["--quick"] * args.quick, *paths]
        code, text = run(words, LD_PRELOAD=str(paths[0]), OPENBLAS_NUM_THREADS="1")
    print(text, end="")
    return code and 1


if __name__ == "__main__":
    sys.exit(main())
