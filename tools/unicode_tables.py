"""Ask the `tokenizers` package what it knows of Unicode, and renew the tables of tokenizer/unicode.py.

    python tools/unicode_tables.py

Its parts were built from different versions of Unicode, none of them Python's own: a character that is newer
than a table is no letter, accent or punctuation for it. Each table here is the answer of one part for every
code point, so that ours are the same on every Python. `verify_families.py` asks again and compares.
Run it on a Python whose `unicodedata` is as new as the `regex` package: both are asked what is newer.
"""

import sys
import unicodedata
from pathlib import Path

import regex
from tokenizers import normalizers, pre_tokenizers

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from charsmaps import charsmap

POINTS = [i for i in range(0x110000) if not 0xD800 <= i <= 0xDFFF]
CHARACTERS = list(map(chr, POINTS))
ACUTE, ZWJ, KA, VIRAMA = "\u0301\u200d\u0915\u094d"
UNICODE = Path(__file__).resolve().parents[1] / "tinyllm/tokenizer/unicode.py"


def in_ranges(characters):
    """Characters -> "41-5A 5F ..."."""
    found = []
    for point in sorted(map(ord, characters)):
        if found and found[-1][1] == point - 1:
            found[-1][1] = point
        else:
            found.append([point, point])
    return [f"{a:X}" if a == b else f"{a:X}-{b:X}" for a, b in found]


def removed_by(normalizer):
    return [c for c in CHARACTERS if normalizer.normalize_str(c) == ""]


def bert(**on):
    names = ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase")
    return normalizers.BertNormalizer(**{name: on.get(name, False) for name in names})


def pieces_beside(pre_tokenizer, character):
    return len(pre_tokenizer.pre_tokenize_str(f"a{character}a"))


def pairs_only(decompositions):
    return [parts for parts in decompositions if len(parts) == 2 and parts[0][0] != "<"]


def inert():
    """Characters that newer Unicode decomposes, composes or reorders, and this package leaves alone."""
    nfd, nfc, nfkd = normalizers.NFD(), normalizers.NFC(), normalizers.NFKD()
    firsts = {parts[0] for c in CHARACTERS if (parts := unicodedata.decomposition(c).split())
              and parts[0][0] != "<"}
    firsts = [chr(int(first, 16)) for first in firsts]

    def acts(c):
        changes = nfd.normalize_str(c) != c or nfkd.normalize_str(c) != c
        moves = nfd.normalize_str(c + "\u0334") != c + "\u0334" or nfd.normalize_str(ACUTE + c) != ACUTE + c
        return changes or moves or any(len(nfc.normalize_str(f + c)) == 1 for f in firsts)

    may = regex.compile(r"[\P{ccc=0}\P{dt=none}\P{NFC_QC=Y}]")
    newer = [c for c in CHARACTERS if may.match(c) and not "\u1100" <= c <= "\u11ff"]  # jamo compose by rule
    found = [c for c in newer if not acts(c)]
    pairs = [unicodedata.decomposition(c).split() for c in found]  # those that two older ones compose to
    pairs = [map(chr, (int(a, 16), int(b, 16))) for a, b in pairs_only(pairs)]
    return found + [first for first, second in pairs if second not in found and not acts(first)]


def graphemes():
    """Which characters join others into one grapheme (UAX 29), seen through a normalizer.

    Precompiled treats a grapheme of fewer than six bytes as one: if it begins with what has a rule, the
    rule's result replaces all of it.
    """
    names = ("prepend", "control", "pictograph", "consonant", "linker", "extend", "spacing")
    sets = {name: [] for name in names}
    for plane in range(17):
        own = [c for c in CHARACTERS if ord(c) >> 16 == plane]
        rules = dict.fromkeys(own, "X") | {"a": "Y", "\u00a9": "C", KA: "K", ACUTE: "A"}
        rule = normalizers.Precompiled(charsmap(rules)).normalize_str
        joins = {c: None for c in own if rule("a" + c) == "Y"}
        sets["prepend"] += [c for c in own if ord(c) > 127 and rule(c + "a") == rules[c]]
        sets["control"] += [c for c in own if ord(c) < 2**16 and "A" in rule(c + ACUTE) and c != ACUTE]
        others = [c for c in own if c not in joins]
        sets["pictograph"] += [c for c in others if "A" in rule(c + ZWJ + "\u00a9" + ACUTE)]
        sets["consonant"] += [c for c in others if "A" in rule(c + VIRAMA + KA + ACUTE)]
        sets["linker"] += [c for c in joins if "A" in rule(KA + c + KA + ACUTE)]
        extend = {c: None for c in joins if "A" in rule("\u00a9" + c + ZWJ + "\u00a9" + ACUTE)}
        sets["extend"] += extend
        sets["spacing"] += [c for c in joins if c not in extend and c != ZWJ]
    return sets


def main():
    whitespace = pre_tokenizers.Whitespace()
    punctuation = pre_tokenizers.Punctuation()
    digits = pre_tokenizers.Digits(individual_digits=True)
    tables = {
        "removed": removed_by(bert(clean_text=True)),
        "nonspacing": removed_by(bert(strip_accents=True)),
        "marks": removed_by(normalizers.StripAccents()),
        "inert": inert(),
        "word": [c for c in CHARACTERS if pieces_beside(whitespace, c) == 1],
        "punctuation": [c for c in CHARACTERS if pieces_beside(punctuation, c) == 3],
        "digits": [c for c in CHARACTERS if len(digits.pre_tokenize_str("a" + c)) == 2],
        **graphemes(),
    }
    lines = [UNICODE.read_text().partition("TABLES = {")[0] + "TABLES = {"]
    for name, characters in tables.items():
        lines.append(f'    "{name}": """')
        line = ""
        for text in in_ranges(characters):
            if len(line) + len(text) > 108:
                lines.append(line.lstrip())
                line = ""
            line += " " + text
        lines.append(line.lstrip() + '\n""",')
    UNICODE.write_text("\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
