"""Check uses of encoders: masked words, fill-in, classes, and finding the matching sentence."""

import json

import numpy as np
import pytest
from helpers import refuses
from tiny_models import made

import tinyllm as tl
import tinyllm.functional as F
from tinyllm.data.corruption import masked
from tinyllm.decode.fill import classes, fill
from tinyllm.padding import padded
from tinyllm.runs.recipes.classify import TextBatch
from tinyllm.train.objectives import masked_token, same_meaning

TEXT = "the cat sat on the mat, and the dog sat on the log; so it goes.\n" * 40


@pytest.fixture(scope="module")
def tokenizer():
    made = tl.CharTokenizer.train(TEXT)
    made.add_special_tokens(("[PAD]", "[CLS]", "[SEP]", "[MASK]"))
    return made


def test_hidden_tokens_are_masks_others_and_themselves_and_only_these_count():
    batch = masked(np.zeros((400, 100), int), 9, 8, 0)
    seen = batch.tokens[batch.targets == 0]
    assert abs(len(seen) / batch.tokens.size - 0.15) < 0.01 and not batch.tokens[batch.targets < 0].any()
    assert abs((seen == 9).mean() - 0.8) < 0.02 and abs((seen == 0).mean() - 0.1 - 0.1 / 8) < 0.02
    model, rng, rows = made("bert"), np.random.default_rng(0), []
    tokens = rng.integers(0, 19, (3, 12))
    targets = np.where(rng.random((3, 12)) < 0.3, tokens, -100)
    with tl.nn.tap(model, "lm_head", lambda x, y: rows.append(x.shape)):
        loss, numbers = masked_token(model, tl.Batch(tokens, targets))
        losses = [loss.item(), model.loss(tokens, targets).item()]
    assert rows == [((targets >= 0).sum(), 32)] * 2  # logits that do not count are not computed
    np.testing.assert_allclose(losses, F.cross_entropy(model(tokens), targets).item(), rtol=1e-5)
    right = model(tokens).data.argmax(-1) == targets
    assert np.isclose(numbers["accuracy"], right[targets >= 0].mean())


def test_partners_find_each_other():
    model = made("bert", task="encode")
    rows = [[i, i, (i * 7) % 19, i] for i in range(6) for _ in (0, 1)]
    tokens, lengths = padded(rows)
    batch = TextBatch(tokens, np.zeros((12, 1), int), lengths=lengths)
    loss, numbers = same_meaning(model, batch)
    assert numbers["accuracy"] == 1.0 and loss.item() < np.log(6)
    mixed = TextBatch(np.roll(tokens, 1, axis=0), batch.targets, lengths=lengths)
    assert same_meaning(model, mixed)[1]["accuracy"] < 0.5


def test_masks_are_filled_with_the_likeliest_tokens_and_classes_have_chances(here, tokenizer, printed):
    sizes, prompt = {"vocab_size": tokenizer.vocab_size, "context": 40}, "the [MASK]at sat[MASK]"
    model = made("bert", **sizes)
    text, guesses = fill(model, tokenizer, prompt, top=3)
    assert text.startswith("the ") and len(text) == len("the ?at sat?") and len(guesses) == 2
    for place, found in zip((4, 11), guesses, strict=True):
        chances = [p for _, p in found]
        assert text[place] == found[0][0] and chances == sorted(chances, reverse=True)
    special = tokenizer.special_tokens
    ids = [special["[CLS]"], *tokenizer.encode(prompt, {"[MASK]"}), special["[SEP]"]]
    logits = model(ids).data[0, 5, : min(special.values())]
    assert tokenizer.decode([int(logits.argmax())]) == text[4]
    judge = made("bert", task="classify", labels=["a", "b", "c"], **sizes)
    for second in (None, "the dog"):
        found = classes(judge, tokenizer, "the cat", second)
        assert {name for name, _ in found} == {"a", "b", "c"} and np.isclose(sum(p for _, p in found), 1)
        assert found[0][1] == max(p for _, p in found)
    for act, message in ((lambda: fill(model, tokenizer, "the cat"), "write \\[MASK\\] in the text"),
                         (lambda: fill(model, tokenizer, "[MASK]" * 39), "reads 38"),
                         (lambda: classes(model, tokenizer, "the cat"), "has no classes")):
        refuses(message, act)
    for name, each in (("masked", model), ("judge", judge)):  # `generate` gives the same answers
        each.save_pretrained(name)
        tl.save_tokenizer(tokenizer, here / name / "tokenizer.json")
    shown = json.loads(printed("generate", "masked", "--prompt", prompt, "--json"))["guesses"]
    assert [place[0][0] for place in shown] == [text[4], text[11]]
    ((best, _), *_), = json.loads(printed("generate", "judge", "--prompt", "the cat", "--json"))["guesses"]
    assert best == classes(judge, tokenizer, "the cat")[0][0]
