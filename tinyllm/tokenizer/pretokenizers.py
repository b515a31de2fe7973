"""Pre-tokenizers of `tokenizer.json`: how a text is cut into the pieces that no token crosses.

Each is a function from one piece (a str, not empty) to a list of pieces; a sequence of them runs one after
the other on every piece. Behaviours as in the `tokenizers` library, normalizer.rs,
`NormalizedString::split`.
"""

import regex

from tinyllm.errors import UserError
from tinyllm.ops.pieces import GPT2
from tinyllm.tokenizer.fields import DEEPEST, kind_of, take
from tinyllm.tokenizer.patterns import compile_pattern, found, search
from tinyllm.tokenizer.regexes import check_same_in_oniguruma
from tinyllm.tokenizer.unicode import matcher


def matches(compiled, text):
    """Where a pattern matches: [(start, end)], empty matches where Oniguruma has them."""
    spans, last = [], -1
    for start, end in found(compiled, text):
        if start == end:  # from the first empty match on, Python's rules differ: go step by step
            break
        spans.append((start, end))
        last = end
    else:
        return spans
    at = max(last, 0)
    while at <= len(text) and (match := search(compiled, text, at)):
        start, end = match.span()
        if start == end == last:  # not right after another match
            at += 1
            continue
        spans.append((start, end))
        at = last = end
    return spans


def _chunks(compiled, text, invert):
    """The matches and what lies between them: [(start, end, whether it matches)]."""
    chunks, done = [], 0
    for start, end in matches(compiled, text):
        if done < start:
            chunks.append((done, start, invert))
        chunks.append((start, end, not invert))
        done = end
    if done < len(text):
        chunks.append((done, len(text), invert))
    return chunks


def _isolated(chunks):
    return [chunk[:2] for chunk in chunks]


def _removed(chunks):
    return [chunk[:2] for chunk in chunks if not chunk[2]]


def _contiguous(chunks):
    spans, before = [], False
    for start, end, match in chunks:
        if match == before and spans:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
        before = match
    return spans


def _merged_with_previous(chunks):
    spans, before = [], False
    for start, end, match in chunks:
        if match and not before and spans:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
        before = match
    return spans


def _merged_with_next(chunks):
    spans, before = [], False
    for start, end, match in reversed(chunks):
        if match and not before and spans:
            spans[-1] = (start, spans[-1][1])
        else:
            spans.append((start, end))
        before = match
    return spans[::-1]


BEHAVIORS = {
    "Isolated": _isolated,
    "Removed": _removed,
    "Contiguous": _contiguous,
    "MergedWithPrevious": _merged_with_previous,
    "MergedWithNext": _merged_with_next,
}


def cutter(compiled, behavior="Isolated", invert=False):
    """A pre-tokenizer that cuts at the matches of a pattern, which `behavior` keeps, joins or takes away."""
    spans = BEHAVIORS[behavior]

    def cut(text):
        return [text[start:end] for start, end in spans(_chunks(compiled, text, invert)) if start < end]

    return cut


def _split(part, where):
    fields = take(part, where, pattern=dict, behavior=str, invert=bool)
    pattern = take(fields["pattern"], f"{where}.pattern", String=([str], None), Regex=([str], None))
    given = [name for name, value in pattern.items() if value]
    if len(given) != 1:
        raise UserError(f"{where}.pattern needs a String or a Regex, not empty")
    if fields["behavior"] not in BEHAVIORS:
        known = ", ".join(BEHAVIORS)
        raise UserError(f"{where}.behavior is {fields['behavior'][:40]!r}, which is not one of {known}")
    if given == ["Regex"]:
        check_same_in_oniguruma(pattern["Regex"], f"{where}.pattern")
        compiled = compile_pattern(pattern["Regex"])
    else:
        compiled = regex.compile(regex.escape(pattern["String"]))
    return [cutter(compiled, fields["behavior"], fields["invert"])]


def _byte_level(part, where):
    """Only the cutting: the bytes are the vocabulary's business (see `formats/bytelevel.py`)."""
    kinds = {"add_prefix_space": bool, "trim_offsets": bool, "use_regex": ([bool], True)}
    fields = take(part, where, **kinds)
    steps = []
    if fields["add_prefix_space"]:
        steps.append(lambda text: [text if text[0] == " " else " " + text])
    if fields["use_regex"]:
        steps.append(cutter(compile_pattern("gpt2")))
    return steps


def _digits(part, where):
    single = take(part, where, individual_digits=bool)["individual_digits"]
    return [cutter(matcher("digits"), "Isolated" if single else "Contiguous")]


def _sequence(part, where):
    members = take(part, where, pretokenizers=list)["pretokenizers"]
    steps = []
    for i, member in enumerate(members):
        steps += build_pretokenizer(member, f"{where}.pretokenizers[{i}]")
        if len(steps) > MOST:
            raise UserError(f"{where} has more than {MOST} steps")
    return steps


MOST = 64  # steps in a file
PRETOKENIZERS = {  # type -> what makes a list of functions of its fields
    "ByteLevel": _byte_level,
    "Digits": _digits,
    "Sequence": _sequence,
    "Split": _split,
}


def build_pretokenizer(part, where="pre_tokenizer"):
    """Make the list of functions that a pre-tokenizer of `tokenizer.json` stands for.

    Raises UserError with the name of what is not supported.
    """
    if part is None:
        return []
    kind = kind_of(part, where)
    if kind not in PRETOKENIZERS:
        raise UserError(f"{where} is {kind[:40]!r}, which is not supported; {', '.join(PRETOKENIZERS)} are")
    return PRETOKENIZERS[kind](part, where)


def flat(part, depth=0):
    """The members of a pre-tokenizer, sequences opened up: a list of objects."""
    if not isinstance(part, dict) or part.get("type") != "Sequence" or depth > DEEPEST:
        return [part]
    members = part.get("pretokenizers")
    return [
        each for member in (members if isinstance(members, list) else []) for each in flat(member, depth + 1)
    ]


def pattern_of(part):
    """The one pattern that says the same as a byte-level pre-tokenizer, or None."""
    members = flat(part)
    last = members[-1]
    if last.get("type") != "ByteLevel" or last["add_prefix_space"]:
        return None
    if len(members) == 1 and last.get("use_regex", True):
        return "gpt2"
    if len(members) != 2 or last.get("use_regex", True) or members[0].get("type") != "Split":
        return None
    source = members[0]["pattern"].get("Regex")
    if not source or members[0]["behavior"] != "Isolated" or check_same_in_oniguruma(source, "pre_tokenizer"):
        return None
    return "gpt2" if source == GPT2 else source
