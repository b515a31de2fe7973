"""Invent a language with its own grammar for each world, for tasks of translation."""

from functools import cache

from tinyllm.rng import Random
from tinyllm.world.names import SYLLABLES, words

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


@cache
def language(seed: int) -> Language:
    """Return the invented language of the world that has this seed."""
    return Language(seed)


FORMS = {  # a word as the dictionary has it -> its part of speech and all its forms
    **{word.split("/")[0]: ("noun", *word.split("/")) for word in NOUNS},
    **{word.split("/")[0]: ("verb", *word.split("/")) for word in VERBS},
}
_NAMES = {"noun": ("singular", "plural"), "verb": ("", "", "past")}
WORDS = {  # a word as a sentence has it -> its part of speech, the word of the dictionary, the form
    **{word: ("adjective", word, "") for word in ADJECTIVES},
    **{form: (part, first, name) for first, (part, *forms) in FORMS.items()
       for form, name in zip(forms, _NAMES[part], strict=True)},
}


def inflected(verb: str, tense: str, many: bool) -> str:
    """Return the form of an English verb for a tense; `many` asks for the plural."""
    _, present, singular, past = FORMS[verb]
    return {"past": past, "future": f"will {verb}", "present": present if many else singular}[tense]


def base(said: str, many: bool) -> list[str]:
    """Return [verb, tense] of an English verb form; raise ValueError if the form disagrees with `many`."""
    tense = "future" if said.startswith("will ") else WORDS[said][2] or "present"
    verb = WORDS[said.removeprefix("will ")][1]
    if inflected(verb, tense, many) != said:
        raise ValueError(f"{said} does not agree with its subject")
    return [verb, tense]
