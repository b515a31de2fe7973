"""Test how implementations of ops are chosen and replaced, and the messages about wrong choices."""

import functools
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import refuses

from tinyllm import UserError, ops
from tinyllm.ops import registry, runtime
from tinyllm.ops.registry import OPS, _compiled, op, override, use
from tinyllm.testing.catalog import draw_cases

ROOT = Path(__file__).parents[2]


def switches():
    return dict(registry._state), {name: (o.choice, o.override) for name, o in OPS.items()}


@pytest.fixture
def double(monkeypatch):
    """Define an op with a twin for one test; remove it and restore all choices of backends afterwards."""
    before, _ = switches()
    kernels = SimpleNamespace(double=lambda x: ("twin", x), double_bf16=lambda x: ("bf16", x))
    monkeypatch.setattr(registry, "_compiled", kernels)

    @op
    def double(x):
        """Say it twice."""
        return ("spec", x)

    yield double
    del OPS["double"]
    registry._Switch([(registry._state, "backend", before["backend"])])


def test_switches_apply_at_once_and_end_with_their_block(double):
    """A block ends after an error, too, and undoes only what it changed itself."""
    assert double.__doc__ == "Say it twice." and "double(x)" in repr(double)
    assert double.reference(1) == ("spec", 1) and double.compiled(1) == ("twin", 1)
    with use("numpy"):
        assert double(1) == ("spec", 1) and double.backend == "numpy"
        use(double="bf16")
        assert double(1) == ("bf16", 1)
        with pytest.raises(KeyError), use("compiled"):
            assert double(1) == ("twin", 1)  # a backend for all ops clears choices for single ops
            with override(double=lambda x: ("override", x)):
                use(double="numpy")
                assert double(1) == ("override", 1) and double.backend == "override" and double.replaced
            assert double(1) == ("spec", 1) and not double.replaced
            override(double=lambda x: ("other", x))
            override(double=None)
            assert double(1) == ("spec", 1)
            raise KeyError
        assert double(1) == ("bf16", 1)


def test_ops_follow_the_choice_of_another_unless_they_have_their_own():
    with use("numpy"), use(matmul="bf16"):
        assert ops.linear.backend == ops.linear_backward.backend == "bf16" and ops.softmax.backend == "numpy"
        with use(linear="numpy"):
            assert (ops.linear.backend, ops.linear_backward.backend) == ("numpy", "bf16")
        with use("numpy"):
            assert ops.linear.backend == "numpy"


@pytest.mark.parametrize("switch, error, message", [
    (lambda: use("cuda"), UserError, "cuda"), (lambda: use(double="fp8"), UserError, "fp8"),
    (lambda: use(nothing="numpy"), UserError, "nothing"),
    (lambda: use(linear="bf16"), UserError, r"write use\(matmul='bf16'\)"),
    (lambda: override(nothing=abs), UserError, "nothing"),
    (lambda: override(double=lambda x, y: x), TypeError, r"double is called as double\(x\)"),
    (lambda: setattr(registry, "_compiled", None) or use("compiled"), UserError, "install a C compiler"),
])
def test_a_wrong_switch_is_a_one_line_error_that_changes_nothing(double, switch, error, message):
    before = switches()
    refuses(message, switch, error=error)
    assert switches() == before


BACKEND = "import tinyllm.ops.registry as r; print(r._state['backend'])"
DOCTOR = "import sys; from tinyllm.cli import main; sys.exit(main(['doctor']))"
RESOLVED = "from tinyllm.ops import OPS; print([o for o in OPS.values() if o._run == o._first_call])"
WITHOUT = "import sys, types, warnings; sys.modules['tinyllm.ops._compiled'] = "


@pytest.mark.parametrize("variable, value, code, status, out, said", [
    ("BACKEND", "numpy", BACKEND, 0, "numpy\n", ""),
    *((name, "zzz", DOCTOR, 2, "", "zzz") for name in ("BACKEND", *["CPU", "THREADS"] * bool(_compiled))),
    ("BACKEND", "", f"{WITHOUT}None; warnings.simplefilter('always'); {BACKEND}", 0, "numpy\n",
     "no compiled kernels were built"),
    ("BACKEND", "", RESOLVED, 0, "[]\n", ""),
    ("BACKEND", "", f"{WITHOUT}types.SimpleNamespace(BUILD='0' * 12); {DOCTOR}", 2, "", "build again"),
])
def test_variables_choose_and_missing_or_old_kernels_are_said_once(variable, value, code, status, out, said):
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True,
                          env=os.environ | {f"TINYLLM_{variable}": value})
    assert (done.returncode, done.stdout) == (status, out), done.stderr
    assert done.stderr.count(said) == 1 if said else not done.stderr
    assert done.stderr.count("\n") <= (1 if status else 2), done.stderr


def test_kernels_that_had_to_be_built_are_loaded_and_carry_a_digest_of_all_that_python_calls(monkeypatch):
    assert _compiled is not None or os.environ.get("TINYLLM_REQUIRE_EXT") != "1"
    bindings = SimpleNamespace(**runpy.run_path(str(ROOT / "csrc" / "bindings.py")))
    wanted = bindings.build()
    assert wanted == runtime.BUILD, f'write BUILD = "{wanted}" into tinyllm/ops/runtime.py, and build again'
    known = bindings.kernels()
    for name, value in (("kernels", lambda: [*known[:-1], (*known[-1][:3], "int n")]),  # changed arguments
                        ("CALLED", re.compile("^def softmax.*", re.MULTILINE))):  # changed functions
        with monkeypatch.context() as patch:
            patch.setitem(bindings.build.__globals__, name, value)
            assert bindings.build() != wanted


@pytest.mark.parametrize("name", [name for name, o in OPS.items() if o.calls])
def test_an_override_reaches_every_op_that_calls_it(name):
    """A kernel cannot call the override, so the specification must run in its place."""
    o, before = OPS[name], OPS[name].backend
    for called in o.calls:
        seen = []

        @functools.wraps(called.reference)
        def spy(*args, run=called.specification, seen=seen, **options):
            seen.append(args)
            return run(*args, **options)

        with override(**{called.__name__: spy}), np.errstate(all="ignore"):
            assert o.replaced and o.backend == "numpy"
            for args in draw_cases(name, 8):
                o(*args)
                if seen:
                    break
        assert seen and o.backend == before


def test_the_ops_that_an_op_calls_are_found_inside_comprehensions_and_helpers_below_it():
    assert OPS["bpe_merge"] in OPS["bpe_train"].calls
    assert OPS["softmax_backward"] in OPS["attention_backward"].calls
    assert OPS["exp"] not in OPS["softmax"].calls  # softmax calls np.exp


def test_shapes_are_checked_by_their_declaration():
    x, w, b = np.zeros((2, 3, 4), np.float32), np.zeros((4, 5), np.float32), np.zeros(5, np.float32)
    for _ in range(2):  # the second time, accepted shapes are cached
        assert ops.linear(x, w, b).shape == ops.linear(x, w, b=None).shape == (2, 3, 5)
        for args in ((x, w[:3], b), (x, w, b[:4]), (x, b, b), (np.float32(1), w, b)):
            refuses(r"needs x \(\.\.\., I\), w \(I, O\), b \(O,\), got", ops.linear, *args, error=ValueError)
        for targets in (np.zeros((2, 2), int), [0, 0], 0):  # lists and numbers have shapes too
            refuses(r"needs logits .* got \(2, 3, 4\), ", ops.cross_entropy, x, targets, error=ValueError)
