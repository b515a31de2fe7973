"""Check that the sampling settings and end tokens of generation_config.json are read, used and kept."""

import json

import pytest
from helpers import refuses
from test_start import folder_of
from tiny_run import new_training

import tinyllm as tl
from tinyllm.cli import generate as cli, main
from tinyllm.models.generation import sampling_settings, stop_ids


@pytest.mark.parametrize("content, expected, ends", [
    ({}, {}, []), ({"eos_token_id": 3}, {}, [3]), ({"eos_token_id": [3, 5], "do_sample": None}, {}, [3, 5]),
    ({"do_sample": True, "temperature": 0.6, "top_p": 0.9}, {"temperature": 0.6, "top_p": 0.9}, []),
    ({"do_sample": True, "top_k": 0, "min_p": 0.1}, {"min_p": 0.1}, []),
    ({"do_sample": False, "temperature": 0.6, "top_k": 3, "eos_token_id": None}, {"temperature": 0}, []),
    ({"temperature": 0.6, "repetition_penalty": 1.2, "top_k": None}, {"repetition_penalty": 1.2}, []),
])
def test_what_a_file_says_becomes_sampling_and_stops_and_is_kept(tmp_path, content, expected, ends):
    model = tl.from_pretrained(folder_of(tmp_path, **content, no_repeat_ngram_size=2))
    assert sampling_settings(model.generation) == expected and tl.Sampling(**expected)
    assert stop_ids(model.generation) == ends
    model.save_pretrained(tmp_path / "again")
    assert tl.from_pretrained(tmp_path / "again").generation == model.generation
    written = json.loads((tmp_path / "again/config.json").read_text())
    assert written["eos_token_id"] == content.get("eos_token_id")


@pytest.mark.parametrize("content, words", [
    ({"temperature": "hot"}, "temperature must be a number, got 'hot'"), ({"top_k": True}, "top_k must be"),
    ({"do_sample": 1}, "do_sample must be true or false"),
])
def test_values_of_another_type_are_named(tmp_path, content, words):
    refuses(rf"generation_config\.json: .*{words}", tl.from_pretrained, folder_of(tmp_path, **content))


def test_the_commands_draw_and_stop_as_the_folder_says(tmp_path, monkeypatch):
    used, found = [], [[([1], -1.0)]]
    said = {"do_sample": True, "temperature": 0.5, "top_k": 4, "eos_token_id": 2, "length_penalty": 0.2}
    monkeypatch.setattr(cli, "stream", lambda model, prompts, **options: used.append(options) or iter(()))
    monkeypatch.setattr(cli, "beam_search", lambda model, prompts, **options: used.append(options) or found)
    words = ["generate", str(folder_of(tmp_path, **said)), "--prompt", "a"]
    for more in ([], ["--temperature", "2", "--stop", "b"], ["--beams", "2"]):
        assert main([*words, *more]) == 0
    assert [options["sampling"] for options in used[:2]] == [tl.Sampling(0.5, 4), tl.Sampling(2.0, 4)]
    assert [options["stop"] for options in used[:2]] == [[2], ["b", 2]]
    assert used[2]["length_penalty"] == 0.2


def test_a_run_is_drawn_from_as_its_samples_were(tmp_path, text):
    drawn = {"train__sample_temperature": 0.7, "train__sample_min_p": 0.3}
    training = new_training(tmp_path / "run", text, train__steps=1, **drawn)
    list(training)
    assert tl.open_model(training.run.folder).sampling == tl.Sampling(0.7, min_p=0.3)
