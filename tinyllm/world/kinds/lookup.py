"""Ask questions about people, which a model answers by looking the people up in the encyclopaedia."""

from tinyllm.config import setting
from tinyllm.world.document import attempts
from tinyllm.world.facts import Fact
from tinyllm.world.kinds.tools import results
from tinyllm.world.phrases import QUESTIONS, chain
from tinyllm.world.question import asks, dials
from tinyllm.world.tools import CARD, call
from tinyllm.world.world import World

HOPS = ("best_friend", "mother")
RELATIONS = list(CARD)


def _path(world, who, way):
    """Return the people on the way to an answer, and the answer. Raises IndexError if there is none."""
    subject, *hops = who
    path = [subject]
    for hop in [*hops, RELATIONS[way]]:
        path.append(str(world.ask(Fact(path[-1], hop, None))[0].object))
    return path


def _draw(world, random, dials):
    """Draw a question: a person, relations to follow from there, and what is asked of the last person."""
    for _ in attempts():
        hops = [random.choice(HOPS) for _ in range(dials.hops - 1)]
        who = [random.choice(world.people).name, *hops]
        way = random.integers(len(RELATIONS))
        try:
            _path(world, who, way)
            return {"s": who, "way": way}
        except IndexError:
            pass


def _read_cards(world, s, way):
    """Solve independently: look up one entry after another, and cut the answer out of the text."""
    person, *hops = s
    for hop in [*hops, RELATIONS[way]]:
        person = call(world, f"[look {person}]").partition(f" {CARD[hop]}: ")[2].partition(".")[0]
    return person


@asks(*[QUESTIONS[relation] for relation in RELATIONS], slots={"s": chain(*HOPS)}, group="tools",
      draw=_draw, second=_read_cards,
      working=lambda world, s, way: " ".join(f"[look {person}] => {call(world, f'[look {person}]')}"
                                             for person in _path(world, s, way)[:-1]),
      labels=lambda s, way, document: {"subject": s[0], "chain": s[1:], "relation": RELATIONS[way],
                                       "results": results(document)},
      splits={"entity": lambda d: d.labels["subject"]},
      Dials=dials(hops=setting(1, help="people to look up", min=1, max=3),
                  steps=setting(True, help="look it up; else answer at once")))
def lookup(world: World, s: list[str], way: int) -> str:
    """Answer a question about a person by looking up one person after another in the encyclopaedia."""
    return _path(world, s, way)[-1]
