"""Ask questions about pictures; caption.picture(document) paints the picture of a question."""

from tinyllm.config import setting
from tinyllm.world.forms import Shape
from tinyllm.world.kinds.caption import LOOKS, THING, draw_scene, new_combination
from tinyllm.world.names import COLOURS
from tinyllm.world.pictures import QUARTERS, recognise, render
from tinyllm.world.question import asks, dials

PAGES = 65**4  # every quarter of a picture is empty or has one of 64 things
SHUFFLE, SHIFT = 7_364_893, 1_234_567  # page = number * SHUFFLE + SHIFT, so that it tells a reader nothing
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
    if int(page) >= PAGES:
        raise ValueError(f"there is no page {page}")
    number = (int(page) - SHIFT) * pow(SHUFFLE, -1, PAGES) % PAGES
    codes, things = [number // 65**i % 65 for i in range(4)], list(CODES)
    return [[QUARTERS[i], *things[code - 1]] for i, code in enumerate(codes) if code]


def _draw(world, random, dials):
    about = random.choice(ABOUT)
    while True:
        scene = draw_scene(random, dials.objects)
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
    """Answer by looking at the picture: find the things that the question describes, say what it asks."""
    about, names = ABOUT[way], ("quarter", "colour", "shape")
    seen = [dict(zip(names, thing, strict=True)) for thing in recognise(render(scene))]
    fits = [thing for thing in seen if all(thing[name] == fields[name] for name in names if name in fields)]
    if about in ("count", "is"):
        return NUMBERS[len(fits)] if about == "count" else ("yes" if fits else "no")
    answers = {"colour": "{colour}", "shape": "the {shape}", "place": "a {colour} {shape}"}
    return answers[about].format(**fits[0]) if len(fits) == 1 else ""


def _chance(dials):
    """Return the score of the better of two answers, "yes" and "one": each fits one question of five."""
    objects = range(1, dials.objects + 1)
    one = sum((7 / 8) ** (n - 1) * (1 + n / 8) / 2 for n in objects) / dials.objects
    return max(0.5, one) / 5


@asks(*[f"Page {{scene}}: {question}" for question in QUESTIONS.values()],
      slots={"scene": Shape(r"\d{1,8}", _page, _scene), **THING}, group="pictures", marker="", chance=_chance,
      draw=_draw, second=_look,
      labels=lambda scene, way, fields: {"scene": scene, "about": ABOUT[way],
                                         "asked": {k: v for k, v in fields.items() if k != "scene"}},
      splits={"combination": new_combination, "scene": lambda document: document.labels["scene"]},
      Dials=dials(objects=setting(3, help="how many things a picture shows at most", min=1, max=3)))
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
