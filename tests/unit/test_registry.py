"""The switchboard of ops: who runs what, for how long, and what a wrong switch says."""

import inspect
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tinyllm.errors import UserError
from tinyllm.ops import registry
from tinyllm.ops.registry import OPS, Op, _compiled, _ops_called, op, override, use


@pytest.fixture
def double(monkeypatch):
    """A throw-away op with a twin, and the whole switchboard put back afterwards."""
    before = registry._snapshot()
    kernels = SimpleNamespace(double=lambda x: ("twin", x), double_bf16=lambda x: ("bf16", x))
    monkeypatch.setattr(registry, "_compiled", kernels)

    @op
    def double(x):
        """Say it twice."""
        return ("spec", x)

    yield double
    del OPS["double"]
    registry._restore(before)


def test_an_op_keeps_its_name_words_and_signature(double):
    assert (double.__name__, double.__doc__) == ("double", "Say it twice.")
    assert str(inspect.signature(double)) == "(x)"
    assert OPS["double"] is double
    assert double.reference(1) == ("spec", 1) and double.compiled(1) == ("twin", 1)
    assert "double(x)" in repr(double)


def test_use_switches_every_op_and_the_block_ends(double):
    use("numpy")
    with use("compiled"):
        assert double(1) == ("twin", 1) and double.backend == "compiled"
        with use("numpy"):
            assert double(1) == ("spec", 1) and double.backend == "numpy"
        assert double(1) == ("twin", 1)
    assert double(1) == ("spec", 1)


def test_use_switches_a_single_op_and_naming_all_clears_it(double):
    use("numpy")
    use(double="bf16")
    assert double(1) == ("bf16", 1)
    with use(double="compiled"):
        assert double(1) == ("twin", 1)
    assert double(1) == ("bf16", 1)
    use("numpy")
    assert double(1) == ("spec", 1)


def test_a_block_ends_after_an_error_too(double):
    use("numpy")
    with pytest.raises(KeyError), use("compiled"):
        raise KeyError
    assert double.backend == "numpy"


def test_override_wins_over_every_backend_until_unplugged(double):
    with override(double=lambda x: ("mine", x)):
        assert double(1) == ("mine", 1) and double.backend == "override" and double.replaced
        with use("compiled"):
            assert double(1) == ("mine", 1)
        with override(double=None):
            assert not double.replaced
        assert double(1) == ("mine", 1)
    assert double.override is None


def test_override_refuses_other_arguments_and_changes_nothing(double):
    with pytest.raises(TypeError, match=r"double is called as double\(x\)"):
        override(double=lambda x, y: x)
    assert double.override is None


@pytest.mark.parametrize("switch", [
    lambda: use("cuda"),
    lambda: use(double="fp8"),
    lambda: use(nothing="numpy"),
    lambda: override(nothing=abs),
])
def test_unknown_names_are_one_line_errors_that_change_nothing(double, switch):
    before = registry._snapshot()
    with pytest.raises(UserError) as error:
        switch()
    assert "\n" not in str(error.value) and registry._snapshot() == before


def test_without_kernels_compiled_is_refused(double, monkeypatch):
    monkeypatch.setattr(registry, "_compiled", None)
    with pytest.raises(UserError, match="install a C compiler"):
        use("compiled")


def test_ops_call_ops_so_that_an_override_reaches_them(double):
    @op
    def quadruple(x):
        return double(double(x))
    try:
        with override(double=lambda x: 2 * x):
            assert quadruple(3) == 12
    finally:
        del OPS["quadruple"]


def run_python(code, **env):
    return subprocess.run([sys.executable, "-W", "error", "-c", code], env={**os.environ, **env},
                          capture_output=True, text=True)


def test_the_shell_variable_picks_the_backend():
    code = "from tinyllm.ops import registry; print(registry._state['backend'])"
    done = run_python(code, TINYLLM_BACKEND="numpy")
    assert done.stdout == "numpy\n", done.stderr


def test_the_shell_variable_with_an_unknown_backend_is_refused():
    done = run_python("import tinyllm; tinyllm.ops.softmax(None)", TINYLLM_BACKEND="cuda")
    assert done.returncode == 1 and "TINYLLM_BACKEND=cuda: choose one of" in done.stderr


VARIABLES = ["TINYLLM_BACKEND", *["TINYLLM_CPU", "TINYLLM_THREADS"] * bool(_compiled)]


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_wrong_shell_variable_is_one_line_and_exit_2(variable):
    code = "import sys; from tinyllm.cli import main; sys.exit(main(['doctor']))"
    done = run_python(code, **{variable: "zzz"})
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "zzz" in done.stderr, done.stderr


def test_an_op_called_inside_a_comprehension_counts():
    assert OPS["bpe_merge"] in OPS["bpe_train"].calls


def test_a_missing_extension_is_said_once():
    """Blocking the kernels' import is the state of an install without a compiler."""
    block = "import sys, warnings; sys.modules['tinyllm.ops._compiled'] = None"
    code = "import tinyllm.ops, tinyllm.ops.registry as r; print(r._state['backend'])"
    done = run_python(f"{block}; warnings.simplefilter('always'); {code}", TINYLLM_BACKEND="")
    assert done.stdout == "numpy\n" and done.stderr.count("no compiled kernels were built") == 1, done.stderr


def test_every_op_is_one():
    assert OPS and all(isinstance(o, Op) and name == o.__name__ for name, o in OPS.items())


def test_no_op_is_defined_before_a_function_that_it_calls():
    """What an op calls is read as it is defined: a helper further down would hide the ops that it calls."""
    for o in OPS.values():
        assert set(o.calls) == {called for called in _ops_called(o.reference, set()) if called is not o}


OLD_KERNELS = """
import sys, types
sys.modules["tinyllm.ops._compiled"] = types.ModuleType("tinyllm.ops._compiled")
from tinyllm.cli import main
sys.exit(main(["data", "list"]))
"""


def test_kernels_that_are_older_than_their_source_are_one_line():
    done = subprocess.run([sys.executable, "-c", OLD_KERNELS], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "build again" in done.stderr
