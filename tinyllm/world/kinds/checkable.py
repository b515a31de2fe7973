"""Write tasks whose answers a few lines of code can check, for learning from rewards."""


from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind
from tinyllm.world.forms import Form, proved, read_any
from tinyllm.world.names import ANIMALS, COLOURS, JOBS, PLACES, SYLLABLES, THINGS
from tinyllm.world.world import World

WORDS = sorted(word.lower() for word in {*THINGS, *COLOURS, *JOBS, *ANIMALS, *PLACES})
TASKS = {
    "backwards": Form("Say {words} backwards:"),
    "sort": Form("Sort {words}:"),
    "ends": Form("The last letters of {words} are"),
}


class Checkable(Kind):
    """Show attempts at checkable tasks; a dial sets how many of the attempts are right.

    A model that is trained on these texts is right about as often. `truth` is always the right answer; the
    text after the prompt is the attempt, right or wrong.
    """

    group = "dialogue"
    splits = {"question": lambda document: document.prompt}

    class Dials:
        success: int = setting(30, help="percent of the attempts that are right", min=0, max=60)
        task: str = setting("backwards", help="what is to be done", choices=("any", *TASKS))
        length: int = setting(6, help="letters of a word, or half as many words, at most", min=4, max=10)

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        task = random.choice(list(TASKS)) if dials.task == "any" else dials.task
        if task == "backwards":
            count = 4 + random.integers(dials.length - 3)
            letters = [*"".join(random.choice(SYLLABLES) for _ in range(0, count, 2))][:count]
            truth = letters[::-1]
        else:
            letters = random.shuffle(WORDS)[: 2 + random.integers(dials.length // 2 - 1)]
            truth = sorted(letters) if task == "sort" else [word[-1] for word in letters]
        attempt = list(truth)
        if random.integers(100) >= dials.success:
            while attempt == truth:
                attempt = self._slip(random, truth)
        return self._document(task, letters, " ".join(truth), " ".join(attempt))

    def _slip(self, random, truth):
        """Return an answer with one mistake: two parts change places, or one is said twice, or left out."""
        at, slip = random.integers(len(truth) - 1), random.integers(3)
        if slip == 0:
            return [*truth[:at], truth[at + 1], truth[at], *truth[at + 2 :]]
        return [*truth[:at], *truth[at : at + 1] * (slip * 2 - 2), *truth[at + 1 :]]

    def read(self, world: World, text: str) -> Document | None:
        for task, form in TASKS.items():
            before, _, after = form.template.partition("{words}")
            given, end, attempt = text.removeprefix(before).partition(f"{after} ")
            parts = given.split(" ")
            known = all(len(part) == 1 for part in parts) if task == "backwards" else {*parts} <= {*WORDS}
            if text.startswith(before) and end and known and len(parts) > 1:
                answers = {"backwards": parts[::-1], "sort": sorted(parts), "ends": [w[-1] for w in parts]}
                truth = answers[task]
                document = self._document(task, parts, " ".join(truth), attempt)
                return proved(self, world, document, text) if {*attempt.split(" ")} <= {*truth} else None
        return None

    def solve(self, world: World, document: Document) -> str:
        """Find the right answer letter by letter or word by word, by another algorithm than `write`."""
        task, values = read_any(list(TASKS.values()), document.prompt) or (0, {"words": ""})
        out: list[str] = []
        for word in values["words"].split(" "):
            place = [0, sum(other < word for other in out), len(out)][task]
            out.insert(place, word[len(word) - 1] if task == 2 else word)
        return " ".join(out)

    def _document(self, task, letters, truth, attempt):
        question = TASKS[task].say(words=" ".join(letters))
        labels = {"task": task, "attempt": attempt, "right": attempt == truth}
        return Document(f"{question} {attempt}", labels, truth, prompt=question)
