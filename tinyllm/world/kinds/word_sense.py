"""Word sense: a word with two meanings, of which the context decides one."""

from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind
from tinyllm.world.forms import FIRST_NAMES, Form, proved
from tinyllm.world.world import World

_SETTINGS = """
water: fishing in the river, rowing down the stream, swimming with the ducks, mending a net, waiting for the
    ferry, wading through the brook, sailing a paper boat, looking for shells
money: counting coins, saving for a new hat, paying for the bread, selling eggs, lending a penny, getting
    change, emptying a purse, hiding gold
forest: walking under old oaks, gathering mushrooms, climbing a birch, chopping wood, picking berries,
    looking for pine cones, camping in the woods, sweeping up leaves
animals: watching animals, feeding the goats, following a strange track, visiting the zoo, listening to an
    owl, brushing a pony, calling the dogs, guarding the sheep
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
_LINES = _SETTINGS.replace("\n    ", " ").strip().splitlines()
SETTINGS = {theme: some.split(", ") for theme, some in (line.split(": ") for line in _LINES)}
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
    "scale": {"kitchen": "a thing for weighing", "water": "a plate on a fish"},
    "horn": {"animals": "the weapon of a goat", "music": "a brass thing to blow"},
    "key": {"music": "a part of a piano", "workshop": "a thing that opens locks"},
    "date": {"kitchen": "a sweet fruit", "school": "a day of the calendar"},
    "stamp": {"post": "a paper on an envelope", "music": "a beat with the foot"},
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
