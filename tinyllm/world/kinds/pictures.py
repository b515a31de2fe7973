"""Captions of pictures, and questions about them; the picture of a document is `picture(document)`."""

from dataclasses import dataclass

import numpy as np

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind
from tinyllm.world.forms import Form, listed, proved, read_any
from tinyllm.world.names import COLOURS
from tinyllm.world.pictures import QUARTERS, SHAPES, recognise, render
from tinyllm.world.world import World

LOOKS = list(SHAPES)
PAGES = 65**4  # every quarter of a picture is empty or has one of 64 things
SHUFFLE, SHIFT = 7_364_893, 1_234_567  # page = number * SHUFFLE + SHIFT, so that it tells a reader nothing
CODES = {(colour, shape): 1 + 8 * i + j for i, colour in enumerate(COLOURS) for j, shape in enumerate(LOOKS)}
NUMBERS = ("none", "one", "two", "three")
THING = {"colour": COLOURS, "shape": LOOKS, "quarter": QUARTERS}
SEEN = Form("a {colour} {shape} at the {quarter}", **THING)
QUESTIONS = {
    "colour": Form("What colour is the {shape}?", **THING),
    "shape": Form("Which thing is {colour}?", **THING),
    "place": Form("What is at the {quarter}?", **THING),
    "count": Form("How many things are {colour}?", **THING),
    "is": Form("Is there a {colour} {shape}?", **THING),
}


def picture(document: Document) -> np.ndarray:
    """Paint the picture that belongs to a document -> uint8 (16, 16, 3)."""
    return render(document.labels["scene"])


def draw_scene(random: Random, objects: int) -> list:
    """Draw a scene of one thing up to `objects` things."""
    at = random.shuffle(range(4))[: 1 + random.integers(objects)]
    return [[QUARTERS[i], random.choice(COLOURS), random.choice(LOOKS)] for i in sorted(at)]


def new_combination(document: Document) -> bool:
    """Return True if a colour and a shape meet, in the scene or the question, that never do in training."""
    things = [thing[1:] for thing in document.labels["scene"]]
    asked = document.labels.get("asked", {})
    things += [[asked["colour"], asked["shape"]]] if len(asked) == 2 else []
    return any((COLOURS.index(colour) + 2 * LOOKS.index(shape)) % 5 == 0 for colour, shape in things)


class Caption(Kind):
    """Say what a picture shows, in reading order."""

    group = "pictures"
    splits = {"combination": new_combination, "scene": lambda document: document.labels["scene"]}

    @dataclass(frozen=True)
    class Dials:
        """Set how much a picture shows."""

        objects: int = setting(2, help="how many things a picture shows at most", min=1, max=3)

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        return self._caption(draw_scene(random, dials.objects))

    def read(self, world: World, text: str) -> Document | None:
        start, _, caption = text.partition("shows ")
        seen = [SEEN.read(part) for part in caption.replace(" and ", ", ").split(", ")]
        if not all(seen) or not start:
            return None
        scene = [[thing["quarter"], thing["colour"], thing["shape"]] for thing in seen if thing]
        return proved(self, world, self._caption(scene), text)

    def solve(self, world: World, document: Document) -> str:
        seen = recognise(picture(document))
        said = ""
        for i, (quarter, colour, shape) in enumerate(seen):
            said += (" and " if i == len(seen) - 1 else ", ") if i else ""
            said += f"a {colour} {shape} at the {quarter}"
        return said

    def _caption(self, scene):
        things = [SEEN.say(quarter=q, colour=colour, shape=shape) for q, colour, shape in scene]
        return self.asked("The picture shows", listed(things), {"scene": scene})


class PictureQuestion(Kind):
    """Answer a question about a picture; the number of its page says which picture it is."""

    group = "pictures"
    splits = {"combination": new_combination, "scene": lambda document: document.labels["scene"]}

    @dataclass(frozen=True)
    class Dials:
        """Set how much a picture shows, and what is asked about it."""

        objects: int = setting(3, help="how many things a picture shows at most", min=1, max=3)
        question: str = setting("any", help="what is asked", choices=("any", *QUESTIONS))

    def chance(self, dials: Dials) -> float:
        shares = {"colour": 1 / 8, "shape": 1 / 8, "place": 1 / 64, "is": 1 / 2, "count": 0.0}
        for n in range(1, dials.objects + 1):  # "one": of a thing's colour, or of any colour
            shares["count"] += ((7 / 8) ** (n - 1) * (1 + n / 8) / 2) / dials.objects
        return max(shares["is"], shares["count"]) / 5 if dials.question == "any" else shares[dials.question]

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        about = random.choice(list(QUESTIONS)) if dials.question == "any" else dials.question
        while True:
            scene = draw_scene(random, dials.objects)
            quarter, colour, shape = random.choice(scene)
            if about == "colour" and sum(shape == thing[2] for thing in scene) == 1:
                return self._page(scene, about, colour, shape=shape)
            if about == "shape" and sum(colour == thing[1] for thing in scene) == 1:
                return self._page(scene, about, f"the {shape}", colour=colour)
            if about == "place":
                return self._page(scene, about, f"a {colour} {shape}", quarter=quarter)
            if about == "count":
                colour = random.choice([colour, random.choice(COLOURS)])
                count = NUMBERS[sum(colour == thing[1] for thing in scene)]
                return self._page(scene, about, count, colour=colour)
            if about == "is":
                there = random.integers(2) == 1
                things = [thing[1:] for thing in scene]
                if not there:
                    shape = random.choice([shape for shape in LOOKS if [colour, shape] not in things])
                return self._page(scene, about, "yes" if there else "no", colour=colour, shape=shape)

    def read(self, world: World, text: str) -> Document | None:
        page, _, rest = text.removeprefix("Page ").partition(": ")
        question, mark, answer = rest.partition("? ")
        found = read_any(list(QUESTIONS.values()), question + "?")
        if not page.isdecimal() or len(page) > 8 or not mark or not found or int(page) >= PAGES:
            return None
        number = (int(page) - SHIFT) * pow(SHUFFLE, -1, PAGES) % PAGES
        codes = [number // 65**i % 65 for i in range(4)]
        things = list(CODES)
        scene = [[QUARTERS[i], *things[code - 1]] for i, code in enumerate(codes) if code]
        return proved(self, world, self._page(scene, list(QUESTIONS)[found[0]], answer, **found[1]), text)

    def solve(self, world: World, document: Document) -> str:
        """Look at the picture: keep the things that the question speaks of, and say the rest of them."""
        question = document.prompt.partition(": ")[2]
        asked, values = read_any(list(QUESTIONS.values()), question) or (0, {})
        about = list(QUESTIONS)[asked]
        names = ("quarter", "colour", "shape")
        seen = [dict(zip(names, thing, strict=True)) for thing in recognise(picture(document))]
        fits = [thing for thing in seen if values.items() <= thing.items()]
        if about in ("count", "is"):
            return NUMBERS[len(fits)] if about == "count" else ("yes" if fits else "no")
        if len(fits) != 1:
            return ""
        answers = {"colour": "{colour}", "shape": "the {shape}", "place": "a {colour} {shape}"}
        return answers[about].format(**fits[0])

    def _page(self, scene, about, answer, **values):
        number = sum(CODES[colour, shape] * 65 ** QUARTERS.index(at) for at, colour, shape in scene)
        question = f"Page {(number * SHUFFLE + SHIFT) % PAGES}: {QUESTIONS[about].say(**values)}"
        return self.asked(question, answer, {"scene": scene, "about": about, "asked": values})
