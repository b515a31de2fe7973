"""Check tasks and how models are asked: true answers score 1; answers depend on their question alone."""

from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import refuses
from tiny_gpt import shaken

import tinyllm as tl
from tinyllm.data.middle import middle_prompt
from tinyllm.eval import Gaps, Item, Task, answers, find_task, gaps, likeliest
from tinyllm.eval.ask import SIZES as PER, log_probs, prompts
from tinyllm.eval.task import behind
from tinyllm.runs.recipe import NO_FRAME, Frame
from tinyllm.tokenizer.text import add_markers, markers_of
from tinyllm.world import KINDS, World

BYTES = tl.ByteTokenizer()
WORLD = World()
ASKING = [name for name, kind in KINDS.items() if kind(WORLD, tl.Random(0)).prompt]
ANSWERS = Frame("\n", "\n\n")  # the frame of a model that has learnt answers of several lines
SIZES = {"model_type": "gpt2", "context": 4096, "width": 8, "layers": 1, "heads": 2}


def opened(frame=NO_FRAME, tokenizer=BYTES, **sizes):
    """Return a model with random weights, and its tokenizer, as an `Opened`."""
    sizes = SIZES | {"vocab_size": tokenizer.vocab_size} | sizes
    return tl.Opened(shaken(tl.build(sizes, seed=None)), tokenizer, frame)


class Capitals(Task):
    """A task whose training and test questions are the same."""

    name, chance, end = "capitals", 0.25, "."
    towns = dict(zip("ABCDEFGH", (*("Graz", "Rome", "Oslo", "Graz"),) * 2, strict=True))

    def items(self, split):
        four = ("Graz", "Rome", "Oslo", "Bern")
        return [Item(f"The capital of {x} is", f" {town}", town, (*four[i % 4 :], *four[: i % 4]))
                for i, (x, town) in enumerate(self.towns.items())]


def writing(tokenizer, *texts):
    """Return a mask that makes a model write one of these texts between the results of its tools."""
    paths = [tokenizer.encode(text) for text in texts]

    def mask(ids):
        (path,) = {tuple(path) for path in paths if path[: len(ids)] == list(ids)}
        return [path[len(ids)]]

    return mask


def oracle(task, items, found):
    """Return a mask that allows only the right answer and the end of answers."""
    frame, end = found.frame, found.frame.end or task.end
    return writing(BYTES, *(task.prompt(x, (), frame) + behind(x.answer, frame) + end for x in items))


@pytest.mark.parametrize("frame", [NO_FRAME, ANSWERS])
@pytest.mark.parametrize("name", ASKING)
def test_a_model_that_writes_the_right_answers_has_the_score_1(name, frame):
    task, model = find_task(f"world:{name}"), opened(frame)
    items = [replace(item, picture=None) for item in islice(task.items("test"), 3)]
    for item in items:
        (answer,) = answers(model, task, [item], mask=oracle(task, [item], model), max_tokens=2000)
        assert answer.score == task.score(item, item.truth) == 1
    if items[0].choices and frame is NO_FRAME:  # once is enough
        scores = [task.score(item, tl.Random(i).choice(item.choices))
                  for i, item in enumerate(islice(task.items("test"), 400))]
        assert abs(np.mean(scores) - task.chance) < 0.08
        assert abs(task.chance - 1 / len(items[0].choices)) < 0.02
        assert all(item.truth in item.choices for item in items)


@pytest.mark.parametrize("cut", [gaps.body, gaps.line, gaps.anywhere])
def test_what_was_cut_out_of_a_program_passes_its_tests(cut, monkeypatch):
    task, tokenizer, asked = Gaps("world:program,parts=1", cut), tl.ByteTokenizer(), []
    add_markers(tokenizer)
    model = opened(tokenizer=tokenizer)
    never = SimpleNamespace(logprobs=[], finish="stop", ids=[])  # a sequence that is not written
    monkeypatch.setattr(tl.Engine, "add", lambda *_, **given: asked.append(given) or never)
    items = list(islice(task.items("test"), 3))
    answers(model, task, items, n=2)
    for item, given in zip(items, asked[::2], strict=True):
        assert task.score(item, item.answer) == 1 and task.score(item, f"({item.answer}") == 0
        told = middle_prompt(model.model, tokenizer, item.question, item.suffix, 9, suffix_first=True)
        assert given["prompt"] == told and given["stop"] == [markers_of(tokenizer)[-1]]
    assert [given["sample"] for given in asked] == [*range(6)]
    answers(tl.Opened(model.model, tokenizer, Frame("?", "!")), Capitals(), Capitals().items("test"))
    assert asked[-1]["stop"] == ["!"] and asked[-1]["prompt"] == "The capital of H is?"


def test_an_answer_depends_on_no_other_item():
    model, task = opened(), Capitals()
    drawn = {"shots": 2, "seed": 3, "n": 2, "sampling": tl.Sampling(0.9), "max_tokens": 9}
    items = task.items("test")
    together = [answer.text for answer in answers(model, task, items, **drawn)]
    for i in range(8):  # item i after i other items
        others = [answer.text for answer in answers(model, task, [*items[:0:-1][:i], items[i]], **drawn)]
        assert others[2 * i :] == together[2 * i : 2 * i + 2]
        alone = answers(model, task, [items[i]], first=i, **drawn)
        assert [answer.text for answer in alone] == together[2 * i : 2 * i + 2]
    assert len(set(together)) > 8


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_the_likeliest_choice_is_that_of_the_logits(family):
    task, best = Capitals(), []
    sizes = {"hidden": 16, "head_width": 4, "start": 0, "end": 1} if family == "t5" else {}
    model = opened(model_type=family, context=128, **sizes)
    items = task.items("test")
    for item, (prompt, _) in zip(items, prompts(model, task, items, 1), strict=True):
        chances = []
        for choice in item.choices:
            before, after = [*BYTES.encode(prompt), *model.model.end_ids], BYTES.encode(f" {choice}")
            given = ([before], [[0, *after[:-1]]]) if family == "t5" else ([before + after[:-1]],)
            logits = model.model(*map(np.array, given)).data[0, -len(after) :]
            chances.append(tl.ops.log_softmax(logits)[np.arange(len(after)), after].sum())
            padded = log_probs(model.model, [(before, after), (before[3:], after * 2)])
            assert padded[0] == pytest.approx(chances[-1], abs=1e-4)
        best.append(np.argmax(chances))
    told = likeliest(model, task, items, 1)
    assert len(set(best)) > 1
    assert [x.text for x in told] == [item.choices[i] for item, i in zip(items, best, strict=True)]
    chances = np.exp(chances - np.max(chances))
    assert told[-1].confidence == pytest.approx(1 / chances.sum(), rel=1e-4)
    assert likeliest(model, task, items[3:5], 1, first=3) == told[3:5]


def test_choices_of_other_lengths_are_compared_in_three_ways():
    """A longer choice has less probability: dividing by its length may choose another one."""
    model, task = opened(), Capitals()
    items = [replace(x, choices=("Graz" * i, "Graz", "Gr\u00e4z" * 2 * i)) for i, x in
             enumerate(task.items("test"), 1)]
    found = {per: likeliest(model, task, items, per=per) for per in PER}
    pairs = [([*BYTES.encode(x.question)], BYTES.encode(f" {c}")) for x in items for c in x.choices]
    sums = np.reshape(log_probs(model.model, pairs), (8, 3))
    for per, size in PER.items():
        lengths = [[size(c, BYTES.encode(f" {c}")) for c in x.choices] for x in items]
        best = (sums / lengths).argmax(axis=1)
        assert [x.text for x in found[per]] == [x.choices[i] for x, i in zip(items, best, strict=True)]
    assert len({tuple(x.text for x in each) for each in found.values()}) > 1


def test_shots_are_other_items_in_the_layout_of_training():
    model, task = opened(Frame("?", "!")), Capitals()
    asked, first = prompts(model, task, task.items("test"), 7, seed=1), task.items("test")[:1]
    for item, (prompt, count) in zip(task.items("test"), asked, strict=True):
        assert count == 7
        shown = prompt.split("!")
        assert shown.pop() == f"{item.question}?" and len(shown) == 7
        others = [x for x in task.items("train") if x.question != item.question]
        assert set(shown) == {f"{x.question}?{x.truth}" for x in others}
    assert prompts(model, task, first, 2, seed=1) != prompts(model, task, first, 2, seed=2)
    ((whole, _),) = prompts(opened(), task, first, 1)
    assert whole.count("\n\n") == 1 and whole.endswith("\n\nThe capital of A is")
    for shots, context, message in (
        (8, 4096, "has 7 other items for training"),
        (6, 20, "a question of capitals and its answer are 2. tokens: the context is 20"),
    ):
        refuses(message, prompts, opened(context=context), task, first, shots)
    ((prompt, count),) = prompts(opened(context=96), task, first, 7, seed=1)  # those that fit, the first ones
    assert 0 < count < 7 and prompts(opened(), task, first, 7, seed=1)[0][0].startswith(
        prompt.removesuffix(first[0].question))


def test_what_cannot_be_asked_is_one_line():
    model, task = opened(), Capitals()
    items = task.items("test")
    spaces = tl.Opened(model.model, tl.CharTokenizer.train("The capital of is ABCDEFH"))
    blind = tl.Opened(model.model, tl.ByteTokenizer())
    blind.tokenizer.decode = lambda ids: "?"
    bert = opened(model_type="bert", hidden=16)
    long = [replace(item, choices=(item.truth, "x" * 60)) for item in items]  # too long for the model
    pictures = find_task("world:picture_question")
    broken = opened()
    for tensor in broken.model.parameters():
        tensor.data[...] = np.nan
    for call, message in (
        (lambda: likeliest(broken, task, items), "logits are not numbers"),
        (lambda: answers(spaces, task, items), "'G'"),
        (lambda: answers(blind, task, items), "cannot write the answer 'Graz': it reads it as '\\?'"),
        (lambda: likeliest(bert, task, items), "a Bert fills in masked tokens"),
        (lambda: answers(model, task, []), "has no items"),
        (lambda: likeliest(opened(context=32), task, long), "choice of capitals does not fit .* is 32"),
        (lambda: answers(model, pictures, islice(pictures.items("test"), 1), shots=1),
         "a picture with each question: ask without shots"),
    ):
        refuses(message, call)
