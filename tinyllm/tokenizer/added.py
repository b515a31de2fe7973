"""Added tokens, as Hugging Face calls them: names that are looked for in a text before anything else is done.

A special one is found where it is allowed, the others always. The rules are those of the `tokenizers`
library, added_vocabulary.rs: the leftmost and longest name wins; first the text as it stands is searched
for the tokens that want it so, then what lies between them, normalised, for the others.
"""

from dataclasses import dataclass, field
from functools import cached_property

from tinyllm.errors import UserError
from tinyllm.tokenizer.fields import take
from tinyllm.tokenizer.names import check_sizes, finder
from tinyllm.tokenizer.unicode import WHITESPACE, matcher
from tinyllm.tokenizer.vocabulary import LARGEST_ID

MOST = 2**16  # added tokens in a file; the largest that are used have some thousands


@dataclass(frozen=True)
class AddedToken:
    """One added token and how it is found.

    lstrip, rstrip: the white space on that side belongs to it. single_word: only where no letter or digit
    touches it. normalized: look for it in the normalised text.
    """

    content: str
    id: int
    special: bool = False
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False


@dataclass(frozen=True)
class AddedTokens:
    """All added tokens of a tokenizer, and the normalisation that they share with its text (or None)."""

    tokens: tuple = ()
    normalize: object = field(default=None)

    @cached_property
    def _searches(self):
        """For the raw text and the normalised one: what finds names, {name: token}, if one always counts."""
        raw = {token.content: token for token in self.tokens if not token.normalized}
        change = self.normalize or (lambda text: text)
        normal = {}
        for token in sorted(self.tokens, key=lambda token: not token.special):  # as HF: the first one wins
            if token.normalized:
                normal.setdefault(change(token.content), token)
        normal.pop("", None)
        return [
            (finder(names), names, any(not token.special for token in names.values()))
            for names in (raw, normal)
        ]

    def with_bytes(self, tokens):
        """The bytes of every id, these tokens' names among them: a new list."""
        tokens = list(tokens)
        for token in self.tokens:
            tokens += [None] * (token.id + 1 - len(tokens))
            tokens[token.id] = token.content.encode()
        return tokens

    def cut(self, text, allowed=()):
        """Find the added tokens in a text: an iterator of ids and of the normalised text between them.

        allowed: names of the special tokens that count. The name of another one is ordinary text, all of it.
        """
        return (part for part, _ in self.cut_with_places(text, allowed))

    def cut_with_places(self, text, allowed=()):
        """The same with, for each, whether it begins where the text does: pairs."""
        raw, normal = self._searches
        allowed = frozenset(allowed)
        for part, start in _search(text, *raw, allowed):
            if isinstance(part, int):
                yield part, start == 0
                continue
            for inner, at in _search(self.normalize(part) if self.normalize else part, *normal, allowed):
                yield inner, start + at == 0


def _search(text, find, names, always, allowed):
    """The ids of the names that a text holds and the text between them, each with its place."""
    done = 0
    for start, end in find(text) if always or allowed else ():
        token = names[text[start:end]]
        if token.special and token.content not in allowed:
            continue
        if token.single_word and _touches_a_word(text, start, end):
            continue
        if token.lstrip:
            while start > done and text[start - 1] in WHITESPACE:
                start -= 1
        if token.rstrip:
            while end < len(text) and text[end] in WHITESPACE:
                end += 1
        if done < start:
            yield text[done:start], done
        yield token.id, start
        done = end
    if done < len(text):
        yield text[done:], done


def _touches_a_word(text, start, end):
    word = matcher("word")
    return (start > 0 and word.match(text, start - 1)) or (end < len(text) and word.match(text, end))


def read_added(parts):
    """The added tokens of a `tokenizer.json`, a list of its fields, checked. Raises UserError."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), bool)
    if len(parts) > MOST:
        raise UserError(f"added_tokens has {len(parts)} tokens; at most {MOST} are read")
    tokens: dict[str, AddedToken] = {}
    for i, part in enumerate(parts):
        where = f"added_tokens[{i}]"
        token = AddedToken(**take(part, where, id=int, content=str, **flags))
        if not 0 <= token.id < LARGEST_ID:
            raise UserError(f"{where} has the id {str(token.id)[:20]}, not 0 to {LARGEST_ID - 1}")
        if not token.content:
            raise UserError(f"{where} has no content")
        if any("\ud800" <= c <= "\udfff" for c in token.content):
            raise UserError(f"{where} holds half a character (a lone surrogate)")
        if token.content in tokens:
            raise UserError(f"{where}, {token.content[:40]!r}, is there twice")
        tokens[token.content] = token
    check_sizes(tokens)
    return list(tokens.values())


def check_numbers(added, vocab):
    """Raise UserError where the library, which ignores a file's own ids, would number otherwise."""
    largest = -1
    for i, token in enumerate(added):
        number = vocab.get(token.content, max(largest + 1, len(vocab)))
        if token.id != number:
            raise UserError(
                f"added_tokens[{i}] says id {token.id}, but Hugging Face's reader makes it {number}"
            )
        largest = max(largest, number)
