"""Write tasks whose answers a line of code can check, for learning from rewards."""

from typing import Any

from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind, dials
from tinyllm.world.forms import Form
from tinyllm.world.names import SYLLABLES
from tinyllm.world.world import World

TASK = Form("Say {letters:row} backwards:")


class Checkable(Kind):
    """Show attempts to say letters backwards; a dial sets how many of the attempts are right.

    A model trained on these texts is right about as often. `truth` is right, the attempt may not be.
    """

    group = "dialogue"
    splits = {"question": lambda document: document.prompt}
    Dials = dials(success=(30, "percent of the attempts that are right", 0, 60),
                  length=(6, "how many letters at most", 4, 10))

    def write(self, world: World, random: Random, dials: Any) -> Document:
        count = 4 + random.integers(dials.length - 3)
        letters = [*"".join(random.choice(SYLLABLES) for _ in range(0, count, 2))][:count]
        attempt = truth = letters[::-1]
        if random.integers(100) >= dials.success:
            while attempt == truth:
                attempt = self._slip(random, truth)
        question, said = TASK.say(letters=letters), " ".join(attempt)
        labels = {"task": "backwards", "attempt": said, "right": attempt == truth}
        return Document(f"{question} {said}", labels, " ".join(truth), prompt=question)

    def _slip(self, random, truth):
        """Return an answer with one mistake: two parts change places, or one is said twice, or left out."""
        at, slip = random.integers(len(truth) - 1), random.integers(3)
        if slip == 0:
            return [*truth[:at], truth[at + 1], truth[at], *truth[at + 2 :]]
        return [*truth[:at], *truth[at : at + 1] * (slip * 2 - 2), *truth[at + 1 :]]

    def solve(self, world: World, document: Document) -> str:
        """Find the right answer letter by letter, by another algorithm than `write`."""
        out: list[str] = []
        for letter in (TASK.read(document.prompt) or {"letters": ()})["letters"]:
            out.insert(0, letter)
        return " ".join(out)
