"""Check properties of every kind of run, of every recipe, and of the records that recipes read."""

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import refuses, together
from hypothesis import given, settings, strategies as st
from test_sessions import in_this_process
from tiny_models import DECODERS
from tiny_run import SETTINGS, Training, outcome, resumed_training, same

import tinyllm as tl
from tinyllm.align import constitution, questions
from tinyllm.models import family
from tinyllm.nn import adapter_state, merge
from tinyllm.rng import Random
from tinyllm.runs import recipe as registry
from tinyllm.runs.examples import read_records
from tinyllm.runs.recipe import find_recipe, recipe, recipes
from tinyllm.runs.recipes.pretrain import PretrainConfig, pretrain
from tinyllm.train import ALONE, events, next_token
from tinyllm.train.loop import forward_backward

SMALL = {"model.context": 24, "model.dropout": 0.1}
DECODER = SMALL | {"model.type": "gpt", "preset": "nano"}
ENCODER = SMALL | {"model.type": "bert", "model.hidden": 16}
WRITER = SMALL | {"model.type": "t5", "model.hidden": 16, "model.head_width": 4}
ANSWERING = DECODER | {"data": "pairs.jsonl", "train.lr": 0.01}
TAUGHT = DECODER | {"distill.teacher": "teacher", "tokenizer": "teacher/tokenizer.json", "distill.own": 0.5}
PRIVATE = {"private.epsilon": 8.0, "private.seed": 1}  # else each run has noise of its own
GATED = {"preset": "nano", "model.hidden": 16, "model.kv_heads": 2}
OFTEN = {"train.steps": 4, "train.eval_every": 2, "train.checkpoint_every": 1, "train.sample_every": 3,
         "train.batch": 6, "train.accumulate": 3}
RUNS = {  # recipe and variant -> settings of a run of some seconds; each recipe needs a line
    "classify": ENCODER | {"data": "classes.tsv"},
    "classify private": ENCODER | {"data": "classes.tsv", **PRIVATE},
    "constitutional": DECODER | {"data": "world:constitution,n=60", "model.context": 64,
                                 "constitutional.max_tokens": 30, "constitutional.revisions": 2},
    "denoise": ENCODER | {"data": "text.txt"},
    "diffusion": ENCODER | {"data": "text.txt"},
    "distill": TAUGHT | {"data": "text.txt", "distill.text": 0.3},
    "distill sft": TAUGHT | {"data": "pairs.jsonl", "distill.of": "sft"},
    "dpo": DECODER | {"data": "preferences.jsonl"},
    "dpo private": DECODER | {"data": "preferences.jsonl", **PRIVATE},
    "dpo ipo": DECODER | {"data": "preferences.jsonl", "dpo.loss": "ipo"},
    "federated": DECODER | {"data": "text.txt", "federated.clients": 3, "federated.local_steps": 2},
    "federated some": DECODER | {"data": "text.txt", "federated.clients": 5, "federated.local_steps": 2,
                                 "federated.share": 0.5, "federated.trim": 0.5, "federated.proximal": 0.1},
    "grpo": ANSWERING | {"grpo.group": 2, "grpo.max_tokens": 8, "grpo.beta": 0.1},
    "ppo": ANSWERING | {"ppo.max_tokens": 8, "ppo.epochs": 2},
    "ppo reinforce": ANSWERING | {"ppo.max_tokens": 8, "ppo.value": 0.0, "ppo.clip": 0.0,
                                  "ppo.kl_in": "loss"},
    "pretrain": DECODER | {"data": "text.txt", "pretrain.middle": 0.5},
    "pretrain rarely saved": DECODER | {
        "data": "text.txt", "model.context": 8, "train.steps": 12, "train.eval_every": 4,
        "train.checkpoint_every": 5, "train.sample_every": 6},
    "pretrain llama": GATED | {"data": "text.txt", "model.type": "llama", "train.optimizer": "muon"},
    "pretrain experts": GATED | {"data": "text.txt", "model.type": "mixtral", "model.experts": 4},
    "remembering": DECODER | {"data": "text.txt"},
    "reward": DECODER | {"data": "preferences.jsonl"},
    "sft": DECODER | {"data": "pairs.jsonl", "sft.packed": True},
    "sft private": ANSWERING | PRIVATE,
    "sft t5": WRITER | {"data": "pairs.jsonl"},
    "simpo": DECODER | {"data": "preferences.jsonl"},  # the example of CONTRIBUTING.md
    "spans": WRITER | {"data": "text.txt", "model.context": 40},  # room for two spans
}
FIELDS = {  # recipe -> the fields of its records
    "classify": ("text", "label"),
    "dpo": ("prompt", "chosen", "rejected"),
    "reward": ("prompt", "chosen", "rejected"),
    "simpo": ("prompt", "chosen", "rejected"),
    "sft": ("prompt", "answer"),
}
each_run = pytest.mark.parametrize("name", RUNS)


class Remembering:
    """A function that counts its calls; checkpoints save the count."""

    def __init__(self, function):
        self.function, self.calls = function, np.zeros((), np.int64)

    def state_dict(self):
        return {"calls": self.calls}

    def load_state_dict(self, state):
        self.calls = state["calls"].copy()

    def __call__(self, *given):
        self.calls += 1
        return self.function(int(self.calls), *given)


@pytest.fixture(scope="module", autouse=True)
def example():
    """Register the recipe of CONTRIBUTING.md, and one whose batches and loss depend on their state."""
    guide = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text("utf-8").partition("## Add a recipe")[2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "RECIPES", dict(recipes()))
        patch.setattr(questions, "_equals", lambda truth: lambda answer: len(answer) % 4)  # they must differ
        patch.setattr(constitution, "MARKER", " ")  # an untrained model never writes the real one
        exec("".join(re.findall(r"```python\n(.*?)```", guide, re.DOTALL)), {"__name__": __name__})

        @recipe("remembering", "count the calls", PretrainConfig)
        def remembering(parts):
            plan = pretrain(parts)
            plan.loss = Remembering(lambda calls, model, batch: next_token(model, batch) * (1 + 0.1 * calls))
            plan.batches = Remembering(lambda calls, step, batches=plan.batches: batches(7 * calls))
            return plan

        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "text.txt").write_text("to be or not to be, that is the question. " * 60)
    (folder / "classes.tsv").write_text("the cat sat\tcat\nthe dog ran\tand slept\tdog\n" * 20)
    pairs = [{"prompt": f"to be {i % 7}", "answer": "or not"} for i in range(40)]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    pairs = [{"prompt": f"to be {i % 7}", "chosen": "or not", "rejected": "to be"} for i in range(40)]
    lines = [json.dumps(pair | ({} if i % 10 else {"rejected": "or not"})) for i, pair in enumerate(pairs)]
    (folder / "preferences.jsonl").write_text("\n".join(lines))
    teacher = tl.prepare(tl.make_config(SETTINGS | DECODER | {"data": str(folder / "text.txt"),
                                                             "tokenizer": "byte"}))
    teacher.model.save_pretrained(folder / "teacher")
    tl.save_tokenizer(teacher.tokenizer, folder / "teacher/tokenizer.json")
    return folder


def begun(folder, data, name, more=(), group=ALONE):
    """Begin a tiny run; `more` are other settings."""
    usual = {name: SETTINGS[name] for name in SETTINGS if name not in ("preset", "model.dropout")} | OFTEN
    own = RUNS[name] | {"recipe": name.split()[0]}
    own |= {key: str(data / x) for key, x in own.items()
            if key in ("data", "tokenizer", "distill.teacher") and (data / x).exists()}
    setup, run = tl.prepare(tl.make_config(usual | own | dict(more))), tl.Run(folder)
    if group.rank == 0:
        run.create(setup.record(), setup.tokenizer)
    group.gather(None)  # wait until process 0 has created the run
    setup.group = group
    return Training(run, setup)


def test_every_recipe_has_a_tiny_run():
    assert {name.split()[0] for name in RUNS} == set(recipes())


@each_run
def test_killed_anywhere_is_not_killed_and_the_reference_is_the_start(tmp_path, data, name):
    whole = begun(tmp_path / "whole", data, name)
    truth, plan = whole.setup.reference(), whole.setup.plan
    again = find_recipe(name.split()[0]).build(whole.setup)
    assert len({again.batches(step).tokens.tobytes() for step in range(8)}) > 2
    assert plan.prompt == again.prompt
    next(whole.setup.steps())  # must not change model or plan, or `outcome` would differ
    happened = list(whole)
    count, log = len(happened), [event.record for event in happened if hasattr(event, "record")][-1]
    framed = find_recipe(name.split()[0]).frame and name != "distill"  # of a teacher that has none
    assert whole.run.read().frame.end or not framed  # ppo and grpo once kept none
    assert set(plan.healthy) <= set(log) and plan.train_tokens > plan.val_tokens > 0
    for seed in range(4 if "rarely" in name else 1):
        folder = tmp_path / str(seed)
        training = begun(folder, data, name)
        for kill in Random(seed, name).integers(count, 3):
            list(itertools.islice(training, int(kill)))
            with open(training.run.log.path, "ab") as log:
                log.write(b'{"kind": "st')  # an incomplete line
            training = resumed_training(folder)
            assert same(training.setup.reference(), truth)
        list(training)
        assert outcome(folder) == outcome(tmp_path / "whole")


@pytest.mark.parametrize("name", [name for name in RUNS if name != "remembering"])  # calls are counted apart
def test_several_processes_write_the_bits_of_one(tmp_path, data, name):
    every = {events.Started, events.Stepped, events.Evaluated, events.Sampled, events.Logged}
    for size in (1, 2, 3):
        folder = tmp_path / str(size)
        happened = together(size, lambda group, folder=folder: [*begun(folder, data, name, group=group)])
        kinds = [{type(event) for event in each} for each in happened]
        assert kinds == [every, *[every - {events.Sampled}] * (size - 1)]
        assert outcome(folder) == outcome(tmp_path / "1")


@each_run
def test_a_batch_in_pieces_has_the_gradients_of_the_whole(tmp_path, data, name):
    setup = begun(tmp_path / "run", data, name).setup
    model, batch, found = setup.model.eval(), setup.plan.batches(0), []
    for pieces in (1, 2, 6):
        for p in model.parameters():
            p.grad = None
        loss = next_token if name == "remembering" else setup.plan.loss  # its own loss differs in each call
        value, _ = forward_backward(model, batch, loss, pieces)
        found.append((value, *(p.grad for p in model.parameters() if p.grad is not None)))
    for whole, *others in zip(*found, strict=True):
        for other in others:
            np.testing.assert_allclose(other, whole, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in RUNS if name != "remembering"])
def test_what_is_measured_does_not_depend_on_how_memory_is_saved(tmp_path, data, name):
    """Masked and span models once hid other tokens in a validation of other pieces: 6.189 became 6.364."""
    found = []
    for batch, pieces in ((6, 1), (6, 3), (2, 2)):
        more = {"train.batch": batch, "train.accumulate": pieces, "train.eval_windows": 5}
        setup = begun(tmp_path / f"{batch} {pieces}", data, name, more).setup
        numbers = setup.plan.evaluate(setup.model)
        found.append({key: number for key, number in numbers.items() if number is not None})
    assert found[1] == pytest.approx(found[0], rel=1e-5) and found[2] == pytest.approx(found[0], rel=1e-5)


@pytest.mark.parametrize("name", [name for name in RUNS if name not in ("remembering", "pretrain experts")])
def test_adapters_are_trained_and_the_reference_is_the_start_with_them_merged(tmp_path, data, name):
    base, adapter = (str(tmp_path / part) for part in ("base", "adapter"))
    list(begun(base, data, name, {"seed": 1}))
    list(training := begun(adapter, data, name, {"start": base, "lora.rank": 2, "train.lr": 0.1}))
    last = adapter_state(tl.open_model(adapter, "last").model)
    assert all(a.any() and np.array_equal(a, last[key]) for key, a in adapter_state(training.model).items())
    truth, value = merge(tl.open_model(adapter).model), getattr(training.setup.plan.loss, "value", None)
    assert not value or adapter_state(value).keys() == {*last, "score.weight"}  # once trained as a whole
    assert not same(tl.open_model(base).model, truth)
    for count in (1, 99):  # before the first checkpoint, and after it
        run = begun(tmp_path / str(count), data, name, {"start": adapter})
        list(itertools.islice(run, count))
        resumed = resumed_training(tmp_path / str(count))
        reference = resumed.setup.reference()
        assert same(reference, truth) and not reference.training
        assert same(resumed.model, truth) == (not run.run.last_checkpoint()) == (count == 1)


COMMANDS = ["report run", "compress run --bits 8 --out small", "compress run --prune 2:4 --out half"] + [
    line.replace("RUN", run) for run in ("run", "small") for line in (
        "trace RUN --prompt to --tokens 2", "trace --diff run RUN --prompt to",
        "generate RUN --prompt to --tokens 3", "generate RUN --prompt to --tokens 3 --beams 2",
        "generate RUN --prompt to --tokens 3 --suffix be", "chat RUN --tokens 3",
        "eval RUN --task world:parity --limit 2", "eval RUN --task world:parity --limit 2 --metric choice",
        "export RUN --out RUN.gguf", "merge RUN --out RUN-merged", "inspect RUN", "inspect --diff run RUN")]


USUAL = {(name.split()[0], own["model.type"], own.get("distill.of")): name for name, own in RUNS.items()}


@pytest.mark.parametrize("name", [*USUAL.values(), *(f"pretrain as {name}" for name in DECODERS)])
def test_every_command_takes_any_run_or_refuses_it_in_one_line(here, data, name, monkeypatch):
    """Tracing a T5 once ended with a traceback."""
    if name not in RUNS:
        kind = family(name.split()[-1])
        more = {"model.kv_heads": 2} if hasattr(kind.config_class, "kv_heads") else {}
        more |= {"data": "text.txt", "preset": "nano", "tokenizer": "bpe:280", "model.type": kind.model_type}
        monkeypatch.setitem(RUNS, name, more)
    list(begun("run", data, name))
    for line in COMMANDS:
        printed, code = in_this_process(line.split(), "to be\n")
        refused = code == 2 and printed.startswith("tinyllm: error: ") and printed.count("\n") == 1
        assert code == 0 or refused, f"{line}\n{printed}"
        assert code == 0 or line.split()[0] not in ("report", "compress", "inspect"), f"{line}\n{printed}"


@pytest.mark.parametrize("name", ["sft", "sft t5", "spans"])
def test_samples_stop_at_the_end_of_an_answer_and_do_not_show_it(tmp_path, data, name):
    """A model that stopped in `tinyllm generate` once wrote its answer fifty times as a sample."""
    setup = begun(tmp_path / "run", data, name, {"train.sample_tokens": 300}).setup
    shown = setup.sample(setup.model)
    assert "</s>" not in shown and shown.count("\n") == (2 if name == "spans" else 1)  # after the question
    if name != "spans":
        setup.config = replace(setup.config, train=replace(setup.config.train, sample_prompt="to be 3"))
        assert setup.sample(setup.model).startswith("to be 3\n")


def test_preferences_make_the_chosen_likelier_and_drops_equal_answers(tmp_path, data):
    list(begun(tmp_path / "start", data, "sft"))
    more = {"start": str(tmp_path / "start"), "train.lr": 0.01, "train.warmup": 0}
    for name, start in (("dpo", 0), ("simpo", None)):
        training = begun(tmp_path / name, data, name, more)
        before = training.setup.plan.evaluate(training.model)["val_rewards/margins"]
        assert before == (before if start is None else start)
        log = [event.record for event in training if hasattr(event, "record")]
        assert log[-1]["val_rewards/margins"] > before and log[-1]["dropped"] == 0.1


def test_the_log_has_means_over_the_steps_that_have_a_number(tmp_path, data):
    """The recipe constitutional once logged nothing of its pairs, which its first steps lack."""
    run = begun(tmp_path, data, "constitutional", {"constitutional.revisions": 1, "train.steps": 2})
    happened = list(run)
    first, second = (event.numbers for event in happened if isinstance(event, events.Stepped))
    last = happened[-1].record
    assert "rewards/margins" not in first and last["rewards/margins"] == second["rewards/margins"]


def test_a_tokenizer_that_is_given_gets_the_special_tokens_of_the_family(data):
    """A past bug: the recipe raised a KeyError, because only new tokenizers got them."""
    settings = RUNS["denoise"] | {"recipe": "denoise", "data": str(data / "text.txt")}
    given = tl.CharTokenizer.train((data / "text.txt").read_bytes())
    setup = tl.prepare(tl.make_config(settings), tokenizer=given)
    assert given.special_tokens["[MASK]"] in setup.plan.batches(0).tokens


def test_a_recipe_changes_the_usual_settings_of_the_laptop_only():
    def rate(**settings):
        train = tl.make_config({name.replace("_", "."): value for name, value in settings.items()}).train
        return train.optimizer, train.lr

    assert rate() == ("muon", 3e-3) and rate(recipe="dpo") == ("adamw", 1e-4)
    assert rate(recipe="spans") == rate(recipe="sft", model_type="t5") == ("adamw", 2e-3)
    assert rate(recipe="dpo", preset="nano", model_type="gpt") == rate(preset="nano") == ("adamw", 1e-3)
    assert rate(recipe="dpo", train_lr=0.1) == ("adamw", 0.1)


def test_examples_that_are_too_long_are_counted_and_dropped_if_they_teach_nothing(tmp_path):
    def prepared(recipe, content, **own):
        (tmp_path / "data.tsv").write_text(content)
        more = {"recipe": recipe, "data": str(tmp_path / "data.tsv"), "train.steps": 1}
        return tl.prepare(tl.make_config(own | more))

    full = "a" * 20 + "\tbbb"  # 24 tokens: with a separator, less the last
    setup = prepared("sft", "x" * 30 + f"\ty\n{full}\n{full}b\n" + "a\tb\n" * 37, **DECODER)
    assert next(setup.steps()).numbers.items() >= {"truncated": 0.05, "dropped": 0.025}.items()
    assert "dropped" in setup.plan.healthy and "x" not in setup.tokenizer.decode(setup.plan.prompt)
    assert not (setup.plan.batches(0).tokens == setup.tokenizer.encode("x")[0]).any()
    full = "a" * 11 + "\t" + "b" * 10  # 24 tokens with [CLS], [SEP] and [SEP]
    setup = prepared("classify", f"{full}\tx\n{full}b\ty\n" * 20, **ENCODER)
    assert next(setup.steps()).numbers["truncated"] == 0.5


def bad_lines(fields):
    """Yield lines that are no record, each with a part of the message."""
    whole, last = dict.fromkeys(fields, "x"), fields[-1]
    yield json.dumps(dict.fromkeys(fields[:-1], "x")), f"lacks {last}"
    yield json.dumps(whole | {last: 1}), f"holds a whole number as {last}, where a text belongs"
    yield "one", f"lacks {fields[1]}"
    more = len(fields) + ("text" in fields)  # a second text is allowed
    yield "a" + "\tb" * more, f"has {more + 1} texts"
    yield json.dumps(whole | {last: " "}), f"has no text in the field '{last}'"
    yield "{", "is not JSON"


@pytest.mark.parametrize("name", FIELDS)
def test_a_bad_record_is_one_line_with_its_number_and_field(here, name, refused):
    for line, message in bad_lines(FIELDS[name]):
        (here / "bad.tsv").write_text("\t".join(FIELDS[name]) + f"\n\n{line}\n")
        kind = RUNS[name].get("model.type", "gpt")
        said = refused("train", name, "--data", "bad.tsv", "--model", kind, "--out", "run")
        assert f"bad.tsv line 3 {message}" in said and not (here / "run").exists()


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


def test_a_field_may_be_missing_and_documents_of_the_world_are_records_of_what_is_known_about_them():
    found = [{"text": "a", "label": "x"}, {"text": "a", "second": "b", "label": "y"}]
    for data in (b'{"text": "a", "second": "", "label": "x", "more": 3}\na\tb\ty', b"a\tx\r\n\na\tb\ty\n"):
        assert read_records(tl.Corpus("x", data), "text", "second?", "label") == found
    corpus = tl.load_corpus("world:preference,n=5")
    found = [tuple(record.values()) for record in read_records(corpus, "prompt", "chosen", "rejected")]
    known = [document.labels for document in corpus.documents]
    assert found == [(about["question"], about["chosen"], about["rejected"]) for about in known]
    corpus = tl.load_corpus("world:parity,n=5")
    found = [tuple(record.values()) for record in read_records(corpus, "text", "second?", "label")]
    assert found == [(document.prompt, document.truth) for document in corpus.documents]
    refuses(r"world:parity,n=5 document 1 lacks chosen", read_records, corpus, "prompt", "chosen")
