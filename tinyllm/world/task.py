"""Tasks: small questions with short answers, of which writing and reading are made once for all.

    class Mirror(Task):
        \"\"\"Write a word backwards.\"\"\"

        Dials = sized(6, "how many letters", 2, 12)
        asks = ("{word} in the mirror is", "Backwards, {word} is")

        def draw(self, world: World, random: Random, dials: Any) -> Fields:
            return {"word": babble(random, dials.size)}

        def truth(self, word: str) -> str:
            return word[::-1]

        def second(self, word: str) -> str:
            return "".join(word[-i] for i in range(1, len(word) + 1))

A question is one of the templates `asks` with its fields filled in. So it is read by matching the templates,
and its answer by writing the document again and comparing: no task has a reader of its own.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import make_dataclass
from functools import cached_property
from typing import Any, ClassVar

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world import names
from tinyllm.world.document import Document, Kind

Fields = dict[str, Any]

SHAPES: dict[str, tuple[str, Callable, Callable]] = {  # how a field looks, is written and is read
    "text": (r"[^\n,;.?]+?", str, str),
    "int": (r"-?\d{1,9}", str, int),
    "list": (r"[^\n;.?]+?", ", ".join, lambda text: text.split(", ")),
    "ints": (r"\d[\d, ]*?", lambda ns: str(ns)[1:-1], lambda text: [int(n) for n in text.split(", ")]),
    "row": (r"\S(?: \S)*", " ".join, lambda text: text.split(" ")),
}  # fmt: skip
DRESS = {"way", "name", "x", "y", "ware"}  # fields that do not matter to the answer
_FIELD = re.compile(r"\{(\w+):?(\w*)\}")
NO_YES = ("no", "yes")
VOWELS, CONSONANTS = "aeiou", "bdfgklmnprst"  # of invented words


class _Template:
    """One way to ask: `say` fills the fields in, `match` finds them again at the beginning of a text."""

    def __init__(self, template):
        self.text = _FIELD.sub(r"{\1}", template)
        found = dict(reversed(_FIELD.findall(template)))  # the first place of a field says its shape
        self.shapes = {name: SHAPES[shape or "text"] for name, shape in reversed(found.items())}
        fields = {name: f"(?P<{name}>{pattern})" for name, (pattern, _, _) in self.shapes.items()}
        parts = []
        for i, part in enumerate(_FIELD.split(template)):  # words, a field, its shape, words, ...
            if i % 3 == 0:
                parts.append(re.escape(part))
            elif i % 3 == 1:
                parts.append(fields.pop(part, f"(?P={part})"))
        self.pattern = re.compile("".join(parts) + r"(?: |\Z)")

    def say(self, fields):
        return self.text.format_map({name: say(fields[name]) for name, (_, say, _) in self.shapes.items()})

    def match(self, text):
        if found := self.pattern.match(text):
            return {name: read(found[name]) for name, (_, _, read) in self.shapes.items()}
        return None


class Task(Kind):
    """A question with a short answer; subclasses give `asks`, `draw`, `truth` and `second`.

    asks: templates with fields such as {word}, {n:int}, {items:list}, {ns:ints} or {bits:row}; they end in a
    word or a sign, not in a field. choices: all possible answers, if they are few and equally likely.
    working(**fields) gives the worked steps of a task whose dials have `steps`. By default a question is held
    out with everything that has the same fields, in whatever order and words; names in DRESS do not count.
    """

    marker = "answer: "
    asks: ClassVar[tuple[str, ...]] = ()
    choices: ClassVar[tuple[str, ...]] = ()
    splits: ClassVar[dict[str, Callable[[Document], Any]]] = {
        "question": lambda document: sorted(str(v) for k, v in document.labels.items() if k not in DRESS),
        "way": lambda document: document.labels["way"] == 0,
    }
    truth: Callable[..., str]  # the answer from the fields
    second: Callable[..., str]  # the same by another algorithm
    working: Callable[..., str] | None = None

    def draw(self, world: Any, random: Random, dials: Any) -> Fields:
        """Return the fields of a question."""
        raise NotImplementedError

    def write(self, world: Any, random: Random, dials: Any) -> Document:
        """Draw a question and a way to ask it."""
        fields = self.draw(world, random, dials)
        return self._tell(random.integers(len(self.asks)), fields, getattr(dials, "steps", False))

    def read(self, world: Any, text: str) -> Document | None:
        """Match every way to ask, and write what was found again."""
        for way, template in enumerate(self._templates):
            try:
                if fields := template.match(text):
                    document = self._tell(way, fields, f" {self.marker}" in text)
                    if document.text == text:
                        return document
            except (LookupError, ValueError, ArithmeticError):  # fields that `draw` never gives
                continue
        return None

    def solve(self, world: Any, document: Document) -> str:
        """Take the fields from the prompt, and find the truth in the second way."""
        fields = self._templates[document.labels["way"]].match(document.prompt)
        return self.second(**fields)

    def chance(self, dials: Any) -> float:
        """Return the share of the most frequent answer, or of one option of those that are shown."""
        return 1 / len(self.choices) if self.choices else 0.0

    @cached_property
    def _templates(self):
        return [_Template(template) for template in self.asks]

    def _tell(self, way, fields, steps):
        worked = f"{self.working(**fields)} " if steps and self.working else ""
        prompt = self._templates[way].say(fields)
        return self.asked(prompt, self.truth(**fields), {"way": way, **fields}, worked)


def sized(default: int, help: str, min: int, max: int, steps: bool = False) -> type:
    """Return a class of dials with the difficulty `size`, and with `steps` if a task can show its working."""
    dials: list[tuple[str, type, Any]] = [("size", int, setting(default, help=help, min=min, max=max))]
    if steps:
        dials.append(("steps", bool, setting(False, help="write the working before the answer")))
    return make_dataclass("Dials", dials, frozen=True)


# What tasks are made of.

TABLES = {  # sort of word -> words
    "animal": tuple(names.ANIMALS),
    "food": names.FOODS,
    "job": tuple(names.JOBS),
    "thing": tuple(names.THINGS),
    "colour": tuple(names.COLOURS),
    "town": tuple(names.PLACES),
}
WORDS = tuple(
    sorted({w.lower() for w in (*names.ANIMALS, *names.THINGS, *names.JOBS, *names.COLOURS, *names.FOODS,
            *names.PASTIMES, *names.FAMILIES, *names.PETS) if " " not in w})
)  # fmt: skip
THINGS = tuple(word for sort in ("animal", "food", "thing") for word in TABLES[sort])
FIRST_NAMES = (*names.GIRLS, *names.BOYS)


def pick(random: Random, items: Sequence, n: int) -> list:
    """Draw n different items, in random order; fast if n is much less than their number."""
    chosen: list = []
    while len(chosen) < n:
        item = items[random.integers(len(items))]
        if item not in chosen:
            chosen.append(item)
    return chosen


def babble(random: Random, letters: int) -> str:
    """Make up a word that can be spoken: consonants and vowels in turn."""
    first = random.integers(2)
    return "".join(random.choice(VOWELS if i % 2 == first else CONSONANTS) for i in range(letters))
