"""Added tokens: those that a tokenizer.json finds in a text before its model sees it, special or not."""

import re
from dataclasses import dataclass

from tinyllm.errors import UserError
from tinyllm.tokenizer.families.normalize import WHITESPACE, matcher


@dataclass(frozen=True)
class AddedToken:
    """A token that is found as it stands.

    single_word: only where no letter or digit touches it. lstrip, rstrip: it swallows the white space before
    or after it. normalized: it is looked for, normalized itself, in the normalized text. special: it is no
    ordinary text, and never comes from one unless that is allowed.
    """

    id: int
    content: str
    single_word: bool
    lstrip: bool
    rstrip: bool
    normalized: bool
    special: bool


class Finder:
    """Finds added tokens in a text: the leftmost first, and of those that begin there the longest."""

    def __init__(self, tokens):
        """tokens: (what to look for, AddedToken) pairs; of two that look for the same, the first counts."""
        self._tokens: dict = {}
        for content, token in tokens:
            self._tokens.setdefault(content, token)
        longest_first = sorted(self._tokens, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def split(self, text, banned):
        """Cut a text at its added tokens: (text, token or None, where it begins).

        banned: ids that are ordinary text here. As in Hugging Face's, a token that may not stand there hides
        shorter ones that could.
        """
        done = 0
        for match in self._pattern.finditer(text) if self._pattern else ():
            start, end = match.span()
            token = self._tokens[match.group()]
            if token.id in banned or (token.single_word and _touches_word(text, start, end)):
                continue
            if token.lstrip:
                while start > done and text[start - 1] in WHITESPACE:
                    start -= 1
            while token.rstrip and end < len(text) and text[end] in WHITESPACE:
                end += 1
            if done < start:
                yield text[done:start], None, done
            yield text[start:end], token, start
            done = end
        if done < len(text):
            yield text[done:], None, done


def _touches_word(text, start, end):
    word = matcher("word")
    return (start > 0 and word.match(text, start - 1)) or (end < len(text) and word.match(text, end))


def read_added(parts, ids):
    """The added tokens of a tokenizer.json, checked.

    parts: the list in the file. ids: {token: id} of the model. Hugging Face numbers a token that the model
    does not have itself, and ignores the id in the file; a file in which the two differ is refused.
    """
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    if not isinstance(parts, list):
        raise UserError("added_tokens is not a list")
    tokens: list[AddedToken] = []
    seen: dict[str, int] = {}
    highest = -1
    for i, part in enumerate(parts):
        if not isinstance(part, dict) or part.keys() != {"id", "content", *flags}:
            raise UserError(f"added_tokens[{i}] is not an object with id, content, {', '.join(flags)}")
        content = part["content"]
        if not isinstance(content, str) or not content or content in seen:
            raise UserError(f"added_tokens[{i}] has no text or a repeated one: {str(content)[:40]!r}")
        if any(type(part[flag]) is not bool for flag in flags):
            raise UserError(f"added_tokens[{i}] has a flag that is neither true nor false")
        expected = ids.get(content, highest + 1 if highest >= len(ids) else len(ids))
        if type(part["id"]) is not int or part["id"] != expected:
            raise UserError(f"added_tokens[{i}] must have the id {expected}, not {str(part['id'])[:20]}")
        seen[content] = expected
        highest = max(highest, expected)
        tokens.append(AddedToken(**part))
    return tokens
