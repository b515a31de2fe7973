"""Check kinds of questions: the suite of small tasks, tools, retrieval, and pictures."""

from itertools import pairwise, product

import numpy as np
import pytest

from tinyllm.errors import UserError
from tinyllm.rng import Random
from tinyllm.world import KINDS, World
from tinyllm.world.names import COLOURS, JOBS
from tinyllm.world.pictures import QUARTERS, SHAPES, recognise, render
from tinyllm.world.question import QuestionKind, asks
from tinyllm.world.tools import call

WORLD = World()
SUITE = [name for name, kind in KINDS.items()
         if isinstance(kind, QuestionKind) and kind.group in ("suite", "tools")]


def test_the_suite_has_many_kinds_with_two_ways_to_ask_and_no_two_have_one_name():
    assert len(SUITE) >= 30
    assert all(len(KINDS[name].asks) > 1 for name in SUITE)
    assert sorted(kind.name for kind in KINDS.found()) == sorted(KINDS)


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


def test_a_misspelt_part_of_a_question_is_refused():
    with pytest.raises(TypeError, match="a kind of question has no wroking"):
        asks("{word} is", draw=dict, second=str, wroking=str)(str)


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


def test_every_thing_is_recognised_in_every_quarter_through_noise():
    for i, (quarter, colour, shape) in enumerate(product(QUARTERS, COLOURS, SHAPES)):
        picture = render([[quarter, colour, shape]])
        noise = Random(i).integers(25, picture.shape) - 12
        assert recognise(picture) == [[quarter, colour, shape]]
        assert recognise(np.clip(picture + noise, 0, 255).astype(np.uint8)) == [[quarter, colour, shape]]
    assert recognise(render([])) == []


BAD = [
    "calc", "calc 1 + ", "calc 1 / 2", "calc 9 ** 9 ** 9", "calc 'a' * 3", "calc 1 < 2", "calc x", "calc [1]",
    f"calc {'1' * 90}", "weekday 31 May 4", "weekday ", "days 3 May 41", "days 3 May 41 to tomorrow",
    "after 3 May 41", "after 3 May 41 + -4", "after 3 May 41 + 9999999", "look Nobody Atall", "look ",
]


@pytest.mark.parametrize("said", BAD, ids=range(len(BAD)))
def test_a_call_that_fails_says_so_in_one_line(said):
    with pytest.raises(UserError) as error:
        call(WORLD, said)
    assert "\n" not in str(error.value)


def test_a_call_gives_what_its_tool_finds():
    assert call(WORLD, "calc 27 * 43") == str(27 * 43)
    assert call(WORLD, "weekday 1 January 0") == "Monday"
    assert call(WORLD, "days 1 January 0 to 1 January 1") == "360"
    assert call(WORLD, "after 30 December 0 + 1") == "1 January 1"
    assert call(WORLD, f"look {WORLD.people[0].name}").startswith(WORLD.people[0].name)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.group == "tools"])
def test_the_labels_say_where_results_stand_and_calls_give_them(name):
    kind = KINDS[name]
    for i in range(200):
        dials = kind.dials(hops=1 + i % 3) if name == "lookup" else kind.dials()
        document = kind(WORLD, Random(i), dials)
        assert len(document.labels["results"]) == document.text.count(" => ") == getattr(dials, "hops", 1)
        for start, end in document.labels["results"]:
            said = document.text[: start - len("] => ")].rpartition("[")[2]
            assert call(WORLD, said) == document.text[start:end]
        silent = kind(WORLD, Random(i), kind.dials(**{**vars(dials), "steps": False}))
        assert silent.text == f"{document.prompt} {document.truth}" and silent.labels["results"] == []


def test_the_dials_of_retrieval_do_what_they_say():
    kind = KINDS["retrieval"]

    def labels(**dials):
        return [kind(WORLD, Random(i), kind.dials(passages=4, **dials)) for i in range(300)]

    assert all(1 <= d.labels["source"] <= 4 for d in labels(missing=0))
    assert 0.4 < sum(d.labels["source"] == 0 for d in labels(missing=0.5)) / 300 < 0.6
    assert not any(d.labels["false"] for d in labels())
    false = [d for d in labels(missing=0, false=1.0) if d.labels["false"]]
    assert len(false) > 200 and all(d.labels["right"] not in d.truth for d in false)
    near, far = 0, 0
    for one, other in zip(labels(missing=0.9, wrong=1.0), labels(missing=0.9, wrong=0.0), strict=True):
        family = one.labels["subject"].split()[1]
        near += family in one.prompt.rpartition(".")[0]
        far += other.labels["subject"].split()[1] in other.prompt.rpartition(".")[0]
    assert near > 290 and far < 100
