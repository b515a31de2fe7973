"""Check reward models of all families, their recipe, and the scores of answers."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from helpers import refuses
from tiny_models import DECODERS, TOKENS, change, made, open_there, rewrite
from tiny_run import SETTINGS, created

import tinyllm as tl
from tinyllm import ByteTokenizer, Opened, nn
from tinyllm.align.reward import open_judge, score_texts
from tinyllm.models import from_pretrained, gguf
from tinyllm.ops.registry import _compiled
from tinyllm.runs.recipe import Frame
from tinyllm.runs.setup import reopen

each_judge = pytest.mark.parametrize("name", [name for name in DECODERS if name != "fuyu"])


def scored(model):
    with nn.inference(model):
        return model.scores(TOKENS).data


@each_judge
@pytest.mark.parametrize("bits", [None, 8, 4])
def test_a_reward_model_of_any_family_is_saved_and_read_bit_for_bit(tmp_path, name, bits):
    model = made(name)
    judge = model.for_scores(seed=3)
    assert judge.for_scores() is judge and judge.config == model.config and model.objective == "causal"
    if not bits:
        weight, x = judge.score.weight.data, model.hidden(TOKENS).data
        np.testing.assert_allclose(scored(judge), x @ weight[0], rtol=1e-4, atol=1e-5)
        assert weight.shape == (1, 32) and not np.array_equal(weight, model.for_scores().score.weight.data)
    else:
        tl.quantize(judge, bits)
    for _ in range(2):
        judge.save_pretrained(tmp_path)
        again = from_pretrained(tmp_path)
        assert np.array_equal(scored(again), scored(judge)) and again.objective == "scores"
        judge = again


@each_judge
def test_transformers_gives_the_same_scores_both_ways(tmp_path, name):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    judge = made(name).for_scores(seed=3)
    judge.save_pretrained(tmp_path)
    theirs = open_there(transformers, tmp_path)  # for one row at a time, as there is no padding token
    with torch.no_grad():
        last = [theirs(torch.from_numpy(row[None])).logits.item() for row in TOKENS]
    np.testing.assert_allclose(last, scored(judge)[:, -1], rtol=1e-4, atol=1e-5)
    theirs.save_pretrained(tmp_path / "theirs")
    assert np.array_equal(scored(from_pretrained(tmp_path / "theirs")), scored(judge))


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_an_adapter_keeps_the_new_layer_in_the_layout_of_peft(tmp_path, name):
    made(name).save_pretrained(tmp_path / "base")
    judge = from_pretrained(tmp_path / "base").for_scores(seed=3)
    nn.adapt(judge, 2, new=["score.weight"])
    judge.save_pretrained(tmp_path / "adapter")
    stored = safetensors.numpy.load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert stored["base_model.model.score.weight"].shape == (1, 32)
    said = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (said["task_type"], said["modules_to_save"]) == ("SEQ_CLS", ["score"])
    assert np.array_equal(scored(from_pretrained(tmp_path / "adapter")), scored(judge))


def test_a_reward_model_writes_nothing_and_a_writer_scores_nothing():
    judge = made("llama").for_scores()
    for act, message in (
        (lambda: tl.Engine(judge), "a Llama with a layer `score` is a reward model: it scores texts"),
        (lambda: gguf.check(judge, 32), "is a reward model: it scores texts"),
        (lambda: judge(TOKENS), "this Llama does not score tokens"),
        (lambda: made("llama").scores(TOKENS), "a Llama that writes is no reward model: give a run of"),
        (lambda: made("fuyu").for_scores(), "a Fuyu sees pictures, and cannot become a reward model"),
    ):
        refuses(message, act)


def test_a_folder_whose_weights_give_no_single_score_is_refused(tmp_path):
    made("llama").for_scores().save_pretrained(tmp_path)
    rewrite(tmp_path, lambda state: state | {"score.weight": np.ones((2, 32), np.float32)})
    refuses(r"score.weight has shape \(2, 32\) in the weights and \(1, 32\)", from_pretrained, tmp_path)
    change(tmp_path, architectures=["LlamaForCausalLM"])
    refuses(r"the weights lack lm_head.weight", from_pretrained, tmp_path)


def test_a_score_has_the_same_bits_in_any_batch():
    judge = made("llama", vocab_size=256, context=40).for_scores()
    opened = Opened(judge, ByteTokenizer(), Frame("\n", "."))
    prompts, answers = ["a", "bcd" * 5, "", "efg"], ["h" * 20, "", "i", "jk"]
    together = score_texts(opened, prompts, answers)
    apart = [score_texts(opened, [p], [a])[0] for p, a in zip(prompts, answers, strict=True)]
    np.testing.assert_allclose(together, apart, rtol=0 if _compiled else 1e-5)
    np.testing.assert_allclose(together[3], judge.scores(np.array([*b"efg\njk."])).data[0, -1], rtol=1e-5)
    refuses("its answer has 42 tokens: the reward model reads", score_texts, opened, ["a"], ["b" * 39])
    cut_off = score_texts(opened, ["efg"], ["jk"], [False])
    np.testing.assert_allclose(cut_off, judge.scores(np.array([*b"efg\njk"])).data[0, -1:], rtol=1e-5)
    refuses("has 0 tokens", score_texts, replace(opened, frame=Frame()), [""], [""])


@pytest.fixture
def runs(here):
    """Train a run that writes, and a reward model that likes short answers, in the current folder."""
    worse = "or not", "or not or", "or", "not or", "or not not"
    lines = [{"prompt": f"to be {i % 7}", "answer": "or not", "chosen": "or", "rejected": worse[i % 5]}
             for i in range(80)]
    (here / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    usual = SETTINGS | {"data": "pairs.jsonl", "preset": "nano", "model.context": 24, "train.steps": 30}
    for name, more in (("sft", {}), ("reward", {"start": "sft", "train.lr": 0.01})):
        run, setup = created(here / name, usual | more | {"recipe": name})
        events = list(setup.train(run))
    return [event.record for event in events if hasattr(event, "record")]


def test_the_best_of_several_answers_is_shown(here, runs, printed, refused):
    words = "generate", "sft", "--prompt", "to be 1", "--tokens", 8, "--temperature", 3
    samples = json.loads(printed(*words, "--samples", 5, "--json"))["samples"]
    scores = score_texts(tl.open_model("reward"), ["to be 1"] * 5, [sample["text"] for sample in samples])
    best = samples[int(scores.argmax())] | {"score": scores.max()}
    assert len(set(scores)) > 1
    words = *words, "--best-of", 5, "--by"
    assert json.loads(printed(*words, "reward", "--json"))["samples"] == [best]
    assert printed(*words, "reward") == f"to be 1\n{best['text']}\n"
    assert "is no reward model: give a run of `tinyllm train reward`" in refused(*words, "sft")
    for others in (("--best-of", 0, "--by", "reward"), ("--best-of", 2), ("--by", "reward"),
                   ("--best-of", 2, "--by", "reward", "--beams", 2)):
        assert "--best-of needs a number above 0 and --by REWARD" in refused("generate", "sft", *others)


def test_a_run_keeps_its_reward_model_and_refuses_another_one(here, runs, monkeypatch):
    """A run once held a path alone: a reward model that was trained further was not seen."""
    usual = SETTINGS | {"data": "pairs.jsonl", "start": "sft", "recipe": "ppo", "ppo.reward": "reward"}
    more = {"ppo.max_tokens": 6, "train.batch": 4, "train.steps": 2, "train.checkpoint_every": 1}
    run, setup = created(here / "ppo", usual | more)
    list(itertools.islice(setup.train(run), 4))
    origin = run.read().reward
    (here / "else").mkdir()
    monkeypatch.chdir(here / "else")
    (here / "else" / "pairs.jsonl").write_bytes((here / "pairs.jsonl").read_bytes())
    assert open_judge(origin).frame == setup.frame and reopen(run, run.read().config).reward == origin
    rewrite(Path(origin.folder), lambda state: state | {"score.weight": state["score.weight"] * 2})
    refuses(rf"changed since the run began: SHA-256 .* {origin.sha256[:12]}", reopen, run, run.read().config)


def test_a_reward_model_learns_what_was_preferred_and_is_no_start_of_what_writes(here, runs, refused):
    last, judge = runs[-1], tl.open_model("reward")
    assert last["val_accuracy"] == last["accuracy"] == 1 and last["val_margin"] > 1 and "mean_reward" in last
    assert last["dropped"] == 0.2 and last["truncated"] == 0 and judge.frame == Frame("\n", "\n")
    chosen, rejected = score_texts(judge, ["to be 1"] * 2, ["or", "or not or"])
    assert last["val_loss"] < 0.3 and chosen - rejected > 1
    said = refused("train", "sft", "--data", "pairs.jsonl", "--set", "start=reward", "--out", "new")
    assert "the recipe sft cannot train a gpt2 reward model: it needs gpt2, llama" in said
    assert "is a reward model: it scores texts" in refused("generate", "reward", "--prompt", "to")
