"""Check the start of a run: the weights and the frame that it begins with, and how a folder is opened."""

import json
import shutil

import numpy as np
from helpers import refuses
from tiny_gpt import shaken
from tiny_run import begun, resumed_training, same

import tinyllm as tl
from tinyllm import CHAT_TEMPLATES, CharTokenizer, save_tokenizer, save_weights
from tinyllm.models.weights import hash_weights
from tinyllm.runs.recipe import NO_FRAME, Frame


def test_a_start_is_found_from_any_folder(tmp_path, whole, text, monkeypatch):
    """A past bug: run.json stored a relative path, which was wrong in any other working folder."""
    monkeypatch.chdir(whole.parent)
    for name, place in (("of-a-run", whole.name), ("of-a-model", tl.Run(whole.name).find_checkpoint())):
        run, _ = begun(tmp_path / name, whole, text, start=str(place))
        with monkeypatch.context() as elsewhere:
            elsewhere.chdir(tmp_path)
            assert same(resumed_training(run.folder).setup.reference(), tl.open_model(whole).model)


def test_a_start_that_changed_or_is_gone_is_refused_with_both_digests(tmp_path, whole, text):
    shutil.copytree(whole, tmp_path / "base")
    run, setup = begun(tmp_path / "run", tmp_path / "base", text)
    start = run.read().start
    file = tl.Run(tmp_path / "base").find_checkpoint() / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    for action in (setup.reference, lambda: resumed_training(tmp_path / "run")):
        refuses(rf"changed since the run began: SHA-256 .* {start.sha256[:12]}", action)
    refuses("SHA-256 differs", begun, tmp_path / "other", tmp_path / "base", text)
    shutil.rmtree(file.parent)
    refuses(rf"SHA-256 none now, {start.sha256[:12]} then", setup.reference)


def test_the_hash_of_a_folder_sees_every_part_and_the_model_beside_an_adapter(tmp_path):
    def write(name, number):
        save_weights({"w": np.full(3, number, np.float32)}, tmp_path / f"{name}.safetensors")
        return hash_weights(tmp_path)

    found = [write("model-a", 1), write("model-b", 2), write("model-b", 3), write("model-c", 3)]
    found.append(write("model", 1))
    assert write("adapter_model", 2) == found[-1] != write("model", 5) and len(set(found)) == 5


def test_a_run_inherits_the_frame_of_its_start_unless_its_recipe_sets_one(tmp_path, whole, text):
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("the cat\tsat\n" * 30)
    sft = {"recipe": "sft", "sft.separator": "", "sft.end": "."}
    tuned, setup = begun(tmp_path / "tuned", whole, pairs, **sft)
    list(setup.train(tuned))
    opened = tl.open_model(tuned.folder)  # if nothing stood before an answer, it once had no stop
    assert opened.frame == tuned.read().frame == Frame("", ".") and opened.stops == ["."]
    run, setup = begun(tmp_path / "later", tmp_path / "tuned", text)
    assert setup.frame == tl.Run(run.folder).read().frame == Frame("", ".")
    assert resumed_training(run.folder).setup.frame == Frame("", ".")
    again, _ = begun(tmp_path / "again", tmp_path / "tuned", pairs, **sft | {"sft.end": "\n"})
    assert again.read().frame == Frame("", "\n") and tl.Run(whole).read().frame == Frame()


def test_a_base_that_trains_on_keeps_the_checkpoint_that_others_began_with(tmp_path, whole, text):
    """A past bug: resuming the base deleted that checkpoint, and its adapter could not be opened any more."""
    shutil.copytree(whole, tmp_path / "base")
    run, setup = begun(tmp_path / "run", tmp_path / "base", text, **{"lora.rank": 2})
    list(setup.train(run))
    list(resumed_training(tmp_path / "base", train__steps=24, train__eval_every=24))
    assert tl.Run(tmp_path / "base").last_checkpoint().name == "step-00000024"
    assert setup.reference() and tl.open_model(tmp_path / "run")


# What a folder stores beside its model, which `open_model` reads.

TOKENIZER = CharTokenizer.train("abcdefgh \n")


def folder_of(tmp_path, **generation):
    """Save a model with a generation_config.json; return the folder."""
    sizes = {"vocab_size": TOKENIZER.vocab_size, "context": 12, "layers": 1, "heads": 1, "width": 8}
    shaken(tl.GPT(tl.GPTConfig(**sizes), seed=None)).save_pretrained(tmp_path)
    save_tokenizer(TOKENIZER, tmp_path / "tokenizer.json")
    (tmp_path / "generation_config.json").write_text(json.dumps(generation))
    return tmp_path


def test_a_run_says_how_it_was_trained_and_a_folder_how_tokens_are_drawn(tmp_path, whole):
    opened = tl.open_model(whole)
    assert opened.config.recipe == "pretrain" and opened.folder == whole
    assert opened.frame == NO_FRAME and opened.stops == [] and opened.chat is None
    said = {"do_sample": True, "temperature": 0.5, "top_k": 3, "eos_token_id": [2, 99]}
    opened = tl.open_model(folder_of(tmp_path, **said))
    assert opened.sampling == tl.Sampling(0.5, top_k=3) and opened.stops == [2, 99]
    assert (opened.config, opened.frame) == (None, NO_FRAME)
    assert isinstance(tl.open_model(tmp_path, bits=8).model.h[0].mlp.c_fc, tl.Int8Linear)


def test_what_is_impossible_is_an_error_only_where_it_is_used(tmp_path):
    opened = tl.open_model(folder_of(tmp_path, do_sample=True, top_p=7))
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": 3}')
    for name, message in (("sampling", "top_p must be a number"), ("chat", "none that tinyllm knows")):
        refuses(message, getattr, opened, name)
    opened.tokenizer.chat = CHAT_TEMPLATES["chatml"]  # wins over the folder's
    assert opened.chat == CHAT_TEMPLATES["chatml"] and opened.stops == []
