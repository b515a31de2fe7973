"""Store facts, and derive new facts from them by rules.

A rule is a line such as `grandmother(x, z) if mother(y, z), parent(x, y)`. A single letter is a variable,
anything else is a constant. Rules are applied until no new fact follows (forward chaining; Abiteboul, Hull
and Vianu, Foundations of Databases, 12.3). A derived fact is stored with the facts that it was derived from,
so every answer has a proof.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tinyllm.errors import UserError


class Fact(NamedTuple):
    """A fact with the day since which it is true; in a pattern, None as subject or object fits anything."""

    subject: str | None
    relation: str
    object: str | None
    since: int = 0

    def __str__(self) -> str:
        return f"{self.relation}({self.subject or '?'}, {self.object or '?'})"


class Rule(NamedTuple):
    """A rule: its conclusion, its conditions, and pairs of variables that must have different values."""

    head: Fact
    body: tuple[Fact, ...]
    unlike: tuple[tuple[str, str], ...]


_TERM = re.compile(r"(\w+)\(([^,()]+), ([^,()]+)\)")
_UNLIKE = re.compile(r"\b(\w) != (\w)\b")


def read_rules(text: str) -> list[Rule]:
    """Read a text with one rule on each line; raise UserError for a line that is not a rule."""
    rules = []
    for line in filter(None, map(str.strip, text.splitlines())):
        head, found, body = line.partition(" if ")
        terms = [Fact(s, relation, o) for relation, s, o in _TERM.findall(head) + _TERM.findall(body)]
        unlike = tuple(_UNLIKE.findall(body))
        if not found or len(terms) < 2 or line.count("(") != len(terms):
            raise UserError(f"this is not a rule: {line!r}; write a(x, y) if b(x, z), c(z, y), x != y")
        rules.append(Rule(terms[0], tuple(terms[1:]), unlike))
    return rules


class FactBase:
    """A set of given facts and of all facts that follow by rules; iterating yields given facts first."""

    def __init__(self, facts: Iterable[Fact], rules: Iterable[Rule] = ()):
        self._from: dict[Fact, tuple[Fact, ...]] = {}  # fact -> what it followed from; () if it was given
        self._index: dict[tuple, list[Fact]] = defaultdict(list)
        for fact in facts:
            self._add(fact, ())
        self._derive(list(rules))

    def _add(self, fact, because):
        if fact in self._from:
            return False
        self._from[fact] = because
        for key in ((fact.relation,), (fact.relation, fact.subject, 0), (fact.relation, fact.object, 1)):
            self._index[key].append(fact)
        return True

    def _derive(self, rules):
        """Apply all rules until no new fact follows."""
        grew = True
        while grew:
            grew = False
            for rule in rules:
                for bound, because in list(self._matches(rule.body, {}, ())):
                    if all(bound[a] != bound[b] for a, b in rule.unlike):
                        subject, relation, object, _ = rule.head
                        head = Fact(_value(subject, bound), relation, _value(object, bound))
                        grew |= self._add(head, because)

    def _matches(self, body, bound, because):
        """Yield each match of a rule's conditions: ({variable: value}, the facts that were used)."""
        if not body:
            yield bound, because
            return
        term, *rest = body
        pattern = Fact(_value(term.subject, bound), term.relation, _value(term.object, bound))
        for fact in self.find(pattern):
            now = dict(bound)
            if len(term.subject) == 1:
                now[term.subject] = fact.subject
            if len(term.object) == 1:
                if term.object == term.subject and fact.object != fact.subject:
                    continue
                now[term.object] = fact.object
            yield from self._matches(rest, now, (*because, fact))

    def find(self, pattern: Fact) -> list[Fact]:
        """Return the facts that fit a pattern, in the order in which they were given or derived."""
        if pattern.subject is not None:
            found = self._index.get((pattern.relation, pattern.subject, 0), [])
            return found if pattern.object is None else [f for f in found if f.object == pattern.object]
        if pattern.object is not None:
            return self._index.get((pattern.relation, pattern.object, 1), [])
        return self._index.get((pattern.relation,), [])

    def why(self, fact: Fact) -> list[Fact]:
        """Return a proof of a fact: the given facts from which it was derived, or [fact] if it was given."""
        because = self._from[fact]
        return list(dict.fromkeys(f for b in because for f in self.why(b))) if because else [fact]

    def __contains__(self, fact: object) -> bool:
        return isinstance(fact, Fact) and any(True for _ in self.find(fact))

    def __iter__(self) -> Iterator[Fact]:
        return iter(self._from)


def _value(term, bound):
    """Return the value of a variable (None if it has no value yet), or a constant as it is."""
    return bound.get(term) if len(term) == 1 else term
