"""Generate texts about a small invented world, in which the right answer to every question is known."""

from tinyllm.world.calendar import Date
from tinyllm.world.document import Document, Kind, Stream
from tinyllm.world.facts import Fact
from tinyllm.world.kinds import KINDS
from tinyllm.world.world import World

__all__ = ["KINDS", "Date", "Document", "Fact", "Kind", "Stream", "World"]
