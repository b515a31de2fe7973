"""Test how implementations of ops are chosen and replaced, and what a wrong choice says."""

import contextlib
import functools
import inspect
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm import ops
from tinyllm.errors import UserError
from tinyllm.ops import registry, runtime
from tinyllm.ops.registry import OPS, _compiled, _ops_called, op, override, use
from tinyllm.testing.catalog import draw_cases

ROOT = Path(__file__).parents[2]


def switches():
    return dict(registry._state), {name: (o.choice, o.override) for name, o in OPS.items()}


@pytest.fixture
def double(monkeypatch):
    """A throw-away op with a twin, and the whole switchboard put back afterwards."""
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


def test_an_op_keeps_its_name_words_and_signature(double):
    assert (double.__name__, double.__doc__) == ("double", "Say it twice.")
    assert str(inspect.signature(double)) == "(x)"
    assert OPS["double"] is double
    assert double.reference(1) == ("spec", 1) and double.compiled(1) == ("twin", 1)
    assert "double(x)" in repr(double)


SWITCHES = {  # a switch, and what it changes in a state
    "numpy": (lambda: use("numpy"), {"backend": "numpy", "choice": None}),
    "compiled": (lambda: use("compiled"), {"backend": "compiled", "choice": None}),
    "double in bf16": (lambda: use(double="bf16"), {"choice": "bf16"}),
    "double compiled": (lambda: use(double="compiled"), {"choice": "compiled"}),
    "an override": (lambda: override(double=lambda x: ("override", x)), {"override": "override"}),
    "no override": (lambda: override(double=None), {"override": None}),
}
# A list of (switch, the switches inside its `with` block); None: it is only called, and stays.
sequences = st.recursive(st.just([]), lambda inner: st.lists(
    st.tuples(st.sampled_from(sorted(SWITCHES)), st.none() | inner), max_size=4))


def follow(double, steps, state):
    """Make the switches, and compare what runs after each with a simple model of the state."""
    for name, inner in steps:
        switch, changes = SWITCHES[name]
        changes = {key: new for key, new in changes.items() if key != "choice" or new or state["choice"]}
        before = {key: state[key] for key in changes}
        block = switch()
        state |= changes
        compare(double, state)
        if inner is not None:
            with contextlib.suppress(KeyError), block:
                follow(double, inner, state)
                raise KeyError  # a block ends after an error, too
            state |= before  # a block undoes only what it changed itself
            compare(double, state)


def compare(double, state):
    wanted = state["override"] or state["choice"] or state["backend"]
    assert double.backend == wanted and double.replaced == (wanted == "override")
    assert double(1) == ({"numpy": "spec", "compiled": "twin"}.get(wanted, wanted), 1)


def test_switches_apply_at_once_and_end_with_their_block(double):
    @given(sequences)
    def run(steps):
        with override(double=None), use("numpy"):
            follow(double, steps, {"backend": "numpy", "choice": None, "override": None})

    run()


@pytest.mark.parametrize("switch, error, message", [
    (lambda: use("cuda"), UserError, "cuda"), (lambda: use(double="fp8"), UserError, "fp8"),
    (lambda: use(nothing="numpy"), UserError, "nothing"),
    (lambda: use(linear="bf16"), UserError, r"write use\(matmul='bf16'\)"),
    (lambda: override(nothing=abs), UserError, "nothing"),
    (lambda: override(double=lambda x, y: x), TypeError, r"double is called as double\(x\)"),
])
def test_a_wrong_switch_is_a_one_line_error_that_changes_nothing(double, switch, error, message):
    before = switches()
    with pytest.raises(error, match=message) as caught:
        switch()
    assert "\n" not in str(caught.value) and switches() == before


def test_without_kernels_compiled_is_refused(double, monkeypatch):
    monkeypatch.setattr(registry, "_compiled", None)
    with pytest.raises(UserError, match="install a C compiler"):
        use("compiled")


BACKEND = "import tinyllm.ops.registry as r; print(r._state['backend'])"
DOCTOR = "import sys; from tinyllm.cli import main; sys.exit(main(['doctor']))"


def run_python(code, **env):
    return subprocess.run([sys.executable, "-W", "error", "-c", code], env={**os.environ, **env},
                          capture_output=True, text=True)


def test_the_shell_variable_picks_the_backend():
    done = run_python(BACKEND, TINYLLM_BACKEND="numpy")
    assert done.stdout == "numpy\n", done.stderr


@pytest.mark.parametrize("variable", ["BACKEND", *["CPU", "THREADS"] * bool(_compiled)])
def test_a_wrong_shell_variable_is_one_line_and_exit_2(variable):
    done = run_python(DOCTOR, **{f"TINYLLM_{variable}": "zzz"})
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "zzz" in done.stderr, done.stderr


@pytest.mark.parametrize("kernels, code, out, said", [
    ("None", f"warnings.simplefilter('always'); {BACKEND}", "numpy\n", "no compiled kernels were built"),
    ("types.SimpleNamespace(BUILD='0' * 12)", DOCTOR, "", "build again"),
])
def test_kernels_that_are_missing_or_older_than_their_source_are_said_once(kernels, code, out, said):
    block = f"import sys, types, warnings; sys.modules['tinyllm.ops._compiled'] = {kernels}"
    done = run_python(f"{block}; {code}", TINYLLM_BACKEND="")
    assert done.returncode == (2 if said == "build again" else 0) and done.stdout == out
    assert done.stderr.count(said) == 1 and done.stderr.count("\n") <= 2, done.stderr


def test_the_kernels_carry_a_digest_of_all_that_python_calls(monkeypatch):
    bindings = SimpleNamespace(**runpy.run_path(str(ROOT / "csrc" / "bindings.py")))
    wanted = bindings.build()
    assert wanted == runtime.BUILD, f'write BUILD = "{wanted}" into tinyllm/ops/runtime.py, and build again'
    space, known = bindings.build.__globals__, bindings.kernels()
    for changed in (known[1:], [*known[:-1], (*known[-1][:3], "int n")]):  # a kernel fewer, another argument
        monkeypatch.setitem(space, "kernels", lambda changed=changed: changed)
        assert bindings.build() != wanted
    monkeypatch.setitem(space, "kernels", lambda: known)
    assert bindings.build() == wanted
    monkeypatch.setitem(space, "CALLED", re.compile("^def softmax.*", re.MULTILINE))
    assert bindings.build() != wanted


def test_the_ops_that_an_op_calls_are_found_wherever_they_are_called():
    """Helpers may stand below an op and in other files."""
    for name, o in OPS.items():
        assert name == o.__name__
        assert set(o.calls) == {called for called in _ops_called(o.reference, set()) if called is not o}
    assert OPS["bpe_merge"] in OPS["bpe_train"].calls  # called inside a comprehension
    assert OPS["softmax_backward"] in OPS["attention_backward"].calls  # called by a helper below it


@pytest.mark.parametrize("name", [name for name, o in OPS.items() if o.calls])
def test_an_override_reaches_every_op_that_calls_it(name):
    """A kernel would not call it, so the specification runs instead."""
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


def test_shapes_are_checked_by_their_declaration():
    x, w, b = np.zeros((2, 3, 4), np.float32), np.zeros((4, 5), np.float32), np.zeros(5, np.float32)
    for _ in range(2):  # the second time, shapes that fitted are known
        assert ops.linear(x, w, b).shape == ops.linear(x, w, b=None).shape == (2, 3, 5)
        for args in ((x, w[:3], b), (x, w, b[:4]), (x, b, b), (np.float32(1), w, b)):
            with pytest.raises(ValueError, match=r"linear needs x \(\.\.\., I\), w \(I, O\), b \(O,\), got"):
                ops.linear(*args)
        for targets in (np.zeros((2, 2), int), [0, 0], 0):  # lists and numbers have shapes too
            with pytest.raises(ValueError, match=r"cross_entropy needs logits .* got \(2, 3, 4\), "):
                ops.cross_entropy(x, targets)
