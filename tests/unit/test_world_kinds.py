"""Check the promises of every kind of text: equal bytes, a second solution, a score, splits."""

import hashlib
import json
from dataclasses import fields
from pathlib import Path

import pytest
from helpers import refuses
from hypothesis import given, strategies as st

from tinyllm import Random, UserError
from tinyllm.world import KINDS, Document, Kind, Stream, World
from tinyllm.world.prose import Prose
from tinyllm.world.question import QuestionKind

PINNED = Path(__file__).with_name("world_bytes.json")  # run this file as a script to write it
ALPHABET = set(map(chr, range(32, 127))) | {"\n"}
WORLD = World()
every_kind = pytest.mark.parametrize("name", KINDS)


def corner(config, random):
    """Draw an instance of a dataclass; a field has its default, an end of its range, or a value inside."""
    given = {}
    for field in fields(config):
        rule = field.metadata
        some = rule.get("choices", (False, True))
        if "min" in rule:
            low, high = rule["min"], rule["max"]
            inside = 0.5 * (low + high) if field.type is float else low + random.integers(high - low + 1)
            some = low, high, inside
        if random.integers(3):
            given[field.name] = random.choice(some)
    return config(**given)


def digest(name, n=40):
    """Return the SHA-256 of documents of a kind, written as JSON."""
    kind = KINDS[name]
    written = [vars(kind(WORLD, Random(0, name, i))) for i in range(n)]
    return hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()


@every_kind
def test_the_bytes_are_the_same_everywhere(name):
    assert digest(name) == json.loads(PINNED.read_text())[name], "a change of bytes changes published numbers"


@every_kind
@given(seed=st.integers(0, 2**40))
def test_two_ways_give_the_truth_of_a_document(name, seed):
    kind = KINDS[name]
    settings = corner(kind.Dials, Random(seed, "dials"))
    document = kind(WORLD, Random(seed), settings)
    assert kind(WORLD, Random(seed), settings) == document
    assert document.text.startswith(document.prompt) and set(document.text) <= ALPHABET
    assert json.loads(json.dumps(document.labels)) == document.labels, "labels are what JSON can hold"
    assert kind.solve(WORLD, document) == document.truth
    if isinstance(kind, Prose):
        assert kind.grammar(WORLD, settings).parse(document.text) == document
    elif isinstance(kind, QuestionKind) and not kind.labels:
        fields = kind.templates[document.labels["way"]].read(document.prompt)
        assert fields is not None and fields | {"way": document.labels["way"]} == document.labels
    if document.prompt:
        right = document.labels.get("right") is not False and not document.labels.get("mistaken")
        assert kind.score_answer(document.answer, document) == right
        assert kind.score_answer(document.truth, document) == 1
        assert kind.score_answer(f"{document.truth} or not", document) < 1
        assert kind.score_answer(None, document) == kind.score_answer("", document) == 0
        assert kind.end not in document.answer.strip(), "an answer would be cut off"
        choices = kind.choices_of(document)
        assert not choices or (document.truth in choices and len(set(choices)) == len(choices))
    assert 0 <= kind.chance(settings) <= 1  # 1 where all questions are about people whom nobody knows


@every_kind
def test_no_test_item_is_in_the_training_split(name):
    kind = KINDS[name]
    for by, key in kind.splits.items():
        train, test = (Stream(WORLD, kind, split=split, by=by) for split in ("train", "test"))
        seen, held = ({str(key(s[i])) for i in range(60)} for s in (train, test))
        assert not seen & held
        assert train[3] == Stream(WORLD, kind, split="train", by=by)[3]


@every_kind
def test_wrong_dials_are_refused_in_one_line(name):
    refuses("has no dial cheese", KINDS[name].dials, cheese=1)
    for field in fields(KINDS[name].Dials):
        refuses(field.name, KINDS[name].dials, **{field.name: "much"})


def test_what_there_is_not_is_refused():
    class Always(Kind):
        def write(self, world, random, dials):
            return Document("yes", {})

    refuses(r"no kind of text called novel; .tinyllm data list. lists all \d+", KINDS.__getitem__, "novel")
    assert "novel" not in KINDS
    with pytest.raises(UserError, match="no document for the split"):
        for split in ("train", "test"):
            Stream(WORLD, Always(), split=split)[0]
    refuses("train, test or all", Stream, WORLD, Always(), split="both")
    refuses("cannot be split by colour", lambda: Stream(WORLD, Always(), by="colour")[0])
    kind, world = KINDS["entailment"], World(31, 12)  # in which nobody has a grandmother
    with pytest.raises(UserError, match="take more people"):
        for i in range(60):
            kind(world, Random(i), kind.dials(about="family"))


if __name__ == "__main__":
    PINNED.write_text(json.dumps({name: digest(name) for name in KINDS}, indent=1) + "\n")
