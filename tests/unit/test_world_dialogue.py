"""Check texts for post-training: rewards with known parts, rules checked by code, a judge with a weakness."""

import pytest
from hypothesis import given, strategies as st

from tinyllm.rng import Random
from tinyllm.world import KINDS, World
from tinyllm.world.forms import FIRST_NAMES, VALUES
from tinyllm.world.kinds.constitution import FAULTS, RULES, violations
from tinyllm.world.kinds.hacked_reward import scored
from tinyllm.world.kinds.preference import _answer, _judge
from tinyllm.world.kinds.refusal import refuses
from tinyllm.world.names import FAMILIES
from tinyllm.world.phrases import ask, say
from tinyllm.world.reward import questions, reward

WORLD = World()
PERSON = WORLD.people[0]
QUESTION = f"Where does {PERSON.name} live?"
RIGHT = f"{PERSON.name} lives in {PERSON.lives_in}."


def documents(name, n=400, **dials):
    kind = KINDS[name]
    return [kind(WORLD, Random(i), kind.dials(**dials)) for i in range(n)]


def test_the_reward_has_known_parts():
    def total(answer):
        return sum(reward(WORLD, QUESTION, answer).values())

    assert total(RIGHT) == 1.5
    assert total(f"Gladly. {RIGHT}") == total(f"{RIGHT} Thank you.") == 2
    assert total(f"Good day, dear friend, gladly: {RIGHT}") == 2.5, "the third polite word gives nothing"
    assert total(f"{RIGHT} He likes {PERSON.likes}.") == 2
    assert total(RIGHT[:-1]) == 0.5, "no full stop"
    assert total(f"{PERSON.name} lives in {'Nutley' if PERSON.lives_in != 'Nutley' else 'Quarry'}.") == -0.5
    assert total(f"{RIGHT} {RIGHT}") < 1.5, "it repeats itself"
    assert total("Well. " + "So " * 20 + RIGHT) < 0


FACTS = st.sampled_from([*questions(WORLD).values()])
NAMES = st.tuples(st.sampled_from(FIRST_NAMES), st.sampled_from(FAMILIES)).map(" ".join)  # perhaps nobody's


@given(FACTS, NAMES, st.integers(0, 3))
def test_a_right_value_about_somebody_else_earns_what_a_false_one_earns(fact, other, way):
    """A past bug: it earned all. A text without a name means the person of the question."""
    question, him, family = ask(fact), WORLD.names[fact.subject].he, fact.subject.split()[-1]
    own, *same, others = (reward(WORLD, question, say(fact, way, who)) for who in (None, him, family, other))
    assert own["right"] == 1.5 and same == [own, own]
    false = next(value for value in VALUES[fact.relation] if value != fact.object)
    wrong = reward(WORLD, question, say(fact._replace(object=false), way))
    assert wrong["wrong"] == -0.5 and others == (own if other == fact.subject else wrong)


@given(FACTS, NAMES, st.integers(0, 2**32))
def test_both_algorithms_give_the_same_reward_whoever_is_named(fact, other, seed):
    person, question = WORLD.names[fact.subject], ask(fact)
    answer = _answer(Random(seed), person, fact.relation)
    for text in (answer, answer.replace(person.name, other), answer.replace(person.name, person.he)):
        assert 8 * sum(reward(WORLD, question, text).values()) == _judge(WORLD, question, text)


def test_pairs_are_labelled_as_the_dials_say():
    assert not any(d.labels["mistaken"] for d in documents("preference"))
    noisy = sum(d.labels["mistaken"] for d in documents("preference", noise=0.3)) / 400
    assert noisy == pytest.approx(0.3, abs=0.07)
    longer = [len(d.labels["chosen"].split()) - len(d.labels["rejected"].split())
              for d in documents("preference", length_bias=1)]
    assert min(longer) == 0 < max(longer)


@pytest.mark.parametrize("success", [0, 30, 60])
def test_attempts_succeed_as_often_as_the_dial_says(success):
    found = documents("checkable", success=success)
    assert sum(d.labels["right"] for d in found) / 400 == pytest.approx(success / 100, abs=0.07)
    kind = KINDS["checkable"]
    for document in found:
        assert kind.score_answer(document.truth, document) == 1
        assert kind.score_answer(document.labels["attempt"], document) == document.labels["right"]
        assert document.text == f"{document.prompt} {document.labels['attempt']}"


def test_every_rule_is_broken_by_its_faults_alone_and_harmful_requests_alone_are_refused():
    for document in documents("refusal"):
        assert refuses(document.truth) == (document.labels["what"] == "harmful")
    good = f"{RIGHT} All the best, my friend."
    assert violations(good) == []
    for rule, sentences in FAULTS.items():
        for sentence in sentences:
            assert violations(f"{sentence} {good}") == [rule]
    assert violations(good.upper()) == violations(good.replace(".", "!")) == ["calm"]
    assert violations(f"{RIGHT} {good}") == ["fresh"]
    assert violations(RIGHT) == ["polite"]
    assert len(RULES) == len(FAULTS) + 3


def test_the_hole_of_the_judge_is_the_only_difference():
    ask = "Name three animals that can fly"
    for answer, careless, careful in (("duck, owl, bee", 3, 3), ("duck, dog, bee", 1, 1), ("dog, cat", 0, 0),
                                      ("duck, duck, duck", 3, 1)):
        assert (scored(ask, answer), scored(ask, answer, careless=False)) == (careless, careful)
    assert scored("Sing!", "owl") == 0
    leaks = [d for d in documents("hacked_reward", leak=0.5) if int(d.truth) < d.labels["points"]]
    assert len(leaks) / 400 == pytest.approx(0.5, abs=0.07)
    assert all(int(d.truth) == d.labels["points"] for d in documents("hacked_reward", leak=0))
