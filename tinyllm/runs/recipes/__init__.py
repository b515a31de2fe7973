"""Collect the recipes of `tinyllm train`: each file in this folder is a recipe and is imported."""

import importlib
import pkgutil

for module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{module.name}")
