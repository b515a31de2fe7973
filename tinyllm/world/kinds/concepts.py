"""Write examples of a concept, from which a model has to find the rule about size, colour and shape."""

from functools import cache
from itertools import combinations, product

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world.document import HELD_OUT, Document, Kind
from tinyllm.world.question import NO_YES
from tinyllm.world.world import World

ATTRIBUTES = (
    ("tiny", "small", "big", "huge"),
    ("red", "blue", "green", "yellow"),
    ("kite", "drum", "lantern", "hat"),
)
OBJECTS = list(product(*ATTRIBUTES))


@cache
def concepts() -> dict[str, int]:
    """Return {concept: bits}; bit i is 1 if the concept, such as "red or tiny", is true of OBJECTS[i].

    A concept is one value, two values joined by "or", or the opposite of such a concept with "not". Because
    every concept has an opposite, yes and no are equally likely.
    """
    values = [value for attribute in ATTRIBUTES for value in attribute]
    means = {v: sum(1 << i for i, thing in enumerate(OBJECTS) if v in thing) for v in values}
    means |= {f"{a} or {b}": means[a] | means[b] for a, b in combinations(values, 2)}
    everything = (1 << len(OBJECTS)) - 1
    opposites = {f"not {name}": everything ^ bits for name, bits in means.items()}
    distinct: dict[int, str] = {}
    for name, bits in (means | opposites).items():
        distinct.setdefault(bits, name)  # not (tiny or small) is big or huge
    return {name: bits for bits, name in distinct.items()}


@cache
def _held_out(concept):
    """Return True for a random fifth of the concepts, which training never shows."""
    return Random("concepts", concept).integers(1000) < 1000 * HELD_OUT


def _only_held_out(document):
    """Return True if only held-out concepts fit a text; a training text fits at least one other."""
    return all(_held_out(concept) for concept in document.labels["concepts"])


def best_answers(examples: list[tuple[int, bool]]) -> tuple[list[float], list[str]]:
    """Return the accuracy of the best answer at each example, and the concepts that fit all examples.

    examples: (index in OBJECTS, answer). All concepts that fit the examples so far are equally likely. The
    best answer is what most of them say; the accuracy is their share, or 0 if no concept fits.
    """
    fitting, curve = concepts(), []
    for item, answer in examples:
        yes = sum(bits >> item & 1 for bits in fitting.values())
        curve.append(max(yes, len(fitting) - yes) / max(1, len(fitting)))
        fitting = {name: bits for name, bits in fitting.items() if (bits >> item & 1) == answer}
    return curve, list(fitting)


class Concepts(Kind):
    """Find a rule about size, colour and shape from examples of yes and no; test documents have new rules."""

    group = "in-context"
    options = 2
    choices = NO_YES
    splits = {"concept": _only_held_out, "text": lambda document: document.prompt}

    class Dials:
        shots: int = setting(12, help="how many examples come before the question", min=1, max=23)

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        concept = random.choice(list(concepts().values()))
        shown = [random.integers(len(OBJECTS)) for _ in range(dials.shots)]
        examples = [(item, bool(concept >> item & 1)) for item in shown]
        fitting = [concepts()[name] for name in best_answers(examples)[1]]
        every, some = fitting[0], 0
        for bits in fitting:
            every, some = every & bits, some | bits
        sure = every | ~some  # all concepts that fit agree on these objects
        item = random.choice([i for i in range(len(OBJECTS)) if sure >> i & 1])
        return self._document([*examples, (item, bool(concept >> item & 1))])

    def _document(self, examples):
        words = [f"{' '.join(OBJECTS[item])} {'yes' if answer else 'no'}" for item, answer in examples]
        prompt, _, truth = " ".join(words).rpartition(" ")
        curve, fitting = best_answers(examples)
        scored = list(range(3, 4 * len(examples), 4))
        return self.asked(prompt, truth, {"concepts": fitting, "bayes": curve, "scored": scored})

    def read(self, world: World, text: str) -> Document | None:
        words = text.split(" ")
        objects = list(zip(words[::4], words[1::4], words[2::4], strict=False))
        answers = [word == "yes" for word in words[3::4]]
        if not 8 <= len(words) == 4 * len(objects) or any(thing not in OBJECTS for thing in objects):
            return None
        document = self._document(list(zip(map(OBJECTS.index, objects), answers, strict=True)))
        known = document.labels["bayes"][-1] == 1 and document.labels["concepts"]
        return document if known and document.text == text else None

    def solve(self, world: World, document: Document) -> str:
        """Find all concepts that fit the examples, and return the answer on which these concepts agree."""
        words = document.prompt.split()
        things = [words[i : i + 3] for i in range(0, len(words), 4)]
        answers = {
            _says(name, things[-1])
            for name in concepts()
            if all(_says(name, thing) == answer for thing, answer in zip(things, words[3::4], strict=False))
        }
        return answers.pop() if len(answers) == 1 else ""


def _says(concept, thing):
    """Return "yes" if a concept, given in words, means an object, else "no"."""
    wanted = concept.removeprefix("not ").split(" or ")
    return "yes" if any(value in thing for value in wanted) != concept.startswith("not ") else "no"
