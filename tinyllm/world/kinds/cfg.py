"""Write sentences of a small context-free grammar with their exact probabilities."""

import math

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind
from tinyllm.world.sentences import MOST, OTHER, follows, inside, sample, share
from tinyllm.world.world import World


class Cfg(Kind):
    """Write a sentence of a small grammar with nested clauses, or ask if a sentence obeys this grammar.

    `logprob` is the log-probability among sentences with the same number of nouns, and None for questions.
    """

    group = "reasoning"
    splits = {"text": lambda document: document.labels["sentence"]}

    class Dials:
        nouns: int = setting(3, help="how many nouns the sentence has", min=1, max=MOST)
        ask: bool = setting(False, help="ask if the sentence is right; half of them have one wrong word")

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        words = sample(random, dials.nouns)
        if not dials.ask:
            return self._sentence(words)
        if random.integers(2):
            return self._question(words, "yes")
        places = random.shuffle(i for i, word in enumerate(words) if word in OTHER)
        spoilt = (_one_for_many(words, i) for i in places)  # at the latest the last verb is one
        return self._question(next(other for other in spoilt if not inside(other)), "no")

    def _question(self, words, truth):
        labels = {"sentence": " ".join(words), "nouns": words.count("the")}
        return self.asked(f"{' '.join(words)} ?", truth, labels)

    def _sentence(self, words):
        nouns, text = words.count("the"), " ".join(words)
        logprob = math.log(inside(words) / share(nouns))
        return Document(text, {"sentence": text, "nouns": nouns}, logprob=logprob)

    def read(self, world: World, text: str) -> Document | None:
        sentence, asked, truth = text.partition(" ? ")
        words = sentence.split(" ")
        if not 1 <= words.count("the") <= MOST or len(words) > 5 * MOST:
            return None
        good = inside(words) > 0
        if not asked:
            return self._sentence(words) if good else None
        near = (inside(_one_for_many(words, i)) for i, word in enumerate(words) if word in OTHER)
        right = good if truth == "yes" else truth == "no" and not good and any(near)
        return self._question(words, truth) if right else None

    def solve(self, world: World, document: Document) -> str:
        """Say if the sentence obeys the grammar, by the CYK algorithm, which needs no probabilities."""
        if not document.prompt:
            return ""
        return "yes" if follows(document.prompt.removesuffix(" ?").split()) else "no"

    def chance(self, dials: Dials) -> float:
        return 0.5 if dials.ask else 0.0


def _one_for_many(words, i):
    """Exchange singular and plural in word i of some words: owls for owl, sees for see."""
    return [*words[:i], OTHER[words[i]], *words[i + 1 :]]
