"""Write captions of pictures, and ask questions about pictures; world/pictures.py paints them."""

from typing import Any

from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind
from tinyllm.world.forms import Shape, listed
from tinyllm.world.names import COLOURS
from tinyllm.world.pictures import QUARTERS, SHAPES, recognise, render
from tinyllm.world.question import asks, dials
from tinyllm.world.world import World

LOOKS = list(SHAPES)
THING = {"colour": COLOURS, "shape": LOOKS, "quarter": QUARTERS}


def draw_scene(random: Random, objects: int) -> list:
    """Draw a random scene with 1 to `objects` things."""
    at = random.shuffle(range(4))[: 1 + random.integers(objects)]
    return [[QUARTERS[i], random.choice(COLOURS), random.choice(LOOKS)] for i in sorted(at)]


def new_combination(document: Document) -> bool:
    """Return True if a document has a shape in a colour that this shape never has in training."""
    things = [thing[1:] for thing in document.labels["scene"]]
    asked = document.labels.get("asked", {})
    things += [[asked["colour"], asked["shape"]]] if len(asked) == 2 else []
    return any((COLOURS.index(colour) + 2 * LOOKS.index(shape)) % 5 == 0 for colour, shape in things)


class Caption(Kind):
    """Say what a picture shows, in reading order."""

    group = "pictures"
    splits = {"combination": new_combination, "scene": lambda document: document.labels["scene"]}
    Dials = dials(objects=(2, "how many things a picture shows at most", 1, 3))

    def write(self, world: World, random: Random, dials: Any) -> Document:
        scene = draw_scene(random, dials.objects)
        things = [f"a {colour} {shape} at the {quarter}" for quarter, colour, shape in scene]
        return self.asked("The picture shows", listed(things), {"scene": scene})

    def solve(self, world: World, document: Document) -> str:
        seen = recognise(render(document.labels["scene"]))
        said = ""
        for i, (quarter, colour, shape) in enumerate(seen):
            said += (" and " if i == len(seen) - 1 else ", ") if i else ""
            said += f"a {colour} {shape} at the {quarter}"
        return said


PAGES = 65**4  # every quarter of a picture is empty or has one of 64 things
SHUFFLE, SHIFT = 7_364_893, 1_234_567  # the page is number * SHUFFLE + SHIFT, which hides the scene
CODES = {(colour, shape): 1 + 8 * i + j for i, colour in enumerate(COLOURS) for j, shape in enumerate(LOOKS)}
NUMBERS = ("none", "one", "two", "three")
QUESTIONS = {
    "colour": "What colour is the {shape}?",
    "shape": "Which thing is {colour}?",
    "place": "What is at the {quarter}?",
    "count": "How many things are {colour}?",
    "is": "Is there a {colour} {shape}?",
}
ABOUT = list(QUESTIONS)


def _page(scene):
    number = sum(CODES[colour, shape] * 65 ** QUARTERS.index(at) for at, colour, shape in scene)
    return str((number * SHUFFLE + SHIFT) % PAGES)


def _scene(page):
    number = (int(page) - SHIFT) * pow(SHUFFLE, -1, PAGES) % PAGES
    codes, things = [number // 65**i % 65 for i in range(4)], list(CODES)
    return [[QUARTERS[i], *things[code - 1]] for i, code in enumerate(codes) if code]


def _draw(random, objects):
    about = random.choice(ABOUT)
    while True:
        scene = draw_scene(random, objects)
        quarter, colour, shape = random.choice(scene)
        if about == "count":
            colour = random.choice([colour, random.choice(COLOURS)])
        things = [thing[1:] for thing in scene]
        if about == "is" and random.integers(2) == 0:
            shape = random.choice([shape for shape in LOOKS if [colour, shape] not in things])
        alike = [c if about == "shape" else s for c, s in things]
        if about not in ("colour", "shape") or alike.count(colour if about == "shape" else shape) == 1:
            fields = {"scene": scene, "quarter": quarter, "colour": colour, "shape": shape}
            return {"way": ABOUT.index(about), **fields}


def _look(scene, way, fields):
    """Solve independently: recognise the things in the picture, and find those that the question means."""
    about, names = ABOUT[way], ("quarter", "colour", "shape")
    seen = [dict(zip(names, thing, strict=True)) for thing in recognise(render(scene))]
    fits = [thing for thing in seen if all(thing[name] == fields[name] for name in names if name in fields)]
    if about in ("count", "is"):
        return NUMBERS[len(fits)] if about == "count" else ("yes" if fits else "no")
    answers = {"colour": "{colour}", "shape": "the {shape}", "place": "a {colour} {shape}"}
    return answers[about].format(**fits[0]) if len(fits) == 1 else ""


def _chance(dials):
    """Return the score of the best constant answer, "yes" or "one": each suits one question in five."""
    objects = range(1, dials.objects + 1)
    one = sum((7 / 8) ** (n - 1) * (1 + n / 8) / 2 for n in objects) / dials.objects
    return max(0.5, one) / 5


@asks(*[f"Page {{scene}}: {question}" for question in QUESTIONS.values()],
      slots={"scene": Shape(r"\d{1,8}", _page, _scene), **THING}, group="pictures", marker="", chance=_chance,
      draw=_draw, second=_look,
      labels=lambda scene, way, fields: {"scene": scene, "about": ABOUT[way],
                                         "asked": {k: v for k, v in fields.items() if k != "scene"}},
      splits={"combination": new_combination, "scene": lambda document: document.labels["scene"]},
      Dials=dials(objects=(3, "how many things a picture shows at most", 1, 3)))
def picture_question(scene: list, way: int, colour: str = "", shape: str = "", quarter: str = "") -> str:
    """Answer a question about a picture; a page number names the picture."""
    match ABOUT[way]:
        case "colour":
            return {s: c for _, c, s in scene}[shape]
        case "shape":
            return f"the {({c: s for _, c, s in scene})[colour]}"
        case "place":
            return "a " + " ".join(next([c, s] for at, c, s in scene if at == quarter))
        case "count":
            return NUMBERS[[c for _, c, _ in scene].count(colour)]
        case _:
            return "yes" if [colour, shape] in [thing[1:] for thing in scene] else "no"
