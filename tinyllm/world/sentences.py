"""Draw sentences from a small context-free grammar, and compute their exact probabilities.

Clauses contain clauses, so a verb may stand far from the noun with which it agrees. A sentence may have two
derivations: in "the owl saw the goat near the hen", the goat or the seeing may be near the hen. So the
probability of a sentence is a sum over its derivations.
"""

import math
from collections import defaultdict
from functools import cache

from tinyllm.rng import Random

NOUNS = tuple((one, one + "s") for one in ("goat", "owl", "duck", "otter", "hen", "frog"))
ALONE = (("sleeps", "sleep"), ("sings", "sing"), ("waits", "wait"), ("smiles", "smile"))
VERBS = (("sees", "see"), ("hears", "hear"), ("likes", "like"), ("follows", "follow"))
OTHER = {a: b for one, many in NOUNS + ALONE + VERBS for a, b in ((one, many), (many, one))}
MOST = 6  # nouns in a sentence
# {n} is s for one, p for many; the number before a right side is its weight
GRAMMAR = """
S: 1 NPs VPs | 1 NPp VPp
NP: 1 NPs | 1 NPp
NP{n}: 6 the N{n} | 2 the N{n} near NP | 2 the N{n} that R{n}
R{n}: 1 VP{n} | 1 NPs Vs | 1 NPp Vp
VP{n}: 3 A{n} | 3 V{n} NP | 1 V{n} NP near NP
"""


@cache
def rules() -> dict[str, list[tuple[int, tuple[str, ...]]]]:
    """Return the grammar as {symbol: [(weight, right side)]}; a right side has symbols and words."""
    found: dict[str, list[tuple[int, tuple[str, ...]]]] = {}
    for i, n in enumerate("sp"):
        for line in GRAMMAR.strip().format(n=n).splitlines():
            symbol, _, sides = line.partition(": ")
            parts = [side.split() for side in sides.split(" | ")]
            found[symbol] = [(int(weight), tuple(side)) for weight, *side in parts]
        for symbol, words in (("N", NOUNS), ("A", ALONE), ("V", VERBS)):
            found[symbol + n] = [(1, (pair[i],)) for pair in words]
    return found


@cache
def _compiled():
    """Return {symbol: its rules as a tree, with the probability under ""}, and {symbol: {word: probability}}.

    The second dict has every word, and the symbols that always become a single word.
    """
    tries, lexicon = {}, {}
    for symbol, sides in rules().items():
        total, tries[symbol] = sum(weight for weight, _ in sides), {}
        for weight, side in sides:
            at = tries[symbol]
            for part in side:
                at = at.setdefault(part, {})
                if part not in rules():
                    lexicon[part] = {part: 1.0}
            at[""] = weight / total
        if all(len(side) == 1 and side[0] not in rules() for _, side in sides):
            lexicon[symbol] = {side[0]: weight / total for weight, side in sides}
    return tries, lexicon


def inside(words: list[str]) -> float:
    """Return the probability of a sentence: the sum of the probabilities of its derivations.

    For every symbol and every start in the sentence, the possible ends are found once, each with the
    probability of the words up to there. Rules that begin alike share this work. (Lari and Young, 1990.)
    """
    known: dict[tuple[str, int], dict[int, float]] = {}
    tries, lexicon = _compiled()

    def walk(trie, at, p, out):
        for part, rest in trie.items():
            if part in lexicon:
                if q := lexicon[part].get(words[at]) if at < len(words) else None:
                    walk(rest, at + 1, p * q, out)
            elif part:
                if (part, at) not in known:
                    walk(tries[part], at, 1.0, known.setdefault((part, at), {}))
                for end, q in known[part, at].items():
                    walk(rest, end, p * q, out)
            else:
                out[at] = out.get(at, 0.0) + p * rest

    whole: dict[int, float] = {}
    walk(tries["S"], 0, 1.0, whole)
    return whole.get(len(words), 0.0)


@cache
def share(nouns: int) -> float:
    """Return the probability that a sentence of the grammar has exactly `nouns` nouns.

    Round n finds, for every symbol, the distribution of nouns in derivations of depth n, from the
    distributions of round n - 1. After 40 rounds, all sentences of up to MOST nouns are counted.
    """
    table = {symbol: [0.0] * (MOST + 1) for symbol in rules()}
    for _ in range(40):
        table = {symbol: _mix(sides, table) for symbol, sides in rules().items()}
    return table["S"][nouns]


def _mix(sides, table):
    """Return the distribution of the nouns in a symbol: a mixture over its rules of convolutions."""
    total = [0.0] * (MOST + 1)
    for weight, side in sides:
        here = [weight / sum(other for other, _ in sides)] + [0.0] * MOST
        for part in side:  # the word `the` stands before each noun, and nowhere else
            more = table.get(part, [0.0, 1.0] if part == "the" else [1.0])
            here = [math.fsum(here[n - k] * p for k, p in enumerate(more[: n + 1])) for n in range(MOST + 1)]
        total = [a + b for a, b in zip(total, here, strict=True)]
    return total


def sample(random: Random, nouns: int) -> list[str]:
    """Draw a sentence with exactly `nouns` nouns (1 to MOST) by rejection sampling."""
    draws = _draws()
    shape: list[str] = []
    while not shape:
        shape = _shape(random, nouns, draws)
    return [random.choice(draws[part])[0][0] if part in draws else part for part in shape]


def _shape(random, nouns, draws):
    """Draw a sentence as a list of parts of speech; [] as soon as it cannot have `nouns` nouns."""
    lexicon, out, stack, more = _compiled()[1], [], ["S"], nouns - 1
    while stack:
        symbol = stack.pop()
        if symbol in lexicon:
            out.append(symbol)
            continue
        side, added = random.choice(draws[symbol])
        more -= added
        if more < 0:
            return []
        stack.extend(side)
    return [] if more else out


@cache
def _draws():
    """Return {symbol: [(right side backwards, nouns it adds)]} to draw from, each repeated by its weight."""
    found = {}
    for symbol, sides in rules().items():
        replaced = symbol in ("S", "NP")  # has one noun or more, and gives way to a part that has
        found[symbol] = [
            (side[::-1], sum(part[:2] == "NP" for part in side) - replaced)
            for weight, side in sides
            for _ in range(weight)
        ]
    return found


@cache
def _binary():
    """Return the grammar in binary form, for CYK: {part: wholes of one part}, {left: {(whole, right)}}."""
    ones, pairs = defaultdict(set), defaultdict(set)
    for symbol, sides in rules().items():
        for _, side in sides:
            whole = symbol
            while len(side) > 2:
                rest = " ".join(side[1:])
                pairs[side[0]].add((whole, rest))
                whole, side = rest, side[1:]
            if len(side) == 2:
                pairs[side[0]].add((whole, side[1]))
            else:
                ones[side[0]].add(whole)
    return ones, pairs


def follows(words: list[str]) -> bool:
    """Return True if the words are a sentence of the grammar (CYK algorithm)."""
    ones, pairs = _binary()
    table: dict[tuple[int, int], set[str]] = {}
    for size in range(1, len(words) + 1):
        for i in range(len(words) - size + 1):
            here = {words[i]} if size == 1 else set()
            for k in range(i + 1, i + size):
                rights = table[k, i + size]
                here |= {s for left in table[i, k] for s, right in pairs[left] if right in rights}
            while more := {s for one in here for s in ones[one]} - here:
                here |= more
            table[i, i + size] = here
    return "S" in table[0, len(words)]
