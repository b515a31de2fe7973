"""Right solutions that are written differently, one file per file of ops.

They keep a checker from mistaking its own way for the only one: it must accept every one of them.
"""

from importlib import import_module
from importlib.resources import files

from tinyllm.testing.alternative import ALTERNATIVES

for entry in sorted(files(__name__).iterdir(), key=lambda entry: entry.name):
    if entry.name.endswith(".py") and entry.name != "__init__.py":
        import_module(f"{__name__}.{entry.name.removesuffix('.py')}")

__all__ = ["ALTERNATIVES"]
