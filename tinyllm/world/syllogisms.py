"""List all syllogisms with two or three premises about groups, and derive their answers by rules.

    syllogisms()[0]["yes"][0]  # (premise, premise, goal): facts about groups a, b, c and one person n
"""

from collections import defaultdict
from functools import cache
from itertools import combinations, permutations

from tinyllm.world.facts import Fact, FactBase, read_rules
from tinyllm.world.small_worlds import ANSWERS, OF_GROUPS, relevant

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
    for x, y in ([("n", y) for y in "abc"] if relation in ("is", "not") else permutations("abc", 2))
]


@cache
def syllogisms() -> list[dict[str, list[tuple[Fact, ...]]]]:
    """Return a dict {answer: [(*premises, goal)]} for each form of syllogism.

    The names are a, b and c for groups, and n for a person. A form is a list of relations, such as "every,
    no, therefore some". Forms in which an answer occurs less than four times are left out, so that words
    like "every" and "no" alone never give the answer away.
    """
    found: dict = defaultdict(lambda: {answer: [] for answer in ANSWERS})
    for premises in sorted({_lettered(some) for n in (2, 3) for some in combinations(STATEMENTS, n)}):
        for goal, answer in _goals(premises):
            sorts = *sorted(fact.relation for fact in premises), goal.relation
            found[sorts][answer].append((*premises, goal))
    return [cases for cases in found.values() if min(map(len, cases.values())) >= 4]


def _lettered(facts):
    """Rename the groups and sort the facts, so that syllogisms that differ only in names become equal."""
    ways = [dict(zip("abc", order, strict=True), n="n") for order in permutations("abc")]
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
