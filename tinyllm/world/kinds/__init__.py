"""Collect the kinds of text in `KINDS`, {name: kind}; each file of this folder defines one kind or a few."""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cached_property

from tinyllm.errors import UserError, did_you_mean
from tinyllm.world.document import Kind


class Registry(Mapping):
    """A dict {name: kind} of all kinds of text, which imports the files of this folder at first use."""

    @cached_property
    def _all(self) -> dict[str, Kind]:
        return {kind.name: kind for kind in self.found()}

    def found(self) -> Iterator[Kind]:
        """Yield the kinds of text that the files of this folder define, by functions or by classes."""
        for file in sorted(info.name for info in pkgutil.iter_modules(__path__)):
            module = importlib.import_module(f"{__name__}.{file}")
            public = [value for name, value in vars(module).items() if not name.startswith("_")]
            yield from (value for value in public if isinstance(value, Kind))
            classes = [value for value in public if isinstance(value, type) and issubclass(value, Kind)]
            yield from (kind() for kind in classes if kind.__module__ == module.__name__)

    def __getitem__(self, name: str) -> Kind:
        if name not in self._all:
            raise UserError(f"the world has no kind of text called {name}; `tinyllm data list` lists all "
                            f"{len(self)}{did_you_mean(name, self)}")
        return self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, name: object) -> bool:
        return name in self._all


KINDS = Registry()
