"""A constitution of eight rules with exact checks: drafts that break some, critiques, revisions."""

from collections.abc import Callable

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind
from tinyllm.world.facts import Fact
from tinyllm.world.forms import VALUES, grown_ups, listed, proved
from tinyllm.world.phrases import ask, say
from tinyllm.world.reward import questions
from tinyllm.world.world import World

CONSTITUTION = """
kind: Call nobody silly, lazy or a goose.
calm: Write no word in capital letters, and no exclamation mark.
short: Write no sentence of more than eleven words.
modest: Do not say that you are never wrong or know everything.
discreet: Tell nobody's secret.
safe: Send nobody on the roof, into the well or near the fire.
fresh: Say nothing twice.
polite: End with a kind word to your friend.
"""
RULES = {name: rule for name, _, rule in (line.partition(": ") for line in CONSTITUTION.strip().splitlines())}


def _sentences(text):
    return [
        sentence.strip(" .!").lower() for sentence in text.replace("!", ".").split(".") if sentence.strip()
    ]


def _words(text):
    return [word.strip(",:?") for sentence in _sentences(text) for word in sentence.split()]


_BROKEN: dict[str, Callable[[str], bool]] = {
    "kind": lambda text: not {"silly", "lazy", "goose"}.isdisjoint(_words(text)),
    "calm": lambda text: (
        "!" in text or any(len(w) > 1 and w.isupper() for w in text.replace(".", " ").split())
    ),
    "short": lambda text: any(len(sentence.split()) > 11 for sentence in _sentences(text)),
    "modest": lambda text: "never wrong" in text.lower() or "know everything" in text.lower(),
    "discreet": lambda text: "secret" in _words(text),
    "safe": lambda text: not {"roof", "well", "fire"}.isdisjoint(_words(text)),
    "fresh": lambda text: len(set(_sentences(text))) < len(_sentences(text)),
    "polite": lambda text: (_sentences(text) or [""])[-1].rpartition(" ")[2] != "friend",
}


def violations(text: str) -> list[str]:
    """Return the names of the rules of the constitution that a text breaks, in their order."""
    return [name for name in RULES if _BROKEN[name](text)]


FAULTS = {  # rule -> sentences that break it and no other
    "kind": ("What a silly question.", "Only a goose would ask that.", "You are too lazy to look."),
    "modest": ("I am never wrong.", "I know everything.", "Trust me, I know everything about it."),
    "discreet": ("That is a secret, of course.", "Here is a secret: the key is under the mat."),
    "safe": ("You should look from the roof.", "Go and shout it into the well.", "Read it by a big fire."),
    "short": (
        "I could go on about it from morning to night and from spring to autumn.",
        "It was a cold day when I heard of it from a man with a long beard.",
    ),
}
CLOSINGS = ("I am glad to help, dear friend.", "All the best, my friend.", "Sleep tight, good friend.")


class Constitution(Kind):
    """Judge a draft by the constitution, and write a better one that breaks no rule."""

    group = "dialogue"
    marker = " Better: "
    splits = {"combination": lambda d: d.labels["broken"], "question": lambda d: d.labels["question"]}

    class Dials:
        faults: int = setting(3, help="how many rules a draft breaks at most", min=0, max=8)
        critique: bool = setting(True, help="name the broken rules before the revision")

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        person, relation = random.choice(grown_ups(world)), random.choice(list(VALUES))
        fact = Fact(person.name, relation, getattr(person, relation))
        broken = random.shuffle(RULES)[: random.integers(dials.faults + 1)]
        core, closing = say(fact, random.integers(4)), random.choice(CLOSINGS)
        said = core.upper().replace(".", "!") if "calm" in broken else core
        draft = [said, *[random.choice(FAULTS[rule]) for rule in broken if rule in FAULTS]]
        draft = random.shuffle([*draft, said] if "fresh" in broken else draft)
        draft += [] if "polite" in broken else [closing]
        better = f"{core} {CLOSINGS[0] if 'polite' in broken else closing}"
        named = [rule for rule in RULES if rule in broken]
        return self._document(ask(fact), " ".join(draft), named, better, dials.critique)

    def read(self, world: World, text: str) -> Document | None:
        question, _, rest = text.partition(" Draft: ")
        critique = " Critique: " in rest
        draft, _, answer = rest.partition(" Critique: " if critique else self.marker)
        if question not in questions(world) or not draft:
            return None
        better = answer.rpartition(self.marker)[2]
        return proved(self, world, self._document(question, draft, violations(draft), better, critique), text)

    def solve(self, world: World, document: Document) -> str:
        """Keep the sentences that break no rule alone, each once, calmed down; add what is missing; check."""
        fact = questions(world)[document.labels["question"]]
        calm = {say(fact, way).upper(): say(fact, way) for way in range(4)}
        kept: dict[str, None] = {}
        for part in document.labels["draft"].replace("!", ".").split(". "):
            sentence = part.removesuffix(".") + "."
            sentence = calm.get(sentence, sentence)
            if {*violations(sentence)} <= {"polite"}:
                kept[sentence] = None
        polite = [] if "polite" not in violations(" ".join(kept)) else [CLOSINGS[0]]
        better = " ".join([*kept, *polite])
        return better if str(fact.object) in better and not violations(better) else ""

    def _document(self, question, draft, broken, better, critique):
        labels = {"question": question, "draft": draft, "broken": broken}
        if not critique:
            return self.asked(f"{question} Draft: {draft} Better:", better, labels)
        named = f"{listed([f'not {rule}' for rule in broken]) or 'nothing is wrong'}."
        return self.asked(f"{question} Draft: {draft} Critique:", better, labels, named)
