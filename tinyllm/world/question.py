"""Make kinds of text with questions and short answers, each of them defined by a function.

    @asks(
        "{word} in the mirror is",
        "Backwards, {word} is",
        size=(6, "how many letters the word has", 2, 12),
        draw=lambda random, size: {"word": babble(random, size)},
        second=lambda word: "".join(word[-i] for i in range(1, len(word) + 1)),
    )
    def mirror(word: str) -> str:
        \"\"\"Write a word backwards.\"\"\"
        return word[::-1]

The decorated function finds the answer from the fields of a question. A question is one of the templates with
values in its fields. To solve a question, its fields are read from the text by matching the templates.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar

from tinyllm.rng import Random
from tinyllm.world import names
from tinyllm.world.document import Document, Kind, dials
from tinyllm.world.forms import Form

Fields = dict[str, Any]

DRESS = {"way", "name", "x", "y", "ware"}  # fields that do not matter to the answer
NO_YES = ("no", "yes")
VOWELS, CONSONANTS = "aeiou", "bdfgklmnprst"  # for invented words


class QuestionKind(Kind):
    """A kind of text with a question and a short answer, made from a function by the decorator `asks`.

    asks: templates with fields such as {word}, {n:int}, {items:list}, {ns:ints} or {bits:row}.
    draw: a function that returns {field: value}. An entry "way" chooses the template; without it, the
        template is drawn.
    truth, second: two functions that find the answer by different algorithms.
    working: a function that returns the steps before the answer; a dial `steps` can switch them off.
    labels: a function that returns a document's labels: facts about the text.
    slots: the values that fields can have, as in forms.Form.

    The functions get the values that their parameters name: fields, `world`, `way`, `fields` (a dict of
    all), `truth` (the function), and `document` in labels, `prompt` in second; draw gets `world`, `random`,
    each dial, and `dials`. By default, questions with the same fields in any order and wording are held out
    together; the fields in DRESS do not count.
    """

    marker = "answer: "
    labels: Callable[..., dict] | None = None
    working: Callable[..., str] | None = None
    splits: ClassVar[dict[str, Callable[[Document], Any]]] = {
        "question": lambda document: sorted(str(v) for k, v in document.labels.items() if k not in DRESS),
        "way": lambda document: document.labels["way"] == 0,
    }

    def __init__(self, asks: Sequence[str], draw: Callable[..., Fields], truth: Callable[..., str],
                 second: Callable[..., str], slots: dict | None = None, **more: Any):
        self.asks, self.draw, self.truth, self.second = asks, draw, truth, second
        if unknown := [name for name in more if not hasattr(self, name)]:
            raise TypeError(f"a kind of question has no {', '.join(unknown)}")
        vars(self).update(more)
        if not callable(self.choices):
            self.options = len(self.choices) or self.options
        self.templates = [Form(template, **slots or {}) for template in asks]

    def write(self, world: Any, random: Random, dials: Any) -> Document:
        """Draw a question and one of the templates, and write the question with its answer."""
        fields = given(self.draw, world=world, random=random, dials=dials, **vars(dials))
        drawn = random.integers(len(self.asks)) if "way" not in fields and len(self.asks) > 1 else 0
        way = fields.pop("way", drawn)
        fields = {name: fields[name] for name in self.templates[way].shapes}
        known = {"world": world, "way": way, "truth": self.truth, "fields": fields, **fields}
        worked = given(self.working, **known) if self.working and getattr(dials, "steps", True) else ""
        prompt, truth = self.templates[way].say(**fields), given(self.truth, **known)
        document = self.asked(prompt, truth, {"way": way, **fields}, worked and f"{worked} ")
        if self.labels:
            document = replace(document, labels=given(self.labels, **known, document=document))
        return document

    def solve(self, world: Any, document: Document) -> str:
        """Read the fields from the prompt, and find the answer with the function `second`."""
        for way, template in enumerate(self.templates):
            if (self.labels or document.labels["way"] == way) and (fields := template.read(document.prompt)):
                known = {"world": world, "way": way, "fields": fields, "prompt": document.prompt}
                return given(self.second, **known, **fields)
        return ""

    def choices_of(self, document: Document) -> tuple[str, ...]:
        """Return `choices`; if it is a function, call it with the fields of the question."""
        if not callable(self.choices):
            return self.choices
        found = ((way, t.read(document.prompt)) for way, t in enumerate(self.templates))
        way, fields = next((way, fields) for way, fields in found if fields)
        return tuple(given(self.choices, way=way, fields=fields, **fields))


def given(function: Callable, **known: Any) -> Any:
    """Call a function with those `known` values that have the name of one of its parameters."""
    return function(**{name: known[name] for name in _parameters(function) if name in known})


@cache
def _parameters(function):
    return tuple(inspect.signature(function).parameters)


def asks(*templates: str, draw: Callable[..., Fields], second: Callable[..., str], size: tuple = (),
         **more: Any) -> Callable[[Callable[..., str]], QuestionKind]:
    """Make a kind of text from a function that takes the fields of a question and returns its answer.

    size: the dial (setting) `size`, which sets the difficulty, as for `dials`.
    The other arguments become attributes of the kind: see `QuestionKind` and `Kind`.
    """
    if size:
        steps = {"steps": (False, "write the working before the answer")} if "working" in more else {}
        more["Dials"] = dials(size=size, **steps)

    def decorate(truth):
        about = {"name": truth.__name__, "__doc__": truth.__doc__}
        return QuestionKind(templates, draw, truth, second, **about, **more)

    return decorate


# Tables, draws and made-up words for questions.

TABLES = {  # category -> its words
    "animal": tuple(names.ANIMALS), "food": names.FOODS, "job": tuple(names.JOBS),
    "thing": tuple(names.THINGS), "colour": tuple(names.COLOURS), "town": tuple(names.PLACES),
}
THINGS = tuple(word for sort in ("animal", "food", "thing") for word in TABLES[sort])
WORDS = tuple(sorted({word.lower() for word in (*THINGS, *names.JOBS, *names.COLOURS, *names.PASTIMES,
                                                *names.FAMILIES, *names.PETS) if " " not in word}))


def pick(random: Random, items: Sequence, n: int) -> list:
    """Draw n different items in random order; this is fast if there are many more items than n."""
    chosen: list = []
    while len(chosen) < n:
        item = items[random.integers(len(items))]
        if item not in chosen:
            chosen.append(item)
    return chosen


def take(random: Random, items: Sequence, n: int) -> list:
    """Draw n different items in random order; n may be as large as the number of items."""
    left = list(items)
    return [left.pop(random.integers(len(left))) for _ in range(n)]


def babble(random: Random, letters: int) -> str:
    """Make up a word in which consonants and vowels alternate, so that it can be spoken."""
    first = random.integers(2)
    return "".join(random.choice(VOWELS if i % 2 == first else CONSONANTS) for i in range(letters))
