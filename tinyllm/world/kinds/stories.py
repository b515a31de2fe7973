"""Tell little stories by the grammar of world/stories.py."""

import math
from typing import Any

from tinyllm.config import setting
from tinyllm.world import stories
from tinyllm.world.document import HELD_OUT
from tinyllm.world.grammar import Grammar
from tinyllm.world.prose import Prose
from tinyllm.world.world import World


class Stories(Prose):
    """Tell a little story with a beginning, a problem and an end."""

    splits = {"text": lambda document: document.text, "plot": lambda document: document.labels["plot"]}
    reads = [{"length": length} for length in stories.RULES_BY_LENGTH]

    class Dials:
        length: str = setting("long", choices=tuple(stories.RULES_BY_LENGTH),
                              help="short ones are easier: a child has one toy and one friend")

    def grammar(self, world: World, dials: Any) -> Grammar:
        """Return the grammar of the stories, which does not depend on the world."""
        return stories.grammar(dials.length)

    def expectation(self, world: World, dials: Any = None, split: str = "all") -> tuple[float, float]:
        """Return the entropy in nats and the mean length of the stories in a split."""
        nats, chars = self.grammar(world, dials or self.dials()).expectation()
        share = {"all": 1.0, "train": 1 - HELD_OUT, "test": HELD_OUT}[split]
        return nats + math.log(share), chars
