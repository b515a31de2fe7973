"""Coreference: a "she" who may be one of two people, of whom a clue fits only one."""

from dataclasses import dataclass

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind
from tinyllm.world.facts import Fact, Facts, read_rules
from tinyllm.world.forms import FIRST_NAMES, Form, proved, read_any
from tinyllm.world.names import JOBS, THINGS, words
from tinyllm.world.world import World

# what the first did for the second, or asked of the second / clues to who could give, and to who was in need
AFFAIRS = """
lent {b} a {thing}, gave {b} a {thing}, brought {b} a {thing}, made {b} a {thing};
asked {b} for a {thing}, begged {b} for a {thing}, borrowed a {thing} from {b}, bought a {thing} from {b}
/ had two of them, had one to spare, owned a chest full of them; had none, needed one, had lost one

carried {b} over the brook, pulled {b} out of the mud, lifted {b} over the fence, led {b} up the hill;
leant on {b} all the way, clung to {b}, rode on the back of {b}, called {b} for help
/ was very strong, had strength for two, was still fresh; had a sore foot, was worn out, could go no further

comforted {b}, sang {b} a song, hugged {b} for a while, told {b} a funny story;
wept on the shoulder of {b}, ran into the arms of {b}, sought the hand of {b}, sighed and sat by {b}
/ had a warm heart, was calm and kind, was good at cheering up; was in tears, was sad, had had a bad dream

taught {b} to dance, showed {b} a card trick, explained the game to {b}, helped {b} with the sums;
took lessons from {b}, watched how {b} danced, learned a trick from {b}, copied the sums of {b}
/ knew how to do it, had done it often, was a master of it; wanted to learn, was new to it, had never tried it

shared a pie with {b}, cooked soup for {b}, saved a plum for {b}, fed {b} with cake;
ate the lunch of {b}, took a crumb from {b}, licked the plate of {b}, supped at the table of {b}
/ had a full basket, had enough for two, had baked all day; was hungry, had eaten nothing, had an empty bag
"""


def _read_affairs():
    """Return {(deed, clue): 0 if the clue speaks of the first person, 1 if of the second}."""
    found = {}
    for affair in AFFAIRS.strip().split("\n\n"):
        deeds, clues = ([side.strip().split(", ") for side in part.replace("\n", " ").split(";")]
                        for part in affair.split("\n/ "))  # fmt: skip
        for gives, needs in ((0, 0), (0, 1), (1, 0), (1, 1)):
            for deed in deeds[gives]:
                found.update({(deed, clue): int(gives != needs) for clue in clues[needs]})
    return found


CLUES = _read_affairs()
LENT = [thing for thing in THINGS if thing[0] not in "aeiou"]
GIVING = words("""
    lent gave brought made carried pulled lifted led comforted sang hugged told taught showed explained helped
    shared cooked saved fed
""")
NEED = words("none needed lost sore worn further tears sad dream wanted new tried hungry nothing empty")
DEEDS = [Form(deed, b=FIRST_NAMES, thing=LENT) for deed in dict.fromkeys(deed for deed, _ in CLUES)]
PAIRS = [[(i, clue) for i, deed in enumerate(DEEDS) for (of, clue), who in CLUES.items()
          if of == deed.template and who == side] for side in (0, 1)]  # fmt: skip
CAUSE = Form("{a} {did} because {he} {clue}. Who {clue}?", a=FIRST_NAMES, he=("he", "she"),
             clue=[clue for _, clue in CLUES])  # fmt: skip
JOB = Form("{a} is a {job} and {b} is a {other}. {c} met {d} when {he} went to {skill}. Who went to {skill}?",
           a=FIRST_NAMES, b=FIRST_NAMES, c=FIRST_NAMES, d=FIRST_NAMES, he=("he", "she"), job=JOBS, other=JOBS,
           skill=[skill for skill, _, _ in JOBS.values()])  # fmt: skip
RULES = read_rules("can(x, y) if works_as(x, z), skill(z, y)")


class Coreference(Kind):
    """Tell which of two people is meant by "she" or "he"."""

    group = "understanding"
    splits = {
        "combination": lambda d: [d.labels["deed"], d.labels["clue"]],
        "people": lambda d: d.labels["people"],
    }

    @dataclass(frozen=True)
    class Dials:
        """Set what gives the person away."""

        clue: str = setting(
            "any", help="the job of the person, or the cause of a deed", choices=("any", "job", "cause")
        )

    def chance(self, dials: Dials) -> float:
        """Return the score of a guess between the two names."""
        return 0.5

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        first, second = random.choice(world.people), random.choice(world.people)
        while first.he != second.he or first.first == second.first:
            second = random.choice(world.people)
        clue = random.choice(["job", "cause"]) if dials.clue == "any" else dials.clue
        a, b = first.first, second.first
        who = random.integers(2)
        if clue == "job":
            jobs = random.shuffle(JOBS)[:2]
            c, d = random.shuffle([a, b])
            skill = JOBS[jobs[who]][0]
            prompt = JOB.say(a=a, b=b, c=c, d=d, he=first.he, job=jobs[0], other=jobs[1], skill=skill)
            return self._document(prompt, [a, b], jobs, skill, [a, b][who])
        i, said = random.choice(PAIRS[who])
        did = DEEDS[i].say(b=b, thing=random.choice(LENT))
        return self._document(CAUSE.say(a=a, did=did, he=first.he, clue=said), [a, b], i, said, [a, b][who])

    def read(self, world: World, text: str) -> Document | None:
        prompt, _, who = text.partition("? ")
        prompt += "?"
        if job := JOB.read(prompt):
            a, b = job["a"], job["b"]
            document = self._document(prompt, [a, b], [job["job"], job["other"]], job["skill"], who)
            return proved(self, world, document, text) if {job["c"], job["d"]} == {a, b} else None
        cause = CAUSE.read(prompt)
        found = read_any(DEEDS, cause["did"]) if cause else None
        if not cause or not found or (DEEDS[found[0]].template, cause["clue"]) not in CLUES:
            return None
        people = [cause["a"], found[1]["b"]]
        return proved(self, world, self._document(prompt, people, found[0], cause["clue"], who), text)

    def solve(self, world: World, document: Document) -> str:
        """Derive who can do it from the jobs; or join who gave something with who was able to give."""
        a, b = document.labels["people"]
        deed = document.prompt.split(" ")[1]
        if job := JOB.read(document.prompt):
            told = [Fact(job["a"], "works_as", job["job"]), Fact(job["b"], "works_as", job["other"])]
            skills = [Fact(name, "skill", skill) for name, (skill, _, _) in JOBS.items()]
            return str(Facts([*told, *skills], RULES).find(Fact(None, "can", job["skill"]))[0].subject)
        clue = document.prompt.partition(". Who")[0].partition(" because ")[2]
        able = not any(word in NEED for word in clue.split(" "))
        return a if able == (deed in GIVING) else b

    def _document(self, prompt, people, deed, clue, who):
        return self.asked(prompt, who, {"people": people, "deed": deed, "clue": clue})
