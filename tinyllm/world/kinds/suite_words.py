"""Small tasks about the meaning and the forms of words."""

from typing import Any

from tinyllm.rng import Random
from tinyllm.world import names
from tinyllm.world.names import a, words
from tinyllm.world.task import FIRST_NAMES, TABLES, WORDS, Fields, Task, pick, sized
from tinyllm.world.world import World

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
OPPOSITES = words("""
    big small hot cold day night up down old new fast slow happy sad light dark wet dry open shut full empty
    long short high low rich poor loud quiet hard soft thick thin near far early late clean dirty sweet sour
    left right over under before after first last push pull give take laugh cry buy sell win lose brave afraid
    heavy weightless sharp blunt strong weak summer winter north south true false begin end remember forget
""")
RHYMES = (
    "cat hat mat bat rat", "boat goat coat float", "bell well shell smell", "night kite light bite",
    "moon spoon noon tune", "bread bed red head", "pie sky fly high", "tree bee key sea", "snow crow toe",
    "rain train lane cane", "bear chair hair pear", "duck luck truck", "clock sock rock lock",
    "king ring wing", "star jar car", "cake lake snake rake", "house mouse", "hen pen ten men",
)  # fmt: skip
FAMILY = {word: i for i, row in enumerate(RHYMES) for word in row.split()}
SORT = {word: sort for sort, table in TABLES.items() for word in table}
RELATED = (
    [  # pairs of the same relation
        [(job, " ".join(facts[i].split()[-1:])) for job, facts in names.JOBS.items()] for i in range(3)
    ]
    + [[(animal, facts[1]) for animal, facts in names.ANIMALS.items()]]
)


class Plural(Task):
    """Give the plural of a noun."""

    asks = ("One {word}, two", "The plural of {word} is")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"word": PLURALS[2 * random.integers(len(PLURALS) // 2)]}

    def truth(self, word: str) -> str:
        return PLURALS[PLURALS.index(word) + 1]

    def second(self, word: str) -> str:
        if word in IRREGULAR:
            return IRREGULAR[word]
        if word.endswith(("s", "x", "ch", "sh")):
            return word + "es"
        if word.endswith("y") and word[-2] not in "aeiou":
            return word[:-1] + "ies"
        if word.endswith(("lf", "af", "ife", "ief")) and word not in ("chief", "safe"):
            return word.removesuffix("e")[:-1] + "ves"
        return word + "s"


class Opposite(Task):
    """Give the opposite of a word."""

    asks = ("The opposite of {word} is", "Not {word} but")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"word": random.choice(OPPOSITES)}

    def truth(self, word: str) -> str:
        return OPPOSITES[OPPOSITES.index(word) ^ 1]

    def second(self, word: str) -> str:
        pairs = zip(OPPOSITES[::2], OPPOSITES[1::2], strict=True)
        return next(y if x == word else x for x, y in pairs if word in (x, y))


class Article(Task):
    """Put a or an before a word."""

    choices = ("a", "an")
    asks = ("Is it a or an before {word}?", "Before the word {word} stands")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        vowel = bool(random.integers(2))
        while True:
            word = random.choice(WORDS)
            if (word[0] in "aeiou") == vowel:
                return {"word": word}

    def truth(self, word: str) -> str:
        return a(word).split()[0]

    def second(self, word: str) -> str:
        return "an" if word.startswith(("a", "e", "i", "o", "u")) else "a"


class Rhyme(Task):
    """Find the word that rhymes."""

    Dials = sized(3, "how many words to choose from", 2, 8)
    asks = ("Which rhymes with {word}: {options:list}?", "Of {options:list}, only one rhymes with {word}:")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        rows = pick(random, RHYMES, dials.size)
        word, right = pick(random, rows[0].split(), 2)
        others = [random.choice(row.split()) for row in rows[1:]]
        return {"word": word, "options": random.shuffle([right, *others])}

    def truth(self, word: str, options: list[str]) -> str:
        return next(other for other in options if FAMILY[other] == FAMILY[word])

    def second(self, word: str, options: list[str]) -> str:
        [row] = [row.split() for row in RHYMES if word in row.split()]
        return (set(row) & set(options)).pop()

    def chance(self, dials: Any) -> float:
        """Return the share of each option."""
        return 1 / dials.size


class OddOneOut(Task):
    """Find the word that is of another sort."""

    Dials = sized(4, "how many words there are", 3, 8)
    asks = ("Which does not belong: {words:list}?", "The odd one out of {words:list} is")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        most, other = pick(random, list(TABLES), 2)
        same = pick(random, TABLES[most], dials.size - 1)
        return {"words": random.shuffle([*same, random.choice(TABLES[other])])}

    def truth(self, words: list[str]) -> str:
        sorts = [SORT[word] for word in words]
        return words[sorts.index(min(sorts, key=sorts.count))]

    def second(self, words: list[str]) -> str:
        for word in words:
            if sum(any(word in t and other in t for t in TABLES.values()) for other in words) == 1:
                return word
        return ""

    def chance(self, dials: Any) -> float:
        """Return the share of each word."""
        return 1 / dials.size


class Category(Task):
    """Say what sort of thing something is."""

    choices = tuple(TABLES)
    asks = ("What sort of thing is this: {word}?", "The word {word} names a sort of")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"word": random.choice(TABLES[random.choice(self.choices)])}

    def truth(self, word: str) -> str:
        return SORT[word]

    def second(self, word: str) -> str:
        return next(sort for sort, table in TABLES.items() if word in table)


class Analogy(Task):
    """Find the word that goes with a word as another pair goes together."""

    asks = ("{a} is to {b} as {c} is to", "What {b} is to {a}, to {c} is")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        (x, y), (z, _) = pick(random, random.choice(RELATED), 2)
        return {"a": x, "b": y, "c": z}

    def truth(self, a: str, b: str, c: str) -> str:
        relation = next(dict(pairs) for pairs in RELATED if (a, b) in pairs)
        return relation[c]

    def second(self, a: str, b: str, c: str) -> str:
        table: Any = names.JOBS if a in names.JOBS else names.ANIMALS
        place = [fact.split()[-1] for fact in table[a]].index(b)
        return table[c][place].split()[-1]


class HeOrShe(Task):
    """Say if a first name is that of a woman or of a man."""

    choices = ("he", "she")
    asks = ("Do people call {name} he or she?", "{name} came in, and down sat")
    splits = {"name": lambda document: document.labels["name"], "way": Task.splits["way"]}

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"name": random.choice(FIRST_NAMES)}

    def truth(self, name: str) -> str:
        return "she" if name in names.GIRLS else "he"

    def second(self, name: str) -> str:
        return ("she", "he")[FIRST_NAMES.index(name) >= len(names.GIRLS)]
