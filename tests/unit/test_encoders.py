"""Check encoders at work: hiding words, filling them in, telling classes apart, finding partners."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyllm as tl
from tinyllm.data import Batch, Corpus
from tinyllm.data.corruption import masked
from tinyllm.decode.fill import classes, fill
from tinyllm.errors import UserError
from tinyllm.models import build
from tinyllm.padding import padded
from tinyllm.runs.recipes.classify import TextBatch
from tinyllm.tokenizer import CharTokenizer, load_tokenizer, make_tokenizer, save_tokenizer
from tinyllm.train.objectives import masked_token, same_meaning

SIZES = {"model_type": "bert", "vocab_size": 19, "context": 12, "layers": 1, "heads": 2, "width": 16,
         "hidden": 32}
TEXT = "the cat sat on the mat, and the dog sat on the log; so it goes.\n" * 40
SMALL = {"model.type": "bert", "model.layers": 1, "model.heads": 2, "model.width": 16, "model.hidden": 32,
         "model.context": 16, "train.steps": 4, "train.batch": 4, "train.eval_windows": 8}


@pytest.fixture(scope="module")
def tokenizer():
    made = CharTokenizer.train(TEXT)
    made.add_special_tokens(("[PAD]", "[CLS]", "[SEP]", "[MASK]"))
    return made


def encoder(tokenizer, **changes):
    return build(SIZES | {"vocab_size": tokenizer.vocab_size, "context": 40} | changes).eval()


@given(seed=st.integers(0, 99), rate=st.sampled_from([0.05, 0.15, 0.5]))
def test_tokens_are_hidden_by_the_key(seed, rate):
    tokens = np.random.default_rng(seed).integers(0, 15, (8, 200))
    batch, again, other = (masked(tokens, 15, 16, *key, rate=rate) for key in ([seed], [seed], [seed, 1]))
    chosen = batch.targets >= 0
    assert abs(chosen.mean() - rate) < 0.1
    assert np.array_equal(batch.targets[chosen], tokens[chosen])
    assert np.array_equal(batch.tokens[~chosen], tokens[~chosen])
    assert np.array_equal(batch.tokens, again.tokens) and not np.array_equal(other.targets, batch.targets)


def test_hidden_tokens_are_replaced_by_masks_others_and_themselves():
    tokens = np.zeros((400, 100), int)
    batch = masked(tokens, 9, 8, 0)
    seen = batch.tokens[batch.targets == 0]
    assert abs(len(seen) / tokens.size - 0.15) < 0.01
    assert abs((seen == 9).mean() - 0.8) < 0.02 and abs((seen == 0).mean() - 0.1 - 0.1 / 8) < 0.02


def test_only_hidden_tokens_count_in_the_loss_and_the_accuracy():
    model, rng = build(SIZES).eval(), np.random.default_rng(0)
    tokens = rng.integers(0, 19, (3, 12))
    targets = np.where(rng.random((3, 12)) < 0.3, tokens, -100)
    loss, numbers = masked_token(model, Batch(tokens, targets))
    assert np.isclose(loss.item(), model.loss(tokens, targets).item(), rtol=1e-5)
    right = model(tokens).data.argmax(-1) == targets
    assert np.isclose(numbers["accuracy"], right[targets >= 0].mean())


def test_partners_find_each_other():
    model = build(SIZES | {"task": "encode", "init_std": 0.3}).eval()
    rows = [[i, i, (i * 7) % 19, i] for i in range(6) for _ in (0, 1)]
    tokens, lengths = padded(rows)
    batch = TextBatch(tokens, np.zeros((12, 1), int), lengths=lengths)
    loss, numbers = same_meaning(model, batch)
    assert numbers["accuracy"] == 1.0 and loss.item() < np.log(6)
    loss.backward()
    assert all(np.isfinite(p.grad).all() for n, p in model.named_parameters() if "encoder.layers" in n)
    mixed = TextBatch(np.roll(tokens, 1, axis=0), batch.targets, lengths=lengths)
    assert same_meaning(model, mixed)[1]["accuracy"] < 0.5


def test_masks_are_filled_with_the_likeliest_tokens_and_classes_have_probabilities(tokenizer):
    model = encoder(tokenizer, init_std=0.5)
    text, guesses = fill(model, tokenizer, "the [MASK]at sat[MASK]", top=3)
    assert text.startswith("the ") and len(text) == len("the ?at sat?") and len(guesses) == 2
    for place, found in zip((4, 11), guesses, strict=True):
        chances = [p for _, p in found]
        assert text[place] == found[0][0] and chances == sorted(chances, reverse=True)
    special = tokenizer.special_tokens
    ids = [special["[CLS]"], *tokenizer.encode("the [MASK]at sat[MASK]", {"[MASK]"}), special["[SEP]"]]
    logits = model(ids).data[0, 5, : min(special.values())]
    assert tokenizer.decode([int(logits.argmax())]) == text[4]
    judge = encoder(tokenizer, task="classify", labels=["a", "b", "c"], init_std=0.5)
    for second in (None, "the dog"):
        found = classes(judge, tokenizer, "the cat", second)
        assert {name for name, _ in found} == {"a", "b", "c"} and np.isclose(sum(p for _, p in found), 1)
        assert found[0][1] == max(p for _, p in found)
    for act, message in ((lambda: fill(model, tokenizer, "the cat"), "write \\[MASK\\] in the text"),
                         (lambda: fill(model, tokenizer, "[MASK]" * 39), "reads 38"),
                         (lambda: classes(model, tokenizer, "the cat"), "has no classes")):
        with pytest.raises(UserError, match=message):
            act()


@pytest.mark.parametrize("spec", ["char", "byte", "word", "bpe:300"])
def test_special_tokens_are_added_once_and_survive(tmp_path, spec):
    made = make_tokenizer(spec, TEXT.encode())
    made.decode(made.encode("cat"))
    size = made.vocab_size
    made.add_special_tokens(("[MASK]", "[SEP]"))
    made.add_special_tokens(("[SEP]",))
    assert made.vocab_size == size + 2
    assert made.encode("cat[MASK]", {"[MASK]"}) == [*made.encode("cat"), size]
    assert made.decode([*made.encode("cat"), size + 1]) == "cat[SEP]"
    save_tokenizer(made, tmp_path / "t.json")
    assert load_tokenizer(tmp_path / "t.json").special_tokens == made.special_tokens


def test_batches_of_masked_models_are_framed_and_evaluation_repeats_itself():
    setup = tl.prepare(tl.make_config(SMALL), Corpus("x", TEXT.encode()))
    ids, special = setup.tokenizer.special_tokens, setup.model.special_tokens
    batch = setup.plan.batches(3)
    assert batch.tokens.shape == (4, 16) and (batch.tokens[:, 0] == ids[special["begin"]]).all()
    assert (batch.tokens[:, -1] == ids[special["end"]]).all() and (batch.targets[:, [0, -1]] == -100).all()
    first, second = (setup.plan.evaluate(setup.model) for _ in range(2))
    assert first == second and 0 <= first["val_accuracy"] <= 1 and first["val_loss_per_char"] is None


def test_a_masked_model_is_trained_continued_fine_tuned_and_asked(here, refused, printed):
    (here / "text.txt").write_text(TEXT)
    words = [f"--set={name}={value}" for name, value in SMALL.items()]
    out = printed("train", "--data", "text.txt", "--out", "a", *words)
    assert "val_accuracy" in out and "tinyllm chat" not in out and "[MASK]" in out
    printed("train", "--out", "a", "--resume", "--steps", "6")
    log = [json.loads(line) for line in (here / "a" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 6 and "accuracy" in log[-1] and "val_accuracy" in log[-1]
    printed("report", "a")
    assert len(json.loads(printed("generate", "a", "--prompt", "the [MASK]at", "--json"))["guesses"][0]) == 5
    assert "write [MASK]" in refused("generate", "a", "--prompt", "the cat")
    (here / "classes.tsv").write_text("the cat\tcat\nthe dog\tdog\n" * 20)
    train = ["train", "classify", "--steps=3", "--batch=4", "--data"]
    printed(*train, "classes.tsv", "--out", "b", "--set=start=a")
    printed("train", "--out", "b", "--resume", "--steps", "4")
    guesses = json.loads(printed("generate", "b", "--prompt", "the cat", "--json"))["guesses"][0]
    assert {name for name, _ in guesses} == {"cat", "dog"}
    assert tl.open_model("b").model.config.labels == ["cat", "dog"]
    line = refused(*train, "classes.tsv", "--out", "c", "--model", "gpt")
    assert "the recipe classify cannot train a gpt2: it needs bert" in line
    (here / "one.tsv").write_text("the cat\tcat\n" * 20)
    assert "1 classes: give examples of 2" in refused(*train, "one.tsv", "--out", "d", "--model", "bert")
