"""Ask which meaning a word with two meanings has in a sentence."""

from tinyllm.world.forms import FIRST_NAMES
from tinyllm.world.names import unwrapped
from tinyllm.world.question import asks

_SETTINGS = """
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
"""  # what somebody was doing, by theme
SETTINGS = {theme: some.split(", ") for theme, some in (line.split(": ") for line in unwrapped(_SETTINGS))}
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


def _draw(world, random, size):
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
      draw=_draw, labels=lambda word, setting: {"word": word, "setting": setting},
      splits={"combination": lambda d: [d.labels["word"], d.labels["setting"]]})
def word_sense(word: str, setting: str) -> str:
    """Say which of two meanings a word has in a sentence."""
    [sense] = [sense for theme, sense in SENSES[word].items() if setting in SETTINGS[theme]]
    return sense
