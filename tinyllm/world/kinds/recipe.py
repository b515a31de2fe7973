"""Recipes: bring the steps into an order that obeys all rules; often more than one does."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world import names
from tinyllm.world.document import Document, Kind
from tinyllm.world.world import World

STEPS = names.words("wash peel chop salt boil stir mash cool taste fry sift knead whisk grate glaze pour")
SAYINGS = ("{a} before you {b}.", "first {a}, then {b}.", "do not {b} until you {a}.")
QUESTION = "Which order works?"


class Recipe(Kind):
    """Order the steps of a recipe by its rules; every order that obeys them is right."""

    group = "reasoning"
    splits = {
        "steps": lambda document: sorted(document.labels["steps"]),
        "dish": lambda document: document.labels["dish"],
        "text": lambda document: document.prompt,
    }

    @dataclass(frozen=True)
    class Dials:
        length: int = setting(5, help="how many steps there are", min=2, max=7)
        rules: int = setting(4, help="how many rules there are, or as many as there are pairs", min=1, max=21)

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        left = list(STEPS)
        order = [left.pop(random.integers(len(left))) for _ in range(dials.length)]
        pairs = random.shuffle(combinations(order, 2))[: dials.rules]
        rules = [[a, b, random.integers(len(SAYINGS))] for a, b in pairs]
        return self._document(random.choice(names.FOODS), random.shuffle(order), rules)

    def _document(self, dish, steps, rules):
        """Write it down with the first right order: again and again the first listed step that may come."""
        left, order = list(steps), []
        while left:
            free = [step for step in left if not any(a in left and b == step for a, b, _ in rules)]
            if not free:
                return None
            order.append(free[0])
            left.remove(free[0])
        said = " ".join(_capital(SAYINGS[way].format(a=a, b=b)) for a, b, way in rules)
        prompt = f"For {dish}: {', '.join(steps)}. {said} {QUESTION}"
        return self.asked(prompt, ", ".join(order), {"dish": dish, "steps": steps, "rules": rules})

    def read(self, world: World, text: str) -> Document | None:
        head, _, rest = text.partition(". ")
        dish, _, listed = head.removeprefix("For ").partition(": ")
        steps, rules = listed.split(", "), []
        said, found, _ = rest.partition(f" {QUESTION} ")
        for sentence in said.split(". "):
            rule = _read_rule(sentence.removesuffix("."))
            if rule is None or not {*rule[:2]} <= set(steps):
                return None
            rules.append(rule)
        distinct = len(set(steps)) == len(steps) and len({(a, b) for a, b, _ in rules}) == len(rules)
        if not found or dish not in names.FOODS or not set(steps) <= set(STEPS) or not distinct:
            return None
        document = self._document(dish, steps, rules)
        return document if document and document.text == text else None

    def solve(self, world: World, document: Document) -> str:
        """Try all orders, those first that begin as the list does."""
        steps, rules = document.labels["steps"], document.labels["rules"]
        return next(", ".join(order) for order in permutations(steps) if _obeys(order, rules))

    def score_answer(self, answer: str | None, entry: Mapping[str, Any]) -> float:
        """Score an answer: 1.0 for each step once, in any order that obeys the rules in the metadata."""
        order = self.final(answer or "").split(", ")
        labels = entry["metadata"]
        return float(sorted(order) == sorted(labels["steps"]) and _obeys(order, labels["rules"]))


def _obeys(order, rules):
    return all(order.index(a) < order.index(b) for a, b, _ in rules)


def _capital(text):
    return text[0].upper() + text[1:]


def _read_rule(sentence):
    """Return [earlier step, later step, way] of a sentence without its full stop, or None."""
    words = sentence.replace(",", "").lower().split()
    for way, (a, b) in enumerate(((0, -1), (1, -1), (-1, 2))):
        if len(words) > 3 and _capital(SAYINGS[way].format(a=words[a], b=words[b])) == sentence + ".":
            return [words[a], words[b], way]
    return None
