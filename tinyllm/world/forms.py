"""Define sentences with slots (named gaps): fill the slots with values, or read values from a sentence.

    lost = Form("{who} lost a {thing} in {place}.", thing=THINGS, place=PLACES)
    lost.say(who="Mia", thing="kite", place="Nutley")     # "Mia lost a kite in Nutley."
    lost.read("Mia lost a kite in Nutley.")               # {"who": "Mia", "thing": "kite", "place": "Nutley"}
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from tinyllm.world.names import BOYS, COLOURS, FAMILIES, FOODS, GIRLS, JOBS, PASTIMES, PLACES, THINGS

FIRST_NAMES = [*GIRLS, *BOYS]
NAMES = {*FIRST_NAMES, *FAMILIES}
VALUES = {  # relation -> the values that it can have
    "lives_in": PLACES,
    "works_as": list(JOBS),
    "likes": list(FOODS),
    "enjoys": list(PASTIMES),
    "owns": [f"{colour} {thing}" for colour in COLOURS for thing in THINGS],
}


class Shape(NamedTuple):
    """The type of a slot (gap in a sentence): a regular expression, and functions to write and read it."""

    pattern: str
    say: Callable[[Any], str]
    read: Callable[[str], Any]


SHAPES = {
    "any": Shape(r".+?", str, str),
    "text": Shape(r"[^\n,;.?]+?", str, str),
    "int": Shape(r"-?\d{1,12}", str, int),
    "count": Shape(r"[1-9]\d{0,4}", str, int),
    "list": Shape(r"[^\n;.?]+?", ", ".join, lambda text: text.split(", ")),
    "ints": Shape(r"\d[\d, ]*?", lambda ns: str(ns)[1:-1], lambda text: [int(n) for n in text.split(", ")]),
    "row": Shape(r"\S+(?: \S+)*?", " ".join, lambda text: text.split(" ")),
}
_SLOT = re.compile(r"\{(\w+):?(\w*)\}")


class Form:
    """One sentence with slots (named gaps), such as {who} or {n:int}, where int is the type of the value.

    slots: {slot: a list of possible words, or a `Shape` (type)}. A slot that is not in this dict has the type
        named in the sentence, or else the type "text", and takes the shortest text that fits.
    """

    def __init__(self, template: str, **slots: Any):
        self.template = _SLOT.sub(r"{\1}", template)
        self.shapes: dict[str, Shape] = {}
        pattern = ""
        for i, part in enumerate(_SLOT.split(template)):  # words, a slot, its shape, words, ...
            if i % 3 == 0:
                pattern += re.escape(part)
            elif i % 3 == 1:
                slot = part
            elif slot in self.shapes:
                pattern += f"(?P={slot})"
            else:
                given = slots.get(slot, SHAPES[part or "text"])
                if not isinstance(given, Shape):
                    words = sorted(given, key=len, reverse=True)
                    given = Shape("|".join(map(re.escape, words)), str, str)
                self.shapes[slot] = given
                pattern += f"(?P<{slot}>{given.pattern})"
        self._pattern = re.compile(pattern)

    def say(self, **values: Any) -> str:
        """Return the sentence with values in its slots."""
        return self.template.format_map({at: say(values[at]) for at, (_, say, _) in self.shapes.items()})

    def read(self, text: str) -> dict[str, Any] | None:
        """Read the values of the slots from a text; return None if the text is not this sentence."""
        found = self._pattern.fullmatch(text)
        return found and {slot: read(found[slot]) for slot, (_, _, read) in self.shapes.items()}


def read_any(forms: Sequence[Form], text: str) -> tuple[int, dict[str, Any]] | None:
    """Read a text with the first form that fits; return (index of the form, values of its slots), or None."""
    for i, form in enumerate(forms):
        if (values := form.read(text)) is not None:
            return i, values
    return None


def listed(words: Sequence[str]) -> str:
    """Join words as in English: a, b and c."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def lower(sentence: str, names: Iterable[str] = ()) -> str:
    """Turn a sentence into a clause: drop the full stop, and begin in lower case, except for a name."""
    small = sentence if sentence.split(" ")[0] in names else sentence[0].lower() + sentence[1:]
    return small.removesuffix(".")


def upper(part: str) -> str:
    """Turn a clause into a sentence: begin with a capital letter, and end with a full stop."""
    return part[:1].upper() + part[1:] + "."
