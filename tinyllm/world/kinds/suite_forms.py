"""Small tasks about forms and sounds of words."""


from tinyllm.world import names
from tinyllm.world.forms import FIRST_NAMES
from tinyllm.world.names import a, words
from tinyllm.world.task import WORDS, Task, pick, task

PLURALS = words("""
    apple apples baker bakers baby babies bench benches berry berries box boxes brush brushes bus buses calf
    calves cherry cherries child children church churches city cities day days deer deer dish dishes dress
    dresses fly flies foot feet fox foxes glass glasses goose geese half halves kite kites knife knives lady
    ladies leaf leaves life lives loaf loaves man men monkey monkeys mouse mice ox oxen owl owls peach peaches
    penny pennies pony ponies puppy puppies shelf shelves sheep sheep story stories thief thieves tooth teeth
    toy toys watch watches wife wives wish wishes wolf wolves woman women
""")
IRREGULAR = {"child": "children", "deer": "deer", "foot": "feet", "goose": "geese", "man": "men",
             "mouse": "mice", "ox": "oxen", "sheep": "sheep", "tooth": "teeth", "woman": "women"}  # fmt: skip
RHYMES = (
    "cat hat mat bat rat", "boat goat coat float", "bell well shell smell", "night kite light bite",
    "moon spoon noon tune", "bread bed red head", "pie sky fly high", "tree bee key sea", "snow crow toe",
    "rain train lane cane", "bear chair hair pear", "duck luck truck", "clock sock rock lock",
    "king ring wing", "star jar car", "cake lake snake rake", "house mouse", "hen pen ten men",
)  # fmt: skip
FAMILY = {word: i for i, row in enumerate(RHYMES) for word in row.split()}


def _by_rule(word):
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word.endswith(("s", "x", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    if word.endswith(("lf", "af", "ife", "ief")) and word not in ("chief", "safe"):
        return word.removesuffix("e")[:-1] + "ves"
    return word + "s"


@task("One {word}, two", "The plural of {word} is", second=_by_rule,
      draw=lambda world, random, dials: {"word": random.choice(PLURALS[::2])})  # fmt: skip
def plural(word: str) -> str:
    """Give the plural of a noun."""
    return PLURALS[PLURALS.index(word) + 1]


def _with_article(world, random, dials):
    vowel = bool(random.integers(2))
    while True:
        word = random.choice(WORDS)
        if (word[0] in "aeiou") == vowel:
            return {"word": word}


@task("Is it a or an before {word}?", "Before the word {word} stands", choices=("a", "an"),
      draw=_with_article,
      second=lambda word: "an" if word.startswith(("a", "e", "i", "o", "u")) else "a")  # fmt: skip
def article(word: str) -> str:
    """Put a or an before a word."""
    return a(word).split()[0]


def _one_rhymes(world, random, dials):
    rows = pick(random, RHYMES, dials.size)
    word, right = pick(random, rows[0].split(), 2)
    others = [random.choice(row.split()) for row in rows[1:]]
    return {"word": word, "options": random.shuffle([right, *others])}


@task("Which rhymes with {word}: {options:list}?", "Of {options:list}, only one rhymes with {word}:",
      size=(3, "how many words to choose from", 2, 8), options="size", draw=_one_rhymes,
      second=lambda word, options: next(other for row in RHYMES if word in row.split()
                                        for other in row.split() if other in options))  # fmt: skip
def rhyme(word: str, options: list[str]) -> str:
    """Find the word that rhymes."""
    return next(other for other in options if FAMILY[other] == FAMILY[word])


@task("Do people call {name} he or she?", "{name} came in, and down sat", choices=("he", "she"),
      slots={"name": FIRST_NAMES},
      splits={"name": lambda document: document.labels["name"], "way": Task.splits["way"]},
      draw=lambda world, random, dials: {"name": random.choice(FIRST_NAMES)},
      second=lambda name: ("she", "he")[FIRST_NAMES.index(name) >= len(names.GIRLS)])  # fmt: skip
def he_or_she(name: str) -> str:
    """Say if a first name is that of a woman or of a man."""
    return "she" if name in names.GIRLS else "he"
