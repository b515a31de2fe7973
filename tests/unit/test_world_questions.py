"""Check the questions of the suite: how many there are, their chance levels, and bad answers."""

from collections import Counter
from itertools import pairwise

import pytest

from tinyllm.rng import Random
from tinyllm.world import KINDS, World
from tinyllm.world.names import JOBS
from tinyllm.world.question import QuestionKind, asks

WORLD = World()
SUITE = [name for name, kind in KINDS.items()
         if isinstance(kind, QuestionKind) and kind.group in ("suite", "tools")]


def test_the_suite_has_many_kinds_with_two_ways_to_ask():
    assert len(SUITE) >= 30
    assert all(len(KINDS[name].asks) > 1 for name in SUITE)


@pytest.mark.parametrize("name", SUITE)
def test_no_constant_answer_scores_above_chance(name):
    kind, n = KINDS[name], 1000
    truths = Counter(kind(WORLD, Random(i, "chance")).truth for i in range(n))
    chance = kind.chance(kind.dials())
    assert max(truths.values()) / n < chance + 0.075
    if kind.choices and not callable(kind.choices):
        assert set(truths) == set(kind.choices), "all choices occur, and nothing else"


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items()
                                  if "steps" in kind.Dials.__dataclass_fields__
                                  and name not in ("lookup", "question")])
def test_worked_steps_end_in_the_same_answer_as_none(name):
    kind, longer = KINDS[name], 0
    for i in range(50):
        worked, plain = (kind(WORLD, Random(i), kind.dials(steps=steps)) for steps in (True, False))
        assert (worked.prompt, worked.truth) == (plain.prompt, plain.truth)
        assert kind.final(worked.answer) == worked.truth == plain.answer.strip()
        longer += len(worked.answer) > len(plain.answer)
        steps = worked.answer.rpartition(kind.marker)[0].strip()
        assert name not in SUITE or (kind.marker and steps.split(", ")[-1].endswith(worked.truth))
    assert longer


@pytest.mark.parametrize("name", SUITE)
def test_a_text_with_another_answer_is_not_read(name):
    document = KINDS[name](WORLD, Random(0))
    assert KINDS[name].read(WORLD, document.text + "x") is None
    assert KINDS[name].read(WORLD, document.prompt) is None


def test_a_misspelt_part_of_a_question_is_refused():
    with pytest.raises(TypeError, match="a kind of question has no wroking"):
        asks("{word} is", draw=dict, second=str, wroking=str)(str)


def test_no_two_kinds_have_one_name():
    names = Counter(kind.name for kind in KINDS.found())
    assert len(names) == len(KINDS) and max(names.values()) == 1


@pytest.mark.parametrize(("name", "text"), [
    ("queue", "At the bakery Ada is behind Ben, Ben is behind Ada. Who is served first? Ada"),
    ("fair_share", "Can 0 children share 5 plums fairly? no"),
    ("coins", "The fewest coins for 99999999999 pence are 1"),
    ("calculator", "Tom shares 7 nuts fairly with -1 friends. How many nuts are left over? 0"),
    ("entailment", " ".join(f"Every {a} is a {b}." for a, b in pairwise((*JOBS, "baker")))
     + " Is it so that every baker is a doctor? yes"),
    ("facts", f"An {WORLD.people[0].owns} belongs to {WORLD.people[0].name}."),
])
def test_questions_that_are_never_written_are_not_read(name, text):
    assert KINDS[name].read(WORLD, text) is None
