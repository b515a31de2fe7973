"""Write captions of pictures; `picture(document)` paints the picture of a caption."""

import numpy as np

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind
from tinyllm.world.forms import Form, listed, proved
from tinyllm.world.names import COLOURS
from tinyllm.world.pictures import QUARTERS, SHAPES, recognise, render
from tinyllm.world.world import World

LOOKS = list(SHAPES)
THING = {"colour": COLOURS, "shape": LOOKS, "quarter": QUARTERS}
SEEN = Form("a {colour} {shape} at the {quarter}", **THING)


def picture(document: Document) -> np.ndarray:
    """Paint the picture that a document describes, uint8 (16, 16, 3)."""
    return render(document.labels["scene"])


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

    class Dials:
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
