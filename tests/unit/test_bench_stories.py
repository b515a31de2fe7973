"""benchmarks/stories.py has a model write stories as it learnt to: after another story."""

import tinyllm as tl
from tinyllm.bench import peers
from tinyllm.models.generation import sampling_settings

stories = peers.load("stories")


def test_no_written_story_is_empty():
    """After a separator that nothing stands before, a model writes a separator, as it never saw that."""
    model, tokenizer, _ = tl.load("shipped")
    before = stories.stories.generate(seed=1, n=24).split("\n\n")[:-1]
    usual = tl.Sampling(**sampling_settings(model.generation))
    begun = stories.written(model, tokenizer, before, usual, most=4)
    assert len(begun) == 24 and all(text[:1].strip() for text in begun)
