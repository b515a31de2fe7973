"""Run every kernel at guard pages, and compare its bits over levels, divisions of its loops and compilers.

    python tests/proofs/verify_kernels.py [--quick]

The cases are those of `tinyllm.testing`, some with infinities, NaN and subnormals among the numbers, and a
few large ones. Inputs are read-only; inputs, results and scratch memory end at a page that nobody may touch,
or begin behind one (guarded.c). Beside the levels of this CPU there are, but with --quick, NEON's arithmetic
on AVX2, and AVX2 by clang, if it is installed. Exits with 1 on a fault, other bits or an uncalled kernel.
"""

import contextlib
import ctypes
import faulthandler
import functools
import re
import shutil
import sys
import tempfile

import numpy as np
from busy import work
from native import CSRC, HERE, library, run

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
TWO = Random("a").normal((13, 400)), Random("b").normal((400, 33))
OTHERS = {"large arrays": work} | {  # what is large, and what is no op; the first rung is not in the table
    rung: lambda rung=rung: _compiled.matmul_ladder(rung, *TWO) for rung in _compiled.RUNGS[1:]}


def cases(name, count):
    """Draw cases of an op; in every second one a sixteenth of the numbers are special."""
    drawn = draw_cases(name, count) + draw_cases(name, max(2, count // 8), empty=True)
    for seed, args in enumerate(drawn):
        args, random = [copied(value) for value in args], Random(seed, "special")
        for a in args if seed % 2 else ():
            if isinstance(a, np.ndarray) and a.dtype == np.float32 and a.size:
                a[random.uniform(a.shape) < 1 / 16] = SPECIAL[seed // 2 % SPECIAL.size]
        yield args


def placed(value, layout):
    """Copy the arrays of an argument to guard pages."""
    if isinstance(value, list):
        return [placed(each, layout) for each in value]
    return arrange(value, layout) if isinstance(value, np.ndarray) else value


def canonical(x):
    """Return an array with one pattern for all NaN: which of two a sum passes on, the compiler chooses."""
    is_float = isinstance(x, np.ndarray) and x.dtype.kind == "f"
    return np.where(np.isnan(x), np.float32(np.nan), x) if is_float else x


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


def differing(settings, compute, one_level=False):
    """Compute in all settings -> those with other bits than the first, or than the first of their level."""
    first, differ = {}, set()
    for level, use, layout in settings:
        use()
        found = compute(layout)
        if first.setdefault(level if one_level else "", found) != found:
            differ.add(f"{level}, {layout}")
    return differ


def wrong_everywhere(settings, count):
    """Run all ways in all settings -> how many have other bits somewhere. In bf16, levels may differ."""
    wrong = 0
    runs = {f"{name} {backend}": [functools.partial(outcome, name, OPS[name].checked(backend), args)
                                  for args in cases(name, count)] for name, backend in WAYS}
    runs |= {name: [lambda _, function=function: bits(function())] for name, function in OTHERS.items()}
    for name, computations in runs.items():
        print(name, end=" ", flush=True)  # a fault ends the process: this was its kernel
        differ = set().union(*(differing(settings, each, name.endswith(" bf16")) for each in computations))
        print(f"OTHER BITS: {'; '.join(sorted(differ))}" if differ else "", flush=True)
        wrong += bool(differ)
    return wrong


def settings_of(services, libraries):
    """Return (level, a function that chooses it, layout) for all levels, with loops whole and in pieces."""
    kernels = ctypes.CDLL(_compiled.__file__, ctypes.RTLD_GLOBAL)  # for levels that were built elsewhere
    active, tables = ctypes.c_void_p.in_dll(kernels, "kernels"), {}
    for level in _compiled.levels():
        _compiled.use_level(level)
        tables[level] = active.value
    for path in libraries:
        for level in ("narrow", "avx2"):
            with contextlib.suppress(ValueError):
                table = ctypes.c_char.in_dll(ctypes.CDLL(path), f"kernels_{level}")
                tables[f"{level} in {path}"] = ctypes.addressof(table)

    def use(table, pieces):
        _compiled.threads(3 if pieces else 1)
        for name, value in (("end", not pieces), ("pieces", pieces), ("fill", 0xFF if pieces else 0x3C)):
            ctypes.c_int.in_dll(services, f"guard_{name}").value = value
        active.value = table

    return [(level, functools.partial(use, table, pieces), layout) for level, table in tables.items()
            for pieces, layout in enumerate(("guarded", "guarded before"))]


def inside(quick, services, *libraries):
    """Run all of it in this process, which began with the services preloaded; return the exit code."""
    faulthandler.enable()
    glue = "".join(path.read_text() for path in CSRC.glob("glue/*.p*") if path.stem != "_kernels")
    uncalled = [name for name in TABLE if not re.search(rf"\b(run_|kernels\.){name}\b", glue)]
    print(*(f"nobody calls {name}" for name in uncalled), sep="\n")
    settings = settings_of(ctypes.CDLL(services), libraries)
    wrong = len(uncalled) + wrong_everywhere(settings, 8 if quick else 100)
    print(f"=> {len(TABLE)} kernels at guard pages, {len(settings) // 2} levels, loops whole and in pieces: "
          f"{'FAILED' if wrong else 'zero faults, one set of bits'}")
    return 1 if wrong else 0


def main(words):
    if "inside" in words:
        return inside("--quick" in words, *words[words.index("inside") + 1 :])
    with tempfile.TemporaryDirectory() as folder:
        built = [library("guarded.so", [HERE / "guarded.c"], folder, "-O2")]
        if "--quick" not in words:
            built.append(library("narrow.so", [HERE / "level_narrow.c"], folder, "-O1"))
            if shutil.which("clang"):
                built.append(library("clang.so", [CSRC / "level_avx2.c"], folder, "-O1", compiler=["clang"]))
        code, text = run([sys.executable, __file__, *words, "inside", *built],
                         LD_PRELOAD=str(built[0]), OPENBLAS_NUM_THREADS="1")
    print(text, end="")
    return code and 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
