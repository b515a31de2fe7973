"""Normalizers: what a tokenizer does to a text before anything else, as plain functions text -> text.

They are those of Hugging Face's tokenizer.json, to the character. What they take away is gone: a tokenizer
with a normalizer is not lossless.
"""

import re
from functools import partial

from tinyllm.errors import UserError
from tinyllm.tokenizer.families.charsmap import Charsmap
from tinyllm.tokenizer.families.parts import flatten, literal, one_of, replace_all, run_all, take
from tinyllm.tokenizer.unicode import WHITESPACE, matcher, normal_form

IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b81f"
IDEOGRAPHS += "\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f"  # of the blocks; 2B820-2B91F is left out by theirs


def bert(text, clean_text, handle_chinese_chars, strip_accents, lowercase):
    """The normalizer of BERT (Devlin et al. 2018, `BasicTokenizer` in tokenization.py).

    Control characters go, white space becomes a blank, ideographs get blanks around them, then accents and
    capitals go.
    """
    if clean_text:
        text = matcher("removed", "+").sub("", text)
        text = matcher(WHITESPACE).sub(" ", text)
    if handle_chinese_chars:
        text = matcher(IDEOGRAPHS).sub(r" \g<0> ", text)
    if lowercase if strip_accents is None else strip_accents:
        text = matcher("nonspacing", "+").sub("", normal_form("NFD", text))
    return lower(text) if lowercase else text


# Letters that became capitals of others in Unicode 16 and 17, for Pythons that do not know it yet.
NEW_CAPITALS = str.maketrans(
    {0x1C89: 0x1C8A, 0xA7CB: 0x264, 0xA7CC: 0xA7CD, 0xA7CE: 0xA7CF, 0xA7D2: 0xA7D3, 0xA7D4: 0xA7D5}
    | {0xA7DA: 0xA7DB, 0xA7DC: 0x19B}
    | {i: i + 0x20 for i in range(0x10D50, 0x10D66)}
    | {i: i + 0x1B for i in range(0x16EA0, 0x16EB9)}
)


def lower(text):
    """Small letters, character by character: a sigma at the end of a word does not become a final one."""
    small = text.replace("Σ", "σ").lower()
    return small if small.isascii() else small.translate(NEW_CAPITALS)


def nmt(text):
    """The cleaning of sentencepiece's `nmt` rules: controls go, unusual blanks become blanks."""
    text = matcher("\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f").sub("", text)
    return matcher("\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd").sub(" ", text)


def strip(text, left, right):
    """Take white space from the left end, the right end or both."""
    text = text.lstrip(WHITESPACE) if left else text
    return text.rstrip(WHITESPACE) if right else text


def prepend(text, start):
    """Put something before a text that is not empty."""
    return start + text if text else text


def replacement(pattern, content):
    """A function that replaces a text, or a run of one character, by `content`.

    pattern: {"String": text} or {"Regex": c + "+", "{n}" or "{n,}"}, with c a character that means itself.
    Other regular expressions are of Oniguruma, whose every corner we do not have: UserError.
    """
    if isinstance(pattern, dict) and isinstance(pattern.get("Regex"), str) and len(pattern) == 1:
        source = pattern["Regex"]
        if not re.fullmatch(r"[^\\.^$|?*+()\[\]{}#&](\+|\{[1-9][0-9]?,?\})", source):
            raise UserError(f"the normalizer Replace has a regex that is not known here, {source[:40]!r}")
        return partial(re.compile(source).sub, lambda match: content)
    old = literal(pattern, "normalizer Replace")
    return lambda text: replace_all([text], old, content)[0]


def _make_bert(part):
    names = dict.fromkeys(("clean_text", "handle_chinese_chars"), bool)
    options = take(part, "normalizer", **names, strip_accents=(bool, None), lowercase=bool)
    return lambda text: bert(text, *options)


def _make_plain(function):
    def make(part):
        take(part, "normalizer")
        return function

    return make


def _make_strip(part):
    left, right = take(part, "normalizer", strip_left=bool, strip_right=bool)
    return lambda text: strip(text, left, right)


def _make_prepend(part):
    start = take(part, "normalizer", prepend=str)
    return lambda text: prepend(text, start)


def _make_charsmap(part):
    return Charsmap(take(part, "normalizer", precompiled_charsmap=str)).normalize


FORMS = {form: _make_plain(partial(normal_form, form)) for form in ("NFC", "NFD", "NFKC", "NFKD")}
NORMALIZERS = {
    "BertNormalizer": _make_bert,
    "Lowercase": _make_plain(lower),
    "Nmt": _make_plain(nmt),
    "Precompiled": _make_charsmap,
    "Prepend": _make_prepend,
    "Replace": lambda part: replacement(*take(part, "normalizer", pattern=dict, content=str)),
    "Strip": _make_strip,
    "StripAccents": _make_plain(lambda text: matcher("marks", "+").sub("", text)),
    **FORMS,
}
REMOVES = {"BertNormalizer", "Nmt", "Precompiled", "Replace", "Strip", "StripAccents"}  # perhaps the start


def make_normalizer(part, known=NORMALIZERS):
    """The normalizer of a tokenizer.json, as one function text -> text. Raises UserError."""
    parts = flatten(part, "normalizer", "normalizers")
    steps = [one_of(known, each, "normalizer")(each) for each in parts]

    return lambda text: run_all(steps, text, len, "normalizer")
