"""Write texts by a grammar, parse them, and compute their exact probability and entropy.

A text is written by walking through the grammar from left to right. At a *fork* the walk takes one branch
with a known probability, and may note a *fact* (hero = Lily). The whole walk is called a derivation. Its
probability is the product of the probabilities of the branches. Three properties make the results exact:

* A grammar is unambiguous: no text has two derivations (ambiguity.py proves this for every grammar). So the
  probability of a text is the probability of its one derivation, and parsing needs no backtracking.
* The probability of a branch is its share of the weights at a fork. Only a draw of an entity depends on
  earlier draws. So the entropy is a finite sum over forks, not an estimate.
* Weights are integers and randomness is tinyllm.rng, so a seed gives the same text everywhere.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

from tinyllm.rng import Random
from tinyllm.world.ambiguity import check
from tinyllm.world.document import Document
from tinyllm.world.template import Choice, Draw, GrammarError, Mention, RuleCall, Shuffle, read


class Branch(NamedTuple):
    """One branch of a fork: weight, log-probability, the fact (variable, value) or None, and what follows."""

    weight: int
    logprob: float
    fact: tuple | None
    body: tuple


class Fork:
    """The branches at one point; a walk takes one of them. `entropy` is -sum p ln p, in nats."""

    def __init__(self, options):
        self.total = sum(weight for weight, _, _ in options)
        if not options or min(weight for weight, _, _ in options) < 1:
            raise GrammarError("a fork needs at least one branch, and every weight must be 1 or more")
        self.branches = [Branch(w, math.log(w / self.total), fact, body) for w, fact, body in options]
        self.entropy = -math.fsum(b.weight / self.total * b.logprob for b in self.branches)

    def pick(self, rng: Random) -> Branch:
        """Draw a branch at random, with probabilities in proportion to the weights."""
        ticket = rng.integers(self.total) if len(self.branches) > 1 else 0
        for branch in self.branches:
            ticket -= branch.weight
            if ticket < 0:
                break
        return branch


class Walk:
    """The part of a derivation done so far: words, facts and log-probabilities."""

    def __init__(self):
        self.words, self.facts, self.logprobs = [], {}, []

    def take(self, branch: Branch) -> None:
        self.logprobs.append(branch.logprob)
        if branch.fact:
            self.facts[branch.fact[0]] = branch.fact[1]

    def document(self) -> Document:
        labels = {var: getattr(value, "name", value) for var, value in self.facts.items()}
        # fsum rounds once, so writing and reading, which add in different orders, get exactly the same sum.
        return Document("".join(self.words), labels, logprob=math.fsum(self.logprobs))


class Grammar:
    """A grammar that is compiled from templates (see template.py) and tables of entities.

    rules: {name: template}, or {name: {label: template}}: one is chosen, and its label is noted as a fact
        under the rule's name.
    tables: {name: list of entities}.
    Raises GrammarError if a rule is malformed, or if a text can have two derivations.
    """

    def __init__(self, rules, tables, start="story"):
        self.rules, self.tables = rules, tables
        self.draws = {}  # variable -> the draw that defines it
        self.forks = {}  # choice -> its fork; (draw, values of its parents) -> its fork
        self._compiled = {}
        self.body = self._rule(start)
        check(self)

    # Compiling: templates become bodies, and rules are replaced by their bodies.

    def _rule(self, name):
        if name not in self._compiled:
            if name not in self.rules:
                raise GrammarError(f"no rule is called <{name}>")
            self._compiled[name] = None  # in progress: coming here again means a cycle
            self._compiled[name] = self._compile(self._read_rule(name))
        if self._compiled[name] is None:
            raise GrammarError(f"rule <{name}> contains itself")
        return self._compiled[name]

    def _read_rule(self, name):
        rule = self.rules[name]
        if isinstance(rule, str):
            return read(rule)
        bodies = {label: read(template) for label, template in rule.items()}
        choice = Choice(tuple((1, body) for body in bodies.values()))
        self.forks[choice] = Fork([(1, (name, label), self._compile(x)) for label, x in bodies.items()])
        return (choice,)

    def _compile(self, body):
        out = []
        for node in body:
            if isinstance(node, RuleCall):
                out.extend(self._rule(node.name))
            elif isinstance(node, Shuffle):
                out.extend(self._shuffle([self._compile(part) for part in node.parts]))
            else:
                out.append(node)
            if isinstance(node, Choice) and node not in self.forks:
                self.forks[node] = Fork([(w, None, self._compile(option)) for w, option in node.options])
            if isinstance(node, Draw):
                known = self.draws.setdefault(node.var, node)
                if (known.source, known.unlike) != (node.source, node.unlike):
                    raise GrammarError(f"{{{node.var}}} is drawn in two different ways")
        return tuple(out)

    def _shuffle(self, parts):
        """Compile a shuffle as choices of the first part; equal rests share one: 2^n choices, not n!."""
        done: dict[tuple, tuple] = {(): ()}

        def of(left):
            if left not in done:
                bodies = []
                for first in left:
                    rest = tuple(part for part in left if part != first)
                    bodies.append((*parts[first], *((" ",) if rest else ()), *of(rest)))
                choice = Choice(())
                self.forks[choice] = Fork([(1, None, body) for body in bodies])
                done[left] = (choice,)
            return done[left]

        return of(tuple(range(len(parts))))

    def fork(self, node: Choice | Draw, facts: dict) -> Fork:
        """Return the fork of a choice or a draw; the branches of a draw depend on the facts so far."""
        if isinstance(node, Choice):
            return self.forks[node]
        key = (node, *[facts[var] for var in node.parents])
        if key not in self.forks:
            owner, *attr = node.source
            source = getattr(facts[owner], attr[0]) if attr else self.tables[owner]
            taken = [facts[var] for var in node.unlike]
            free = [entity for entity in source if entity not in taken]
            self.forks[key] = Fork([(e.weight, (node.var, e), (e.say(node.attr),)) for e in free])
        return self.forks[key]

    # Writing and reading.

    def sample(self, rng: Random) -> Document:
        """Write one text at random; the labels of the document are the facts of its derivation."""
        walk = Walk()
        self._write(self.body, walk, rng)
        return walk.document()

    def _write(self, body, walk, rng):
        for node in body:
            if isinstance(node, str):
                walk.words.append(node)
            elif isinstance(node, Mention):
                walk.words.append(walk.facts[node.var].say(node.attr))
            else:
                branch = self.fork(node, walk.facts).pick(rng)
                walk.take(branch)
                self._write(branch.body, walk, rng)

    def parse(self, text: str) -> Document | None:
        """Return the document that has a text, or None if the grammar does not write this text."""
        walk = Walk()
        walk.words.append(text)
        return walk.document() if self._read(self.body, text, 0, walk) == len(text) else None

    def _read(self, body, text, at, walk):
        for node in body:
            if isinstance(node, (str, Mention)):
                words = node if isinstance(node, str) else walk.facts[node.var].say(node.attr)
                if not text.startswith(words, at):
                    return None
                at += len(words)
                continue
            for branch in self.fork(node, walk.facts).branches:
                end = self._read(branch.body, text, at, walk)
                if end is not None:
                    walk.take(branch)
                    at = end
                    break
            else:
                return None
        return at

    # Measuring.

    def cases(self, variables: Iterable[str]) -> list[tuple[float, dict]]:
        """List (probability, facts) for all values of some variables and of the variables they depend on."""
        order: list[Draw] = []
        for var in variables:
            self._ancestors(var, order)
        out: list[tuple[float, dict]] = [(1.0, {})]
        for draw in order:
            out = [
                (p * branch.weight / fork.total, {**facts, draw.var: branch.fact[1]})
                for p, facts in out
                for fork in [self.fork(draw, facts)]
                for branch in fork.branches
            ]
        return out

    def _ancestors(self, var, order):
        draw = self.draws[var]
        if draw not in order:
            for parent in draw.parents:
                self._ancestors(parent, order)
            order.append(draw)

    def expectation(self) -> tuple[float, float]:
        """Return the exact entropy of a text in nats (the mean of -logprob) and the mean length of a text."""
        return self._expect(self.body, {})

    def _expect(self, body, done):
        """Return mean nats and mean length of a body: sums over nodes, weighted means over branches."""
        nats = chars = 0.0
        for node in body:
            if isinstance(node, Choice):
                if node not in done:
                    fork = self.forks[node]
                    inner = [(b.weight / fork.total, *self._expect(b.body, done)) for b in fork.branches]
                    more = fork.entropy + sum(p * n for p, n, _ in inner)
                    done[node] = more, sum(p * c for p, _, c in inner)
                nats, chars = nats + done[node][0], chars + done[node][1]
                continue
            if isinstance(node, Draw):
                nats += math.fsum(p * self.fork(node, facts).entropy for p, facts in self.cases(node.parents))
            if isinstance(node, str):
                chars += len(node)
            else:
                cases = self.cases([node.var])
                chars += math.fsum(p * len(facts[node.var].say(node.attr)) for p, facts in cases)
        return nats, chars
