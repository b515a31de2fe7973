"""Write small tasks about the meaning, the forms and the sounds of words."""

from typing import Any

from tinyllm.world import names
from tinyllm.world.forms import FIRST_NAMES
from tinyllm.world.names import table, words
from tinyllm.world.question import TABLES, QuestionKind, asks, pick

OPPOSITES = words("""
    big small hot cold day night up down fast slow happy sad wet dry open shut full empty high low rich poor
    loud quiet thick thin near far early late clean dirty sweet sour over under before after first last push
    pull give take laugh cry buy sell brave afraid sharp blunt strong weak summer winter north south true
    false begin end remember forget
""")
SORT = {word: sort for sort, table in TABLES.items() for word in table}
RELATED = [  # each list has pairs with the same relation
    *[[(job, facts[i].split()[-1]) for job, facts in names.JOBS.items()] for i in range(3)],
    [(animal, facts[1]) for animal, facts in names.ANIMALS.items()],
]


@asks("The opposite of {word} is", "Not {word} but",
      size=(len(OPPOSITES) // 2, "how many pairs of words", 1, len(OPPOSITES) // 2),
      chance=lambda dials: 1 / (2 * dials.size),
      draw=lambda random, size: {"word": random.choice(OPPOSITES[: 2 * size])},
      second=lambda word: dict(zip(OPPOSITES[::2] + OPPOSITES[1::2], OPPOSITES[1::2] + OPPOSITES[::2],
                                   strict=True))[word])
def opposite(word: str) -> str:
    """Give the opposite of a word."""
    return OPPOSITES[OPPOSITES.index(word) ^ 1]


def _one_other(random, size):
    most, other = pick(random, list(TABLES), 2)
    same = pick(random, TABLES[most], size - 1)
    return {"words": random.shuffle([*same, random.choice(TABLES[other])])}


@asks("Which does not belong: {words:list}?", "The odd one out of {words:list} is",
      size=(4, "how many words there are", 3, 8), options="size", draw=_one_other,
      second=lambda words: next(
          x for x in words if sum(x in t and y in t for t in TABLES.values() for y in words) == 1))
def odd_one_out(words: list[str]) -> str:
    """Find the one word in a list that does not belong with the others."""
    sorts = [SORT[word] for word in words]
    return words[sorts.index(min(sorts, key=sorts.count))]


def _two_pairs(random, size):
    (x, y), (z, _) = pick(random, random.choice(RELATED[:size]), 2)
    return {"a": x, "b": y, "c": z}


def _same_column(a, b, c):
    table: Any = names.JOBS if a in names.JOBS else names.ANIMALS
    place = [fact.split()[-1] for fact in table[a]].index(b)
    return table[c][place].split()[-1]


@asks("{a} is to {b} as {c} is to", "As {a} is to {b}, so {c} is to",
      size=(4, "how many relations: what a job can do, its tool, its place; sounds", 1, 4),
      chance=lambda dials: 1 / min(len(names.JOBS) * dials.size, 4 * len(names.ANIMALS)),
      draw=_two_pairs, second=_same_column)
def analogy(a: str, b: str, c: str) -> str:
    """Complete an analogy between two pairs of words."""
    return next(dict(pairs) for pairs in RELATED if (a, b) in pairs)[c]


PLURALS = words("""
    apple apples baker bakers baby babies bench benches berry berries box boxes brush brushes bus buses calf
    calves cherry cherries child children church churches city cities day days deer deer dish dishes dress
    dresses fly flies foot feet fox foxes glass glasses goose geese half halves kite kites knife knives lady
    ladies leaf leaves life lives loaf loaves man men monkey monkeys mouse mice ox oxen owl owls peach peaches
    penny pennies pony ponies puppy puppies shelf shelves sheep sheep story stories thief thieves tooth teeth
    toy toys watch watches wife wives wish wishes wolf wolves woman women
""")
IRREGULAR = {"child": "children", "deer": "deer", "foot": "feet", "goose": "geese", "man": "men",
             "mouse": "mice", "ox": "oxen", "sheep": "sheep", "tooth": "teeth", "woman": "women"}
RHYMES = (
    "cat hat mat bat rat", "boat goat coat float", "bell well shell smell", "night kite light bite",
    "moon spoon noon tune", "bread bed red head", "pie sky fly high", "tree bee key sea", "snow crow toe",
    "rain train lane cane", "bear chair hair pear", "duck luck truck", "clock sock rock lock",
    "king ring wing", "star jar car", "cake lake snake rake", "house mouse", "hen pen ten men",
)
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


@asks("One {word}, two", "The plural of {word} is", second=_by_rule,
      size=(len(PLURALS) // 2, "how many nouns", 2, len(PLURALS) // 2), options="size",
      draw=lambda random, size: {"word": random.choice(PLURALS[: 2 * size : 2])})
def plural(word: str) -> str:
    """Give the plural of a noun."""
    return PLURALS[PLURALS.index(word) + 1]


def _one_rhymes(random, size):
    rows = pick(random, RHYMES, size)
    word, right = pick(random, rows[0].split(), 2)
    others = [random.choice(row.split()) for row in rows[1:]]
    return {"word": word, "options": random.shuffle([right, *others])}


@asks("Which rhymes with {word}: {options:list}?", "Of {options:list}, only one rhymes with {word}:",
      size=(3, "how many words to choose from", 2, 8), options="size", draw=_one_rhymes,
      second=lambda word, options: next(other for row in RHYMES if word in row.split()
                                        for other in row.split() if other in options))
def rhyme(word: str, options: list[str]) -> str:
    """Find the word in a list that rhymes with a given word."""
    return next(other for other in options if FAMILY[other] == FAMILY[word])


@asks("Do people call {name} he or she?", "Of he and she, the right word for {name} is",
      size=(40, "how many names of women, and of men", 1, 40), choices=("he", "she"),
      slots={"name": FIRST_NAMES},
      splits={"name": lambda document: document.labels["name"], "way": QuestionKind.splits["way"]},
      draw=lambda random, size: {"name": random.choice([*names.GIRLS[:size], *names.BOYS[:size]])},
      second=lambda name: ("she", "he")[FIRST_NAMES.index(name) >= len(names.GIRLS)])
def he_or_she(name: str) -> str:
    """Say if a first name belongs to a woman or a man."""
    return "she" if name in names.GIRLS else "he"


SETTINGS = table("""
water: fishing in the river, rowing down the stream, swimming with the ducks, mending a net, waiting for the
    ferry, wading through the brook, sailing a paper boat, looking for shells
money: counting coins, saving for a new hat, paying for the bread, selling eggs, lending a penny, getting
    change, emptying a purse, hiding gold
forest: walking under old oaks, gathering mushrooms, climbing a birch, chopping wood, picking berries,
    looking for pine cones, camping in the woods, sweeping up leaves
animals: watching animals, feeding the goats, following a strange track, visiting the zoo, listening to an
    owl, brushing a pony, milking the goats, guarding the sheep
games: playing on the meadow, running after a ball, choosing teams, counting goals, cheering for the reds,
    keeping the score, practising a throw, winning a match
music: singing in the choir, playing in the band, listening to a concert, learning a tune, tuning a fiddle,
    humming a song, clapping to the beat, dancing to the drums
school: doing lessons, sitting in class, learning to write, listening to the teacher, doing sums, opening a
    schoolbook, filling an inkpot, reciting a poem
kitchen: cooking supper, baking a cake, setting the table, tasting the soup, peeling apples, making jam,
    stirring the porridge, cutting cheese
workshop: building a shed, hammering and sawing, repairing a cart, making a chair, oiling a hinge,
    sharpening an axe, planing a board, putting up a fence
doctor: seeing the doctor, nursing a cold, washing with soap, wearing a bandage, taking medicine, having a
    fever, rubbing sore feet, getting well again
post: writing a letter, opening the mail, sending a parcel, answering a postcard, waiting for the postman,
    folding a letter, copying an address, dropping a card in the box
""")  # what somebody was doing, by theme
SENSES = {  # word -> theme -> what the word means there
    "bank": {"water": "the side of a river", "money": "a house full of coins"},
    "bat": {"animals": "an animal that flies", "games": "a stick for hitting balls"},
    "bark": {"forest": "the skin of a tree", "animals": "the voice of a dog"},
    "trunk": {"forest": "the stem of a tree", "animals": "the nose of an elephant"},
    "crane": {"animals": "a bird with long legs", "workshop": "a machine that lifts"},
    "seal": {"water": "an animal with flippers", "post": "wax on an envelope"},
    "nail": {"workshop": "a pin of iron", "doctor": "the end of a finger"},
    "mole": {"animals": "an animal that digs", "doctor": "a dark spot on the skin"},
    "pupil": {"school": "a child who learns", "doctor": "the dark spot of an eye"},
    "scale": {"kitchen": "a thing for weighing", "water": "a plate on a fish"},
    "horn": {"animals": "the weapon of a goat", "music": "a brass thing to blow"},
    "pen": {"animals": "a yard with a fence", "school": "a thing to write with"},
    "date": {"kitchen": "a sweet fruit", "post": "a day of the calendar"},
    "stamp": {"post": "a paper on an envelope", "music": "a beat with the foot"},
    "pitcher": {"games": "a player who throws", "kitchen": "a jug with a handle"},
    "chest": {"money": "a box for treasure", "doctor": "the front of the body"},
    "pipe": {"music": "a wooden thing to blow", "workshop": "a tube for water"},
}
POINTED = ("pointed to", "asked about", "spoke of", "thought of")
SCENES = [scene for scenes in SETTINGS.values() for scene in scenes]


def _draw_sense(world, random, size):
    word = random.choice(list(SENSES)[:size])
    theme = random.choice(list(SENSES[word]))
    who, pointed = random.choice(world.people).first, random.choice(POINTED)
    return {"word": word, "who": who, "pointed": pointed, "setting": random.choice(SETTINGS[theme])}


@asks("{who} was {setting} and {pointed} the {word}. What is the {word} here?",
      slots={"who": FIRST_NAMES, "setting": SCENES, "pointed": POINTED, "word": SENSES},
      group="understanding", marker="", options=2,
      choices=lambda word: SENSES[word].values(), size=(len(SENSES), "how many words", 1, len(SENSES)),
      second=lambda word, setting: next(
          SENSES[word][theme] for theme, scenes in SETTINGS.items() if setting in scenes),
      draw=_draw_sense, labels=lambda word, setting: {"word": word, "setting": setting},
      splits={"combination": lambda d: [d.labels["word"], d.labels["setting"]]})
def word_sense(word: str, setting: str) -> str:
    """Say which of two meanings a word has in a sentence."""
    [sense] = [sense for theme, sense in SENSES[word].items() if setting in SETTINGS[theme]]
    return sense
