"""Sentiment behind nested denials, with or without what follows from it."""

from dataclasses import dataclass

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind
from tinyllm.world.forms import FIRST_NAMES, Form, lower, proved, read_any, upper
from tinyllm.world.names import words
from tinyllm.world.world import World

RIGHT, DENIED = 0, 1  # what a wrapping does to a claim
WRAPPINGS = (
    (RIGHT, "it is true"),
    (RIGHT, "{who} was right to say"),
    (RIGHT, "{who} told the truth when {he} said"),
    (RIGHT, "nobody lied who said"),
    (RIGHT, "nobody was wrong who thought"),
    (DENIED, "it is not true"),
    (DENIED, "{who} was wrong to think"),
    (DENIED, "{who} lied when {he} said"),
    (DENIED, "nobody told the truth who said"),
    (DENIED, "everyone lied when saying"),
)
FORMS = [Form(text, who=FIRST_NAMES, he=("he", "she")) for _, text in WRAPPINGS]
GOOD, BAD = words("good lovely splendid fine"), words("bad awful dreadful poor")
THINGS = {  # what somebody does if the thing was good, and if it was bad
    "soup": ("asked for more", "gave it to the dog"),
    "song": ("hummed it all day", "closed the window"),
    "boat": ("sailed out at once", "stayed on the shore"),
    "story": ("begged for another", "fell asleep"),
    "hat": ("wore it to the feast", "left it on the hook"),
    "bed": ("slept until noon", "lay down on the floor"),
    "cake": ("ate three slices", "fed it to the ducks"),
    "bridge": ("ran across", "went the long way round"),
    "joke": ("told it to everybody", "only yawned"),
    "pony": ("rode home", "walked home"),
    "tea": ("drank two cups", "watered the roses with it"),
    "map": ("found the treasure", "came home at midnight"),
}
PLAIN = Form("the {thing} was {adjective}", thing=THINGS, adjective=[*GOOD, *BAD])


class Sentiment(Kind):
    """See through denials of denials to whether a thing was good."""

    group = "understanding"
    splits = {
        "combination": lambda d: [d.labels["wrappings"], d.labels["thing"]],
        "depth": lambda d: len(d.labels["wrappings"]) > 2,
    }

    @dataclass(frozen=True)
    class Dials:
        """Set how deep the claim is hidden, and if the text says what followed from it."""

        depth: int = setting(3, help="how many times the claim is wrapped at most", min=1, max=6)
        consequences: bool = setting(
            False, help="tell what somebody did then, instead of asking if the thing was good"
        )

    def chance(self, dials: Dials) -> float:
        return 1 / (2 * len(THINGS)) if dials.consequences else 0.5

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        wrappings, said, good = [], [], random.integers(2) == 1
        adjective = random.choice(GOOD if good else BAD)
        for _ in range(1 + random.integers(dials.depth)):
            i, who = random.integers(len(WRAPPINGS)), random.choice(world.people)
            wrappings.append(i)
            said.append(FORMS[i].say(who=who.first, he=who.he))
            good ^= bool(WRAPPINGS[i][0] == DENIED)
        hero = random.choice(world.people).first if dials.consequences else ""
        return self._document(wrappings, said, good, hero, random.choice(list(THINGS)), adjective)

    def read(self, world: World, text: str) -> Document | None:
        claim, so, deed = text.partition(", so ")
        *said, plain = claim.partition(". Was ")[0].split(" that ")
        found, about = [read_any(FORMS, lower(part, FIRST_NAMES)) for part in said], PLAIN.read(plain)
        if not said or not all(found) or about is None:
            return None
        wrappings = [i for i, _ in filter(None, found)]
        good = (about["adjective"] in GOOD) ^ (sum(WRAPPINGS[i][0] == DENIED for i in wrappings) % 2 == 1)
        hero = deed.partition(" ")[0] if so else ""
        document = self._document(wrappings, [lower(part, FIRST_NAMES) for part in said], good, hero, **about)
        return proved(self, world, document, text)

    def solve(self, world: World, document: Document) -> str:
        """Count the words that deny; an even number of them leaves the claim as it is."""
        claim = document.prompt.partition(". Was ")[0].partition(", so ")[0].replace(" who", "").split(" ")
        denials = sum(word.lower() in ("lied", "not", "wrong", "nobody", *BAD) for word in claim)
        if ", so " not in document.prompt:
            return "no" if denials % 2 else "yes"
        mood = "frowned" if denials % 2 else "smiled"
        return f"{mood} and {THINGS[claim[-3]][denials % 2]}"

    def _document(self, wrappings, said, good, hero, thing, adjective):
        claim = upper(" that ".join([*said, PLAIN.say(thing=thing, adjective=adjective)]))
        labels = {"wrappings": wrappings, "thing": thing, "good": good}
        if hero:
            deed = ("smiled and " if good else "frowned and ") + THINGS[thing][not good]
            return self.asked(f"{claim.removesuffix('.')}, so {hero}", deed, labels)
        return self.asked(f"{claim} Was the {thing} good?", "yes" if good else "no", labels)
