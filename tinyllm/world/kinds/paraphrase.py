"""Paraphrase: one fact in two wordings, or two facts that look alike."""

from dataclasses import dataclass

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind
from tinyllm.world.facts import Fact
from tinyllm.world.forms import VALUES, Form, proved
from tinyllm.world.names import PLACES
from tinyllm.world.phrases import STATEMENTS, read_statements, say
from tinyllm.world.world import World

OBJECTS = VALUES | {"born_in": PLACES}
PEOPLE = {"mother": "woman", "father": "man", "best_friend": "anybody"}
RELATIONS = (*OBJECTS, *PEOPLE)
CHANGES = ("subject", "object", "relation", "roles")
LIKE = {"lives_in": "born_in", "born_in": "lives_in", "mother": "best_friend", "father": "best_friend",
        "best_friend": "", "likes": "enjoys", "enjoys": "likes"}  # fmt: skip
FORM = Form("{first} / {second} The same?")


class Paraphrase(Kind):
    """Tell if two sentences say the same fact."""

    group = "understanding"
    splits = {"wording": lambda d: [d.labels["relation"], sorted(d.labels["ways"])],
              "entity": lambda d: d.labels["subject"]}  # fmt: skip

    @dataclass(frozen=True)
    class Dials:
        """Set how different two facts look if they are not the same, and of how many people they are."""

        change: str = setting(
            "any",
            help="what differs: the person, the thing, the relation, or who is whose",
            choices=("any", *CHANGES),
        )
        names: int = setting(8, help="how many people there are: the fewer, the easier", min=4, max=1500)

    def chance(self, dials: Dials) -> float:
        return 0.5

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        """Draw two facts that need not be true: else a model could know which are, and never compare them."""
        other = None
        while other is None:
            change = random.choice(CHANGES) if dials.change == "any" else dials.change
            subject, relation, object = self._fact(world, random, dials.names)
            fact = Fact(subject, relation, object)
            person, _, thing = self._fact(world, random, dials.names, relation)
            if change == "subject" and person not in (subject, object):
                other = fact._replace(subject=person)
            elif change == "object" and thing not in (subject, object):
                other = fact._replace(object=thing)
            elif change == "relation" and relation in LIKE:
                parent = (
                    "mother"
                    if relation in PEOPLE and world.names[object].say("girl") == "woman"
                    else "father"
                )
                other = fact._replace(relation=LIKE[relation] or parent)
            elif change == "roles" and relation in PEOPLE:
                other = fact._replace(subject=object, object=subject)
        if random.integers(2):  # only now, so that no relation gives the answer away
            other = fact
        way = random.integers(4)
        second = random.integers(3)  # another way than the first
        return self._pair(fact, way, other, second + (second >= way), "yes" if fact == other else "no")

    def _fact(self, world, random, people, relation=None):
        """Return a subject, a relation, and an object other than the subject."""
        relation = relation or random.choice(RELATIONS)
        known = random.shuffle(world.people[:people])
        able = [person.name for person in known[1:] if PEOPLE.get(relation) in (person.girl, "anybody")]
        return known[0].name, relation, random.choice(OBJECTS.get(relation) or able or [known[1].name])

    def read(self, world: World, text: str) -> Document | None:
        prompt, _, answer = text.rpartition(" ")
        sentences = FORM.read(prompt)
        readings = [read_statements(sentence) for sentence in (sentences or {}).values()]
        for first, way in readings[0] if readings else ():
            for second, other in readings[1]:
                if first.relation in RELATIONS and second.relation in RELATIONS:
                    return proved(self, world, self._pair(first, way, second, other, answer), text)
        return None

    def solve(self, world: World, document: Document) -> str:
        """Fill the names of the first sentence into all four wordings, and look for the second among them."""
        first, second = (FORM.read(document.prompt) or {}).values()
        for fact, _ in read_statements(first):
            for wording in STATEMENTS[str(fact.relation)]:
                said = wording.format(s=fact.subject, o=fact.object)
                if second.replace(" an ", " a ").replace("An ", "A ").lower() == said.lower():
                    return "yes"
        return "no"

    def _pair(self, first, way, second, other, truth):
        prompt = FORM.say(first=say(first, way), second=say(second, other))
        labels = {"subject": first.subject, "relation": first.relation, "ways": [way, other]}
        return self.asked(prompt, truth, labels)
