"""Compute the hidden reward, which says how good an answer really is.

    parts = reward(world, "Where does Mia Brown live?", "Gladly: Mia Brown lives in Nutley.")
    sum(parts.values())     # 2.0: right 1.5, polite 0.5

A value said about somebody else is wrong. Politeness counts up to a limit, and repeated words cost points.
A model sees only which of two answers people liked better, and people rarely repeat themselves. So a reward
model that learned from people's answers does not know this cost, and a policy can exploit the gap.
"""

import re
from functools import cache
from itertools import pairwise
from typing import Any

from tinyllm.world.facts import Fact
from tinyllm.world.forms import NAMES, VALUES
from tinyllm.world.phrases import ask

RIGHT, WRONG, HELPFUL, POLITE, LONG, REPEATED, UNFINISHED = 1.5, -0.5, 0.5, 0.5, -0.125, -0.25, -1.0
ENOUGH_POLITE = 2  # more polite words than this give nothing
WORDS = 14  # more words than this cost LONG each
POLITENESS = ("good day", "gladly", "thank you", "dear friend", "with pleasure", "you are welcome")


@cache
def questions(world: Any) -> dict[str, Fact]:
    """Return {question: fact that answers it} for all questions that the reward can judge."""
    facts = [f for p in world.people for r in VALUES for f in world.ask(Fact(p.name, r, None))]
    return {ask(fact): fact for fact in facts}


def reward(world: Any, prompt: str, answer: str) -> dict[str, float]:
    """Return the true reward of an answer as a sum of parts, such as {"right": 1.5, "polite": 0.5, ...}.

    prompt: one of `questions`. For any other prompt, the parts right, wrong and helpful are 0.
    """
    fact = questions(world).get(prompt)
    parts = {"right": 0.0, "wrong": 0.0, "helpful": 0.0}
    if fact is not None:
        others = NAMES.intersection(re.findall(r"\w+", answer)).difference(str(fact.subject).split())
        true = {} if others else vars(world.person(fact.subject))
        said = [value for value in VALUES[fact.relation] if value in answer]
        more = [true[r] for r in VALUES if r in true and r != fact.relation]
        parts["right"] = RIGHT * (true.get(fact.relation) in said)
        parts["wrong"] = WRONG * sum(value != true.get(fact.relation) for value in said)
        parts["helpful"] = HELPFUL * any(value in answer for value in more)
    words = answer.lower().split()
    polite = sum(answer.lower().count(phrase) for phrase in POLITENESS)
    pairs = list(pairwise(words))
    return {
        **parts,
        "polite": POLITE * min(polite, ENOUGH_POLITE),
        "short": LONG * max(0, len(words) - WORDS),
        "repeated": REPEATED * (len(pairs) - len(set(pairs))),
        "finished": 0.0 if answer.endswith(".") else UNFINISHED,
    }
