"""Load the modules of benchmarks/, outside of the package, that run other libraries for comparison."""

import importlib.util
import sys
from types import ModuleType

from tinyllm.bench.machine import source_folder
from tinyllm.errors import UserError


def load(name: str) -> ModuleType:
    """Return the module benchmarks/NAME.py of the checkout that this copy of tinyllm runs from.

    Raises UserError if there is no checkout, ImportError if a library that the module uses is not installed.
    """
    known = f"benchmarks.{name}"
    if known not in sys.modules:
        root = source_folder()
        path = root and root / "benchmarks" / f"{name}.py"
        if path is None or not path.is_file():
            raise UserError("--peers and `bench tokenizer` need a checkout: the package has no benchmarks/")
        spec = importlib.util.spec_from_file_location(known, path)
        assert spec and spec.loader  # always true for a .py file
        sys.modules[known] = module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[known]
            raise
    return sys.modules[known]


def load_torch() -> ModuleType:
    """Return benchmarks/train.py, which needs PyTorch. Raises UserError if PyTorch is not installed."""
    try:
        return load("train")
    except ImportError as error:
        raise UserError(f"--peers needs PyTorch ({error}): pip install torch") from None
