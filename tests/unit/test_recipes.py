"""Laws of every recipe in the registry, and of the records that recipes read."""

import itertools
import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_run import SETTINGS, Training, outcome, resumed_training, same

import tinyllm as tl
from tinyllm.cli import main
from tinyllm.errors import UserError
from tinyllm.nn import adapter_state, merge
from tinyllm.runs import recipe as registry
from tinyllm.runs.examples import read_records
from tinyllm.runs.recipe import find_recipe, recipes

DECODER = {"model.type": "gpt", "preset": "nano", "model.context": 24}
ENCODER = {"model.type": "bert", "model.hidden": 16, "model.context": 24}
WRITER = {"model.type": "t5", "model.hidden": 16, "model.context": 24, "model.head_width": 4}
TINY = {  # recipe -> settings of a run of some seconds; each new recipe needs a line
    "classify": ENCODER | {"data": "classes.tsv"},
    "denoise": ENCODER | {"data": "text.txt", "denoise.whole_words": True},
    "diffusion": ENCODER | {"data": "text.txt"},
    "dpo": DECODER | {"data": "preferences.jsonl"},  # the example of CONTRIBUTING.md
    "pretrain": DECODER | {"data": "text.txt", "pretrain.middle": 0.5},
    "sft": DECODER | {"data": "pairs.jsonl", "sft.packed": True},
    "spans": WRITER | {"data": "text.txt"},
}
FIELDS = {  # recipe -> the fields of its records
    "classify": ("text", "label"),
    "dpo": ("prompt", "chosen", "rejected"),
    "sft": ("prompt", "answer"),
}


@pytest.fixture(scope="module", autouse=True)
def example():
    """Register the recipe of CONTRIBUTING.md, which is held to the laws of the others."""
    guide = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text("utf-8").partition("## Add a recipe")[2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "RECIPES", dict(recipes()))
        exec("".join(re.findall(r"```python\n(.*?)```", guide, re.DOTALL)), {"__name__": __name__})
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "text.txt").write_text("to be or not to be, that is the question. " * 60)
    (folder / "classes.tsv").write_text("the cat sat\tcat\nthe dog ran\tand slept\tdog\n" * 20)
    (folder / "pairs.jsonl").write_text('{"prompt": "to be", "answer": "or not"}\n' * 40)
    pair = {"prompt": "to be", "chosen": "or not", "rejected": "to be"}
    lines = [json.dumps(pair | ({} if i % 10 else {"rejected": "or not"})) for i in range(40)]
    (folder / "preferences.jsonl").write_text("\n".join(lines))
    return folder


def begun(folder, data, name, more=()):
    """Begin a tiny run of a recipe; `more` are other settings."""
    usual = {name: value for name, value in SETTINGS.items() if name != "preset"}
    usual |= {"train.steps": 4, "train.eval_every": 2, "train.checkpoint_every": 1, "train.sample_every": 3}
    own = TINY[name] | {"recipe": name, "data": str(data / TINY[name]["data"])}
    setup, run = tl.prepare(tl.make_config(usual | own | dict(more))), tl.Run(folder)
    run.create(setup.record(), setup.tokenizer)
    return Training(run, setup)


def test_every_recipe_has_a_tiny_run():
    assert set(TINY) == set(recipes())


@pytest.mark.parametrize("name", TINY)
def test_killed_anywhere_is_not_killed_and_the_reference_is_the_start(tmp_path, data, name):
    whole = begun(tmp_path / "whole", data, name)
    truth = whole.setup.reference()
    count = len(list(whole))
    for kill in {2, 5, count - 2}:
        folder = tmp_path / str(kill)
        list(itertools.islice(begun(folder, data, name), kill))
        resumed = resumed_training(folder)
        assert same(resumed.setup.reference(), truth)
        list(resumed)
        assert outcome(folder) == outcome(tmp_path / "whole")


@pytest.mark.parametrize(
    "name, own", [*((name, {}) for name in TINY), ("sft", WRITER | {"sft.packed": False})]
)
def test_adapters_are_trained_and_the_reference_is_the_start_with_them_merged(tmp_path, data, name, own):
    base, adapter = (str(tmp_path / part) for part in ("base", "adapter"))
    list(begun(base, data, name, own | {"seed": 1}))
    list(training := begun(adapter, data, name, own | {"start": base, "lora.rank": 2, "train.lr": 0.1}))
    last = adapter_state(tl.open_model(adapter, "last").model)
    assert all(a.any() and np.array_equal(a, last[key]) for key, a in adapter_state(training.model).items())
    truth = merge(tl.open_model(adapter).model)
    assert not same(tl.open_model(base).model, truth)
    for events in (1, 99):  # before the first checkpoint, and behind it
        run = begun(tmp_path / str(events), data, name, own | {"start": adapter})
        list(itertools.islice(run, events))
        resumed = resumed_training(tmp_path / str(events))
        reference = resumed.setup.reference()
        assert same(reference, truth) and not reference.training
        assert same(resumed.model, truth) == (not run.run.last_checkpoint()) == (events == 1)


@pytest.mark.parametrize("name", TINY)
def test_a_plan_is_a_function_of_its_parts_and_reports_what_the_doctor_reads(tmp_path, data, name):
    training = begun(tmp_path / "run", data, name)
    plan, again = training.setup.plan, find_recipe(name).build(training.setup)
    assert (plan.batches(2).tokens == again.batches(2).tokens).all() and plan.prompt == again.prompt
    log = [event.record for event in training if hasattr(event, "record")][-1]
    assert set(plan.healthy) <= set(log) and plan.train_tokens > plan.val_tokens > 0


def test_the_example_prefers_what_was_chosen_and_drops_equal_answers(tmp_path, data):
    list(begun(tmp_path / "start", data, "sft"))
    more = {"start": str(tmp_path / "start"), "train.lr": 0.01, "train.warmup": 0}
    training = begun(tmp_path / "run", data, "dpo", more)
    before = training.setup.plan.evaluate(training.model)
    assert before["val_loss"] == pytest.approx(math.log(2)) and before["val_margin"] == 0
    log = [event.record for event in training if hasattr(event, "record")]
    assert log[-1]["val_margin"] > 0 and log[-1]["dropped"] == 0.1


def test_a_tokenizer_that_is_given_gets_the_special_tokens_of_the_family(data):
    """The recipe once raised a KeyError, because only new tokenizers got them."""
    settings = TINY["denoise"] | {"recipe": "denoise", "data": str(data / "text.txt")}
    given = tl.CharTokenizer.train((data / "text.txt").read_bytes())
    setup = tl.prepare(tl.make_config(settings), tokenizer=given)
    assert given.special_tokens["[MASK]"] in setup.plan.batches(0).tokens


def test_a_recipe_changes_the_usual_settings_of_the_laptop_only():
    def rate(**settings):
        train = tl.make_config({name.replace("_", "."): value for name, value in settings.items()}).train
        return train.optimizer, train.lr

    assert rate() == ("muon", 3e-3) and rate(recipe="dpo") == ("adamw", 1e-5)
    assert rate(recipe="spans") == rate(recipe="sft", model_type="t5") == ("adamw", 2e-3)
    assert rate(recipe="dpo", preset="nano", model_type="gpt") == rate(preset="nano") == ("adamw", 1e-3)
    assert rate(recipe="dpo", train_lr=0.1) == ("adamw", 0.1)


def test_examples_without_a_target_are_dropped_and_counted(tmp_path):
    full = "a" * 20 + "\tbbb"  # 24 tokens with a separator, and without the last one
    (tmp_path / "pairs.tsv").write_text("x" * 30 + f"\ty\n{full}\n{full}b\n" + "a\tb\n" * 37)
    own = DECODER | {"recipe": "sft", "data": str(tmp_path / "pairs.tsv"), "train.steps": 1}
    setup = tl.prepare(tl.make_config(own))
    assert next(setup.steps()).numbers.items() >= {"truncated": 0.05, "dropped": 0.025}.items()
    assert "dropped" in setup.plan.healthy and "x" not in setup.tokenizer.decode(setup.plan.prompt)
    assert not (setup.plan.batches(0).tokens == setup.tokenizer.encode("x")[0]).any()


def test_two_texts_are_truncated_if_they_do_not_fit_with_the_special_tokens(tmp_path):
    full = "a" * 11 + "\t" + "b" * 10  # 24 tokens with [CLS] and twice [SEP]
    (tmp_path / "classes.tsv").write_text(f"{full}\tx\n{full}b\ty\n" * 20)
    own = ENCODER | {"recipe": "classify", "data": str(tmp_path / "classes.tsv")}
    setup = tl.prepare(tl.make_config(own))
    assert next(setup.steps()).numbers["truncated"] == 0.5


def bad_lines(fields):
    """Return lines that are no record -> what the message says."""
    first, second, last = fields[0], fields[1], fields[-1]
    whole = dict.fromkeys(fields, "x")
    yield json.dumps(dict.fromkeys(fields[:-1], "x")), f"has no field '{last}'"
    yield json.dumps(whole | {last: 1}), f"has no text in the field '{last}'"
    yield json.dumps(whole | {first: " "}), f"has no text in the field '{first}'"
    yield f'{{"{first}": "x", "{first}": "y", "{last}": "z"}}', f"holds the key '{first}' twice"
    yield "one", f"has no field '{second}'"
    yield "a" + "\tb" * (len(fields) + 1), f"has {len(fields) + 2} texts"
    yield "a" + "\t" * (len(fields) - 1), f"has no text in the field '{second}'"
    yield "{", "is not JSON"


@pytest.mark.parametrize("name", FIELDS)
def test_a_bad_record_is_one_line_with_its_number_and_field(tmp_path, data, name, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line, message in bad_lines(FIELDS[name]):
        (tmp_path / "bad.tsv").write_text("\t".join(FIELDS[name]) + f"\n\n{line}\n")
        kind = TINY[name].get("model.type", "gpt")
        assert main(["train", name, "--data", "bad.tsv", "--model", kind, "--out", "run"]) == 2
        error = capsys.readouterr().err
        assert f"bad.tsv line 3 {message}" in error and error.count("\n") == 1, error
        assert not (tmp_path / "run").exists()


TEXTS = st.text(st.sampled_from("ab {}\"\\ü\u2028")).filter(str.strip)


@given(st.lists(st.fixed_dictionaries({"prompt": TEXTS, "chosen": TEXTS, "rejected": TEXTS}), min_size=1))
@settings(max_examples=30)
def test_jsonl_and_tsv_give_the_records_that_were_written(records):
    names = ("prompt", "chosen", "rejected")
    jsonl = "\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    assert read_records(tl.Corpus("x", jsonl.encode()), *names) == records
    plain = [{name: "x" + record[name].replace("\\", "/") for name in names} for record in records]
    tsv = "\r\n".join("\t".join(record.values()).replace("a", "\\n").replace("b", "\\t") for record in plain)
    wanted = [{name: text.replace("a", "\n").replace("b", "\t") for name, text in record.items()}
              for record in plain]
    assert read_records(tl.Corpus("x", tsv.encode()), *names) == wanted


def test_a_field_with_a_question_mark_may_be_missing():
    found = [{"text": "a", "label": "x"}, {"text": "a", "second": "b", "label": "y"}]
    for data in ('{"text": "a", "label": "x", "more": 3}\n{"text": "a", "second": "b", "label": "y"}',
                 '{"text": "a", "second": "", "label": "x"}\na\tb\ty', "a\tx\r\n\na\tb\ty\n"):
        assert read_records(tl.Corpus("x", data.encode()), "text", "second?", "label") == found


def test_documents_of_the_world_are_records_of_what_is_known_about_them():
    corpus = tl.load_corpus("world:preference,n=5")
    found = [tuple(record.values()) for record in read_records(corpus, "prompt", "chosen", "rejected")]
    known = [document.labels for document in corpus.documents]
    assert found == [(about["question"], about["chosen"], about["rejected"]) for about in known]
    corpus = tl.load_corpus("world:parity,n=5")
    found = [tuple(record.values()) for record in read_records(corpus, "text", "second?", "label")]
    assert found == [(document.prompt, document.truth) for document in corpus.documents]
    with pytest.raises(UserError, match=r"world:parity,n=5 document 1 has no field 'chosen'"):
        read_records(corpus, "prompt", "chosen")
    with pytest.raises(UserError, match=r"world:facts,n=5 line 1 has no field 'answer'"):  # it is prose
        read_records(tl.load_corpus("world:facts,n=5"), "prompt", "answer")


PLANTED = '''
from tinyllm.runs.recipe import find_recipe, recipe

@recipe("planted", "a recipe of a folder above runs/")
def planted(parts):
    return find_recipe("pretrain").build(parts)
'''


def test_a_file_in_a_folder_of_recipes_is_a_recipe(tmp_path, monkeypatch, capsys):
    """No import names the file: it is found by its folder, in whatever part of tinyllm that is."""
    folder = tmp_path / "above" / "recipes"
    folder.mkdir(parents=True)
    (folder / "planted.py").write_text(PLANTED)
    monkeypatch.setattr(tl, "__path__", [*tl.__path__, str(tmp_path)])
    monkeypatch.setattr(registry, "RECIPES", dict(registry.RECIPES))
    registry.import_recipes.cache_clear()
    try:
        assert find_recipe("planted").help == "a recipe of a folder above runs/" and "planted" in recipes()
        assert sys.modules["tinyllm.above.recipes.planted"].planted is find_recipe("planted").build
    finally:
        registry.import_recipes.cache_clear()
        for name in ("tinyllm.above", "tinyllm.above.recipes", "tinyllm.above.recipes.planted"):
            sys.modules.pop(name, None)
