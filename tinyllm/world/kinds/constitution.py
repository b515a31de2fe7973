"""Write drafts that break rules of a constitution, with critiques and revisions; code checks each rule."""

import re
from collections.abc import Callable
from typing import Any

from tinyllm.world.facts import Fact
from tinyllm.world.forms import VALUES, listed
from tinyllm.world.phrases import ask, asked, say
from tinyllm.world.question import asks, dials

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
ASKING, MARKER = "{question} Draft: {draft} Critique:", "Better: "
RULES = {name: rule for name, _, rule in (line.partition(": ") for line in CONSTITUTION.strip().splitlines())}


def _sentences(text):
    return [part.strip(" .!").lower() for part in text.replace("!", ".").split(".") if part.strip()]


def _words(text):
    return [word.strip(",:?") for sentence in _sentences(text) for word in sentence.split()]


_BROKEN: dict[str, Callable[[str], bool]] = {
    "kind": lambda text: not {"silly", "lazy", "goose"}.isdisjoint(_words(text)),
    "calm": lambda text: "!" in text or re.search(r"\b[A-Z]{2,}\b", text) is not None,
    "short": lambda text: any(len(sentence.split()) > 11 for sentence in _sentences(text)),
    "modest": lambda text: "never wrong" in text.lower() or "know everything" in text.lower(),
    "discreet": lambda text: "secret" in _words(text),
    "safe": lambda text: not {"roof", "well", "fire"}.isdisjoint(_words(text)),
    "fresh": lambda text: len(set(_sentences(text))) < len(_sentences(text)),
    "polite": lambda text: (_sentences(text) or [""])[-1].rpartition(" ")[2] != "friend",
}


def violations(text: str) -> list[str]:
    """Return the names of the rules that a text breaks, in the order of the constitution."""
    return [name for name in RULES if _BROKEN[name](text)]


FAULTS = {  # rule -> sentences that break it and no other
    "kind": ("What a silly question.", "Only a goose would ask that.", "You are too lazy to look."),
    "modest": ("I am never wrong.", "I know everything.", "Trust me, I know everything about it."),
    "discreet": ("That is a secret, of course.", "Here is a secret: the key is under the mat."),
    "safe": ("You should look from the roof.", "Go and shout it into the well.", "Read it by a big fire."),
    "short": ("I could go on about it from morning to night and from spring to autumn.",
              "It was a cold day when I heard of it from a man with a long beard."),
}
CLOSINGS = ("I am glad to help, dear friend.", "All the best, my friend.", "Sleep tight, good friend.")


def _draw(world, random, faults, critique):
    person, relation = random.choice(world.adults), random.choice(list(VALUES))
    fact = Fact(person.name, relation, getattr(person, relation))
    broken = random.shuffle(RULES)[: random.integers(faults + 1)]
    core, closing = say(fact, random.integers(4)), random.choice(CLOSINGS)
    said = core.upper().replace(".", "!") if "calm" in broken else core
    draft = [said, *[random.choice(FAULTS[rule]) for rule in broken if rule in FAULTS]]
    draft = random.shuffle([*draft, said] if "fresh" in broken else draft)
    draft += [] if "polite" in broken else [closing]
    return {"question": fact, "draft": " ".join(draft), "way": int(not critique)}


def _filter(world, question, draft):
    """Solve independently: keep sentences that break no rule, add a polite closing if needed, and check."""
    [fact] = world.ask(question)
    calm = {say(fact, way).upper(): say(fact, way) for way in range(4)}
    kept: dict[str, None] = {}
    for part in draft.replace("!", ".").split(". "):
        sentence = part.removesuffix(".") + "."
        sentence = calm.get(sentence, sentence)
        if {*violations(sentence)} <= {"polite"}:
            kept[sentence] = None
    polite = [] if "polite" not in violations(" ".join(kept)) else [CLOSINGS[0]]
    better = " ".join([*kept, *polite])
    return better if str(fact.object) in better and not violations(better) else ""


def _critique(draft, way):
    named = listed([f"not {rule}" for rule in violations(draft)]) or "nothing is wrong"
    return "" if way else f"{named}."


@asks(ASKING.replace("{draft}", "{draft:any}"), "{question} Draft: {draft:any} Better:",
      slots={"question": asked(*VALUES)}, group="dialogue", marker=MARKER,
      draw=_draw, second=_filter, working=_critique,
      labels=lambda question, draft: {"question": ask(question), "draft": draft, "broken": violations(draft)},
      splits={"combination": lambda d: d.labels["broken"], "question": lambda d: d.labels["question"]},
      Dials=dials(faults=(3, "how many rules a draft breaks at most", 0, 8),
                  critique=(True, "name the broken rules before the revision")))
def constitution(world: Any, question: Fact, draft: str) -> str:
    """Judge a draft by the constitution, and write a better one that breaks no rule."""
    value = vars(world.names[question.subject])[question.relation]
    true = [say(question._replace(object=value), way) for way in range(4)]
    said = next(sentence for sentence in true if sentence[:-1].lower() in draft.lower())
    closing = next((closing for closing in CLOSINGS if closing in draft), CLOSINGS[0])
    return f"{said} {closing}"
