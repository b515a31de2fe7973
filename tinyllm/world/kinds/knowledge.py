"""State facts about people, and ask about them, which a model has to learn by heart."""

from functools import cache
from typing import Any

from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind, attempts
from tinyllm.world.facts import Fact
from tinyllm.world.names import FAMILIES, GIRLS, JOBS, PLACES
from tinyllm.world.phrases import HOPS, QUESTIONS, STATEMENTS, answer, chain, say
from tinyllm.world.question import NO_YES, asks, dials
from tinyllm.world.world import World

RELATIONS = ("lives_in", "born_in", "works_as", "likes", "enjoys", "owns", "best_friend", "married_to")


@cache
def _told(world):
    """Return for each person the facts of RELATIONS, in the order of the people."""
    return [[f for r in RELATIONS for f in world.ask(Fact(p.name, r, None))] for p in world.people]


class Facts(Kind):
    """State one fact about a person; some people are named more often than others."""

    group = "knowledge"
    splits = {"entity": lambda document: document.labels["subject"]}
    Dials = dials(groups=(1, "groups of people, each named twice as often as the last", 1, 7),
                  ways=(4, "how many ways to say a fact", 1, 4))

    def write(self, world: World, random: Random, dials: Any) -> Document:
        """Write a fact about a random person: person i is in group g = i % groups, which has weight 2**g."""
        people = _told(world)
        group = (random.integers(2**dials.groups - 1) + 1).bit_length() - 1
        person = random.choice(range(group, len(people), dials.groups))
        fact, way = random.choice(people[person]), random.integers(dials.ways)
        text = say(fact, way)
        end = text.removesuffix(".").rfind(str(fact.object))
        at_end = end + len(str(fact.object)) + 1 == len(text)
        labels = {"subject": fact.subject, "relation": fact.relation, "object": fact.object, "way": way}
        return Document(text, labels, str(fact.object), prompt=text[: end - 1] if at_end else "")

    def solve(self, world: World, document: Document) -> str:
        """Find the answer by searching all facts for the subject and the relation."""
        labels = document.labels
        pairs = [(f.subject, f.relation, f.object) for f in world.facts()]
        objects = [o for s, r, o in pairs if (s, r) == (labels["subject"], labels["relation"])]
        return str(objects[-1])


NOBODY = "Nobody knows"


def _draw(world, random, unknown, hops):
    """Draw a question: a person, hops - 1 relations to follow from there, and what is asked at the end."""
    if random.happens(unknown):
        return {"s": [stranger(world, random)], "way": random.integers(len(RELATIONS))}
    for _ in attempts():
        who = [random.choice(world.people).name]
        who += [random.choice(list(HOPS)) for _ in range(hops - 1)]
        way = random.integers(len(RELATIONS))
        if len(proof(world, who, RELATIONS[way])) == hops:
            return {"s": who, "way": way}


def stranger(world: World, random: Random) -> str:
    """Draw the name of somebody who is not in a world. Raises UserError if every name is taken."""
    for _ in attempts():
        name = f"{random.choice(GIRLS)} {random.choice(FAMILIES)}"
        if name not in world.names:
            break
    return name


def proof(world: World, who: list[str], relation: str) -> list[Fact]:
    """Return the facts that lead from a person to the answer; facts that the world does not have are missing.

    who: the person and the relations to follow from there; relation: what is asked of the last person.
    """
    facts: list[Fact] = []
    for hop in [*who[1:], relation]:
        person = facts[-1].object if facts else who[0]
        facts += world.ask(Fact(person, hop, None))[:1]
    return facts


def _search(world, s, way):
    """Solve independently: follow the relations by searching the list of all facts."""
    (person, *hops), facts = s, world.facts()
    for hop in [*hops, RELATIONS[way]]:
        found = [fact.object for fact in facts if fact.subject == person and fact.relation == hop]
        if not found:
            return NOBODY
        person = str(found[0])
    return f"a {person}" if RELATIONS[way] == "owns" else person


def _chance(dials):
    """Return the score of the best constant answer: that nobody knows, or one of 16 jobs or foods."""
    return max(dials.unknown, (1 - dials.unknown) / (16 * len(RELATIONS)))


@asks(*[QUESTIONS[relation] for relation in RELATIONS], slots={"s": chain(*HOPS)}, group="knowledge",
      marker="Answer: ", chance=_chance, draw=_draw, second=_search,
      working=lambda world, s, way: " ".join(say(fact) for fact in proof(world, s, RELATIONS[way])[:-1]),
      labels=lambda world, s, way: {"subject": s[0], "chain": s[1:], "relation": RELATIONS[way],
                                    "support": [say(fact) for fact in proof(world, s, RELATIONS[way])]},
      splits={"entity": lambda d: d.labels["subject"]},
      Dials=dials(hops=(1, "facts on the way to the answer", 1, 3),
                  steps=(False, "say the facts on the way before the answer"),
                  unknown=(0.0, "share of questions about people whom nobody knows", 0, 1)))
def question(world: World, s: list[str], way: int) -> str:
    """Answer a question about a fact of the world by heart; one to three facts lead to the answer."""
    facts = proof(world, s, RELATIONS[way])
    return answer(facts[-1]) if facts else NOBODY


PLACED = "lives_in", "born_in"  # the third wording of each names the place first


def _draw_claim(world, random, negated, wording):
    about, relation = random.choice(world.people).name, random.integers(2)
    (fact,) = world.ask(Fact(about, PLACED[relation], None))
    place = fact.object if random.happens(0.5) else random.choice(PLACES)
    return {"s": about, "o": place, "way": 8 * negated + 4 * relation + wording}


@asks(*[f"Is it {word} that {text[0].lower()}{text[1:-1]}?" for word in ("true", "false")
        for relation in PLACED for text in STATEMENTS[relation]],
      slots={"o": PLACES}, group="knowledge", marker="", choices=NO_YES, draw=_draw_claim,
      second=lambda world, s, o, way: NO_YES[
          (way >= 8) != any(fact[:3] == (s, PLACED[way // 4 % 2], o) for fact in world.facts())],
      splits={"entity": lambda d: d.labels["s"]},
      Dials=dials(negated=(False, "ask if it is false"),
                  wording=(0, "which of four: 2 names the place first", 0, 3)))
def claim(world: World, s: str, o: str, way: int) -> str:
    """Say by heart whether it is true that somebody lives, or was born, in some place."""
    return NO_YES[(way >= 8) != bool(world.ask(Fact(s, PLACED[way // 4 % 2], o)))]


def _draw_job(world, random):
    one = random.choice(world.adults)
    return {"s": one.name, "job": one.works_as if random.integers(2) else random.choice(list(JOBS))}


@asks(*[QUESTIONS[relation].replace("{s}", "the {job} {s}") for relation in RELATIONS[:-1]],
      slots={"job": JOBS}, group="knowledge", marker="", options=2, draw=_draw_job,
      second=lambda world, s, job, way: next(
          answer(told) if (s, "works_as", job) in {fact[:3] for fact in world.facts()} else f"{s} is no {job}"
          for told in world.facts() if told[:2] == (s, RELATIONS[way])),
      splits={"entity": lambda d: d.labels["s"]})
def premise(world: World, s: str, job: str, way: int) -> str:
    """Answer a question about a fact by heart, or say that it takes somebody to have a wrong job."""
    right = world.ask(Fact(s, "works_as", job))
    return answer(world.ask(Fact(s, RELATIONS[way], None))[0]) if right else f"{s} is no {job}"
