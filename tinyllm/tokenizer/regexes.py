"""Regular expressions that Oniguruma, the engine of `tokenizers`, reads as the `regex` package does.

The two languages share most of their spelling and not all of its meaning: `^`, `$`, `\\w`, `{2}+`, `[a[b]]`,
`(?m)` differ. A pattern is let through only if all its parts are known to mean the same, so a file is read
as its author's library reads it, or not at all. (Oniguruma's doc/RE, Ruby syntax. Characters that Unicode
assigned later than the older of the two libraries are still unknown to that one.)
"""

import regex

from tinyllm.errors import UserError

_CATEGORIES = (
    "L N P S Z M C Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf "
    "Han Hiragana Katakana Hangul"
)
_TOKEN = regex.compile(
    rf"""
    (?P<property> \\[pP]\{{(?:{_CATEGORIES.replace(" ", "|")})\}})
  | (?P<kind>     \\[sSdD])
  | (?P<literal>  \\[rntf] | \\[!-/:-@\[-`{{-~] | \\u[0-9a-fA-F]{{4}} | [^\\\[\](){{}}?*+.^$|] )
  | (?P<dot>      \. )
  | (?P<class>    \[\^? )
  | (?P<caseless> \(\?i: )
  | (?P<behind>   \(\?<[=!] )
  | (?P<ahead>    \(\?[=!] )
  | (?P<group>    \((?:\?[:>])?(?!\?) )
  | (?P<close>    \) )
  | (?P<or>       \| )
  | (?P<repeat>   [?*+][?+]? | \{{[0-9]{{1,4}}(?:,[0-9]{{0,4}})?\}}(?![?+]) )
    """,
    regex.VERBOSE,
)
_MEMBER = regex.compile(
    rf"""
    (?P<set>  \\[pP]\{{(?:{_CATEGORIES.replace(" ", "|")})\}} | \\[sSdD] )
  | (?P<one>  \\[rntf] | \\[!-/:-@\[-`{{-~] | \\u[0-9a-fA-F]{{4}} | [^\\\[\]\-&~|] | [&~|](?![&~|]) )
  | (?P<dash> -(?!-) )
    """,
    regex.VERBOSE,
)
_LIGATURES = ("ss", "st", "ff", "fi", "fl")  # one character in Unicode; Oniguruma matches that one, too


def check_same_in_oniguruma(pattern, where):
    """Raise UserError unless every part of a regular expression means the same to both engines.

    Returns whether the expression may match the empty text; if not, the engines also walk alike.
    """
    groups, at, before, literal = [_Group("group")], 0, "or", ""
    while at < len(pattern):
        match = _TOKEN.match(pattern, at)
        kind = match.lastgroup if match else None
        around = {group.kind for group in groups}
        wrong = match is None or (kind == "close" and len(groups) == 1)
        if kind == "repeat":
            wrong = wrong or "behind" in around or before in ("or", "open", "repeat", "look")
        if "caseless" in around:
            wrong = wrong or kind in ("property", "kind") or _folds(literal, match.group())
        if wrong:
            raise _doubtful(pattern, at, where)
        literal = match.group() if kind == "literal" else ""
        at = match.end()
        if kind == "class":
            at = _skip_class(pattern, at, where, "caseless" in around)
        before = _follow(groups, kind, match.group())
    if len(groups) > 1:
        raise _doubtful(pattern, at, where)
    return groups[0].may_be_empty


class _Group:
    """An open group: whether the alternative that is being read consumes anything, and those before it do."""

    def __init__(self, kind):
        self.kind = kind
        self.consumes = self.before_last = False
        self.empty_before = False

    @property
    def may_be_empty(self):
        return self.empty_before or not self.consumes

    def add(self, consumes):
        self.before_last = self.consumes
        self.consumes = self.consumes or consumes


def _follow(groups, kind, text):
    """Keep track of groups, and of what may match nothing; returns what the next part stands behind."""
    group = groups[-1]
    if kind == "close":
        closed = groups.pop()
        looks = closed.kind in ("ahead", "behind")
        groups[-1].add(not looks and not closed.may_be_empty)
        return "look" if looks else "close"
    if kind in ("caseless", "ahead", "behind", "group"):
        groups.append(_Group(kind))
        return "open"
    if kind == "or":
        group.empty_before, group.consumes = group.may_be_empty, False
    elif kind == "repeat":
        if text[0] in "?*" or regex.match(r"\{0+[,}]", text):
            group.consumes = group.before_last
    else:
        group.add(True)
    return kind


def _skip_class(pattern, at, where, caseless):
    """Where a class in square brackets ends. Ranges have a single character at both sides."""
    start, ended, range_open = at, None, False
    while at < len(pattern) and pattern[at] != "]":
        match = _MEMBER.match(pattern, at)
        kind = match.lastgroup if match else None
        last = at + 1 < len(pattern) and pattern[at + 1] == "]"
        wrong = match is None or (pattern[at] == "^" and at == start)
        if kind == "dash" and at != start and not last:
            wrong, range_open = wrong or ended != "one", True
        elif range_open:
            wrong, range_open, kind = wrong or kind != "one", False, "range"
        if caseless:
            wrong = wrong or kind == "set" or not match.group().isascii()
        if wrong:
            raise _doubtful(pattern, at, where)
        at, ended = match.end(), kind
    if at == start or at >= len(pattern):
        raise _doubtful(pattern, at, where)
    return at + 1


def _folds(before, now):
    """Whether ignoring case could join two letters to one of the text, or is not about ASCII."""
    return (before[-1:] + now).lower()[:2] in _LIGATURES or not now.isascii() or now.startswith("\\u")


def _doubtful(pattern, at, where):
    part = f"{pattern[at : at + 12]!r} at character {at}" if at < len(pattern) else "its end"
    return UserError(
        f"{where}: {part} of the regular expression is not sure to mean the same here; simplify it"
    )
