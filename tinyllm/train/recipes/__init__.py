"""The recipes of `tinyllm train`, one file each; every file in this folder is imported."""

import importlib
import pkgutil

for module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{module.name}")
