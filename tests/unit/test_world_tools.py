"""Check tools and retrieval: calls inside texts, where results stand, what misleads."""

import pytest

from tinyllm.errors import UserError
from tinyllm.rng import Random
from tinyllm.world import KINDS, World
from tinyllm.world.tools import TOOLS, call

WORLD = World()
BAD = [
    "", "no call", "[calc", "[calc 1 + ]", "[calc 1 / 2]", "[calc 9 ** 9 ** 9]", "[calc 'a' * 3]",
    "[calc 1 < 2]", "[calc x]", "[sing a song]", f"[calc {'1' * 90}]", "[weekday 31 May 4]", "[weekday ]",
    "[days 3 May 41]",
    "[days 3 May 41 to tomorrow]", "[after 3 May 41]", "[after 3 May 41 + -4]", "[after 3 May 41 + 9999999]",
    "[look Nobody Atall]", "[look ]", "[calc [1]]", "[calc 1\n]", "[CALC 1 + 1]",
]


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_a_call_that_fails_says_so_in_one_line(text):
    with pytest.raises(UserError) as error:
        call(WORLD, text)
    assert "\n" not in str(error.value)


def test_the_last_call_of_a_text_counts():
    assert call(WORLD, "Two? [calc 1 + 1] => 2 and three? [calc 2 + 1] =>") == "3"
    assert call(WORLD, "[calc 27 * 43]") == str(27 * 43)
    assert call(WORLD, "[weekday 1 January 0]") == "Monday"
    assert call(WORLD, "[days 1 January 0 to 1 January 1]") == "360"
    assert call(WORLD, "[after 30 December 0 + 1]") == "1 January 1"
    assert call(WORLD, f"[look {WORLD.people[0].name}]").startswith(WORLD.people[0].name)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.group == "tools"])
def test_the_labels_say_where_results_stand_and_calls_give_them(name):
    kind = KINDS[name]
    for i in range(200):
        dials = kind.dials(hops=1 + i % 3) if name == "lookup" else kind.dials()
        document = kind(WORLD, Random(i), dials)
        assert len(document.labels["results"]) == document.text.count(" => ") == getattr(dials, "hops", 1)
        for start, end in document.labels["results"]:
            assert call(WORLD, document.text[:start]) == document.text[start:end]
        silent = kind(WORLD, Random(i), kind.dials(**{**vars(dials), "steps": False}))
        assert silent.text == f"{document.prompt} {document.truth}" and silent.labels["results"] == []


def test_every_tool_is_used_by_some_kind():
    texts = [
        KINDS[name](WORLD, Random(i)).text
        for name in ("calculator", "date_tool", "lookup")
        for i in range(30)
    ]
    assert all(any(f"[{tool} " in text for text in texts) for tool in TOOLS)


def test_the_dials_of_retrieval_do_what_they_say():
    kind = KINDS["retrieval"]

    def labels(**dials):
        return [kind(WORLD, Random(i), kind.dials(passages=4, **dials)) for i in range(300)]

    assert all(1 <= d.labels["source"] <= 4 for d in labels(missing=0))
    share = sum(d.labels["source"] == 0 for d in labels(missing=0.5)) / 300
    assert 0.4 < share < 0.6
    assert not any(d.labels["false"] for d in labels())
    false = labels(missing=0, false=1.0)
    assert sum(d.labels["false"] for d in false) > 200 and all(d.labels["right"] not in d.truth for d in false
                                                               if d.labels["false"])
    near, far = 0, 0
    for one, other in zip(labels(missing=0.9, wrong=1.0), labels(missing=0.9, wrong=0.0), strict=True):
        family = one.labels["subject"].split()[1]
        near += family in one.prompt.rpartition(".")[0]
        far += other.labels["subject"].split()[1] in other.prompt.rpartition(".")[0]
    assert near > 290 and far < 100


@pytest.mark.parametrize(
    "change", [lambda a: a.replace("[", "("), lambda a: a.rpartition(" [")[0], lambda a: a[:-2] + "9]"]
)
def test_an_answer_without_the_right_source_is_wrong(change):
    kind = KINDS["retrieval"]
    document = kind(WORLD, Random(5), kind.dials(missing=0))
    assert kind.score_answer(change(document.answer), document) == 0
