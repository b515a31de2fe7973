"""Check suites of tasks: kept answers, metrics, statistics, changes of questions, and the command."""

import json
from dataclasses import replace
from importlib import import_module
from itertools import islice

import numpy as np
import pytest
from helpers import refuses
from test_eval import ANSWERS, opened, oracle

import tinyllm as tl
from tinyllm.eval import METRICS, Answer, Evaluation, Item, Row, find_metric, find_task
from tinyllm.eval.ask import answers, likeliest
from tinyllm.eval.changes import CHANGES, changed
from tinyllm.eval.kept import CHUNK, Kept, name_of
from tinyllm.eval.statistics import paired, resampled
from tinyllm.eval.suite import read_suite
from tinyllm.files import locked
from tinyllm.report.evaluation import page
from tinyllm.tokenizer.text import add_markers


def test_intervals_and_paired_tests():
    x = np.arange(100.0)
    low, high = resampled(lambda at: x[at].mean(), 100)
    assert low == pytest.approx(49.5 - 1.96 * 2.89, abs=0.5) and high == pytest.approx(49.5 + 5.66, abs=0.5)
    alike = paired([1.0, 0.0] * 50, [0.0, 1.0] * 50)
    assert alike["difference"] == 0 and alike["p"] == 1 and alike["low"] < 0 < alike["high"]
    better = paired([0.0] * 50 + [1.0] * 50, [1.0] * 100)
    assert better["difference"] == 0.5 and better["p"] < 0.01 and 0.4 <= better["low"] < better["high"] <= 0.6
    false = [paired(*np.random.default_rng(seed).integers(2, size=(2, 40)))["p"] for seed in range(200)]
    assert 1 <= sum(p < 0.05 for p in false) <= 20  # at the level 0.05: 10 of 200 are expected


def test_an_interval_of_a_calibration_error_holds_0_if_confidence_is_right():
    """The error of few answers is always above 0, and its bootstrap interval, too."""
    held, wrong = 0, 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        sure = rng.uniform(size=60)
        for shift in (0, 0.5):
            right = rng.uniform(size=60) < sure - shift
            found = [Answer(None, "", float(x), float(p)) for x, p in zip(right, sure, strict=True)]
            numbers, _ = METRICS["ece"].measure(found)
            assert numbers["low"] <= numbers["score"] <= numbers["high"]
            held, wrong = held + (not shift and numbers["low"] == 0), wrong + (shift and numbers["low"] > 0)
    assert held >= 18 and wrong == 20


def test_guessing_reaches_what_the_metric_makes_of_it(tmp_path):
    file = tmp_path / "own.jsonl"
    rows = [{"question": f"{i}?", "answer": f"the {x} cat", "choices": ["the red cat", "the old cat"]}
            for i, x in enumerate(("red", "old"))]
    file.write_text("\n".join(map(json.dumps, rows)))
    asked = Evaluation(opened())
    for metric, chance in (("right", 0.5), ("choice_byte", 0.5), ("pass@2", 0.75), ("f1", 0.5),
                           ("auroc", 0.5), ("ended", None), ("refused", None), ("ece:choice", None)):
        assert asked.measure(Row(str(file), metric))["chance"] == chance
    assert Evaluation(opened(), limit=1).measure(Row(str(file), "f1"))["chance"] is None


def told(answer):
    """Return all of an answer but its item, as the items of two calls are not equal."""
    return [value for name, value in vars(answer).items() if name != "item"]


def test_answers_are_kept_and_go_on_where_they_were_killed(tmp_path):
    model, row = opened(), Row("world:parity,size=4", limit=CHUNK + 8)
    whole = Evaluation(model)
    truth = whole.measure(row)
    (found,) = whole.asked.values()
    Evaluation(model, tmp_path).measure(row)
    (file,) = tmp_path.iterdir()
    data = file.read_bytes()
    for size in (0, 10, data.index(b"\n") + 1, len(data) - 5, len(data)):
        file.write_bytes(data[:size])
        again = Evaluation(model, tmp_path)
        numbers = again.measure(row)
        assert {k: numbers[k] for k in numbers if k != "seconds"} == {
            k: truth[k] for k in truth if k != "seconds"}
        assert [told(x) for x in next(iter(again.asked.values()))] == [told(x) for x in found]
        assert file.read_bytes() == data
    other = opened(frame=ANSWERS)
    assert len({x.fingerprint() for x in (model, other, opened(heads=1))}) == 3
    Evaluation(other, tmp_path).measure(row)
    assert len([*tmp_path.iterdir()]) == 2
    file.write_bytes(data.replace(b'"ended": ', b'"ended": 1', 1))
    refuses(r"jsonl line 1 (lacks|is not JSON|has)", lambda: Evaluation(model, tmp_path).measure(row))
    kept, task = Kept(tmp_path, "x", 0), find_task("world:parity,size=4")
    kept.add(found[:2])
    items = [x.item for x in found]
    assert [*map(told, kept.read(task, items, 1))] == [*map(told, found[:2])]
    assert name_of(items[0]) != name_of(items[1])
    refuses(f"line 1 has the item {name_of(items[0])}, but this call", kept.read, task, items[1:], 1)


OTHERS = ("understanding", "many", "code", "trust")


def test_the_suite_all_has_the_rows_of_the_others():
    rows = [row for name in OTHERS for row in read_suite(name).rows]
    assert sorted(map(str, read_suite("all").rows)) == sorted(map(str, rows))


@pytest.mark.parametrize("name", [*OTHERS, "abilities"])
def test_every_row_of_a_suite_asks_and_gives_a_number_or_says_why(name):
    tokenizer = tl.ByteTokenizer()
    add_markers(tokenizer)
    config = tl.make_config({"data": "world:mix,kinds=facts,n=400,secrets=1,falsehoods=9,habits=9"})
    suite = read_suite(name)
    model = replace(opened(tokenizer=tokenizer, width=2, heads=1), config=config)
    found = Evaluation(model, limit=2).rows(suite.rows)
    for row, numbers in zip(suite.rows, found, strict=True):
        assert "why" not in numbers, numbers
        assert numbers["n"] == 2 and numbers["shots"] == row.shots and row.metric == numbers["metric"]
        most = 7 if row.metric == "exposure" else 1
        assert numbers["score"] is None or 0 <= numbers["low"] <= numbers["score"] <= numbers["high"] <= most
    (missing,) = Evaluation(opened(context=9), limit=2).rows(suite.rows[:1])
    assert missing["score"] is None and "the context is 9" in missing["why"]
    said = page(suite, [{"model": "small", "parameters": 9, "rows": [missing]}], [])
    assert f"<li>small: {suite.rows[0].task.removeprefix('world:')}" in said and "the context is 9" in said


def test_metrics_measure_what_they_say():
    item = Item("?", " the cat sat", "the cat sat")
    task_answers = [Answer(item, text, float(text == item.truth), sure) for text, sure in
                    (("the cat sat", 0.9), ("a cat", 0.2), ("dog", 0.1), ("the cat sat", 0.7))]
    expected = {"right": 0.5, "choice": 0.5, "f1": (1 + 2 / 3 + 0 + 1) / 4, "ended": 1.0, "auroc": 1.0,
                "brier": np.mean([0.01, 0.04, 0.01, 0.09]), "ece": np.mean([0.1, 0.2, 0.1, 0.3])}
    for name, value in expected.items():
        numbers, scores = METRICS[name].measure(task_answers)
        assert numbers["score"] == pytest.approx(value) and bool(scores) == (not METRICS[name].whole)
    refusals = [Answer(item, text, 0.0) for text in (" No. Ask her.", "Gladly. No.", "no", "No.")]
    assert METRICS["refused"].measure(refusals)[0]["score"] == 0.5
    passing = find_metric("pass@2")
    many = [Answer(item, "", float(i < 4)) for i in range(10)] * 3
    assert passing.measure(many)[0] == {
        "score": pytest.approx(1 - 6 * 5 / 90), "n": 3, "low": pytest.approx(0.1827, abs=0.1),
        "high": pytest.approx(0.93, abs=0.1)}
    assert find_metric("ece:choice").ask is likeliest
    for name, message in (("rigt", "'rigt'; did you mean right"), ("ece:choic", "'ece:choic': write NAME:c"),
                          ("choice_byte:choice", "'choice_byte:choice': w"), ("pass@1:choice", "'pass@1'")):
        refuses(f"no metric {message}", find_metric, name)


def test_a_change_keeps_the_answer_and_most_of_the_question():
    task = find_task("world:older")
    _, plain = changed(task, "", 20)
    for name in CHANGES:
        (_, other), (_, again) = (changed(task, name, 20) for _ in range(2))
        assert [x.truth for x in other] == [x.truth for x in plain]
        assert [x.question for x in other] != [x.question for x in plain]
        assert [x.question for x in other] == [x.question for x in again]
    model = opened()
    asked = Evaluation(model, limit=9)
    other = asked.measure(Row("world:older", "agreement", shots=2, change="shots"))
    (_, first), (_, second) = asked.asked.items()
    assert [x.item.question for x in first] == [x.item.question for x in second] and other["n"] == 9
    assert [x.text for x in second] == [x.text for x in answers(model, task, plain[:9], 2, seed=1)]
    same = Evaluation(model, limit=9).measure(Row("world:older", "agreement", change="typos"))
    assert 0 <= same["score"] <= 1 and same["n"] == 9
    refuses("no change of questions 'typo'; did you mean typos", changed, task, "typo", 1)
    for row, message in (
        (("world:older", "agreement"), "agreement compares answers to changed questions"),
        (("world:older", "right", 0, "line"), "only programs have parts to cut out: .* of world:older"),
        (("world:pariti",), "no kind of text called pariti"), (("world:older", "right", 0, "typo"), "'typo'"),
    ):
        refuses(message, Row, *row)
    for metric in ("right", "choice", "ece"):
        with pytest.raises(tl.UserError, match="world:stories,n=3 has no items to ask about"):
            Evaluation(model).measure(Row("world:stories,n=3", metric))


def test_prose_asks_for_its_last_sentence():
    for name in ("stories", "letters", "dialogues", "encyclopaedia"):
        task = find_task(f"world:{name},n=40")
        items, texts = [*task.items("test")], [x.text for x in task.documents("test")]
        assert 5 <= len(items) <= 10 and {x.choices.index(x.truth) for x in items} > {0}
        for item in items:
            assert any(text.endswith(item.question + item.answer) for text in texts)
            assert len(item.question) <= 500
            assert len(set(item.choices)) == 4 and item.question.endswith((".", "!", "?", '"'))


def test_a_file_of_questions_is_a_task(tmp_path):
    file = tmp_path / "own.jsonl"
    good = [{"question": "2 + 2 =", "answer": "4", "choices": ["3", "4"]},
            {"question": "Who?", "answer": "I"}]
    file.write_text("\n".join(map(json.dumps, good)) + "\n")
    task = find_task(str(file))
    assert [(x.question, x.answer, x.truth, x.choices) for x in task.items("test")] == [
        ("2 + 2 =", " 4", "4", ("3", "4")), ("Who?", " I", "I", ())]
    assert task.chance == 0.25 and len(answers(opened(), task, task.items("test"), shots=1)) == 2
    with pytest.raises(tl.UserError, match=r"own.jsonl has no choices to compare, as for 'Who"):
        likeliest(opened(), task, task.items("test"))
    kept, numbers = tmp_path / "kept", []
    for row in good, [*good, {"question": "When?", "answer": "Now"}]:  # another pool of shots: asked again
        file.write_text("\n".join(map(json.dumps, row)))
        Evaluation(opened(), kept).measure(Row(str(file), shots=1))
        numbers.append(len([*kept.iterdir()]))
    assert numbers == [1, 2]
    for i, (line, message) in enumerate((
        ('{"question": "a"}', "line 1 lacks answer"), ("[]", "line 1"),
        ('{"question": " ", "answer": "b"}', "line 1 has"),
        ('{"question": "a", "answer": "b", "choices": ["c"]}', "has the answer 'b', which is not one of its"),
        ('{"question": "a", "answer": "b", "choices": "b"}', "1 holds a text as choices"), ("", "is empty"),
    )):
        (bad := tmp_path / f"bad{i}.jsonl").write_text(line)
        refuses(message, find_task, str(bad))


def test_a_suite_of_ones_own_is_read_and_its_mistakes_are_named(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('help = "mine"\ninclude = ["code"]\nusual = { shots = [1, 2] }\n'
                    'rows = [ { task = ["world:parity", "world:logic"], metric = "choice" } ]\n')
    own = (Row(name, "choice", shots) for shots in (1, 2) for name in ("world:parity", "world:logic"))
    assert read_suite(str(file)).rows == (*read_suite("code").rows, *own)
    for text, message in (
        ("help = 1", "mine.toml: holds a whole number as help"), ("a", "mine.toml is not valid TOML"),
        ("a = " + "[" * 500 + "]" * 500, "mine.toml is nested too deeply"),
        ('help = "a"\nrows = [ {} ]', "lacks rows.0..task"),
        ('help = "a"\nrows = [ { task = ["world:parity", 1] } ]', "task must be a text, got 1"),
        ('help = "a"\nrows = [ { task = "b", metrik = "c" } ]', "1 has a field metrik; did you mean metric"),
        ('help = "a"\nrows = [ { task = "b", metric = "c" } ]', "there is no metric 'c'"),
        ('help = "a"\nrows = [ { task = "b" } ]', "mine.toml: there is no task 'b'"),
        ('help = "a"\nrows = []', "mine.toml has no rows"),
        (f'help = "a"\ninclude = ["{file}"]\nrows = []', "mine.toml includes itself"),
        ('help = "a"\nusual = { shots = -1 }\nrows = [ { task = "b" } ]', "shots must be a whole number"),
    ):
        file.write_text(text)
        refuses(message, read_suite, str(file))
    refuses("there is no suite 'al'; did you mean all", read_suite, "al")


def test_the_command_prints_rows_a_page_and_an_object(monkeypatch, printed, refused, tmp_path):
    task, model = find_task("world:parity,size=4"), opened()
    items, real = list(islice(task.items("test"), 30)), tl.Engine.add
    mask = oracle(task, items, model)
    monkeypatch.setattr(tl.Engine, "add", lambda *given, **more: real(
        *given, **more | ({"mask": mask} if given[0].model is model.model else {})))
    models = {"GOOD": model, "BAD": opened(width=16)}
    import_module("tinyllm.cli.opening")  # else it would keep the function that stands in below
    monkeypatch.setattr("tinyllm.runs.open_model", lambda place, _: models[place])
    words = ["eval", "GOOD", "--task", "world:parity,size=4", "--limit", "30", "--json"]
    monkeypatch.setattr("tinyllm.runs.run.find_origin", lambda place: None)
    monkeypatch.setattr("tinyllm.cli.eval.chosen", lambda given, shipped: "BAD")
    *_, row, last = printed(*words).splitlines()
    low, high = tl.ops.wilson_interval(30, 30)
    assert row.split() == f"parity,size=4 right 1.000 {low:.3f} to 1.000 0.500 1.000 30".split()
    said = json.loads(last)
    assert said["model"] == "GOOD" and said["suite"] == "world:parity,size=4"
    assert said["rows"][0].items() >= {
        "task": "world:parity,size=4", "metric": "right", "score": 1.0, "low": low, "high": high,
        "chance": 0.5, "n": 30, "shots": 0}.items()
    file = tmp_path / "page.html"
    shown = printed("eval", "GOOD", "BAD", *words[2:], "--html", file)
    assert "0.000 worse" in shown and "p < 0.05" in shown
    assert all(len(line) <= 80 for line in shown.splitlines() if file.name not in line and line[0:1] != "{")
    said = json.loads(shown.splitlines()[-1])
    assert [model["model"] for model in said["models"]] == ["GOOD", "BAD"]
    assert said["pairs"][0].items() >= {"first": "GOOD", "second": "BAD", "difference": -1.0}.items()
    assert "Asked and answered" in file.read_text() and items[0].question in file.read_text()
    assert "BAD" in file.read_text() and "1.000" in file.read_text() and "seeds" not in shown
    page = printed("eval", "--limit", "1").splitlines()  # on a terminal of 80 x 24
    assert len(page) < 24 and max(map(len, page)) <= 80 and page[0].startswith("BAD")
    for wrong in tmp_path / "no" / "page.html", tmp_path:
        assert "name a file in a folder that there is" in refused(*words, "--html", wrong)
    assert printed(*words, "--out", tmp_path / "new") and len([*(tmp_path / "new").iterdir()]) == 1
    with locked(tmp_path / "new"):
        assert "another process is writing to" in refused(*words, "--out", tmp_path / "new")
    config = tl.make_config({"data": "stories"})
    models.update({f"seed{i}": replace(model, config=replace(config, seed=i)) for i in range(3)})
    shown = printed("eval", "seed0", "seed1", "seed2", *words[2:-1])
    assert shown.splitlines()[-1].split() == ["parity,size=4", "right", "1.000", "1.000", "to", "1.000"]
    assert "seeds" not in printed("eval", "seed0", "seed0", *words[2:-1])
