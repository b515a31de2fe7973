"""Ask if a sentence follows from others; all small worlds are enumerated to prove the answer."""

from typing import Any

from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind, attempts, dials
from tinyllm.world.facts import Fact
from tinyllm.world.forms import FIRST_NAMES, Form, lower, read_any, upper
from tinyllm.world.names import JOBS, PLACES, words
from tinyllm.world.phrases import read_statements, say
from tinyllm.world.small_worlds import ANSWERS, OF_FAMILIES, decide, relevant, renamed, syllogisms
from tinyllm.world.world import World

GROUPS = [*JOBS, *words("dancer dreamer swimmer giggler wanderer whistler juggler poet climber cook reader")]
SAID = (*OF_FAMILIES, "works_as", "works_at", "can", "lives_in", "likes")
SENTENCES = {  # statements about groups, none of which is empty
    "every": Form("Every {s} is a {o}.", s=GROUPS, o=GROUPS),
    "no": Form("No {s} is a {o}.", s=GROUPS, o=GROUPS),
    "some": Form("At least one {s} is a {o}.", s=GROUPS, o=GROUPS),
    "is": Form("{s} is a {o}.", s=FIRST_NAMES, o=GROUPS),
    "not": Form("{s} is not a {o}.", s=FIRST_NAMES, o=GROUPS),
}
# premises: goals that follow / goals that contradict them / goals that may be true or false
FAMILY_PATTERNS = """
mother x y, mother y z: grandmother x z / grandmother z x, mother x z / best_friend x z
mother x y, father y z: grandfather x z / grandfather z x, grandmother x z / best_friend z x
father x y, mother y z: grandmother x z / grandmother z x, grandfather x z / best_friend x z
father x y, father y z: grandfather x z / grandfather z x, father x z / best_friend z x
mother x y, best_friend y z: best_friend y z / mother y x / grandmother x z
father x y, best_friend x z: father x y / father y x, father x z / grandmother x z
"""
WORK_PATTERNS = """
works_as p j: can p j, works_at p j / works_as p k, works_at p k / lives_in p l, likes p f, can p k
lives_in p l: lives_in p l / lives_in p m / works_as p j, likes p f, can p j
works_as p j, lives_in p l: can p j, lives_in p l / works_as p k, lives_in p m / likes p f, can p k
likes p f, works_as p j: works_at p j / works_at p k, works_as p k / lives_in p l, can p k
"""


def _read_patterns(text):
    """Parse a table of patterns into {answer: [[premise, ..., goal]]}: facts with letters for names."""
    found: dict[str, list] = {answer: [] for answer in ANSWERS}
    for line in text.strip().splitlines():
        premises, _, rest = line.partition(": ")
        for answer, goals in zip(ANSWERS, rest.split(" / "), strict=True):
            for goal in goals.split(", "):
                terms = [term.split(" ") for term in [*premises.split(", "), goal]]
                found[answer].append([Fact(subject, relation, object) for relation, subject, object in terms])
    return found


PATTERNS = {"family": _read_patterns(FAMILY_PATTERNS), "work": _read_patterns(WORK_PATTERNS)}
ABOUT = ("groups", *PATTERNS)
SKILLS = {"can": 0, "works_at": 2}  # relation -> its index in the tuples of JOBS


class Entailment(Kind):
    """Say if a sentence follows from others: yes, no (it contradicts them), or perhaps."""

    group = "understanding"
    choices, options = ANSWERS, len(ANSWERS)
    splits = {"names": lambda d: d.labels["names"], "pattern": lambda d: d.labels["pattern"]}
    Dials = dials(about=("any", "what the sentences are about", ("any", *ABOUT)))

    def write(self, world: World, random: Random, dials: Any) -> Document:
        about = random.choice(ABOUT) if dials.about == "any" else dials.about
        answer = random.choice(ANSWERS)
        cases = random.choice(syllogisms()) if about == "groups" else PATTERNS[about]
        terms = random.choice(cases[answer])
        for _ in attempts():
            if names := _names(world, random, about, terms):
                break
        *known, asked = [_fact(term, names) for term in terms]
        said = [_say(fact, random.integers(4)) for fact in (*known, asked)]
        random.shuffle(group for group in GROUPS if group not in names.values())  # keeps later draws the same
        premises = random.shuffle(said[:-1])
        used, end = renamed(relevant(known, asked), asked)
        labels = {"names": [asked.subject, asked.object], "pattern": ", ".join(map(str, (*used, end)))}
        goal = lower(said[-1], [*PLACES, *FIRST_NAMES])
        return self.asked(f"{' '.join(premises)} Is it so that {goal}?", answer, labels)

    def solve(self, world: World, document: Document) -> str:
        """Find the answer by looking at all small worlds in which the premises are true."""
        story, _, goal = document.prompt.partition(" Is it so that ")
        premises = [_read(sentence.removesuffix(".") + ".") for sentence in story.split(". ")]
        return decide(premises, _read(upper(goal.removesuffix("?"))))


def _names(world, random, about, terms):
    """Draw names for the letters of a pattern; return None if a needed relative does not exist."""
    person = random.choice(world.adults if about == "work" else world.people)
    if about == "groups":
        return {"n": person.first, **dict(zip("abc", random.shuffle(GROUPS)[:3], strict=True))}
    if about == "work":
        job = random.choice([job for job in JOBS if job != person.works_as])
        home = random.choice([place for place in PLACES if place != person.lives_in])
        return {"p": person.name, "j": person.works_as, "k": job, "l": person.lives_in, "m": home,
                "f": person.likes}
    names = {"x": person.name}
    for who, relation, whose, _ in terms[:-1]:
        names[whose] = getattr(world.person(names[who]), relation, None)
        if names[whose] is None:
            return None
    return names if len(set(names.values())) == 3 else None


def _fact(term, names):
    subject, relation, object, _ = term
    value = names[object]
    return Fact(names[subject], relation, JOBS[value][SKILLS[relation]] if relation in SKILLS else value)


def _say(fact, way):
    form = SENTENCES.get(fact.relation)
    return form.say(s=fact.subject, o=fact.object) if form else say(fact, way)


def _read(sentence):
    """Return the fact that a sentence states, or None."""
    if found := read_any(list(SENTENCES.values()), sentence):
        return Fact(found[1]["s"], list(SENTENCES)[found[0]], found[1]["o"])
    for fact, _ in read_statements(sentence):
        if fact.relation in SAID:
            return fact._replace(object=fact.object.replace("The ", "the "))
    return None
