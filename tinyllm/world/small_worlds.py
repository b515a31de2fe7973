"""Decide what follows from a few statements: enumerate all small worlds in which they hold, or use rules.

    premises = [Fact("baker", "every", "dreamer"), Fact("Mia", "is", "baker")]
    decide(premises, Fact("Mia", "is", "dreamer"))  # "yes"

The answer is "yes" if the goal is true in all of these worlds, "no" if it is true in none, and "perhaps" if
it is true in some. Every group has a member. A person has one mother, one father, one home and one job.

    syllogisms()[0]["yes"][0]  # (premise, premise, goal): facts about groups a, b, c and one person n

For statements about groups, rules give the same answers, and faster.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from tinyllm.world.facts import Fact, FactBase, read_rules
from tinyllm.world.names import JOBS

ANSWERS = ("yes", "no", "perhaps")
OF_GROUPS = ("every", "no", "some", "is", "not")
OF_FAMILIES = ("mother", "father", "grandmother", "grandfather", "best_friend")


def decide(premises: Iterable[Fact], goal: Fact) -> str:
    """Return "yes" if the goal follows from the premises, "no" if it contradicts them, else "perhaps"."""
    used = relevant(premises, goal)
    if goal.relation in OF_GROUPS or goal.relation in OF_FAMILIES:
        return _decide(*renamed(used, goal))
    return _decide(tuple(used), goal)


def relevant(premises: Iterable[Fact], goal: Fact) -> list[Fact]:
    """Return the premises that are linked to the goal by shared names, directly or through other premises."""
    left, names, used = list(premises), {goal.subject, goal.object}, []
    while joined := [fact for fact in left if fact.subject in names or fact.object in names]:
        used += joined
        left = [fact for fact in left if fact not in joined]
        names.update(name for fact in joined for name in (fact.subject, fact.object))
    return used


def renamed(premises: Sequence[Fact], goal: Fact) -> tuple[tuple[Fact, ...], Fact]:
    """Return (premises, goal) with letters in place of names, and with the premises in a fixed order."""
    orders, relations = [], sorted(fact.relation for fact in premises)
    for order in itertools.permutations(premises):
        if [fact.relation for fact in order] != relations:
            continue
        names: dict = {}
        for fact in (*order, goal):
            for name in (fact.subject, fact.object):
                names.setdefault(name, "abcdefghij"[len(names)])
        facts = [Fact(names[fact.subject], fact.relation, names[fact.object]) for fact in (*order, goal)]
        orders.append((tuple(facts[:-1]), facts[-1]))
    return min(orders)


@cache
def _decide(premises, goal):
    special = dict.fromkeys(OF_GROUPS, _worlds_of_groups) | dict.fromkeys(OF_FAMILIES, _worlds_of_families)
    worlds = special.get(goal.relation, _worlds_of_work)((*premises, goal))
    found = {goal in world for world in worlds if all(fact in world for fact in premises)}
    return "perhaps" if len(found) == 2 else "yes" if True in found else "no"


def _worlds_of_groups(facts) -> Iterator[set]:
    """Yield all worlds of groups and people as sets of facts: all ways to fill a Venn diagram."""
    people = sorted({fact.subject for fact in facts if fact.relation in ("is", "not")})
    groups = sorted({name for fact in facts for name in (fact.subject, fact.object)} - {*people})
    regions = [set(s) for n in range(len(groups) + 1) for s in itertools.combinations(groups, n)]
    for filled in itertools.product((False, True), repeat=len(regions)):
        inside = [region for region, full in zip(regions, filled, strict=True) if full]
        true = set()
        for x, y in itertools.permutations(groups, 2):
            both = [y in region for region in inside if x in region]
            true |= {Fact(x, "every", y)} if all(both) else set()
            true |= {Fact(x, "some", y)} if any(both) else {Fact(x, "no", y)}
        if all(any(group in region for region in inside) for group in groups):
            for places in itertools.product(inside, repeat=len(people)):
                who = [Fact(person, "is" if group in place else "not", group)
                       for person, place in zip(people, places, strict=True) for group in groups]
                yield true.union(who)


def _worlds_of_families(facts) -> Iterator[set]:
    """Yield all worlds of families as sets of facts: all choices of mothers, fathers and best friends."""
    people = sorted({name for fact in facts for name in (fact.subject, fact.object)})
    slots = [(relation, x) for relation in ("mother", "father", "best_friend") for x in people]
    given = {(fact.relation, fact.subject): [fact.object] for fact in facts[:-1]}
    options = [given.get(slot) or [None, *(x for x in people if x != slot[1])] for slot in slots]
    for values in itertools.product(*options):
        one = {slot: value for slot, value in zip(slots, values, strict=True) if value}
        mothers, fathers = ({y for (r, _), y in one.items() if r == of} for of in ("mother", "father"))
        true = {Fact(x, relation, y) for (relation, x), y in one.items()}
        parents = {(x, y) for (relation, x), y in one.items() if relation != "best_friend"}
        grand = {(x, z) for x, y in parents for y2, z in parents if y == y2}
        oldest = {(x, u) for x, z in grand for z2, u in parents if z == z2}
        if mothers & fathers or any(x == y for x, y in grand | oldest):
            continue
        true |= {Fact(x, "grandmother" if z in mothers else "grandfather", z) for x, z in grand}
        yield true


def _worlds_of_work(facts) -> Iterator[set]:
    """Yield all worlds of one person as sets of facts: all choices of a job, a home, tastes and skills."""
    who = facts[-1].subject
    homes = [*sorted({fact.object for fact in facts if fact.relation == "lives_in"}), "elsewhere"]
    free = sorted({Fact(who, *fact[1:3]) for fact in facts if fact.relation in ("likes", "can")})
    for (job, (skill, _, place)), home in itertools.product(JOBS.items(), homes):
        sure = {Fact(who, "works_as", job), Fact(who, "can", skill), Fact(who, "works_at", place),
                Fact(who, "lives_in", home)}
        for n in range(len(free) + 1):
            for more in itertools.combinations(free, n):
                yield sure.union(more)


GROUP_RULES = read_rules("""
every(x, z) if every(x, y), every(y, z), x != z
some(x, y) if every(x, y)
some(y, x) if some(x, y)
some(x, z) if some(x, y), every(y, z), x != z
some(x, y) if is(n, x), is(n, y), x != y
no(y, x) if no(x, y)
no(x, z) if every(x, y), no(y, z)
not_every(x, y) if no(x, y)
not_every(x, z) if some(x, y), no(y, z)
not_every(x, z) if every(y, x), not_every(y, z)
not_every(x, y) if not_every(x, z), every(y, z)
not_every(x, y) if is(n, x), not(n, y)
is(n, y) if is(n, x), every(x, y)
not(n, y) if is(n, x), no(x, y)
not(n, x) if not(n, y), every(x, y)
""")
DENIALS = {"every": "not_every", "some": "no", "no": "some", "is": "not", "not": "is"}
STATEMENTS = [
    Fact(x, relation, y)
    for relation in OF_GROUPS
    for x, y in ([("n", y) for y in "abc"] if relation in ("is", "not") else itertools.permutations("abc", 2))
]


@cache
def syllogisms() -> list[dict[str, list[tuple[Fact, ...]]]]:
    """Return a dict {answer: [(*premises, goal)]} for each form of syllogism.

    The names are a, b and c for groups, and n for a person. A form is a list of relations, such as "every,
    no, therefore some". Forms in which an answer occurs less than four times are left out, so that words
    like "every" and "no" alone never give the answer away.
    """
    found: dict = defaultdict(lambda: {answer: [] for answer in ANSWERS})
    pairs, triples = (itertools.combinations(STATEMENTS, n) for n in (2, 3))
    for premises in sorted({_lettered(some) for some in (*pairs, *triples)}):
        for goal, answer in _goals(premises):
            sorts = *sorted(fact.relation for fact in premises), goal.relation
            found[sorts][answer].append((*premises, goal))
    return [cases for cases in found.values() if min(map(len, cases.values())) >= 4]


def _lettered(facts):
    """Rename the groups and sort the facts, so that syllogisms that differ only in names become equal."""
    ways = [dict(zip("abc", order, strict=True), n="n") for order in itertools.permutations("abc")]
    return min(tuple(sorted(Fact(way[s], relation, way[o]) for s, relation, o, _ in facts)) for way in ways)


def _goals(premises):
    """Return [(goal, answer)] for the goals linked with all premises; [] if these contradict each other.

    The rules are complete: enumerating all small worlds (`small_worlds.decide`) gives the same answers.
    """
    known, found = FactBase(premises, GROUP_RULES), []
    for goal in STATEMENTS:
        true, false = goal in known, goal._replace(relation=DENIALS[goal.relation]) in known
        if true and false:
            return []
        if goal not in premises and len(relevant(premises, goal)) == len(premises):
            found.append((goal, "yes" if true else "no" if false else "perhaps"))
    return found
