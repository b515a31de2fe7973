"""Pre-tokenizers: where a normalized text is cut before its tokens are found, as functions text -> pieces.

They are those of Hugging Face's tokenizer.json, to the character. `first` says whether a text begins where
the whole text does, which one of them wants to know.
"""

import re

from tinyllm.errors import UserError
from tinyllm.tokenizer.families.parts import flatten, literal, one_of, take
from tinyllm.tokenizer.pretokenizers import BEHAVIORS, cutter
from tinyllm.tokenizer.unicode import WHITESPACE, matcher, ranges


def metaspace(text, first, replacement, prepend_scheme, split):
    """Write blanks as a visible character, add one at the start, and cut before each.

    prepend_scheme: "always", "never" or "first": only where the whole text begins. Kudo and Richardson,
    "SentencePiece", EMNLP 2018, section 3.1.
    """
    text = text.replace(" ", replacement)
    wanted = prepend_scheme == "always" or (prepend_scheme == "first" and first)
    if wanted and not text.startswith(replacement):
        text = replacement + text
    return cutter(re.compile(re.escape(replacement)), "MergedWithNext")(text) if split else [text]


def _anywhere(cut):
    return lambda text, first: cut(text)


def _make_bert(part):
    take(part, "pre-tokenizer")
    words, marks = cutter(matcher(WHITESPACE), "Removed"), cutter(matcher("punctuation"))
    return lambda text, first: [each for word in words(text) for each in marks(word)]


def _make_whitespace(part):
    take(part, "pre-tokenizer")
    word = ranges("word")
    pattern = re.compile(f"[{word}]+|[^{word}{WHITESPACE}]+")
    return lambda text, first: pattern.findall(text)


def _make_whitespace_split(part):
    take(part, "pre-tokenizer")
    pattern = matcher("^" + WHITESPACE, "+")
    return lambda text, first: pattern.findall(text)


def _make_punctuation(part):
    behavior = _behavior(take(part, "pre-tokenizer", behavior=(str, "Isolated")))
    return _anywhere(cutter(matcher("punctuation"), behavior))


def _make_digits(part):
    behavior = "Isolated" if take(part, "pre-tokenizer", individual_digits=bool) else "Contiguous"
    return _anywhere(cutter(matcher("digits"), behavior))


def _make_delimiter(part):
    delimiter = re.compile(re.escape(_character(take(part, "pre-tokenizer", delimiter=str), part)))
    return _anywhere(cutter(delimiter, "Removed"))


def _make_split(part):
    pattern, behavior, invert = take(part, "pre-tokenizer", pattern=dict, behavior=str, invert=(bool, False))
    pattern, behavior = re.compile(re.escape(literal(pattern, "pre-tokenizer Split"))), _behavior(behavior)
    return _anywhere(cutter(pattern, behavior, invert))


def _make_metaspace(part):
    options = metaspace_options(part, "pre-tokenizer")
    return lambda text, first: metaspace(text, first, *options)


def metaspace_options(part, where):
    """The replacement, the prepend_scheme and whether to split, of a new Metaspace or an old one."""
    replacement, scheme, split, prefix, _ = take(
        part, where, replacement=str, prepend_scheme=(str, "always"), split=(bool, True),
        add_prefix_space=(bool, True), str_rep=(str, None),
    )  # fmt: skip
    if scheme not in ("always", "first", "never") or not (prefix or scheme == "never"):
        raise UserError(f"the {where} Metaspace has the prepend_scheme {scheme[:20]!r}, which cannot be")
    return _character(replacement, part), scheme, split


def _behavior(name):
    if name not in BEHAVIORS:
        raise UserError(f"the behavior {name[:20]!r} is not known here; there are {', '.join(BEHAVIORS)}")
    return name


def _character(text, part):
    if len(text) != 1:
        raise UserError(f"the pre-tokenizer {part['type']} wants one character, not {text[:20]!r}")
    return text


PRE_TOKENIZERS = {
    "BertPreTokenizer": _make_bert,
    "CharDelimiterSplit": _make_delimiter,
    "Digits": _make_digits,
    "Metaspace": _make_metaspace,
    "Punctuation": _make_punctuation,
    "Split": _make_split,
    "Whitespace": _make_whitespace,
    "WhitespaceSplit": _make_whitespace_split,
}


def make_pre_tokenizer(part, plain):
    """The pre-tokenizer of a tokenizer.json, as one function (text, first) -> list of pieces.

    plain: whether the normalizer leaves the start of a text where it is. Raises UserError.
    """
    parts = flatten(part, "pre-tokenizer", "pretokenizers")
    steps = [one_of(PRE_TOKENIZERS, each, "pre-tokenizer")(each) for each in parts]
    at_first = [each["type"] == "Metaspace" and each.get("prepend_scheme") == "first" for each in parts]
    if any(at_first) and not (plain and len(parts) == 1):
        raise UserError(
            "Metaspace with the prepend_scheme first is known here only alone, and after a normalizer that "
            "takes nothing away"
        )

    def pre_tokenize(text, first):
        pieces = [text]
        for step in steps:
            pieces = [each for piece in pieces for each in step(piece, first) if each]
        return pieces

    return pre_tokenize
