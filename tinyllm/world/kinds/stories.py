"""Stories: prose of known probability."""

from tinyllm.rng import Random
from tinyllm.world import stories
from tinyllm.world.document import Document, Kind
from tinyllm.world.world import World


class Stories(Kind):
    """Tell a little story with a beginning, a problem and an end."""

    group = "prose"
    splits = {"text": lambda document: document.text, "plot": lambda document: document.labels["plot"]}

    def write(self, world: World, random: Random, dials: object) -> Document:
        return stories.sample(random)

    def read(self, world: World, text: str) -> Document | None:
        read = stories.parse(text)
        return read[0] if read and len(read) == 1 else None

    def solve(self, world: World, document: Document) -> str:
        return ""
