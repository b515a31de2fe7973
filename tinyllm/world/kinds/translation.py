"""Translation into an invented language, which has another grammar in every world."""

from dataclasses import dataclass
from functools import cache

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind
from tinyllm.world.forms import proved
from tinyllm.world.names import words
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
    """The invented language of a world: stems of two syllables, and endings for number, case and tense."""

    def __init__(self, seed: int):
        random = Random(seed, "language")
        syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
        known = [word.split("/")[0] for word in (*NOUNS, *ADJECTIVES, *VERBS)]
        stems = random.shuffle(x + y for x in syllables for y in syllables if x != y)
        self.stems = dict(zip(known, stems, strict=False))
        self.plural = random.choice(["ri", "lo", "mu", "ke"])
        self.object = random.choice(["n", "s", "k"])
        self.tenses = dict(zip(TENSES, ["", *random.shuffle(["th", "sh", "l", "m"])], strict=False))

    def phrase(self, noun: str, many: bool, adjectives: list[str], case: str) -> list[str]:
        """Return the words of a noun with its adjectives, which stand after it and have its endings."""
        return [self.stems[word] + (self.plural if many else "") + case for word in (noun, *adjectives)]


@cache
def language(seed: int) -> Language:
    """Return the language of the world with this seed."""
    return Language(seed)


class Translation(Kind):
    """Translate a sentence into a language with other endings and the verb at the end."""

    group = "translation"
    splits = {
        "combination": lambda d: [d.labels["subject"][0], d.labels["verb"][0], d.labels["object"][0]],
        "length": lambda d: len(d.labels["subject"][2]) + len(d.labels["object"][2]) > 2,
    }

    @dataclass(frozen=True)
    class Dials:
        """Set how many words there are, and how long a sentence can be."""

        words: int = setting(13, help="how many nouns; half as many adjectives, and verbs", min=3, max=26)
        adjectives: int = setting(2, help="how many adjectives a noun has at most", min=0, max=3)

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        known = max(2, dials.words * 6 // 13)
        phrases = []
        for _ in range(2):
            many = random.integers(2) == 1
            count = min(known, random.integers(dials.adjectives + 1))
            chosen = random.shuffle(ADJECTIVES[:known])[:count] if count else []
            phrases.append([random.choice(NOUNS[: dials.words]), many, chosen])
        verb = random.choice(VERBS[: max(2, dials.words * 8 // 13)])
        for phrase in phrases:
            phrase[0] = phrase[0].split("/")[0]
        return _document(world, phrases[0], [verb.split("/")[0], random.choice(TENSES)], phrases[1])

    def read(self, world: World, text: str) -> Document | None:
        _, arrow, invented = text.partition(" -> ")
        own = language(world.config.seed)
        names = {stem: word for word, stem in own.stems.items()}
        tenses = {ending: tense for tense, ending in own.tenses.items()}
        *found, verb = [(names.get(word[:4]), word[4:]) for word in invented.split(" ")]
        phrases: list[list] = []
        for name, ending in found:  # a noun begins a phrase, an adjective goes on with it
            if name in _FORMS and _FORMS[name][0] == "noun":
                phrases.append([name, ending.startswith(own.plural), []])
            elif name in ADJECTIVES and phrases:
                phrases[-1][2].append(name)
            else:
                return None
        if not arrow or len(phrases) != 2 or verb[1] not in tenses:
            return None
        if _FORMS.get(str(verb[0]), " ")[0] != "verb":
            return None
        return proved(self, world, _document(world, phrases[0], [verb[0], tenses[verb[1]]], phrases[1]), text)

    def solve(self, world: World, document: Document) -> str:
        """Rewrite the English words one by one, from left to right, without a look at the meaning."""
        own, out, waiting, verb = language(world.config.seed), [], [], ""
        tense = "future" if " will " in document.prompt else "present"
        for word in document.prompt.removesuffix(" ->").split(" "):
            part, stem, form = _WORDS.get(word, ("", "", ""))
            if part == "adjective":
                waiting.append(stem)
            elif part == "noun":
                ending = (own.plural if form == "plural" else "") + (own.object if verb else "")
                out += [own.stems[known] + ending for known in (stem, *waiting)]
                waiting = []
            elif part == "verb":
                verb = own.stems[stem] + own.tenses["past" if form == "past" else tense]
        return " ".join([*out, verb])


_FORMS = {  # a word as the dictionary has it -> its part of speech and all its forms
    **{word.split("/")[0]: ("noun", *word.split("/")) for word in NOUNS},
    **{word.split("/")[0]: ("verb", *word.split("/")) for word in VERBS},
}
_NAMES = {"noun": ("singular", "plural"), "verb": ("", "", "past")}
_WORDS = {  # a word as a sentence has it -> its part of speech, the word of the dictionary, the form
    **{word: ("adjective", word, "") for word in ADJECTIVES},
    **{form: (part, first, name) for first, (part, *forms) in _FORMS.items()
       for form, name in zip(forms, _NAMES[part], strict=True)},
}  # fmt: skip


def _document(world, subject, verb, object):
    own = language(world.config.seed)
    name, tense = verb
    _, present, singular, past = _FORMS[name]
    said = {"past": past, "future": f"will {name}", "present": present if subject[1] else singular}[tense]
    english = [" ".join(["the", *p[2], _FORMS[p[0]][1 + p[1]]]) for p in (subject, object)]
    invented = [*own.phrase(*subject, ""), *own.phrase(*object, own.object)]
    invented.append(own.stems[name] + own.tenses[tense])
    labels = {"subject": subject, "verb": verb, "object": object}
    return Translation().asked(f"{english[0]} {said} {english[1]} ->", " ".join(invented), labels)
