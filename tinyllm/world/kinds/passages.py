"""Write passages: questions that they answer, summaries, and pairs of sentences that may state one fact."""

import itertools
from collections import Counter

from tinyllm.world.facts import Fact, FactBase
from tinyllm.world.forms import VALUES
from tinyllm.world.names import FOODS, PLACES
from tinyllm.world.phrases import QUESTIONS, STATEMENTS, answer, passage, read_statements, say
from tinyllm.world.question import NO_YES, asks, dials

OBJECTS = VALUES | {"born_in": PLACES}
PEOPLE = {"mother": "woman", "father": "man", "best_friend": "anybody"}
RELATIONS = (*OBJECTS, *PEOPLE)
CHANGES = ("subject", "object", "relation", "roles")
LIKE = {"lives_in": "born_in", "born_in": "lives_in", "mother": "best_friend", "father": "best_friend",
        "likes": "enjoys", "enjoys": "likes"}


def _draw_pair(world, random, names):
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


def _by_wordings(prompt):
    """Solve independently: write the first fact in all four wordings, and look for the second sentence."""
    first, second = prompt.removesuffix(" The same?").split(" / ")
    for fact, _ in read_statements(first):
        for wording in STATEMENTS[fact.relation]:
            said = wording.format(s=fact.subject, o=fact.object)
            if second.lower() == said.lower():
                return "yes"
    return "no"


@asks("{first} / {second} The same?", slots=dict.fromkeys(("first", "second"), passage(*RELATIONS)),
      group="understanding", choices=NO_YES, marker="", draw=_draw_pair, second=_by_wordings,
      labels=lambda first, second: {"subject": first[0][0].subject, "relation": first[0][0].relation,
                                    "ways": [first[0][1], second[0][1]]},
      splits={"wording": lambda d: [d.labels["relation"], sorted(d.labels["ways"])]},
      Dials=dials(names=(8, "how many people: the fewer, the easier", 4, 1500)))
def paraphrase(first: list, second: list) -> str:
    """Say if two sentences state the same fact."""
    return "yes" if first[0][0] == second[0][0] else "no"


FRIEND = "the best friend of "
NOBODY = "Nobody knows"
ASKED = list(VALUES)


def _draw_questions(world, random, unknown, sentences, hops):
    people: list[str] = []
    while len(people) < 3:
        first = random.choice(world.people).first
        people += [first] if first not in people else []
    slots = random.shuffle(itertools.product(people, VALUES))
    asked, friend = slots[0], people[1] if slots[0][0] == people[0] else people[0]
    answered = not random.happens(unknown)
    told = slots[:sentences] if answered else slots[1 : sentences + 1]
    facts = [Fact(person, relation, random.choice(VALUES[relation])) for person, relation in told]
    if hops == 2:
        facts[-1] = Fact(friend, "best_friend", asked[0])
    told = [(fact, random.integers(4)) for fact in random.shuffle(facts)]
    subject = FRIEND + friend if hops == 2 else asked[0]
    return {"told": told, "s": subject, "way": ASKED.index(asked[1])}


def _support(told, s, way):
    """Return the indices of the sentences that lead to the answer; [] if the passage does not hold it."""
    number = {(fact.subject, fact.relation): i for i, (fact, _) in enumerate(told)}
    support, person = [], s.removeprefix(FRIEND)
    if person != s:
        support.append(number.get((person, "best_friend"), 0))
        person = told[support[0]][0].object
    last = number.get((person, ASKED[way]))
    return [] if last is None else [*support, last]


def _by_store(told, s, way):
    """Find the answer independently: put the facts of the passage into a store, and query it."""
    facts, found = FactBase(fact for fact, _ in told), [s]
    if s.startswith(FRIEND):
        found = [f.object for f in facts.find(Fact(s.removeprefix(FRIEND), "best_friend", None))]
    found = [f.object for person in found for f in facts.find(Fact(person, ASKED[way], None))]
    article = "a " if ASKED[way] == "owns" else ""
    return article + found[0] if found else NOBODY


@asks(*[f"{{told}} {QUESTIONS[relation]}" for relation in ASKED],
      slots={"told": passage(*ASKED, "best_friend")}, group="understanding", marker="",
      chance=lambda dials: max(dials.unknown, (1 - dials.unknown) / (len(VALUES) * len(FOODS))),
      draw=_draw_questions, second=_by_store,
      labels=lambda told, s, way: {"asked": [s, ASKED[way]], "known": bool(_support(told, s, way)),
                                   "support": [i + 1 for i in _support(told, s, way)]},
      splits={"combination": lambda d: d.labels["asked"]},
      Dials=dials(sentences=(4, "how many sentences the passage has", 2, 9),
                  hops=(1, "sentences that the answer needs, up to a friend's fact", 1, 2),
                  unknown=(0.2, "share of questions that the passage does not answer", 0, 0.9)))
def reading(told: list, s: str, way: int) -> str:
    """Answer a question from a passage about three people, or say that the answer is missing."""
    support = _support(told, s, way)
    return answer(told[support[-1]][0]) if support else NOBODY


def _draw_passage(world, random, sentences):
    people = random.choice(world.adults), random.choice(world.adults)
    slots = random.shuffle(itertools.product(people, VALUES))
    values = {(person.name, relation): getattr(person, relation) for person, relation in slots}
    told = [(Fact(*slot, value), random.integers(4)) for slot, value in values.items()][:sentences]
    main, way = random.choice(told)
    told.insert(random.integers(len(told) + 1), (main, (way + 1 + random.integers(3)) % 4))
    return {"told": told}


def _twice(told):
    """Find the fact that is told twice; return ([its two wordings], the fact)."""
    facts = [fact for fact, _ in told]
    main = next(fact for fact in facts if facts.count(fact) == 2)
    return [way for fact, way in told if fact == main], main


def _by_counting(world, prompt):
    """Solve independently: count how often each true fact is told."""
    told: Counter = Counter()
    for sentence in prompt.removesuffix(". In short:").split(". "):
        found = {fact for fact, _ in read_statements(f"{sentence}.") if fact.relation in VALUES}
        told.update(fact for fact in found if fact in world.known)
    [(main, _)] = told.most_common(1)
    return STATEMENTS[main.relation][0].format(s=main.subject, o=main.object)


@asks("{told} In short:", slots={"told": passage(*VALUES)}, group="understanding", marker="",
      draw=_draw_passage, second=_by_counting,
      labels=lambda told: {"main": list(_twice(told)[1][:3]), "ways": _twice(told)[0],
                           "sentences": len(told) - 1},
      splits={"entity": lambda d: d.labels["main"][0]},
      Dials=dials(sentences=(4, "how many facts the passage has", 1, 9)))
def summary(told: list) -> str:
    """Sum up a passage in one sentence: the fact that the passage states twice."""
    _, main = _twice(told)
    return say(main)
