"""Little stories from a known world: an endless corpus whose entropy is exact.

    from tinyllm.world import stories
    print(stories.generate(seed=0, n=3))        # three stories, each followed by a blank line
    stories.entropy_per_char()                  # nats: no model can have a lower loss on average
    stories.sample(Random(0)).labels            # {"hero": "Lily", "thing": "kite", "plot": "lost", ...}

These functions are about long stories; `grammar("short")` writes short ones. story_tables.py holds the
entities, storylines.py and storylines_short.py the plots; grammar.py writes, parses and measures texts.
"""

import math
from functools import cache

from tinyllm.rng import Random
from tinyllm.world.document import Document
from tinyllm.world.grammar import Grammar
from tinyllm.world.story_tables import TABLES
from tinyllm.world.storylines import RULES
from tinyllm.world.storylines_short import SHORT_RULES

SEPARATOR = "\n\n"  # after every story; it occurs in none
DEFAULT_STORIES = 12_000  # 7.4 MB: more than the default training reads, so that none is learnt by heart
RULES_BY_LENGTH = {"long": RULES, "short": SHORT_RULES}


@cache
def grammar(length: str = "long") -> Grammar:
    """Return the grammar of long or short stories, built and proved unambiguous at first use."""
    return Grammar(RULES_BY_LENGTH[length], TABLES)


def sample(rng: Random) -> Document:
    """Write one story: rng (tinyllm.rng.Random) -> Document(text, labels, logprob in nats)."""
    return grammar().sample(rng)


def generate(seed: int = 0, n: int = DEFAULT_STORIES) -> str:
    """Write n stories, each followed by a blank line -> str.

    Story i depends only on the seed and on i, so a longer corpus begins with the shorter one. All machines
    give the same bytes.
    """
    return "".join(sample(Random(seed, "story", i)).text + SEPARATOR for i in range(n))


def parse(text: str) -> list[Document] | None:
    """Read stories back: text -> list of Document, or None if any part of the text is not of this grammar.

    The last blank line may be missing.
    """
    found, at = [], 0
    while at < len(text):
        read = grammar().parse(text, at)
        if read is None:
            return None
        story, at = read
        if at < len(text) and not text.startswith(SEPARATOR, at):
            return None
        at += len(SEPARATOR)
        found.append(story)
    return found


def logprob(text: str) -> float:
    """Return the exact log-probability of whole stories, in nats; -inf if the grammar cannot write the text.

    A text has at most one derivation (see ambiguity.py), so this is the sum of the log-probabilities of its
    choices. The number of stories has no probability: it is given, as in `generate`.
    """
    read = parse(text)
    return -math.inf if read is None else math.fsum(story.logprob or 0 for story in read)


@cache
def entropy_per_char() -> float:
    """Return the lower bound of the loss per character on this corpus, in nats: H / L.

    H is the entropy of a story, L its mean length with the separator. The text of n stories has -logprob =
    X_1 + ... + X_n and length Y_1 + ... + Y_n, where the pairs (X, Y) are independent and identically
    distributed. By the law of large numbers -logprob / length tends to E[X] / E[Y] = H / L. The mean loss
    per character of any model is -log q(text) / length, where q is the model's probability. By Gibbs'
    inequality E[-log q] is at least E[-log p] = n H. So in the long run H / L bounds the loss of every
    model, whatever its context; a model that knew the grammar and saw the whole story so far would reach it.
    For a short text the bound is a little higher or lower: -logprob(text) / len(text). All text is ASCII, so
    a byte is a character. (Cover and Thomas, Elements of Information Theory, 2.6 and 4.2.)
    """
    nats, chars = grammar().expectation()
    return nats / (chars + len(SEPARATOR))
