"""Check grammars that are so small that all their texts can be listed."""

import math
from contextlib import suppress

import pytest
from hypothesis import given, settings, strategies as st

from tinyllm.rng import Random
from tinyllm.world.document import Document
from tinyllm.world.grammar import Branch, Grammar
from tinyllm.world.template import Entity, GrammarError, Mention, read_grammar

PETS = [Entity("Tom", 3, kind="cat"), Entity("Rex", kind="dog"), Entity("Ada", 2, kind="newt")]
TOYS = [Entity("ball"), Entity("rope", 4), Entity("leaf")]
for pet, toys in zip(PETS, (TOYS[:2], TOYS[1:], TOYS), strict=True):
    pet.toys = toys
TABLES = {"pets": PETS, "toys": TOYS}

RULES = read_grammar("""
# A comment.
story: {hero = pets} the {hero.kind} [<meets>|2*sleeps]. <end>

meets: met {other = pets - hero} with a {toy = hero.toys},
    not a {bad = hero.toys - toy}, and <played>
played.won: won the {toy}
played.lost: lost {hero}'s [old|new] {toy}
end: [Good night, {hero}
    |5*{hero.Kind} and all]
""")


def derivations(grammar, body, facts, logprob=0.0):
    """List every text of a small grammar, to compare with the probabilities and entropy that it computes."""
    if not body:
        yield Document("", facts, logprob=logprob)
        return
    node, rest = body[0], body[1:]
    if isinstance(node, str | Mention):
        words = node if isinstance(node, str) else facts[node.var].say(node.attr)
        branches = [Branch(1, 0.0, None, ())]
    else:
        words, branches = "", grammar.fork(node, facts).branches
    for branch in branches:
        known = facts | ({branch.fact[0]: branch.fact[1]} if branch.fact else {})
        for story in derivations(grammar, branch.body + rest, known, logprob + branch.logprob):
            yield Document(words + story.text, story.labels, logprob=story.logprob)


def every(rules, tables=TABLES):
    grammar = Grammar(rules, tables)
    return grammar, list(derivations(grammar, grammar.body, {}))


def assert_exact(grammar, texts):
    """Compare a grammar's probabilities and entropy with the list of all its texts."""
    nats, chars = grammar.expectation()
    probabilities = [math.exp(t.logprob) for t in texts]
    assert len({t.text for t in texts}) == len(texts)
    assert math.fsum(probabilities) == pytest.approx(1, abs=1e-12)
    assert nats == pytest.approx(-math.fsum(p * t.logprob for p, t in zip(probabilities, texts, strict=True)))
    lengths = (p * len(t.text) for p, t in zip(probabilities, texts, strict=True))
    assert chars == pytest.approx(math.fsum(lengths))
    for t in texts:
        assert grammar.parse(t.text).logprob == pytest.approx(t.logprob)


@pytest.mark.parametrize("rules", [
    RULES,
    {"story": "[a|3*b[c|d]|2*{x = pets}]"},
    # Unambiguous, because the draws are never equal.
    {"story": "{x = pets} met {y = pets - x}. [{x}|{y}] ran."},
    {"story": "{x = pets} met {y = pets - x}. [{x} ran.|{x} sat.|{y} hid.]"},
    {"story": "{x = pets} {y = x.toys} [the {y}|the nut]."},
])
def test_every_text_of_a_small_grammar(rules):
    assert_exact(*every(rules))


def test_samples_and_no_other_texts_read_back_to_the_same_facts_and_the_same_bits():
    grammar, texts = every(RULES)
    known = {t.text: t for t in texts}
    for i in range(300):
        story = grammar.sample(Random(i))
        assert grammar.parse(story.text) == story
        assert story.logprob == pytest.approx(known[story.text].logprob)
    facts = max((grammar.sample(Random(i)).labels for i in range(9)), key=len)
    assert set(facts) == {"hero", "other", "toy", "bad", "played"}
    assert [*RULES] == ["story", "meets", "played", "end"]  # and no comment
    for t in texts[:50]:
        assert not any(map(grammar.parse, (t.text[:-1], "x" + t.text, t.text + "y")))
    assert grammar.parse("") is None


# Random grammars over two letters: most are ambiguous, but accepted ones must not be.
def bodies(depth):
    piece = st.text("ab", min_size=1, max_size=2) | st.sampled_from(["{x}", "{y.kind}", "{x.kind}"])
    if depth:
        weight = st.sampled_from(["", "2*", "7*"])
        option = st.tuples(weight, bodies(depth - 1)).map("".join)
        piece |= st.lists(option, min_size=1, max_size=3).map(lambda options: f"[{'|'.join(options)}]")
        piece |= st.just("{z = letters - x}") if depth == 3 else st.nothing()
    return st.lists(piece, min_size=1, max_size=3).map("".join)


LETTERS = [Entity("a", kind="ba"), Entity("ba", 2, kind="a"), Entity("bb", kind="bba")]


def test_a_grammar_that_is_accepted_is_unambiguous():
    accepted = []

    @settings(max_examples=100)
    @given(bodies(3))
    def accepted_or_refused(body):
        with suppress(GrammarError):
            accepted.append(every({"story": "{x = letters}{y = letters - x}" + body}, {"letters": LETTERS}))
            assert_exact(*accepted[-1])

    accepted_or_refused()
    assert sum(grammar.expectation()[0] > 2 for grammar, _ in accepted) >= 10  # forks besides x and y


@pytest.mark.parametrize("template", [
    "[a|ab]",  # one is a prefix of the other
    "[a[b|c]|ab]", "[a[b|c]d|ac]",
    "[|a]b",  # the empty text is a prefix of any
    "[a|a]",
    "{x = pets} [{x}|Tom]",  # only when x is Tom
    "{x = pets} [{x} ran|{y = pets} sat]", "[{x = pets}|Tomorrow]", "{x = same}",
])
def test_ambiguity_is_found(template):
    tables = TABLES | {"same": [Entity("oak"), Entity("oaken")]}
    with pytest.raises(GrammarError, match="ambiguous"):
        Grammar({"story": template}, tables)


@pytest.mark.parametrize("rules, message", [
    ({"story": "[a|b"}, "never closed"), ({"story": "[a)b]"}, "never closed"),
    ({"story": "a|b"}, "unexpected"), ({"story": "a]"}, "unexpected"), ({"story": "{a"}, "unmatched"),
    ({"story": "a>"}, "unmatched"), ({"story": "{a b}"}, "neither a mention"), ({"story": "<a>"}, "no rule"),
    ({"story": "<a>", "a": "b<story>"}, "contains itself"), ({"story": "[a|0*b]"}, "weight"),
    ({"story": "{x}"}, "may not have been drawn"),
    ({"story": "[a{x = pets}|b] {x}"}, "may not have been drawn"),
    ({"story": "{x = pets.toys}"}, "perhaps not drawn"), ({"story": "{x = pets} {x = pets}"}, "twice"),
    ({"story": "[a{x = pets}|b] {x = pets}"}, "twice"),
    ({"story": "{x = pets} [a{y = pets}|b{y = pets - x}]"}, "two different ways"),
    ({"story": "{x = pets} {x.colour}"}, "has no words"), ({"story": "{x = pets} {x.toys}"}, "has no words"),
    ({"story": "{x = pets} {y = pets - x} {z = pets - x - y} {w = pets - x - y - z}"}, "one branch"),
    ({"story": "<a> <a>", "a": {"one": "b", "two": "c"}}, "noted twice"),
])
def test_mistakes_of_the_author_are_named(rules, message):
    with pytest.raises(GrammarError, match=message):
        Grammar(rules, TABLES)
