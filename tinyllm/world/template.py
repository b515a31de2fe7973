"""Read the template language of the stories: prose with choices, draws and mentions.

    The sky was [blue|2*grey].              a choice; grey is twice as likely as blue
    a {hero = children : intro}             draw an entity from a table, call it hero, say its `intro`
    {friend = children - hero}              draw one that is not hero, say its `name`
    {spot = place.spots : at}               draw from a list that belongs to an entity drawn before
    {hero} lost {hero.his} hat.             mention what was drawn; {hero.His} says it with a capital
    <opening>                               another rule
    (One.&Two.&Three.)                      all of these sentences, in any order, a space between them

`read` turns such a template into a body: a tuple of strings, Mention, Draw, Choice, Shuffle and RuleCall.
`read_grammar` reads a text of many rules, each with its template.
"""

import re
from dataclasses import dataclass
from typing import Any

from tinyllm.world.names import table, unwrapped


class GrammarError(ValueError):
    """An error in a grammar: a misspelt template, an unknown name, or two ways to write one text."""


class Entity:
    """A person, thing or place of the world, with a name, a weight in random draws, and words about it."""

    def __init__(self, name, weight=1, **words):
        self.name, self.weight = name, weight
        self.__dict__.update(words)

    def say(self, attr: str) -> str:
        """Return the words called `attr`; say("His") returns the words `his` with a capital letter."""
        words = getattr(self, attr[0].lower() + attr[1:])
        return words if attr[0].islower() else words[0].upper() + words[1:]

    def __repr__(self):
        return f"Entity({self.name!r})"


def entities(text: str, *words: str) -> list[Entity]:
    """Return entities from a text such as "pie: an apple pie; cake*2: a cake", where `words` name the values.

    A number behind the name is the entity's weight.
    """
    entries = [(name.partition("*"), values) for name, values in table(" ".join(text.split())).items()]
    return [Entity(name, int(weight or 1), **dict(zip(words, values, strict=False)))
            for (name, _, weight), values in entries]


@dataclass(frozen=True, eq=False, slots=True)
class Mention:
    """A part of a template that inserts the words `attr` of the entity called `var`."""

    var: str
    attr: str


@dataclass(frozen=True, eq=False, slots=True)
class Draw:
    """A part of a template that draws an entity, calls it `var`, and inserts the entity's words `attr`.

    `source` is (table,) or (variable, name of a list that belongs to its entity). Entities in the variables
    `unlike` are not drawn.
    """

    var: str
    source: tuple
    unlike: tuple
    attr: str

    @property
    def parents(self) -> tuple:
        """Return the variables that limit which entities can be drawn."""
        return self.source[:-1] + self.unlike


@dataclass(frozen=True, eq=False, slots=True)
class Choice:
    """A part of a template that continues with one of several options (weight, body)."""

    options: tuple


@dataclass(frozen=True, eq=False, slots=True)
class Shuffle:
    """A part of a template that inserts several texts in random order, with spaces between them."""

    parts: tuple


@dataclass(frozen=True, eq=False, slots=True)
class RuleCall:
    """A part of a template that continues with the rule called `name`."""

    name: str


_TOKEN = re.compile(r"[\[\]|()&]|\{[^{}]*\}|<\w+>|[^\[\]|(){}<>&]+")
_WEIGHT = re.compile(r"(\d+)\*")
_MENTION = re.compile(r"(\w+)(?:\.(\w+))?")
_DRAW = re.compile(r"(\w+) = (\w+(?:\.\w+)?)((?: - \w+)*)(?: : (\w+))?")


def read_grammar(text: str) -> dict[str, Any]:
    """Read the rules of a grammar, one in each line -> {name: template, or {label: template}}.

    A line is "name: template", or "name.label: template" for one of the ways to continue with a rule. It goes
    on in lines that begin with blanks, also before a |. Lines that begin with # are comments.
    """
    rules: dict[str, Any] = {}
    for line in unwrapped(re.sub(r"(?m)^#.*\n|^\n|\n +(?=\|)", "", text)):
        name, _, template = line.partition(": ")
        name, _, label = name.partition(".")
        if label:
            rules.setdefault(name, {})[label] = template
        else:
            rules[name] = template
    return rules


def read(template: str) -> tuple:
    """Turn a template into a body, a tuple of strings and nodes. Raises GrammarError if it is malformed."""
    template = " ".join(template.split())
    tokens = _TOKEN.findall(template)
    if "".join(tokens) != template:
        raise GrammarError(f"unmatched brace or angle bracket in {template!r}")
    tokens.reverse()  # so that pop() takes the next one
    body = _read_body(tokens)
    if tokens:
        raise GrammarError(f"unexpected {tokens.pop()!r} in {template!r}")
    return body


def _read_body(tokens):
    body = []
    while tokens and tokens[-1] not in ("|", "]", "&", ")"):
        token = tokens.pop()
        if token == "[":
            body.append(Choice(tuple(_read_parts(tokens, "|", "]"))))
        elif token == "(":
            body.append(Shuffle(tuple(part for _, part in _read_parts(tokens, "&", ")"))))
        elif token[0] == "{":
            body.append(_read_braces(token[1:-1]))
        elif token[0] == "<":
            body.append(RuleCall(token[1:-1]))
        else:
            body.append(token)
    return tuple(body)


def _read_parts(tokens, separator, end):
    """Return [(weight, body)] of the parts of a choice or of a shuffle, up to its closing bracket."""
    parts = []
    while True:
        weight = _WEIGHT.match(tokens[-1]) if tokens else None
        if weight:
            rest = tokens.pop()[weight.end() :]
            tokens.extend([rest] if rest else [])
        parts.append((int(weight[1]) if weight else 1, _read_body(tokens)))
        token = tokens.pop() if tokens else ""
        if token == end:
            return parts
        if token != separator:
            raise GrammarError(f"a bracket is opened and never closed with {end}")


def _read_braces(inside):
    if mention := _MENTION.fullmatch(inside):
        return Mention(mention[1], mention[2] or "name")
    if draw := _DRAW.fullmatch(inside):
        unlike = tuple(re.findall(r"\w+", draw[3]))
        return Draw(draw[1], tuple(draw[2].split(".")), unlike, draw[4] or "name")
    raise GrammarError(f"{{{inside}}} is neither a mention, {{hero.his}}, nor a draw, {{hero = children}}")
