"""Check that all public names exist, and that importing the package does not import NumPy."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

from source_files import ROOT

import tinyllm


def test_the_version_is_the_packages():
    assert f'version = "{tinyllm.__version__}"' in (ROOT / "pyproject.toml").read_text()


def test_dir_lists_the_public_names_which_are_there_and_no_module_or_import():
    """Importing tinyllm/NAME.py would put the module in the place of the function NAME."""
    for module, more in ((tinyllm, {"nn", "functional"}), (tinyllm.nn, set()), (tinyllm.functional, set())):
        listed = {name for name in dir(module) if name[0] != "_"}
        assert set(module.__all__) | more <= listed and (module is tinyllm or listed == set(module.__all__))
        assert not listed & {"Any", "ArrayLike", "TYPE_CHECKING", "find_spec", "missing", "np", "partial"}
        assert all(getattr(module, name) is not None for name in module.__all__)
    assert {"matmul", "softmax", "apply", "cross_entropy"} <= {*tinyllm.functional.__all__}
    assert not {path.stem for path in Path(tinyllm.__file__).parent.iterdir()} & {*tinyllm.__all__}
    assert callable(tinyllm.generate) and tinyllm.threads() >= 1


def test_signatures_can_be_read():
    """help(model.loss) once showed 1,000 characters: for ArrayLike a union of all that NumPy takes."""
    modules = tinyllm, tinyllm.nn, tinyllm.functional
    public = [getattr(module, name) for module in modules for name in module.__all__]
    parts = [part for owner in public if inspect.isclass(owner) for part in vars(owner).values()]
    shown = {str(f): str(inspect.signature(f)) for f in filter(inspect.isfunction, [*public, *parts])}
    assert len(shown) > 150 and not [f for f in shown if re.search(r"_Buffer|Union\[.{100}", shown[f])]


def test_neither_the_import_nor_help_waits_for_numpy_and_every_name_is_found():
    code = """import sys, tinyllm, tinyllm.cli
try: tinyllm.cli.main(["--help"])
except SystemExit: pass
assert "numpy" not in sys.modules and tinyllm.nn.Linear
assert not hasattr(tinyllm, "nonsense")
from tinyllm import *
assert GPT is tinyllm.GPT"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_the_example_in_the_package_runs(capsys):
    """Run the code in tinyllm's docstring, with a smaller model and fewer steps."""
    code = tinyllm.__doc__.split("\n\n", 1)[1]
    for large, small in [("width=128", "width=16"), ("steps=100", "steps=2"), ("tokens=200", "tokens=9")]:
        assert large in code
        code = code.replace(large, small)
    exec(code, {})
    assert len(capsys.readouterr().out.strip()) > 0


def test_the_package_is_found_beside_its_clone(tmp_path):
    """In the folder that holds a clone called tinyllm, Python once took the clone for the package."""
    (tmp_path / "tinyllm" / "tinyllm").mkdir(parents=True)
    subprocess.run([sys.executable, "-c", "import tinyllm; tinyllm.GPT"], check=True, cwd=tmp_path)
