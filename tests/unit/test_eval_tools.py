"""Check tools that a model calls while it answers, passages that it reads, and the sources that it names."""

import math
import re
import time
from dataclasses import replace
from functools import partial
from itertools import islice

import pytest
from helpers import refuses
from test_eval import BYTES, opened as random_model, writing

import tinyllm as tl
from tinyllm.eval import Evaluation, Row, Suite, agent, find_task
from tinyllm.eval.agent import RESULT, result, tools_of, with_tools
from tinyllm.eval.ask import Answer, log_probs
from tinyllm.eval.retrieval import Index, attribution, passages_of
from tinyllm.report.evaluation import page
from tinyllm.runs.recipe import Frame
from tinyllm.world import World

opened = partial(random_model, Frame(" ", "\n"))  # one that has learnt answers of one line


def told(item, answer):
    """Return an item's question with an answer and its end."""
    return f"{item.question} {answer}\n"


@pytest.mark.parametrize("name", ["calculator", "date_tool", "lookup,hops=2"])
def test_a_model_that_calls_the_right_tools_is_right_alone_and_among_others(name):
    task, model = find_task(f"world:{name}"), opened(context=2048)
    items = [*islice(task.items("test"), 4)]
    mask = writing(BYTES, *(told(x, x.answer[1:]) for x in items))
    together = with_tools(model, task, items, mask=mask)
    assert [x.text for x in together] == [x.answer[1:] for x in items]
    assert all(x.score == 1 and x.ended for x in together)
    alone = [with_tools(model, task, [x], mask=mask)[0] for x in items]
    assert [x.confidence for x in alone] == [x.confidence for x in together]  # to the bit


def test_what_a_tool_says_is_read_and_not_counted_as_drawn():
    task, model = find_task("world:calculator"), opened()
    (item,) = islice(task.items("test"), 1)
    (found,) = with_tools(model, task, [item], mask=writing(BYTES, told(item, item.answer[1:])))
    call, _, rest = item.answer[1:].partition("]")
    result, _, rest = rest.partition(" answer")
    start, first, middle = (BYTES.encode(x) for x in (item.question + " ", call + "]", result))
    last = BYTES.encode(f" answer{rest}\n")
    drawn = math.fsum(log_probs(model.model, [(start, first), (start + first + middle, last)]))
    assert found.confidence == pytest.approx(math.exp(drawn), rel=1e-4)
    assert found.tokens == len(start + first + middle + last)


@pytest.mark.parametrize("call, end", [("[calc 2 * 3", "]"), ("[code max([4, 6", "])]")])
def test_a_token_that_goes_on_after_a_call_is_cut(call, end):
    tokenizer = tl.BPETokenizer.whole_words(f"how many? {call}{end}. => 6 then 6\n".encode())
    task = replace_items("how many?", "6")
    ids = [*tokenizer.encode("how many? "), *tokenizer.encode(f"{call}{end}.")]
    assert tokenizer.decode(ids[-1:]) == f"{end}."
    rest = [*ids[:-1], *tokenizer.encode(end), *tokenizer.encode(" => 6"), *tokenizer.encode(" then 6\n")]
    mask = lambda now: [(ids if now == ids[: len(now)] and len(now) < len(ids) else rest)[len(now)]]  # noqa: E731
    (found,) = with_tools(opened(tokenizer), task, task.items("test"), mask=mask)
    assert found.text == f"{call}{end} => 6 then 6" and found.ended


def replace_items(question, truth):
    """Return a task with one question."""
    task = find_task("world:calculator")
    (item,) = islice(task.items("test"), 1)
    task.items = lambda split: [replace(item, question=question, answer=f" {truth}", truth=truth)]
    return task


def test_calls_and_context_are_limited_and_results_start_no_calls():
    task = replace_items("q", "x")
    tools = {"echo": lambda given: "[echo again]"}
    one = "[echo a] => [echo again]"
    for calls, context in ((2, 512), (8, 70)):  # q and two calls fill 51 positions
        mask = writing(BYTES, told(task.items("")[0], one * 9))
        given = {"tools": tools, "mask": mask, "calls": calls}
        (found,) = with_tools(opened(context=context), task, task.items(""), **given)
        assert found.text == one * 2 + "[echo a]" and not found.ended
    mask = writing(BYTES, "q [3] is [no] call\n")
    (found,) = with_tools(opened(), task, task.items(""), tools={}, mask=mask)
    assert found.text == "[3] is [no] call"


def test_what_is_wrong_with_a_call_is_told_in_one_line():
    tools = tools_of(World()) | {"huge": lambda given: "a\nb " * 10**6, "broken": lambda given: 1 // 0}
    wrong = {("calk", "1"): "there is no tool called calk", ("calc", "1 // 0"): "ZeroDivisionError",
             ("broken", ""): "ZeroDivisionError", ("calc", "1+" * 2000 + "1"): "at most 4,000",
             ("look", "Nobody Here"): "", ("code", "9**9**9"): "Pow",
             ("search", "qqq"): "no passage has a word of"}
    for call, words in wrong.items():
        said = result(tools, *call)
        assert said.startswith("error: ") and words in said and len(said) <= RESULT and "\n" not in said
    assert result(tools, "huge", "").startswith("a b a b") and len(result(tools, "huge", "")) == RESULT
    assert result(tools, "code", "sum(range(4)) * 2") == "12"
    (passage, *_) = passages_of(World())
    assert result(tools, "search", passage) == passage


def test_a_tool_that_hangs_or_writes_on_and_on_is_told_to_the_model(monkeypatch):
    monkeypatch.setattr(agent, "SECONDS", 0.2)
    tools = tools_of(World()) | {"hangs": lambda given: time.sleep(60), "floods": lambda given: "x" * 10**6}
    began = time.monotonic()
    assert [result(tools, name, "") for name in ("hangs", "floods")] == [
        "error: no result after 0.2 s", "x" * (RESULT - 3) + "..."]
    endless = "for i in range(999):\n for j in range(999):\n  0\n1"
    assert result(tools, "code", endless) == "error: the program takes more than 10,000 steps"
    assert time.monotonic() - began < 10


def test_code_may_have_lines_functions_and_brackets():
    code = "def f(x):\n return x[1:] + [x[0]]\ny = f([i * i for i in [1, 2, 3]])\nsum(y) + y[0] * 100"
    task, one = replace_items("q", "414"), f"[see] [code {code}] => 414 [code 2 * 3] => 6 [calc 1] => 1 414"
    (found,) = with_tools(replace(opened(), frame=Frame(" ", "\0")), task, task.items(""),
                          mask=writing(BYTES, f"q {one}\0"))
    assert found.text == one and found.ended
    assert [found.text[a:b] for a, b in found.told] == [" => 414", " => 6", " => 1"]


def test_a_suite_may_ask_with_tools_and_a_tokenizer_may_lack_letters_of_a_result():
    model = opened(tl.CharTokenizer.train("abcdefghijklmnopqrstuvwxyz []\n"))
    task = replace_items("q", "x")
    mask = writing(model.tokenizer, "q [echo a]  b c x\n")
    (found,) = with_tools(model, task, task.items(""), tools={"echo": lambda given: "b (c)"}, mask=mask)
    assert found.text == "[echo a]  b c x"
    row = Row("world:calculator", metric="tools")
    numbers = Evaluation(opened(), limit=2).measure(row)
    assert numbers["metric"] == "tools" and numbers["n"] == 2


def test_a_page_shows_each_transcript_turn_by_turn_and_marks_errors():
    text = "[calc <1>] => error: no [calc 2] => 2 answer: 2"
    examples = [["Two & two?", text, 0.0, [[10, 23], [32, 37]]], ["Three?", "none", 1.0, []]]
    asked = Evaluation(opened(), limit=2).measure(Row("world:calculator", metric="tools"))
    rows = [asked | {"examples": examples}]
    shown = page(Suite("x", "", ()), [{"model": "m", "parameters": 1, "rows": rows}], [])
    _, part = shown.split("<h2>Transcript: calculator, m</h2>")
    assert re.findall(r"<h3>(.*?)</h3><p(.*?)</p>", part) == [
        ("question", ">Two &amp; two?"), ("model", ">[calc &lt;1&gt;]"),
        ("tool", ' class="found"><samp>=&gt; error: no</samp>'), ("model", ">[calc 2]"),
        ("tool", "><samp>=&gt; 2</samp>"), ("model", ">answer: 2")]


def test_results_of_tools_are_no_targets():
    setup = tl.prepare(tl.make_config({
        "recipe": "sft", "data": "world:lookup,n=40,hops=2", "sft.separator": " ", "tokenizer": "byte",
        "model.layers": 1, "model.width": 8, "model.heads": 1,
        "model.kv_heads": 1, "model.context": 500, "train.batch": 4}))
    batch = setup.plan.batches(0)
    for row, targets in zip(batch.tokens, batch.targets, strict=True):
        learnt = bytes(targets[targets >= 0].tolist()).decode()
        assert learnt.count("[look ") == 2 and "=>" not in learnt and "Home:" not in learnt
        assert bytes(row.tolist()).count(b"] => ") == 2 and learnt.endswith("\n")
        assert "] answer: " in learnt


def test_an_index_finds_passages_by_words_and_by_vectors():
    world = World()
    passages = passages_of(world)
    by_words = Index(passages)
    assert [by_words.search(text, 1) for text in passages[:50]] == [[i] for i in range(50)]
    tokenizer = tl.ByteTokenizer(["[PAD]", "[CLS]", "[SEP]", "[MASK]"])
    by_vectors = Index(passages[:50], opened(tokenizer, model_type="bert", hidden=16, task="encode"))
    assert [by_vectors.search(text, 1) for text in passages[:50]] == [[i] for i in range(50)]
    assert by_vectors.best(passages[7]) == passages[7]
    refuses("makes no vectors", Index, passages, opened())
    refuses("at least one", Index, [])


def test_a_source_is_right_or_wrong_beside_the_answer():
    task = find_task("world:retrieval,missing=0")
    (item,) = islice(task.items("test"), 1)
    words, _, number = item.truth.partition(" [")
    other = f"{words} [{int(number[0]) % 3 + 1}]"
    texts = (item.truth, other, words, "not said [0]", "")
    found = [Answer(item, text, task.score(item, text)) for text in texts]
    assert attribution(found) == {"right": 0.2, "wrong source": 0.2, "wrong": 0.6}
