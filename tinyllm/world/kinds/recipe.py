"""Write steps of recipes with rules about their order; often several orders obey all rules."""

from itertools import combinations, permutations

from tinyllm.world import names
from tinyllm.world.document import Document
from tinyllm.world.forms import Form, Shape, read_any
from tinyllm.world.question import asks, dials, take

DISHES = names.table("""
apple pie: peel the apples, roll the dough, grease the tin, heat the oven, crack the nuts, wash the raisins,
    melt the butter
barley soup: wash the barley, chop the onions, slice the leeks, peel the carrots, boil the water,
    grind the pepper, warm the bowls
dumplings: mash the potatoes, crumble the bread, beat the eggs, chop the parsley, grate the nutmeg,
    boil the water, weigh the flour
gingerbread: warm the honey, sift the flour, grate the ginger, beat the eggs, grease the tin, heat the oven,
    chop the almonds
mushroom stew: clean the mushrooms, chop the onions, slice the bacon, pick the thyme, melt the butter,
    light the stove, whip the cream
nut cake: crack the nuts, sift the flour, beat the eggs, melt the butter, grease the tin, heat the oven,
    squeeze the lemon
pancakes: sift the flour, beat the eggs, warm the milk, melt the butter, heat the pan, wash the berries,
    open the jam
plum jam: wash the plums, weigh the sugar, scrub the jars, squeeze the lemon, cut the labels, light the stove,
    grind the cloves
""")  # dish -> what to do first, in any order
STEPS = sorted({step for steps in DISHES.values() for step in steps})
SAYINGS = [Form(saying, a=STEPS, b=STEPS) for saying in (
    "{a} before you {b}.", "first {a}, then {b}.", "do not {b} until you {a}.")]


def _say(rules):
    return " ".join(SAYINGS[way].say(a=a, b=b).capitalize() for a, b, way in rules)


def _read(text):
    found = [read_any(SAYINGS, f"{sentence}.".lower()) for sentence in text.removesuffix(".").split(". ")]
    return [[values["a"], values["b"], way] for way, values in filter(None, found)]


def _draw(random, dials):
    dish = random.choice(list(DISHES))
    order = take(random, DISHES[dish], dials.length)
    pairs = random.shuffle(combinations(order, 2))[: dials.rules]
    rules = [[a, b, random.integers(len(SAYINGS))] for a, b in pairs]
    return {"dish": dish, "steps": random.shuffle(order), "rules": rules}


def _obeys(order, rules):
    return all(order.index(a) < order.index(b) for a, b, _ in rules)


def _score(answer: str | None, document: Document) -> float:
    """Score an answer: 1.0 if it holds each step once in an order that obeys the rules, else 0.0."""
    order, labels = recipe.final(answer or "").split(", "), document.labels
    return float(sorted(order) == sorted(labels["steps"]) and _obeys(order, labels["rules"]))


@asks("For {dish}: {steps:list}. {rules} Which order works?",
      slots={"dish": DISHES, "rules": Shape(r".+?\.", _say, _read)},
      group="reasoning", marker="", score_answer=_score, draw=_draw, labels=lambda fields: fields,
      second=lambda steps, rules: next(", ".join(o) for o in permutations(steps) if _obeys(o, rules)),
      splits={"steps": lambda d: sorted(d.labels["steps"])},
      Dials=dials(length=(5, "how many steps there are", 2, 7),
                  rules=(4, "how many rules there are, or as many as there are pairs", 1, 21)))
def recipe(steps: list[str], rules: list) -> str:
    """Put the steps of a recipe into an order that obeys all rules; every such order is right."""
    left, order = list(steps), []
    while left:  # take the first listed step that the rules allow next
        order.append(next(step for step in left if not any(a in left and b == step for a, b, _ in rules)))
        left.remove(order[-1])
    return ", ".join(order)
