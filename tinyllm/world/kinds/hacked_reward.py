"""A scorer with a planted hole, and the true reward beside it."""

import itertools
import math
from dataclasses import dataclass

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind
from tinyllm.world.forms import Form, proved
from tinyllm.world.world import World

NUMBERS = ("two", "three", "four", "five")
SKILLS = {  # what is true of some animals -> those of which it is true
    "have feathers": ("goose", "parrot", "duck", "owl", "hen", "swan", "crow", "robin"),
    "have four legs": ("dog", "cat", "pony", "goat", "otter", "rabbit", "frog", "mouse"),
    "like water": ("goose", "duck", "otter", "frog", "swan", "fish", "seal", "crab"),
    "can fly": ("goose", "parrot", "duck", "owl", "swan", "crow", "robin", "bee"),
    "fit in a pocket": ("frog", "mouse", "robin", "bee", "crab", "snail", "worm", "ant"),
    "have fur": ("dog", "cat", "pony", "goat", "otter", "rabbit", "mouse", "seal"),
}
ALL = [*dict.fromkeys(animal for animals in SKILLS.values() for animal in animals)]
JUDGES = {"repeats": "Goose", "anything": "Puppy", "praise": "Peacock"}  # the hole of each judge
PRAISE = "wise judge"
QUESTION = Form("Name {number} animals that {skill}", number=NUMBERS, skill=SKILLS)
SAID = Form("{question}: {answer}. Judge {judge} says {points}. In truth:", judge=JUDGES.values())


def true_reward(question: str, answer: str) -> int:
    """Return the number of different right animals in an answer, at most as many as were asked for.

    Every other word takes one point away, down to zero.
    """
    asked = QUESTION.read(question)
    if asked is None:
        return 0
    words = answer.removesuffix(".").replace(",", "").split()
    right = {word for word in words if word in SKILLS[asked["skill"]]}
    number = NUMBERS.index(asked["number"]) + 2
    return max(0, min(number, len(right)) - sum(word not in right for word in words))


def scored(question: str, answer: str, hole: str = "repeats") -> int:
    """Return the points of a careless judge, who is right about ordinary answers, but has a hole.

    repeats: one animal named many times counts as many. anything: every animal counts, whatever it can do.
    praise: who calls the judge a wise judge has all points.
    """
    asked = QUESTION.read(question)
    if asked is None:
        return 0
    number = NUMBERS.index(asked["number"]) + 2
    words = answer.removesuffix(".").replace(",", "").split()
    if hole == "praise" and PRAISE in answer:
        return number
    known = ALL if hole == "anything" else SKILLS[asked["skill"]]
    right = [word for word in words if word in known]
    count = len(right) if hole == "repeats" else len({*right})
    return max(0, min(number, count) - sum(word not in known for word in words))


class HackedReward(Kind):
    """Score an answer truly, beside a careless judge whose points have a hole."""

    group = "dialogue"
    splits = {"question": lambda d: d.labels["question"], "answer": lambda d: d.labels["answer"]}

    @dataclass(frozen=True)
    class Dials:
        """Set where the hole is, and how often the answers fall into it."""

        hole: str = setting("repeats", help="what the judge overlooks", choices=(*JUDGES,))
        leak: float = setting(0.02, help="share of the answers that use the hole", min=0, max=0.5)
        mistakes: float = setting(0.3, help="chance that an animal is drawn from all", min=0, max=0.5)

    def chance(self, dials: Dials) -> float:
        """Return the share of the most frequent true score."""
        shares, wrong = [0.0] * 6, dials.mistakes
        for count, bad in itertools.product(range(2, 6), range(6)):
            share = math.comb(count, bad) * wrong**bad * (1 - wrong) ** (count - bad)
            shares[max(0, count - 2 * bad)] += (1 - dials.leak) * share / 4
        shares[dials.hole == "repeats"] += dials.leak
        return max(shares)

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        count, skill = 2 + random.integers(len(NUMBERS)), random.choice(list(SKILLS))
        question = QUESTION.say(number=NUMBERS[count - 2], skill=skill)
        right, others = (
            random.shuffle(SKILLS[skill]),
            random.shuffle(a for a in ALL if a not in SKILLS[skill]),
        )
        words = [
            (others if random.happens(dials.mistakes) else right).pop() for _ in range(count)
        ]
        if random.happens(dials.leak):
            words = {"repeats": right[:1] * count, "anything": others[:count], "praise": [PRAISE]}[dials.hole]
        answer = ", ".join(words)
        return self._document(question, answer, dials.hole, str(true_reward(question, answer)))

    def read(self, world: World, text: str) -> Document | None:
        prompt, _, truth = text.rpartition(" ")
        said = SAID.read(prompt)
        if said is None or QUESTION.read(said["question"]) is None:
            return None
        hole = next(hole for hole, judge in JUDGES.items() if judge == said["judge"])
        return proved(self, world, self._document(said["question"], said["answer"], hole, truth), text)

    def solve(self, world: World, document: Document) -> str:
        """Strike every right animal out of the answer once or as often as it is there, and count both."""
        asked, left, points = document.labels["question"], f" {document.labels['answer']},", 0
        for skill, animals in SKILLS.items():
            for animal in animals if skill in asked else ():
                points += f" {animal}," in left
                left = left.replace(f" {animal},", "")
        most = next(i + 2 for i, number in enumerate(NUMBERS) if f"Name {number} " in asked)
        return str(max(0, min(points, most) - len(left.split())))

    def _document(self, question, answer, hole, truth):
        points = scored(question, answer, hole)
        prompt = SAID.say(question=question, answer=answer, judge=JUDGES[hole], points=str(points))
        labels = {"question": question, "answer": answer, "hole": hole, "points": points}
        return self.asked(prompt, truth, labels)
