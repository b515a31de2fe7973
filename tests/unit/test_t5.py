"""Check T5: its initial weights, answers to texts, and training with hidden spans or pairs."""

import numpy as np
import pytest
from helpers import refuses
from tiny_models import MODELS, V, lively

import tinyllm as tl
from tinyllm import build, no_grad, ops

CONTEXT = 12
GREEDY = tl.Sampling(temperature=0)


def texts(seed, *shape):
    return np.random.default_rng(seed).integers(0, V, shape)


def test_new_weights_keep_the_published_deviations_and_tell_distances_apart():
    """Position biases start with a deviation of 1: with C^-0.5, AdamW needs 1,000 steps for word order."""
    model = build(MODELS["t5 1.1"] | {"width": 64, "head_width": 24, "hidden": 128, "vocab_size": 99})
    sizes = {"shared": 1, ".q": 64 * 24, ".k": 64, ".o": 3 * 24, ".wo": 128, ".wi_1": 64, "attention_bias": 1}
    for end, n in sizes.items():
        found = [p.data.std() for name, p in model.named_parameters() if name.endswith(f"{end}.weight")]
        np.testing.assert_allclose(found, n**-0.5, rtol=0.2)


def plain_loop(model, prompt, count, sampling=GREEDY, seed=0):
    """Generate in a plain loop, without a cache and without a batch."""
    written, random = [model.config.start], tl.Random(seed, "sample", 0)
    for _ in range(count):
        with no_grad():
            logits = model([prompt], [written[-CONTEXT:]]).data[0, -1]
        p = ops.softmax(ops.temperature(logits, sampling.temperature or 1.0))
        drawn = int(ops.sample(p, np.array(random.uniform())))
        written.append(int(logits.argmax()) if sampling.temperature == 0 else drawn)
        if written[-1] == model.config.end:
            break
    return written[1:]


@pytest.mark.parametrize("kind", [kind for kind in MODELS if "t5" in kind])
@pytest.mark.parametrize("sampling", [GREEDY, tl.Sampling(temperature=0.7)], ids=["greedy", "drawn"])
def test_prompts_of_unequal_lengths_are_answered_together_as_alone(kind, sampling):
    model = lively(kind, end=1)
    prompts = [texts(i, n).tolist() for i, n in enumerate((1, 6, 12, 3, 6))]
    prompts.append(prompts[1])
    engine = tl.Engine(model, batch=4)  # two prompts wait
    asked = [engine.add(p, sampling, max_tokens=8, seed=i) for i, p in enumerate(prompts)]
    next(iter(engine))
    begun = {"prompt": [model.config.start], "cache": model.read(prompts[:1])}
    asked.append(engine.add(**begun, sampling=sampling, max_tokens=3, seed=9))  # while others run
    list(engine)
    for i, s in enumerate(asked[:-1]):
        assert s.tokens == plain_loop(model, prompts[i], 8, sampling, i)
        assert s.finish == ("stop" if s.tokens[-1] == 1 else "length")
    assert asked[-1].tokens == plain_loop(model, prompts[0], 3, sampling, 9)


def test_text_ends_with_the_end_token_and_shows_hidden_parts_by_name():
    tokenizer = tl.CharTokenizer.train("abcdefgh", ["<pad>", "</s>", "<extra_id_0>"])
    model = lively("t5", start=8, end=9)
    steps = list(tl.stream(model, "ab<extra_id_0>c", max_tokens=4, sampling=GREEDY, tokenizer=tokenizer))
    found = [step.token for step in steps]
    assert found == tl.generate(model, [0, 1, 10, 2, 9], max_tokens=4, sampling=GREEDY)
    assert "".join(step.text for step in steps) == tokenizer.decode([i for i in found if i != 9])
    refuses("has 13 tokens and the model's context is 12", tl.generate, model, "abcdefghabcd", max_tokens=4,
            tokenizer=tokenizer)


TINY = {"model.type": "t5", "model.context": 32, "model.width": 16, "model.heads": 2, "model.head_width": 8,
        "model.hidden": 16, "model.layers": 1, "train.batch": 4}
WORDS = "to be or not to be, that is the question. " * 40


def prepared(tmp_path, text, **changes):
    (tmp_path / "text").write_text(text)
    return tl.prepare(tl.make_config({"data": str(tmp_path / "text")} | TINY | changes))


def test_a_text_becomes_one_without_spans_and_the_spans(tmp_path):
    setup = prepared(tmp_path, WORDS)
    ids = setup.tokenizer.special_tokens
    assert setup.model.config.start == ids["<pad>"] and setup.model.config.end == ids["</s>"]
    batch = setup.plan.batches(0)
    assert batch.tokens.max() == ids["<extra_id_0>"] == setup.tokenizer.vocab_size - 1
    assert (batch.tokens[:, -1] == ids["</s>"]).all() and (batch.targets[:, 0] == ids["<extra_id_0>"]).all()
    read, written = setup.sample(setup.model).split("\n\n", 1)
    assert "<extra_id_0>" in read and "<extra_id_2>" not in read and written
    many = prepared(tmp_path, WORDS, tokenizer="bpe:270").config  # the start token has an id above 256
    assert many.model.start > 256 and tl.make_config(many.flat()) == many


def test_of_a_pair_one_side_is_read_and_the_other_written(tmp_path):
    setup = prepared(tmp_path, "abc\tcba\nbd\tdb\n" * 10, recipe="sft")
    batch, end = setup.plan.batches(0), setup.model.config.end
    decode, each = setup.tokenizer.decode, zip(batch.tokens, batch.targets, batch.lengths, strict=True)
    found = {(decode(read[:n]), decode(written[written >= 0])) for read, written, n in each}
    assert found <= {("abc\n</s>", "cba\n</s>"), ("bd\n</s>", "db\n</s>")} and end == batch.targets.max()
    packed = {"recipe": "sft", "sft.packed": True}
    refuses("a t5 reads one prompt at a time", prepared, tmp_path, "abc\tcba\n" * 20, **packed)
