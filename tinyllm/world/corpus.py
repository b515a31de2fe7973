"""Find texts of the world by name: `world:facts,groups=7,n=5000` names 5000 documents of the kind `facts`."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from tinyllm.config import check, convert, setting
from tinyllm.errors import UserError
from tinyllm.world.document import Document, Kind, Stream
from tinyllm.world.kinds import KINDS
from tinyllm.world.mix import Mix, MixDials
from tinyllm.world.prose import Prose
from tinyllm.world.world import World, WorldConfig

PREFIX = "world:"
SEPARATOR = "\n\n"  # after every document


def _of_world(name):
    """Return a field of WorldConfig as a field for `Options`, with the same default, help and bounds."""
    field = WorldConfig.__dataclass_fields__[name]
    return setting(field.default, **field.metadata)


@dataclass(frozen=True)
class Options:
    """The settings that all texts of the world share: the world, and the documents to generate."""

    n: int = setting(Kind.n, help="how many documents", min=1, max=10_000_000)
    seed: int = setting(0, help="each number gives other documents", min=0, max=2**63 - 1)
    split: str = setting("train", help="which documents", choices=("train", "test", "all"))
    by: str = setting("", help="how the test documents are held out")
    world: int = _of_world("seed")
    people: int = _of_world("size")
    bias: float = _of_world("bias")
    year: int = _of_world("year")


world_of = cache(World)  # equal settings give the same world


@dataclass(frozen=True)
class Named:
    """A kind of text, or a mix of kinds, with all settings; `documents` generates its texts."""

    name: str
    options: Options
    dials: Any

    @property
    def world(self) -> World:
        """Return the world that the documents are about."""
        o = self.options
        return world_of(o.world, o.people, o.bias, o.year)

    def documents(self) -> Iterator[Document]:
        """Yield as many documents as the setting `n` says."""
        o = self.options
        if self.name == "mix" and o.by:
            raise UserError("a mix is split as each of its kinds is by itself; leave out by=")
        if self.name == "mix":
            yield from Mix(self.world, o.n, self.dials, o.seed, o.split)
            return
        stream = Stream(self.world, KINDS[self.name], self.dials, o.seed, o.split, o.by or None)
        yield from (stream[i] for i in range(o.n))

    def entropy_per_char(self) -> float | None:
        """Return the entropy in nats per character, a lower bound of any model's loss; None if unknown."""
        kind = KINDS[self.name] if self.name != "mix" else None
        if not isinstance(kind, Prose) or self.options.by not in ("", next(iter(kind.splits))):
            return None
        nats, chars = kind.expectation(self.world, self.dials, self.options.split)
        return nats / (chars + len(SEPARATOR))  # stories.entropy_per_char proves the bound


def describe(name: str) -> str:
    """Describe a kind of text by the first line of its docstring."""
    if name == "mix":
        return "many kinds together, with dials for what can be wrong with a corpus"
    return (KINDS[name].__doc__ or "").partition("\n")[0]


def dials_of(name: str) -> type:
    """Return the dataclass of the dials (settings) of a kind of text."""
    return MixDials if name == "mix" else KINDS[name].Dials


def read_name(name: str) -> Named:
    """Read a name `world:KIND,setting=value,...`; raise UserError for an unknown kind or setting."""
    kind, *settings = name.removeprefix(PREFIX).split(",")
    config = dials_of(kind)
    types = {field.name: (owner, field.type) for owner in (Options, config) for field in fields(owner)}
    given: dict[type, dict] = {Options: {"n": Kind.n if kind == "mix" else KINDS[kind].n}, config: {}}
    for part in settings:
        dial, equals, value = part.partition("=")
        if dial not in types or not equals:
            raise UserError(f"{PREFIX}{kind} has no dial {part!r}; write NAME=VALUE with {', '.join(types)}")
        owner, wanted = types[dial]
        where = f"{PREFIX}{kind}: {dial}"
        given[owner][dial] = convert(where, value, {where: wanted})
    options, dials = Options(**given[Options]), config(**given[config])
    check(options, f"{PREFIX}{kind}: ")
    check(dials, f"{PREFIX}{kind}: ")
    return Named(kind, options, dials)
