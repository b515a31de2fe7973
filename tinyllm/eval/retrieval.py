"""Find passages for a question, by their words or by vectors, and see if an answer names its source."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.errors import UserError
from tinyllm.eval.ask import Answer
from tinyllm.runs import Opened
from tinyllm.world.kinds.retrieval import RELATIONS
from tinyllm.world.phrases import say

WORD = re.compile(r"\w+")


class Index:
    """A list of passages that can be searched: by BM25, or with an encoder by the vectors of their meanings.

    Raises UserError when there are no passages, or the model makes no vectors of texts.
    """

    def __init__(self, passages: Sequence[str], encoder: Opened | None = None):
        if not passages:
            raise UserError("an index needs at least one passage")
        if encoder and not hasattr(encoder.model, "embed_sentences"):
            raise UserError(f"a {type(encoder.model).__name__} makes no vectors of texts: take a BERT")
        self.passages, self.encoder = list(passages), encoder
        self._known = self._embed(passages) if encoder else [WORD.findall(text.lower()) for text in passages]

    def scores(self, query: str) -> np.ndarray:
        """Return how well each passage fits a query (N,)."""
        if self.encoder:
            return self._known @ self._embed([query])[0]
        return ops.bm25_scores(self._known, WORD.findall(query.lower()))

    def search(self, query: str, k: int = 3) -> list[int]:
        """Return the places of the k passages that fit best, the best first; of equal ones the first."""
        return np.argsort(-self.scores(query), kind="stable")[:k].tolist()

    def best(self, query: str) -> str:
        """Return the passage that fits best. Raises UserError when no word of the query is in any."""
        scores = self.scores(query)
        if not self.encoder and not scores.any():
            raise UserError(f"no passage has a word of {query!r}")
        return self.passages[int(np.argmax(scores))]

    def _embed(self, texts):
        model, tokenizer = self.encoder.model, self.encoder.tokenizer
        return model.embed_sentences([model.framed(tokenizer.special_tokens, tokenizer.encode(text))[0]
                                      for text in texts])


def passages_of(world: Any) -> list[str]:
    """Return a sentence about each fact that the questions of the kind `retrieval` may ask for."""
    adults = {person.name for person in world.adults}
    facts = [fact for fact in world.facts() if fact.subject in adults and fact.relation in RELATIONS]
    return [say(fact, i % 4) for i, fact in enumerate(facts)]


def attribution(found: Sequence[Answer]) -> dict[str, float]:
    """Return the shares of answers, such as "Nutley [2]", that are right, have a wrong source, or are wrong.

    The words of an answer with a wrong source are right, but not the number of the passage.
    """
    count = dict.fromkeys(("right", "wrong source", "wrong"), 0)
    for answer in found:
        said, truth = (text.strip().rpartition(" [")[0] for text in (answer.text, answer.item.truth))
        count["right" if answer.score == 1 else "wrong source" if truth and said == truth else "wrong"] += 1
    return {name: n / len(found) for name, n in count.items()}
