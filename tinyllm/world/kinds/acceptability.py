"""Ask if a sentence with nested clauses is good English: each verb must agree with its noun."""

import re

from tinyllm.world.question import NO_YES, asks, dials

NOUNS = tuple((one, one + "s") for one in ("goat", "owl", "duck", "otter", "hen", "frog"))
ALONE = (("sleeps", "sleep"), ("sings", "sing"), ("waits", "wait"), ("smiles", "smile"))
VERBS = (("sees", "see"), ("hears", "hear"), ("likes", "like"), ("follows", "follow"))
OTHER = {a: b for one, many in NOUNS + ALONE + VERBS for a, b in ((one, many), (many, one))}
MANY = {word: many for pairs in (NOUNS, ALONE, VERBS) for pair in pairs for many, word in enumerate(pair)}


def _noun_phrase(random, clauses):
    """Draw a noun phrase with this many nested clauses; return (words, 1 if the noun is a plural)."""
    many = random.integers(2)
    words = ["the", random.choice(NOUNS)[many]]
    if clauses and random.integers(2):  # such as: the owl that sees the goat
        words += ["that", *_verb_phrase(random, many, clauses - 1)]
    elif clauses:  # such as: the owl that the goat sees
        inner, of_inner = _noun_phrase(random, clauses - 1)
        words += ["that", *inner, random.choice(VERBS)[of_inner]]
    return words, many


def _verb_phrase(random, many, clauses):
    if clauses == 0 and random.integers(2):
        return [random.choice(ALONE)[many]]
    return [random.choice(VERBS)[many], *_noun_phrase(random, clauses)[0]]


def _draw(random, clauses):
    before = random.integers(clauses + 1)
    subject, many = _noun_phrase(random, before)
    words = [*subject, *_verb_phrase(random, many, clauses - before)]
    if random.integers(2):
        return {"sentence": words}
    spoilt = [[*words[:i], OTHER[word], *words[i + 1 :]] for i, word in enumerate(words) if word in OTHER]
    wrong = [each for each in spoilt if not _is_sentence(each)]  # a changed object would be right
    return {"sentence": random.choice(wrong)}


def _is_sentence(words):
    """Parse a sentence from left to right; the next word always tells which rule of the grammar to take."""
    left = [*words, ""][::-1]

    def word(table, many=None):
        said = left.pop()
        if all(said not in pair or many not in (None, pair.index(said)) for pair in table):
            raise ValueError(f"{said!r} does not fit here")
        return MANY.get(said)

    def noun_phrase():
        word([("the",)])
        many = word(NOUNS)
        if left[-1] == "that":
            left.pop()
            if left[-1] == "the":
                word(VERBS, noun_phrase())
            else:
                verb_phrase(many)
        return many

    def verb_phrase(many):
        if left[-1] in dict(ALONE) or left[-1] in dict(ALONE).values():
            word(ALONE, many)
        else:
            word(VERBS, many)
            noun_phrase()

    try:
        verb_phrase(noun_phrase())
    except ValueError:
        return False
    return left == [""]


def _by_rewriting(sentence):
    """Solve independently: replace phrases by letters, the innermost first, until nothing changes."""
    letters = {"the": "", "that": "t"} | {word: "sp"[MANY[word]] for pair in NOUNS for word in pair}
    letters |= {word: "Aa"[MANY[word]] for pair in ALONE for word in pair}
    letters |= {word: "Vv"[MANY[word]] for pair in VERBS for word in pair}
    text, before = "".join(letters[word] for word in sentence), ""
    while text != before:
        before = text
        text = re.sub("V([sp](?!t)|[SP])", "A", re.sub("v([sp](?!t)|[SP])", "a", text))  # verb with object
        text = re.sub("st(A|([sS]V|[pP]v)(?![spSP]))", "S", text)  # a noun with its clause: a capital
        text = re.sub("pt(a|([sS]V|[pP]v)(?![spSP]))", "P", text)
    return NO_YES[bool(re.fullmatch("[sS]A|[pP]a", text))]


@asks("{sentence:row} ?", group="understanding", marker="", draw=_draw, second=_by_rewriting, choices=NO_YES,
      labels=lambda sentence: {"sentence": sentence},
      splits={"text": lambda document: document.labels["sentence"]},
      Dials=dials(clauses=(1, "how many clauses the sentence has inside", 0, 5)))
def acceptability(sentence: list[str]) -> str:
    """Say if a sentence is good English, or one of its words has the wrong number."""
    return NO_YES[_is_sentence(sentence)]
