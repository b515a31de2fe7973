"""Check kinds of questions: the suite, tools, retrieval, pictures, reasoning and learning from context."""

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise, permutations, product

import numpy as np
import pytest
from helpers import refuses

from tinyllm import Random
from tinyllm.world import KINDS, Stream, World
from tinyllm.world.kinds import hops
from tinyllm.world.names import COLOURS, GIRLS
from tinyllm.world.phrases import read_statements
from tinyllm.world.pictures import QUARTERS, SHAPES, recognise, render
from tinyllm.world.question import asks
from tinyllm.world.tools import call

WORLD = World()
SUITE = [name for name, kind in KINDS.items() if kind.group in ("suite", "tools")]


def test_the_suite_has_many_kinds_with_two_ways_to_ask_and_no_two_have_one_name():
    assert len(SUITE) >= 30
    assert all(len(KINDS[name].asks) > 1 for name in SUITE)
    assert sorted(kind.name for kind in KINDS.found()) == sorted(KINDS)
    wrong = {"draw": dict, "second": str, "wroking": str}
    refuses("a kind of question has no wroking", lambda: asks("{word} is", **wrong)(str), error=TypeError)


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


def test_a_call_gives_what_its_tool_finds_or_is_refused():
    assert call(WORLD, "calc 27 * 43") == str(27 * 43)
    assert call(WORLD, "weekday 1 January 0") == "Monday"
    assert call(WORLD, "days 1 January 0 to 1 January 1") == "360"
    assert call(WORLD, "after 30 December 0 + 1") == "1 January 1"
    assert call(WORLD, f"look {WORLD.people[0].name}").startswith(WORLD.people[0].name)
    for said in BAD:
        refuses("", call, WORLD, said)


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


# Reasoning and learning from context: chance, Bayes curves and splits are exact.


def some(name, n, split="all", **dials):
    kind = KINDS[name]
    stream = Stream(WORLD, kind, kind.dials(**dials), split=split)
    return [stream[i] for i in range(n)]


@pytest.mark.parametrize(("name", "dials"), [
    ("arithmetic", {"digits": 1}), ("arithmetic", {"digits": 2}), ("word_problem", {}),
    ("word_problem", {"events": 1, "largest": 5}), ("shell_game", {"moves": 3}),
    ("shell_game", {"hands": 1}), ("hops", {"hops": 3}), ("acceptability", {"clauses": 3}),
    ("mapping", {"shots": 3}), ("recall", {}), ("induction", {}), ("question", {"unknown": 0.5}),
    ("paraphrase", {}), ("entailment", {}), *((name, {}) for name in SUITE),
])
def test_no_constant_answer_is_right_more_often_than_chance(name, dials):
    n, chance = 1500, KINDS[name].chance(KINDS[name].dials(**dials))
    truths = Counter(document.truth for document in some(name, n, **dials))
    excess, error = max(truths.values()) / n - chance, math.sqrt(chance / n)
    if name in SUITE:
        choices = KINDS[name].choices
        assert excess < 0.075 and (callable(choices) or not choices or {*truths} == {*choices})
    else:
        assert -4 * error < excess < 6 * error  # the best of many is a little higher


def test_samples_of_worked_arithmetic():
    assert KINDS["arithmetic"].working(345, 257) == "5+7+0=12 4+5+1=10 3+2+1=6"


def test_held_out_hops_are_in_no_training_text():
    links = hops.permutations(0)
    assert len(links) == 8 and all(sorted(link.values()) == sorted(hops.PEOPLE) for link in links.values())
    assert not any(who == other for link in links.values() for who, other in link.items())
    steps = {"train": set(), "test": set()}
    for split, hop in product(steps, (2, 3)):
        for document in some("hops", 300, split, hops=hop):
            labels = document.labels
            pairs = set(zip(pairwise(labels["relations"]), labels["path"], strict=False))
            steps[split] |= {pair for pair in pairs if split == "train" or hop == 2}
    assert len(steps["test"]) > 200 and not steps["train"] & steps["test"]
    assert not any(KINDS["hops"].held_out(document) for document in some("hops", 100, hops=1))


def test_the_sentences_that_support_an_answer_are_enough_and_each_is_needed():
    kind = KINDS["reading"]
    for document in some("reading", 150) + some("reading", 150, hops=2):
        *told, question = document.prompt.replace(". ", ".\n").split("\n")
        support = [told[i - 1] for i in document.labels["support"]]
        for left_out in [None, *support]:
            kept = [sentence for sentence in support if sentence != left_out]
            prompt = " ".join([*kept, question]) if kept else question
            found = kind.solve(WORLD, replace(document, prompt=prompt)) or "Nobody knows"
            assert (found == document.truth) == (left_out is None or not support)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_facts_that_support_an_answer_lead_from_the_person_to_it(n):
    for document in some("question", 100, hops=n):
        at = document.labels["subject"]
        for sentence in document.labels["support"]:
            readings = [fact for fact, _ in read_statements(sentence) if fact.subject == at]
            [fact] = [fact for fact in readings if fact in WORLD.known]
            at = fact.object
        assert document.truth.removeprefix("a ") == at and len(document.labels["support"]) == n
    links = hops.permutations(0)
    for document in some("hops", 100, hops=n):
        path = *document.labels["path"], document.truth
        steps = zip(path[:-1], document.labels["relations"], path[1:], strict=True)
        assert all(links[relation][who] == to for who, relation, to in steps)


def test_every_order_that_obeys_the_rules_of_a_recipe_is_right():
    kind, several = KINDS["recipe"], 0
    for document in some("recipe", 20):
        orders, rules = [*permutations(document.labels["steps"])], document.labels["rules"]
        obeying = sum(all(order.index(a) < order.index(b) for a, b, _ in rules) for order in orders)
        assert sum(kind.score_answer(", ".join(order), document) for order in orders) == obeying >= 1
        several += obeying > 1
        first, *_, last = order = document.truth.split(", ")
        for wrong in (order[1:], [*order, last], [first] * len(order)):
            assert kind.score_answer(", ".join(wrong), document) == 0
    assert several > 5


def test_the_best_chances_of_a_mapping_are_those_of_the_words_so_far():
    for document in some("mapping", 50):
        words, seen = document.text.split(), {}
        for at, best in zip(document.labels["scored"], document.labels["bayes"], strict=True):
            assert best == (1 if words[at - 1] in seen else 1 / 8)
            assert seen.setdefault(words[at - 1], words[at]) == words[at]


@pytest.mark.parametrize(("clue", "fitting"), [("gender", 1), ("job", 2), ("cause", 2)])
def test_the_pronoun_fits_one_person_where_the_gender_is_the_clue(clue, fitting):
    for document in some("coreference", 60, clue=clue):
        girls = "she" in document.prompt.split(" ")
        assert sum((name in GIRLS) == girls for name in document.labels["people"]) == fitting
        assert (document.truth in GIRLS) == girls
