"""Words that the context decides: a word with two senses, and a "she" who may be one of two people."""

from dataclasses import dataclass

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind
from tinyllm.world.facts import Fact, Facts, read_rules
from tinyllm.world.forms import FIRST_NAMES, Form, proved, read_any
from tinyllm.world.names import JOBS, THINGS
from tinyllm.world.world import World

SETTINGS = {  # what somebody was doing, by theme
    "water": ("fishing in the river", "rowing down the stream", "swimming with the ducks", "mending a net"),
    "money": ("counting coins", "saving for a new hat", "paying for the bread", "selling eggs"),
    "forest": ("walking under old oaks", "gathering mushrooms", "climbing a birch", "chopping wood"),
    "animals": ("watching animals", "feeding the goats", "following a strange track", "visiting the zoo"),
    "games": ("playing on the meadow", "running after a ball", "choosing teams", "counting goals"),
    "music": ("singing in the choir", "playing in the band", "listening to a concert", "learning a tune"),
    "school": ("doing lessons", "sitting in class", "learning to write", "listening to the teacher"),
    "kitchen": ("cooking supper", "baking a cake", "setting the table", "tasting the soup"),
    "workshop": ("building a shed", "hammering and sawing", "repairing a cart", "making a chair"),
    "doctor": ("seeing the doctor", "nursing a cold", "washing with soap", "wearing a bandage"),
    "post": ("writing a letter", "opening the mail", "sending a parcel", "answering a postcard"),
}
SENSES = {  # word -> theme -> what the word means there
    "bank": {"water": "the side of a river", "money": "a house full of coins"},
    "bat": {"animals": "an animal that flies", "games": "a stick for hitting balls"},
    "bark": {"forest": "the skin of a tree", "animals": "the voice of a dog"},
    "trunk": {"forest": "the stem of a tree", "animals": "the nose of an elephant"},
    "crane": {"animals": "a bird with long legs", "workshop": "a machine that lifts"},
    "seal": {"water": "an animal with flippers", "post": "wax on an envelope"},
    "nail": {"workshop": "a pin of iron", "doctor": "the end of a finger"},
    "palm": {"forest": "a tree with big leaves", "doctor": "the inside of a hand"},
    "pupil": {"school": "a child who learns", "doctor": "the dark spot of an eye"},
    "scales": {"kitchen": "a thing for weighing", "water": "the skin of a fish"},
    "horn": {"animals": "the weapon of a goat", "music": "a brass thing to blow"},
    "key": {"music": "a part of a piano", "workshop": "a thing that opens locks"},
    "date": {"kitchen": "a sweet fruit", "school": "a day of the calendar"},
    "stamp": {"post": "a paper on an envelope", "games": "a kick on the ground"},
    "pitcher": {"games": "a player who throws", "kitchen": "a jug with a handle"},
    "chest": {"money": "a box for treasure", "doctor": "the front of the body"},
    "pipe": {"music": "a wooden thing to blow", "workshop": "a tube for water"},
    "mouse": {"kitchen": "an animal that loves cheese", "school": "a thing to click with"},
}
POINTED = ("pointed to", "asked about", "spoke of", "thought of")
SENSE = Form(
    "{who} was {setting} and {pointed} the {word}. What is the {word} here?",
    who=FIRST_NAMES,
    setting=[scene for scenes in SETTINGS.values() for scene in scenes],
    pointed=POINTED,
    word=SENSES,
)


class WordSense(Kind):
    """Tell which of its two senses a word has here."""

    group = "understanding"
    splits = {"combination": lambda document: [document.labels["word"], document.labels["setting"]]}

    def chance(self, dials: object) -> float:
        """Return the score of a guess between the two senses."""
        return 0.5

    def write(self, world: World, random: Random, dials: object) -> Document:
        word = random.choice(list(SENSES))
        theme, sense = random.choice(list(SENSES[word].items()))
        who, pointed = random.choice(world.people).first, random.choice(POINTED)
        scene = random.choice(SETTINGS[theme])
        return self._document(sense, word=word, who=who, pointed=pointed, setting=scene)

    def read(self, world: World, text: str) -> Document | None:
        prompt, mark, sense = text.partition(" here? ")
        found = SENSE.read(prompt + " here?")
        return proved(self, world, self._document(sense, **found), text) if found and mark else None

    def solve(self, world: World, document: Document) -> str:
        """Give each sense of each word that occurs a vote for each setting that occurs."""
        asked = [senses for word, senses in SENSES.items() if f"the {word} here?" in document.prompt]
        votes = [sense for theme, sense in asked[0].items() for s in SETTINGS[theme] if s in document.prompt]
        return votes[0] if len(votes) == 1 else ""

    def _document(self, sense, **values):
        labels = {"word": values["word"], "setting": values["setting"]}
        return self.asked(SENSE.say(**values), sense, labels)


CLUES = {  # what the first did with the second: clues that speak of the first, and of the second
    "lent {b} a {thing}": ("had two of them", "had lost one"),
    "asked {b} for a {thing}": ("had lost one", "had two of them"),
    "carried {b} across the brook": ("was very strong", "had a sore foot"),
    "leant on {b}": ("had a sore foot", "was very strong"),
    "soon caught {b}": ("was very quick", "was too slow"),
    "could not catch {b}": ("was too slow", "was very quick"),
    "comforted {b}": ("was kind", "was in tears"),
    "wept on the shoulder of {b}": ("was in tears", "was kind"),
    "waited for {b}": ("was too early", "was late again"),
    "ran to meet {b}": ("was late again", "was too early"),
    "taught {b} to dance": ("knew all the steps", "wanted to learn it"),
    "took lessons from {b}": ("wanted to learn it", "knew all the steps"),
    "shared a pie with {b}": ("had a full basket", "was hungry"),
    "ate the lunch of {b}": ("was hungry", "had a full basket"),
    "woke {b}": ("was up with the birds", "had overslept"),
    "was woken by {b}": ("had overslept", "was up with the birds"),
}
GIVERS = ("lent", "carried", "soon", "comforted", "waited", "taught", "shared", "woke")  # who did this gave
ABLE = ("two", "strong", "quick", "kind", "early", "knew", "full", "up")  # who is so can give
DEEDS = [Form(deed, b=FIRST_NAMES, thing=THINGS) for deed in CLUES]
CAUSE = Form("{a} {did} because {he} {clue}. Who {clue}?", a=FIRST_NAMES, he=("he", "she"),
             clue=[clue for clues in CLUES.values() for clue in clues])  # fmt: skip
SKILLS = [skill for skill, _, _ in JOBS.values()]
JOB = Form("{a} is a {job} and {b} is a {other}. {c} met {d} when {he} went to {skill}. Who went to {skill}?",
           a=FIRST_NAMES, b=FIRST_NAMES, c=FIRST_NAMES, d=FIRST_NAMES, he=("he", "she"), job=JOBS, other=JOBS,
           skill=SKILLS)  # fmt: skip
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
        i = random.integers(len(DEEDS))
        said = CLUES[DEEDS[i].template][who]
        did = DEEDS[i].say(b=b, thing=random.choice(THINGS))
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
        if not cause or not found or cause["clue"] not in CLUES[DEEDS[found[0]].template]:
            return None
        people = [cause["a"], found[1]["b"]]
        return proved(self, world, self._document(prompt, people, found[0], cause["clue"], who), text)

    def solve(self, world: World, document: Document) -> str:
        """Derive who can do it from the jobs; or join who gave something with who was able to give."""
        a, b = document.labels["people"]
        words = document.prompt.split(" ")
        if job := JOB.read(document.prompt):
            told = [Fact(job["a"], "works_as", job["job"]), Fact(job["b"], "works_as", job["other"])]
            skills = [Fact(name, "skill", skill) for name, (skill, _, _) in JOBS.items()]
            return str(Facts([*told, *skills], RULES).find(Fact(None, "can", job["skill"]))[0].subject)
        clue = document.prompt.partition(". Who")[0].partition(" because ")[2]
        able = any(word in ABLE for word in clue.split(" "))
        return a if able == (words[1] in GIVERS) else b

    def _document(self, prompt, people, deed, clue, who):
        return self.asked(prompt, who, {"people": people, "deed": deed, "clue": clue})
