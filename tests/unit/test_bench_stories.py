"""Check what the benchmarks say of stories that a model writes."""

import dataclasses

import tinyllm as tl
from tinyllm.bench import peers

stories = peers.load("stories")
world = peers.load("world")


def test_no_written_story_is_empty():
    """After a separator that nothing stands before, a model writes a separator, as it never saw that."""
    opened = tl.open_model("shipped")
    model, tokenizer = opened.model, opened.tokenizer
    before = stories.stories.generate(seed=1, n=24).split("\n\n")[:-1]
    begun = stories.written(model, tokenizer, before, opened.sampling, most=4)
    assert len(begun) == 24 and all(text[:1].strip() for text in begun)


def test_stories_are_parsed_and_looked_for_in_the_training_rows(monkeypatch):
    small = {"steps": 2, "batch": 2, "width": 16, "layers": 1, "asked": 3}
    experiment = dataclasses.replace(world.EXPERIMENTS["stories-parse"], **small)
    training = experiment._stream(experiment.train[0], 0)
    written = [training[1].text, training[10**6].text, training[2].text.replace(".", ";", 1)]

    monkeypatch.setattr(tl, "generate", lambda *args, **options: [0, 1, 2])
    monkeypatch.setattr(world.Pieces, "decode", lambda self, i: written[i] + "\nOnce more")
    figures, _ = experiment(0)
    assert figures["parse"] == figures["parse as drawn"] == 2 / 3 and figures["new"] == 1 / 2
    assert figures["above floor"] > 0
