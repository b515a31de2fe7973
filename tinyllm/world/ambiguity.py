"""Prove that a grammar is unambiguous, so that no text can be written in two ways.

A *lead* is the beginning of a text that a branch can write: the text before the first fork inside the branch,
and then a lead of one branch of that fork. The proof checks every fork of the grammar: no lead of one branch
may be a prefix of a lead of another branch, whatever entities were drawn before.

This is enough. Suppose that two derivations write the same text. Follow both to the first fork at which they
take different branches. The text before this fork is the same, so the rest of the text begins with a lead of
each of the two branches. Of two strings that begin the same text, one is a prefix of the other, and the check
refuses such leads. For the same reason, a parser that has matched a lead can drop the others.

A lead may mention entities that were drawn earlier. Such leads are compared for all values of the entities.
Leads stop early, so the check refuses some unambiguous grammars, and their sentences must be reworded.
"""

from itertools import combinations, pairwise, product
from typing import Any

from tinyllm.world.template import Choice, Draw, Entity, GrammarError, Mention


def check(grammar: Any) -> None:
    """Raise GrammarError if a mention is undefined, or if some text can have two derivations."""
    _check_scope(grammar, grammar.body, frozenset(), frozenset(), set())
    compared: set[tuple] = set()  # pairs of parts: in a shuffle many choices share a pair
    for node in list(grammar.forks):
        if isinstance(node, Choice):
            _check_choice(grammar, grammar.forks[node], compared)


def _check_scope(grammar, body, sure, maybe, known):
    """Check a body; `sure` are the variables drawn on every path to it, `maybe` those drawn on some path.

    known: pairs (variable, attribute) that are known to have words; new ones are added.
    """
    for node in body:
        if isinstance(node, Mention):
            _check_words(grammar, node, sure, known)
        elif isinstance(node, Draw):
            if node.var in maybe:
                raise GrammarError(f"{{{node.var}}} is drawn twice in one story")
            if missing := set(node.parents) - sure:
                raise GrammarError(f"the draw of {{{node.var}}} needs {sorted(missing)}, perhaps not drawn")
            _check_draw(grammar, node, known)
            sure, maybe = sure | {node.var}, maybe | {node.var}
        elif isinstance(node, Choice):
            ways = []
            for branch in grammar.forks[node].branches:
                label = {branch.fact[0]} if branch.fact else set()
                if label & maybe:
                    raise GrammarError(f"the fact {label} is noted twice in one story")
                ways.append(_check_scope(grammar, branch.body, sure | label, maybe | label, known))
            sure = frozenset.intersection(*[s for s, _ in ways])
            maybe = frozenset.union(*[m for _, m in ways])
    return sure, maybe


def _check_words(grammar, node, sure, known):
    if node.var not in sure or node.var not in grammar.draws:
        raise GrammarError(f"{{{node.var}}} is mentioned where it may not have been drawn")
    if (node.var, node.attr) in known:
        return
    known.add((node.var, node.attr))
    for entity in domain(grammar, node.var):
        try:
            words = entity.say(node.attr)
        except AttributeError:
            words = None
        if not isinstance(words, str) or not words:
            raise GrammarError(f"{entity} has no words for {{{node.var}.{node.attr}}}")


def _check_draw(grammar, node, known):
    """Raise GrammarError if the words of an entity in a draw are a prefix of another entity's words."""
    _check_words(grammar, node, {node.var}, known)
    for _, facts in grammar.cases(node.parents):
        said = sorted(branch.body[0] for branch in grammar.fork(node, facts).branches)
        for a, b in pairwise(said):  # sorted, so a prefix is directly before a string that begins with it
            if b.startswith(a):
                raise GrammarError(f"ambiguous: {{{node.var}}} can be {a!r} and also {b!r}")


def _check_choice(grammar, fork, compared):
    every = [leads(grammar, branch.body) for branch in fork.branches]
    for ours, theirs in combinations(every, 2):
        for a, b in product(ours, theirs):
            if (a, b) not in compared:
                compared.add((a, b))
                facts = clash(grammar, a, b, {})
                if facts is not None:
                    raise GrammarError(f"ambiguous: {_show(a)} and {_show(b)} begin alike when {facts}")


def _show(lead):
    return repr("".join(part if isinstance(part, str) else f"{{{part.var}.{part.attr}}}" for part in lead))


def domain(grammar: Any, var: str) -> list[Entity]:
    """Return all entities that a variable can stand for."""
    source = grammar.draws[var].source
    if len(source) == 1:
        return grammar.tables[source[0]]
    return list(dict.fromkeys(e for owner in domain(grammar, source[0]) for e in getattr(owner, source[1])))


def leads(grammar: Any, body: tuple) -> list[tuple]:
    """Return all leads (beginnings, as the module defines them) of a body: tuples of strings and mentions."""
    fixed: list[str | Mention] = []
    for node in body:
        if isinstance(node, Draw):
            return [(*fixed, entity.say(node.attr)) for entity in domain(grammar, node.var)]
        if isinstance(node, Choice):
            inner = [lead for branch in grammar.forks[node].branches for lead in leads(grammar, branch.body)]
            return [(*fixed, *lead) for lead in inner]
        fixed.append(node)
    return [tuple(fixed)]


def clash(grammar: Any, a: tuple, b: tuple, facts: dict) -> dict | None:
    """Find values {var: entity} for which one of two leads is a prefix of the other, or return None."""
    while a and b:
        x, y = a[0], b[0]
        if isinstance(x, str) and isinstance(y, str):
            n = min(len(x), len(y))
            if x[:n] != y[:n]:
                return None
            a = (x[n:], *a[1:]) if len(x) > n else a[1:]
            b = (y[n:], *b[1:]) if len(y) > n else b[1:]
        elif isinstance(x, Mention) and isinstance(y, Mention) and (x.var, x.attr) == (y.var, y.attr):
            a, b = a[1:], b[1:]
        else:
            var = x.var if isinstance(x, Mention) else y.var
            tries = (
                clash(grammar, _substitute(a, var, e), _substitute(b, var, e), {**facts, var: e})
                for e in domain(grammar, var)
                if _possible(grammar, var, e, facts)
            )
            return next((found for found in tries if found is not None), None)
    return facts


def _substitute(lead, var, entity):
    return tuple(entity.say(p.attr) if isinstance(p, Mention) and p.var == var else p for p in lead)


def _possible(grammar, var, entity, facts):
    """Return True if `var` can be this entity, given the values of the other variables."""
    draw = grammar.draws[var]
    owner, *attr = draw.source
    if attr and owner in facts and entity not in getattr(facts[owner], attr[0]):
        return False
    unlike_ours = any(facts.get(other) is entity for other in draw.unlike)
    unlike_theirs = any(var in grammar.draws[other].unlike and facts[other] is entity for other in facts)
    return not (unlike_ours or unlike_theirs)
