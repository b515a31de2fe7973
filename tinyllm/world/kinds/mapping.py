"""Write examples of random mappings; a model can learn a mapping only from the text itself."""

from tinyllm.config import setting
from tinyllm.world import names
from tinyllm.world.forms import ROW
from tinyllm.world.question import asks, dials

LETTERS = list("abcdefghijklmnop")


def _draw(world, random, dials):
    colours = {letter: random.choice(names.COLOURS) for letter in LETTERS[: dials.letters]}
    shown = [random.choice(LETTERS[: dials.letters]) for _ in range(dials.shots)]
    asked = random.choice([letter for letter in LETTERS if letter in shown])
    return {"row": [*(word for letter in shown for word in (letter, colours[letter])), asked]}


def _labels(document):
    words = document.text.split(" ")
    letters, colours = words[::2], words[1::2]
    bayes = [1.0 if x in letters[:i] else 1 / len(names.COLOURS) for i, x in enumerate(letters)]
    known = dict(zip(letters, colours, strict=True))
    return {"map": known, "bayes": bayes, "scored": list(range(1, len(words), 2))}


def _last_shown(row):
    """Look for the last time that the letter was shown."""
    *words, letter = row
    return words[len(words) - words[::-1].index(letter)]


@asks("{row}", slots={"row": ROW}, group="in-context", marker="", options=len(names.COLOURS),
      draw=_draw, second=_last_shown, labels=_labels,
      splits={"map": lambda document: sorted(document.labels["map"].items())},
      Dials=dials(shots=setting(24, help="how many examples come before the question", min=1, max=48),
                  letters=setting(8, help="how many letters there are", min=1, max=len(LETTERS))))
def mapping(row: list[str]) -> str:
    """Find from examples which colour belongs to a letter; the colours are new in every text."""
    known = dict(zip(row[::2], row[1::2], strict=False))
    if not {*row[::2]} <= {*LETTERS} or not {*known.values()} <= {*names.COLOURS}:
        raise ValueError("these are other words")
    if any(known[letter] != colour for letter, colour in zip(row[::2], row[1::2], strict=False)):
        raise ValueError("a letter has two colours")
    return known[row[-1]]
