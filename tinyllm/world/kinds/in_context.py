"""Write texts whose answers follow from earlier parts of the same text: in-context learning.

Each word is one token; labels["scored"] lists the positions of the words that can be predicted from earlier
ones: only these should count in a loss.
"""

from tinyllm.world import names
from tinyllm.world.question import asks, dials, take

KEYS = [name for pair in zip(names.GIRLS[:12], names.BOYS[:12], strict=True) for name in pair]
VALUES = [*names.THINGS, *names.ANIMALS]


# All pairs come before the first call, and each name is equally likely to be called. If calls came between
# the pairs, the most frequent thing would be a good guess, and small models would learn nothing else.
def _pairs_and_calls(random, dials):
    n, most = 2 + random.integers(dials.pairs - 1), max(dials.pairs, dials.names)
    keys, values = take(random, KEYS[:most], n), take(random, VALUES[:most], n)
    pairs = dict(zip(keys, values, strict=True))
    called = [random.choice(keys) for _ in range(dials.queries)]
    return {"row": [word for key in (*keys, *called) for word in (key, pairs[key])][:-1]}


def _calls(row):
    pairs = dict(zip(row[::2], row[1::2], strict=False))
    return {"pairs": pairs, "scored": list(range(2 * len(pairs) + 1, len(row) + 1, 2))}


@asks("{row:row}", group="in-context", marker="", draw=_pairs_and_calls, labels=_calls,
      second=lambda row: row[row.index(row[-1]) + 1],
      chance=lambda dials: 1 / max(dials.pairs, dials.names),
      splits={"pairs": lambda document: sorted(document.labels["pairs"].items())},
      Dials=dials(pairs=(8, "how many people with a thing there are at most", 2, len(KEYS)),
                  names=(8, "of how many names and things they are; at least pairs", 2, len(KEYS)),
                  queries=(16, "how often somebody is called", 1, 48)))
def recall(row: list[str]) -> str:
    """Remember who has which thing, and say the thing when the person is called (associative recall)."""
    return dict(zip(row[::2], row[1::2], strict=False))[row[-1]]


LETTERS = list("abcdefghijklmnop")


def _pairs_of_letters(random, letters, shots):
    colours = {letter: random.choice(names.COLOURS) for letter in LETTERS[:letters]}
    shown = [random.choice(LETTERS[:letters]) for _ in range(shots)]
    asked = random.choice([letter for letter in LETTERS if letter in shown])
    return {"row": [*(word for letter in shown for word in (letter, colours[letter])), asked]}


def _colours(document):
    words = document.text.split(" ")
    letters, colours = words[::2], words[1::2]
    bayes = [1.0 if x in letters[:i] else 1 / len(names.COLOURS) for i, x in enumerate(letters)]
    known = dict(zip(letters, colours, strict=True))
    return {"map": known, "bayes": bayes, "scored": list(range(1, len(words), 2))}


@asks("{row:row}", group="in-context", marker="", options=len(names.COLOURS),
      draw=_pairs_of_letters, labels=_colours,
      second=lambda row: row[-1 - row[-2::-1].index(row[-1])],  # what followed the letter the last time
      splits={"map": lambda document: sorted(document.labels["map"].items())},
      Dials=dials(shots=(24, "how many examples come before the question", 1, 48),
                  letters=(8, "how many letters there are", 1, len(LETTERS))))
def mapping(row: list[str]) -> str:
    """Find from examples which colour belongs to a letter; the colours are new in every text."""
    return dict(zip(row[::2], row[1::2], strict=False))[row[-1]]


ROLL = names.GIRLS[:32] + names.BOYS[:32]
LENGTH = 63  # names before the one that is asked for


@asks("{row:row}", group="in-context", marker="", options=len(ROLL),
      draw=lambda random, longest: {
          "row": (take(random, ROLL, 8 + random.integers(longest - 7)) * 8)[:LENGTH]},
      second=lambda row: row[-next(shift for shift in range(1, len(row)) if row[shift:] == row[:-shift])],
      labels=lambda row: {"period": len({*row}), "scored": list(range(len({*row}) + 1, len(row) + 1))},
      splits={"text": lambda document: document.text, "period": lambda document: document.labels["period"]},
      Dials=dials(longest=(31, "the most names before they repeat", 8, 31)))
def induction(row: list[str]) -> str:
    """Continue a roll call that is repeated again and again."""
    return row[-len({*row})]
