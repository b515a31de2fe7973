"""generation_config.json: what a folder says of sampling and of ends is read, used and kept."""

import json

import pytest

from tinyllm.cli import generate as cli
from tinyllm.cli import main
from tinyllm.decode.sampling import Sampling
from tinyllm.errors import UserError
from tinyllm.models import build, from_pretrained
from tinyllm.models.generation import ignored, sampling_settings, stop_ids
from tinyllm.tokenizer import CharTokenizer, save_tokenizer

TOKENIZER = CharTokenizer.train("abcdefgh")
SIZES = {"vocab_size": 8, "context": 12, "layers": 1, "heads": 2, "width": 8}


@pytest.fixture
def folder(tmp_path):
    build({"model_type": "gpt2", **SIZES}).save_pretrained(tmp_path / "m")
    save_tokenizer(TOKENIZER, tmp_path / "m/tokenizer.json")
    return tmp_path / "m"


def say(folder, **content):
    (folder / "generation_config.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    "content, expected",
    [
        ({}, {}),
        ({"do_sample": True, "temperature": 0.6, "top_p": 0.9}, {"temperature": 0.6, "top_p": 0.9}),
        ({"do_sample": True, "top_k": 0, "min_p": 0.1}, {"min_p": 0.1}),
        ({"do_sample": False, "temperature": 0.6, "top_k": 3}, {"temperature": 0}),
        ({"temperature": 0.6, "repetition_penalty": 1.2}, {"repetition_penalty": 1.2}),
        ({"do_sample": None, "top_k": None}, {}),
    ],
)
def test_what_a_file_says_becomes_sampling(folder, content, expected):
    say(folder, **content)
    model = from_pretrained(folder)
    assert sampling_settings(model.generation) == expected
    assert Sampling(**expected) and ignored(model.generation) == []


def test_ends_are_ids_and_a_folder_without_the_file_says_them_in_its_config(folder):
    for said, ids in ((3, [3]), ([3, 5], [3, 5]), (None, [])):
        say(folder, eos_token_id=said)
        assert stop_ids(from_pretrained(folder).generation) == ids
    (folder / "generation_config.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": 6}))
    assert stop_ids(from_pretrained(folder).generation) == [6]


@pytest.mark.parametrize(
    "content, words",
    [
        ("[]", "generation_config.json"),
        ("{", "generation_config.json"),
        ('{"temperature": "hot"}', "temperature must be a number, got 'hot'"),
        ('{"do_sample": 1}', "do_sample must be true or false"),
        ('{"eos_token_id": [1, "x"]}', "an id or a list of ids"),
        ('{"eos_token_id": -1}', "an id or a list of"),
    ],
)
def test_a_broken_file_is_one_line(folder, content, words):
    (folder / "generation_config.json").write_text(content)
    with pytest.raises(UserError, match=words):
        from_pretrained(folder)


def test_it_is_kept_when_the_model_is_saved_again(folder, tmp_path):
    content = {"do_sample": True, "temperature": 0.6, "eos_token_id": [3, 5], "no_repeat_ngram_size": 2,
               "bos_token_id": 2}
    say(folder, **content, transformers_version="5")
    from_pretrained(folder).save_pretrained(tmp_path / "again")
    again = json.loads((tmp_path / "again/generation_config.json").read_text())
    assert again == content | {"pad_token_id": None, "transformers_version": "5"}
    assert json.loads((tmp_path / "again/config.json").read_text())["eos_token_id"] == [3, 5]
    from_pretrained(folder).save_pretrained(tmp_path / "again", eos_token_id=1)
    assert json.loads((tmp_path / "again/generation_config.json").read_text())["eos_token_id"] == 1


def test_ignored_settings_are_named_if_they_would_change_the_choice():
    harmless = {"num_beams": 1, "typical_p": 1.0, "bad_words_ids": [], "use_cache": True}
    assert ignored(harmless | {"max_length": 20, "bos_token_id": 1}) == []
    assert ignored({"no_repeat_ngram_size": 3, "suppress_tokens": [1]}) == [
        "no_repeat_ngram_size = 3", "suppress_tokens = [1]"]
    assert ignored({"made_up_next_year": 1}) == ["made_up_next_year = 1"]


def test_the_commands_draw_and_stop_as_the_folder_says(folder, capsys, monkeypatch):
    used = []
    say(folder, do_sample=True, temperature=0.5, top_k=4, eos_token_id=2, typical_p=0.9)
    monkeypatch.setattr(cli, "stream", lambda model, prompts, **options: used.append(options) or iter(()))
    words = ["generate", str(folder), "--prompt", "a"]
    assert main(words) == 0 and main([*words, "--temperature", "2", "--stop", "b"]) == 0
    told = capsys.readouterr().err
    assert told.count("note: typical_p = 0.9 in generation_config.json is not applied") == 2
    assert [options["sampling"] for options in used] == [Sampling(0.5, 4), Sampling(2.0, 4)]
    assert [options["stop"] for options in used] == [[2], ["b", 2]]


def test_generating_ends_at_the_token_that_the_folder_names(folder, printed):
    words = ["generate", str(folder), "--prompt", "a", "--tokens", "9", "--json"]
    say(folder, do_sample=False)
    first = json.loads(printed(*words))["samples"][0]
    say(folder, do_sample=False, eos_token_id=first["tokens"][0])
    (sample,) = json.loads(printed(*words))["samples"]
    assert sample == {"text": "", "tokens": first["tokens"][:1], "finish": "stop"}
    assert main([*words, "--bits", "8"]) == 0


def test_a_run_is_drawn_from_as_its_samples_were(tmp_path, monkeypatch):
    used, run = [], str(tmp_path / "run")
    monkeypatch.setattr(cli, "stream", lambda model, prompts, **options: used.append(options) or iter(()))
    new = ["train", "--steps", "1", "--preset", "nano", "--tokenizer", "char", "--out", run, "--set"]
    assert main([*new, "train.sample_temperature=0.7", "--set", "train.sample_min_p=0.3"]) == 0
    assert main(["generate", run]) == 0 and main(["generate", run, "--min-p", "0"]) == 0
    assert [options["sampling"] for options in used] == [Sampling(0.7, min_p=0.3), Sampling(0.7, min_p=0.0)]
    assert main([*new, "train.sample_temperature=0", "--overwrite"]) == 0 and main(["generate", run]) == 0
    assert used[-1]["sampling"] == Sampling(0, min_p=None)


def test_a_wrong_eos_token_id_is_named_with_its_file(folder, capsys):
    config = json.loads((folder / "config.json").read_text())
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": "x"}))
    with pytest.raises(UserError, match=r"config\.json: eos_token_id must be") as caught:
        from_pretrained(folder)
    assert "generation_config.json" not in str(caught.value)
    (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": 10**9}))
    assert main(["generate", str(folder), "--prompt", "a", "--tokens", "1"]) == 0
    assert "no text ends with eos_token_id = 1000000000" in capsys.readouterr().err


def test_a_tokenizer_that_is_much_smaller_than_the_model_is_noted(folder, capsys):
    save_tokenizer(CharTokenizer.train("abc"), folder / "tokenizer.json")
    main(["generate", str(folder), "--prompt", "a", "--tokens", "1"])
    assert "note: the model has 8 tokens, its tokenizer 3" in capsys.readouterr().err


def test_beams_follow_the_folder_and_its_rules_are_not_called_missing(folder, capsys, monkeypatch):
    used, found = [], [[([1], -1.0)]]
    say(folder, length_penalty=0.2, early_stopping=True, num_beams=3, repetition_penalty=5.0)
    monkeypatch.setattr(cli, "beam_search", lambda model, prompts, **options: used.append(options) or found)
    words = ["generate", str(folder), "--prompt", "a", "--samples", "1", "--beams", "2"]
    assert main(words) == 0
    assert main([*words, "--length-penalty", "2"]) == 0
    assert [(options["length_penalty"], options["early_stopping"]) for options in used] == [
        (0.2, True), (2.0, True)]
    told = capsys.readouterr().err
    assert told.count("repetition_penalty = 5.0 in") == 2 and "length_penalty" not in told
    assert main([*words[:-2], "--length-penalty", "2"]) == 2
    assert main([*words[:-2], "--tokens", "1"]) == 0
    assert "num_beams = 3 in generation_config.json is not applied" in capsys.readouterr().err


def test_an_encoder_decoder_starts_and_ends_as_generation_config_says(tmp_path):
    sizes = SIZES | {"head_width": 4, "hidden": 8}
    build({"model_type": "t5", **sizes}).save_pretrained(tmp_path)
    say(tmp_path, eos_token_id=5, decoder_start_token_id=7)
    model = from_pretrained(tmp_path)
    assert (model.config.start, model.config.end) == (7, 5)
    model.save_pretrained(tmp_path)
    assert from_pretrained(tmp_path).config == model.config
    said = json.loads((tmp_path / "generation_config.json").read_text())
    assert (said["decoder_start_token_id"], said["eos_token_id"]) == (7, 5)
    say(tmp_path, eos_token_id=[3, 5])
    from_pretrained(tmp_path).save_pretrained(tmp_path)
    assert stop_ids(from_pretrained(tmp_path).generation) == [3, 5]
    say(tmp_path, eos_token_id=48)
    with pytest.raises(UserError, match=r"generation_config\.json: eos_token_id 48 is not in a voc"):
        from_pretrained(tmp_path)
