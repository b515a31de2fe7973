"""Write pairs of answers; a hidden reward decides which answer of a pair is liked better."""

import re
from typing import Any

from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind, dials
from tinyllm.world.facts import Fact
from tinyllm.world.forms import NAMES, VALUES
from tinyllm.world.phrases import ask, say
from tinyllm.world.reward import POLITENESS, questions, reward
from tinyllm.world.world import World

OPENINGS = ("Good day!", "Gladly.", "Thank you for asking.", "With pleasure.")
CLOSINGS = ("You are welcome.", "All the best, dear friend.", "Thank you.", "Good day to you.")
RAMBLES = (
    "Let me think about it for a while.", "Now that is a long story, and it began with the rain.",
    "My aunt told me once, or perhaps it was the cook.", "Some people say one thing and some another.",
    "I was on my way to the market when I heard of it.",
)
SHRUGS = ("I am not sure.", "Who can tell?", "That is hard to say.")


class Preference(Kind):
    """Write two answers to a question: after "+" the answer that was liked better, after "-" the other."""

    group = "dialogue"
    end = "\n\n"  # an answer has several lines
    options = 2  # two answers; one is better
    splits = {"question": lambda d: d.labels["question"], "entity": lambda d: d.labels["subject"]}
    Dials = dials(length_bias=(0.0, "share of pairs where the longer answer wins", 0, 1),
                  noise=(0.0, "share of pairs that are turned round", 0, 0.5))

    def write(self, world: World, random: Random, dials: Any) -> Document:
        person = random.choice(world.adults)
        relation = random.choice(list(VALUES))
        question = ask(Fact(person.name, relation, None))
        while True:
            pair = [_answer(random, person, relation) for _ in range(2)]
            rewards = [sum(reward(world, question, answer).values()) for answer in pair]
            if rewards[0] != rewards[1]:
                break
        wins = rewards[0] > rewards[1]
        longer = len(pair[0].split()) - len(pair[1].split())
        if random.happens(dials.length_bias) and longer:
            wins = longer > 0
        if random.happens(dials.noise):
            wins = not wins
        if not wins:
            pair, rewards = pair[::-1], rewards[::-1]
        (chosen, rejected), mistaken = pair, rewards[0] < rewards[1]
        labels = {"question": question, "subject": person.name, "chosen": chosen, "rejected": rejected,
                  "rewards": rewards, "mistaken": mistaken}
        better = rejected if mistaken else chosen
        return Document(f"{question}\n+ {chosen}\n- {rejected}", labels, better, prompt=f"{question}\n+")

    def solve(self, world: World, document: Document) -> str:
        """Return the better answer; `_judge` computes the true reward by another algorithm than `write`."""
        question, chosen, rejected = document.text.split("\n")
        scores = [_judge(world, question, answer[2:]) for answer in (chosen, rejected)]
        return (chosen if scores[0] > scores[1] else rejected)[2:]

    def final(self, answer: str) -> str:
        """Return the preferred answer, which is the first line."""
        return super().final(answer.partition("\n")[0])


def _answer(random, person, relation):
    """Draw an answer: wrong facts, politeness, digressions and repeats each have a fixed probability."""
    right, opening, ramble, second, second_right, closing, repeats = (random.integers(100) for _ in range(7))
    value = getattr(person, relation) if right < 65 else random.choice(VALUES[relation])
    fact = say(Fact(person.name, relation, value), random.integers(4))
    said = [random.choice(OPENINGS)] if opening < 35 else []
    said += [random.choice(RAMBLES)] if ramble < 25 else []
    said += [fact if right < 90 else random.choice(SHRUGS)]
    if second < 30:
        other = random.choice([r for r in VALUES if r != relation])
        known = getattr(person, other) if second_right < 80 else random.choice(VALUES[other])
        said.append(say(Fact(person.name, other, known), 0, person.he.capitalize()))
    said += [random.choice(CLOSINGS)] if closing < 35 else []
    if repeats < 3:  # the rare mistake that a reward model hardly learns
        said += [said[-1], random.choice(CLOSINGS)]
    return " ".join(said)


def _judge(world, question, answer):
    """Compute 8 times the true reward from words and facts: a solution that does not use `reward`."""
    subject, relation, *_ = questions(world)[question]
    others = [word for word in re.split(r"\W", answer) if word in NAMES and word not in subject.split()]
    known = {f.relation: f.object for r in VALUES for f in world.ask(Fact(subject, r, None)) if not others}
    found = [value for value in VALUES[relation] if len(re.split(re.escape(value), answer)) > 1]
    words = answer.lower().split()
    eighths = -4 * len(found) + (16 if known.get(relation) in found else 0)
    eighths += 4 if any(value in answer for r, value in known.items() if r != relation) else 0
    eighths += (0, 4, 8)[min(2, len(re.findall("|".join(POLITENESS), answer.lower())))]
    eighths -= len(words[14:]) + (0 if answer[-1:] == "." else 8)
    pairs = [words[i : i + 2] for i in range(len(words) - 1)]
    return eighths - 2 * sum(pair in pairs[:i] for i, pair in enumerate(pairs))
