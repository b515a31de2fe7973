"""Check `open_model`: the settings that a folder stores beside its model."""

import json

from helpers import refuses
from tiny_gpt import shaken
from tiny_run import new_training

import tinyllm as tl
from tinyllm.runs.recipe import NO_FRAME, Frame
from tinyllm.tokenizer import CHAT_TEMPLATES, CharTokenizer, save_tokenizer

TOKENIZER = CharTokenizer.train("abcdefgh \n")


def folder_of(tmp_path, **generation):
    """Save a model with a generation_config.json; return the folder."""
    sizes = {"vocab_size": TOKENIZER.vocab_size, "context": 12, "layers": 1, "heads": 1, "width": 8}
    shaken(tl.GPT(tl.GPTConfig(**sizes), seed=None)).save_pretrained(tmp_path)
    save_tokenizer(TOKENIZER, tmp_path / "tokenizer.json")
    (tmp_path / "generation_config.json").write_text(json.dumps(generation))
    return tmp_path


def test_a_run_says_how_it_was_trained(whole):
    opened = tl.open_model(whole)
    assert opened.config.recipe == "pretrain" and opened.folder == whole
    assert opened.frame == NO_FRAME and opened.stops == [] and opened.chat is None


def test_a_folder_says_how_tokens_are_drawn_and_what_ends_a_text(tmp_path):
    said = {"do_sample": True, "temperature": 0.5, "top_k": 3, "eos_token_id": [2, 99]}
    opened = tl.open_model(folder_of(tmp_path, **said))
    assert opened.sampling == tl.Sampling(0.5, top_k=3) and opened.stops == [2, 99]
    assert (opened.config, opened.frame) == (None, NO_FRAME)


def test_an_answer_ends_as_in_training_even_if_nothing_stands_before_it(tmp_path):
    """A past bug: with an empty separator, `generate` wrote past the end of an answer."""
    (tmp_path / "pairs.tsv").write_text("a\tb\nc\td\n" * 20)
    end = {"recipe": "sft", "sft__separator": "", "sft__end": ";", "train__steps": 1}
    list(training := new_training(tmp_path / "run", tmp_path / "pairs.tsv", **end))
    opened = tl.open_model(training.run.folder)
    assert opened.frame == Frame("", ";") and opened.stops == [";"]


def test_what_is_impossible_is_an_error_only_where_it_is_used(tmp_path):
    opened = tl.open_model(folder_of(tmp_path, do_sample=True, top_p=7))
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": 3}')
    for name, message in (("sampling", "top_p must be a number"), ("chat", "none that tinyllm knows")):
        refuses(message, getattr, opened, name)
    opened.tokenizer.chat = CHAT_TEMPLATES["chatml"]  # wins over the folder's
    assert opened.chat == CHAT_TEMPLATES["chatml"] and opened.stops == []
