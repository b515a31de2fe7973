"""Write little stories by a grammar: an endless corpus whose exact entropy is known.

    from tinyllm.world import stories
    print(stories.generate(seed=0, n=3))        # three stories, each followed by a blank line
    stories.entropy_per_char()                  # nats: no model can have a lower loss on average
    stories.grammar().sample(Random(0)).labels  # {"hero": "Lily", "thing": "kite", "plot": "lost", ...}

These functions write long stories; `grammar("short")` is the grammar of short stories. The entities
are in story_tables.py, the plots in storylines.py.
"""

from functools import cache

from tinyllm.rng import Random
from tinyllm.world.grammar import Grammar
from tinyllm.world.story_tables import TABLES
from tinyllm.world.storylines import RULES

SEPARATOR = "\n\n"  # after every story; it occurs in none
DEFAULT_STORIES = 12_000  # 7.4 MB: more than the default training reads, so that none is learnt by heart


@cache
def grammar(length: str = "long") -> Grammar:
    """Return the grammar of "long" or "short" stories; it is built and checked when it is first used."""
    return Grammar(RULES[length], TABLES)


def generate(seed: int = 0, n: int = DEFAULT_STORIES) -> str:
    """Write a text of n stories, each followed by a blank line; all machines write the same bytes.

    Story i depends only on the seed and on i, so longer corpora begin with the same stories.
    """
    return "".join(grammar().sample(Random(seed, "story", i)).text + SEPARATOR for i in range(n))


@cache
def entropy_per_char() -> float:
    """Return the lowest possible loss per character on this corpus in nats, which is H / L.

    H is the entropy of a story, and L is the mean length of a story with its separator. For n stories,
    -logprob is X_1 + ... + X_n and the length is Y_1 + ... + Y_n, where the pairs (X, Y) are independent and
    identically distributed. By the law of large numbers, -logprob / length tends to E[X] / E[Y] = H / L.
    The loss of a model is -log q(text) / length, where q is the model's probability. By Gibbs' inequality,
    E[-log q] is at least E[-log p] = n H. So H / L is a lower bound for every model in the long run; a model
    that knows the grammar and sees the whole story so far reaches it. All text is ASCII, so a byte is a
    character. (Cover and Thomas, Elements of Information Theory, 2.6 and 4.2.)
    """
    nats, chars = grammar().expectation()
    return nats / (chars + len(SEPARATOR))
