"""Sentences with slots, which are written from values and read back to them.

    lost = Form("{who} lost a {thing} in {place}.", thing=THINGS, place=PLACES)
    lost.say(who="Mia", thing="kite", place="Nutley")     # "Mia lost a kite in Nutley."
    lost.read("Mia lost a kite in Nutley.")               # {"who": "Mia", "thing": "kite", "place": "Nutley"}
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache, cached_property
from typing import Any

from tinyllm.world.document import Document, Kind
from tinyllm.world.names import BOYS, COLOURS, FOODS, GIRLS, JOBS, PASTIMES, PLACES, THINGS

FIRST_NAMES = [*GIRLS, *BOYS]
VALUES = {  # what everybody has, and what it can be
    "lives_in": PLACES,
    "works_as": list(JOBS),
    "likes": list(FOODS),
    "enjoys": list(PASTIMES),
    "owns": [f"{colour} {thing}" for colour in COLOURS for thing in THINGS],
}


class Form:
    """One sentence with slots; a slot without a list of words takes any text, as little as possible."""

    def __init__(self, template: str, **words: Iterable[str]):
        self.template, self.words = template, words

    def say(self, **values: str) -> str:
        """Return the sentence with these values in its slots."""
        return self.template.format(**values)

    def read(self, text: str) -> dict[str, str] | None:
        """Return the values of the slots, or None if the text is not this sentence."""
        match = self._pattern.fullmatch(text)
        return match.groupdict() if match else None

    @cached_property
    def _pattern(self):
        pattern, seen = "", set()
        for i, piece in enumerate(re.split(r"\{(\w+)\}", self.template)):
            if i % 2 == 0:
                pattern += re.escape(piece)
            elif piece in seen:
                pattern += f"(?P={piece})"
            else:
                words = sorted(self.words.get(piece, ()), key=len, reverse=True)
                pattern += f"(?P<{piece}>{'|'.join(map(re.escape, words)) or '.+?'})"
                seen.add(piece)
        return re.compile(pattern)


def read_any(forms: Sequence[Form], text: str) -> tuple[int, dict[str, str]] | None:
    """Return the number of the first form that a text is of, with its values, or None."""
    for i, form in enumerate(forms):
        if (values := form.read(text)) is not None:
            return i, values
    return None


def proved(kind: Kind, world: Any, document: Document, text: str) -> Document | None:
    """Return a document that was read, if it has this text and the truth that `solve` derives, else None."""
    return document if document.text == text and kind.solve(world, document) == document.truth else None


@cache
def grown_ups(world: Any) -> list[Any]:
    """Return the people of whom everything in VALUES is known; in an early year some are children."""
    return [person for person in world.people if all(hasattr(person, relation) for relation in VALUES)]


def listed(words: Sequence[str]) -> str:
    """Return words as a list in English: a, b and c."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def lower(sentence: str, names: Iterable[str] = ()) -> str:
    """Return a sentence as a part of another: no full stop, and a small letter first unless it is a name."""
    small = sentence if sentence.split(" ")[0] in names else sentence[0].lower() + sentence[1:]
    return small.removesuffix(".")


def upper(part: str) -> str:
    """Return the whole sentence of which `lower` made a part."""
    return part[:1].upper() + part[1:] + "."
