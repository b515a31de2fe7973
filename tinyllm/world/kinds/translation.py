"""Translate sentences into an invented language, which has another grammar in every world."""

from tinyllm.config import setting
from tinyllm.world.forms import Shape
from tinyllm.world.language import ADJECTIVES, FORMS, NOUNS, TENSES, VERBS, WORDS, base, inflected, language
from tinyllm.world.question import asks, dials
from tinyllm.world.world import World


def _draw(world, random, dials):
    known, phrases = max(2, dials.words * 6 // 13), []
    for _ in range(2):
        many = random.integers(2) == 1
        count = min(known, random.integers(dials.adjectives + 1))
        chosen = random.shuffle(ADJECTIVES[:known])[:count] if count else []
        phrases.append([random.choice(NOUNS[: dials.words]).split("/")[0], many, chosen])
    verb = random.choice(VERBS[: max(2, dials.words * 8 // 13)]).split("/")[0]
    tense, many = random.choice(TENSES), phrases[0][1]
    return {"subject": phrases[0], "verb": inflected(verb, tense, many), "object": phrases[1]}


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
      labels=lambda subject, verb, object: {"subject": subject, "verb": base(verb, subject[1]),
                                            "object": object},
      splits={"combination": lambda d: [d.labels["subject"][0], d.labels["verb"][0], d.labels["object"][0]],
              "length": lambda d: len(d.labels["subject"][2]) + len(d.labels["object"][2]) > 2},
      Dials=dials(words=setting(13, help="how many nouns; half as many adjectives, and verbs", min=3, max=26),
                  adjectives=setting(2, help="how many adjectives a noun has at most", min=0, max=3)),
      )
def translation(world: World, subject: list, verb: str, object: list) -> str:
    """Translate a sentence into an invented language, which has other endings and the verb at the end."""
    own, (name, tense) = language(world.config.seed), base(verb, subject[1])
    verb = own.stems[name] + own.tenses[tense]
    return " ".join([*own.phrase(subject, ""), *own.phrase(object, own.object), verb])
