"""Normalizers of `tokenizer.json`: what is done to a text before it is cut, each a function from str to str.

The Unicode normal forms come from Python's own tables, which are newer than those of the `tokenizers`
library (about Unicode 12). Characters of later versions that have a decomposition or a combining class
would come out differently, so they are left alone here, as they are there; no other character's forms ever
change (Unicode Standard Annex 15, section 3). So every Python gives the same answer.
"""

import unicodedata

import regex

from tinyllm.errors import UserError
from tinyllm.tokenizer.fields import kind_of, take

_TOO_NEW = """
    558 58B-58C 5C8-5C9 7FD 897-89F 8CA-8D3 9FE C3C D3B-D3C EBA 1715 1ABF-1AF0 1DF6-1DFA 209D-209F 32FF
    A7F1-A7F4 A82C AB69 105C9 105D2 105DA 105E4 10781-10785 10787-107B0 107B2-107BF 10D24-10D27 10D69-10D6D
    10EAB-10EAC 10ECB-10ECF 10EF0-10EFB 10EFD-10EFF 10F46-10F50 10F82-10F85 11070 1133B 11382-11385 1138B
    1138E 11390-11391 113B8 113BB 113C2 113C5 113C7-113C9 113CE-113D0 1145E 11839-1183A 11930 11935 11938
    1193D-1193E 11943 119E0 11A34 11A47 11A99 11D42 11D44-11D45 11D97 11F41-11F42 1611E-16129 1612F 16D63
    16D67-16D6A 16FF0-16FF1 1B123-1B126 1CCD6-1CCF9 1D127-1D128 1D250-1D252 1D25B-1D25C 1D25F 1D280-1D281
    1D6A6 1DF95 1DFCD-1DFFF 1E030-1E06D 1E08F 1E130-1E136 1E2AE 1E2EC-1E2EF 1E4EC-1E4EF 1E5EE-1E5EF 1E6E3
    1E6E6 1E6EE-1E6EF 1E6F5 1F16C 1FBF0-1FBF9
"""


def _character_class(ranges):
    ends = (part.split("-") for part in ranges.split())
    return "[" + "".join(f"\\U{int(e[0], 16):08x}-\\U{int(e[-1], 16):08x}" for e in ends) + "]+"


_NEW = regex.compile(f"({_character_class(_TOO_NEW)})")


def normal_form(form, text):
    """The Unicode normal form of a text ("NFC", "NFD", "NFKC", "NFKD"), the same in every Python."""
    if unicodedata.is_normalized(form, text):
        return text
    if not _NEW.search(text):
        return unicodedata.normalize(form, text)
    parts = _NEW.split(text)  # every second part is new characters
    parts[::2] = [unicodedata.normalize(form, part) for part in parts[::2]]
    return "".join(parts)


def _normal_form(part, where):
    take(part, where)
    form = part["type"]
    return lambda text: normal_form(form, text)


def _sequence(part, where):
    members = take(part, where, normalizers=list)["normalizers"]
    if len(members) > MOST:
        raise UserError(f"{where} has more than {MOST} steps")
    steps = [build_normalizer(member, f"{where}.normalizers[{i}]") for i, member in enumerate(members)]

    def run(text):
        for step in steps:
            text = step(text)
        return text

    return run


MOST = 64  # steps in a sequence
NORMALIZERS = {  # type -> what makes a function of its fields
    **dict.fromkeys(("NFC", "NFD", "NFKC", "NFKD"), _normal_form),
    "Sequence": _sequence,
}


def build_normalizer(part, where="normalizer"):
    """Make a function str -> str of the normalizer in a `tokenizer.json`. Raises UserError."""
    if part is None:
        return None
    kind = kind_of(part, where)
    if kind not in NORMALIZERS:
        raise UserError(f"{where} is {kind[:40]!r}, which is not supported; {', '.join(NORMALIZERS)} are")
    return NORMALIZERS[kind](part, where)
