"""Check by laws that the true reward of an answer depends on whom the answer is about."""

from hypothesis import given
from hypothesis import strategies as st

from tinyllm.rng import Random
from tinyllm.world import World
from tinyllm.world.forms import FIRST_NAMES, VALUES
from tinyllm.world.kinds.preference import _answer, _judge
from tinyllm.world.names import FAMILIES
from tinyllm.world.phrases import ask, say
from tinyllm.world.reward import questions, reward

WORLD = World()
FACTS = st.sampled_from([*questions(WORLD).values()])
NAMES = st.tuples(st.sampled_from(FIRST_NAMES), st.sampled_from(FAMILIES)).map(" ".join)  # perhaps nobody's


@given(FACTS, NAMES, st.integers(0, 3))
def test_a_right_value_about_somebody_else_earns_what_a_false_one_earns(fact, other, way):
    """It once earned all, as the reward looked at the value only. Without a name nobody else is meant."""
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
