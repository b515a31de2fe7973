"""Score programs of the world: right solutions, wrong ones, hostile ones."""

import pytest

from tinyllm.rng import Random
from tinyllm.world import KINDS, World

WORLD, PROGRAM = World(), KINDS["program"]


def program(i=0, **dials):
    return PROGRAM(WORLD, Random(i), PROGRAM.dials(**dials))


def test_both_styles_are_written():
    short = sum(document.answer.startswith("\n    return ") for document in map(program, range(200)))
    assert 60 < short < 140


@pytest.mark.parametrize("body", [
    "return None", "pass", "return [", "while True:\n        pass", "import os", "return open('x')",
    "return exit()",
])
def test_wrong_and_hostile_bodies_fail(body):
    for i in range(20):
        assert PROGRAM.score_answer(f"\n    {body}", program(i)) == 0


def test_the_body_of_another_function_hardly_ever_passes():
    alike, passed = {}, 0
    for i in range(800):
        document = program(i, examples=0)
        name = document.labels["entry_point"]
        if name in alike and alike[name].prompt != document.prompt:
            passed += PROGRAM.score_answer(alike[name].answer, document)
        alike[name] = document
    assert passed < 800 * 0.04, "some pairs are equal, such as even and below 9, even and below 10"


def test_no_function_gives_the_same_for_all_its_tests():
    for i in range(300):
        assert len({str(output) for _, output in program(i).labels["tests"]}) > 1
