"""Translate sentences into an invented language, which has another grammar in every world."""

from functools import cache

from tinyllm.rng import Random
from tinyllm.world.forms import Shape
from tinyllm.world.names import SYLLABLES, words
from tinyllm.world.question import asks, dials
from tinyllm.world.world import World

NOUNS = words("""
    dog/dogs cat/cats goose/geese pony/ponies goat/goats owl/owls hen/hens frog/frogs mouse/mice baker/bakers
    miller/millers sailor/sailors singer/singers duck/ducks otter/otters parrot/parrots king/kings
    queen/queens teacher/teachers fisher/fishers doctor/doctors painter/painters tailor/tailors farmer/farmers
    gardener/gardeners rabbit/rabbits
""")
ADJECTIVES = words("old small brave quiet hungry clever tall merry sleepy shy proud wise")
VERBS = words("""see/sees/saw love/loves/loved carry/carries/carried follow/follows/followed help/helps/helped
    call/calls/called teach/teaches/taught find/finds/found chase/chases/chased wash/washes/washed
    draw/draws/drew greet/greets/greeted feed/feeds/fed thank/thanks/thanked visit/visits/visited
    know/knows/knew""")
TENSES = ("present", "past", "future")


class Language:
    """The invented language of one world: stems of words, and endings for number, case and tense."""

    def __init__(self, seed: int):
        random = Random(seed, "language")
        known = [word.split("/")[0] for word in (*NOUNS, *ADJECTIVES, *VERBS)]
        stems = random.shuffle(x + y for x in SYLLABLES for y in SYLLABLES if x != y)
        self.stems = dict(zip(known, stems, strict=False))
        self.plural = random.choice(["ri", "lo", "mu", "ke"])
        self.object = random.choice(["n", "s", "k"])
        self.tenses = dict(zip(TENSES, ["", *random.shuffle(["th", "sh", "l", "m"])], strict=False))

    def phrase(self, phrase: list, case: str) -> list[str]:
        """Return the words of a noun and its adjectives; the adjectives follow, with the same endings."""
        noun, many, adjectives = phrase
        return [self.stems[word] + (self.plural if many else "") + case for word in (noun, *adjectives)]


language = cache(Language)  # of the world that has this seed


FORMS = {  # base form -> part of speech and all forms
    word.split("/")[0]: (part, *word.split("/"))
    for part, table in (("noun", NOUNS), ("verb", VERBS)) for word in table
}
_NAMES = {"noun": ("singular", "plural"), "verb": ("", "", "past")}
WORDS = {  # inflected form -> part of speech, base form, name of the form
    **{word: ("adjective", word, "") for word in ADJECTIVES},
    **{form: (part, first, name) for first, (part, *forms) in FORMS.items()
       for form, name in zip(forms, _NAMES[part], strict=True)},
}


def base(said: str) -> list[str]:
    """Return [verb, tense] of an English verb form."""
    tense = "future" if said.startswith("will ") else WORDS[said][2] or "present"
    return [WORDS[said.removeprefix("will ")][1], tense]


def _draw(random, words, adjectives):
    known, phrases = max(2, words * 6 // 13), []
    for _ in range(2):
        many = random.integers(2) == 1
        count = min(known, random.integers(adjectives + 1))
        chosen = random.shuffle(ADJECTIVES[:known])[:count] if count else []
        phrases.append([random.choice(NOUNS[:words]).split("/")[0], many, chosen])
    verb = random.choice(VERBS[: max(2, words * 8 // 13)]).split("/")[0]
    (_, plural, singular, past), many = FORMS[verb], phrases[0][1]
    forms = {"present": plural if many else singular, "past": past, "future": f"will {verb}"}
    return {"subject": phrases[0], "verb": forms[random.choice(TENSES)], "object": phrases[1]}


def _say(phrase):
    noun, many, adjectives = phrase
    return " ".join(["the", *adjectives, FORMS[noun][1 + many]])


def _read(text):
    _, *adjectives, noun = text.split(" ")
    return [WORDS[noun][1], WORDS[noun][2] == "plural", adjectives]


def _word_by_word(world, prompt):
    """Rewrite the English words one by one, from left to right, ignoring the meaning."""
    own, out, waiting, verb = language(world.config.seed), [], [], ""
    tense = "future" if " will " in prompt else "present"
    for word in prompt.removesuffix(" ->").split(" "):
        part, stem, form = WORDS.get(word, ("", "", ""))
        if part == "adjective":
            waiting.append(stem)
        elif part == "noun":
            ending = (own.plural if form == "plural" else "") + (own.object if verb else "")
            out += [own.stems[known] + ending for known in (stem, *waiting)]
            waiting = []
        elif part == "verb":
            verb = own.stems[stem] + own.tenses["past" if form == "past" else tense]
    return " ".join([*out, verb])


PHRASE = Shape(r"the [a-z ]+?", _say, _read)
SAID = [f"{will}{form}" for part, first, *forms in FORMS.values() if part == "verb"
        for will, form in [("will ", first), *(("", form) for form in (first, *forms))]]


@asks("{subject} {verb} {object} ->", slots={"subject": PHRASE, "verb": SAID, "object": PHRASE},
      group="translation", marker="", draw=_draw, second=_word_by_word,
      labels=lambda subject, verb, object: {"subject": subject, "verb": base(verb), "object": object},
      splits={"combination": lambda d: [d.labels["subject"][0], d.labels["verb"][0], d.labels["object"][0]],
              "length": lambda d: len(d.labels["subject"][2]) + len(d.labels["object"][2]) > 2},
      Dials=dials(words=(13, "how many nouns; half as many adjectives, and verbs", 3, 26),
                  adjectives=(2, "how many adjectives a noun has at most", 0, 3)))
def translation(world: World, subject: list, verb: str, object: list) -> str:
    """Translate a sentence into an invented language, which has other endings and the verb at the end."""
    own, (name, tense) = language(world.config.seed), base(verb)
    verb = own.stems[name] + own.tenses[tense]
    return " ".join([*own.phrase(subject, ""), *own.phrase(object, own.object), verb])
