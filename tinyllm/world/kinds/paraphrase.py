"""Write pairs of sentences: one fact in two wordings, or two facts that look alike."""

from tinyllm.config import setting
from tinyllm.world.facts import Fact
from tinyllm.world.forms import VALUES
from tinyllm.world.names import PLACES
from tinyllm.world.phrases import STATEMENTS, passage, read_statements
from tinyllm.world.question import NO_YES, asks, dials

OBJECTS = VALUES | {"born_in": PLACES}
PEOPLE = {"mother": "woman", "father": "man", "best_friend": "anybody"}
RELATIONS = (*OBJECTS, *PEOPLE)
CHANGES = ("subject", "object", "relation", "roles")
LIKE = {"lives_in": "born_in", "born_in": "lives_in", "mother": "best_friend", "father": "best_friend",
        "likes": "enjoys", "enjoys": "likes"}


def _draw(world, random, names):
    """Draw two facts, equal or not. They need not be true, so that a model must compare, not recall."""
    fact = other = None
    while not other:
        change = random.choice(CHANGES)
        fact = _fact(world, random, names, random.choice(RELATIONS))
        other = fact and _changed(world, change, fact, _fact(world, random, names, fact.relation))
    if random.integers(2):  # only now: the answer must not change how often a relation occurs
        other = fact
    way, second = random.integers(4), random.integers(3)
    return {"first": [(fact, way)], "second": [(other, second + (second >= way))]}  # another wording


def _fact(world, random, people, relation):
    """Draw a fact about one of the first `people` people; None if nobody fits, e.g. no woman as mother."""
    one, *others = random.shuffle(world.people[:people])
    able = [who.name for who in others if PEOPLE.get(relation) in (who.girl, "anybody")]
    known = OBJECTS.get(relation, able)
    return Fact(one.name, relation, random.choice(known)) if known else None


def _changed(world, change, fact, spare):
    """Change one part of a fact, such as its object to that of `spare`; return None if nothing fits."""
    subject, relation, object, _ = fact
    if change == "roles":
        able = relation in PEOPLE and PEOPLE[relation] in (world.names[subject].girl, "anybody")
        return fact._replace(subject=object, object=subject) if able else None
    if change == "relation":
        parent = relation in PEOPLE and ("mother" if world.names[object].girl == "woman" else "father")
        like = LIKE.get(relation, parent)
        return fact._replace(relation=like) if like else None
    drawn = spare and getattr(spare, change)
    return fact._replace(**{change: drawn}) if drawn not in (None, subject, object) else None


def _look(prompt):
    """Solve independently: write the first fact in all four wordings, and look for the second sentence."""
    first, second = prompt.removesuffix(" The same?").split(" / ")
    for fact, _ in read_statements(first):
        for wording in STATEMENTS[fact.relation]:
            said = wording.format(s=fact.subject, o=fact.object)
            if second.lower() == said.lower():
                return "yes"
    return "no"


@asks("{first} / {second} The same?", slots=dict.fromkeys(("first", "second"), passage(*RELATIONS)),
      group="understanding", choices=NO_YES, marker="", draw=_draw, second=_look,
      labels=lambda first, second: {"subject": first[0][0].subject, "relation": first[0][0].relation,
                                    "ways": [first[0][1], second[0][1]]},
      splits={"wording": lambda d: [d.labels["relation"], sorted(d.labels["ways"])]},
      Dials=dials(names=setting(8, help="how many people: the fewer, the easier", min=4, max=1500)))
def paraphrase(first: list, second: list) -> str:
    """Say if two sentences state the same fact."""
    return "yes" if first[0][0] == second[0][0] else "no"
