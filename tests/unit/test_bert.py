"""Check BERT and its uses: vectors of sentences, pairs of texts, classes, masked words, and partners."""

import json

import numpy as np
import pytest
from helpers import refuses
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import MODELS, V, made, open_there

import tinyllm as tl
import tinyllm.functional as F
from tinyllm import nn
from tinyllm.data import Batch, Corpus
from tinyllm.data.corruption import masked
from tinyllm.decode.fill import classes, fill
from tinyllm.models import build, from_pretrained
from tinyllm.padding import padded
from tinyllm.runs.recipes.classify import TextBatch
from tinyllm.tensor import no_grad
from tinyllm.tokenizer import CharTokenizer, save_tokenizer
from tinyllm.train.objectives import masked_token, same_meaning

each = pytest.mark.parametrize("name", [name for name in MODELS if "bert" in name])
TOKENS = np.random.default_rng(0).integers(4, V, (3, 12))
LENGTHS = np.array([12, 5, 1])
IDS = st.lists(st.integers(5, 9), max_size=20)
SIZES = {"model_type": "bert", "vocab_size": 19, "context": 12, "layers": 1, "heads": 2, "width": 16,
         "hidden": 32}
TEXT = "the cat sat on the mat, and the dog sat on the log; so it goes.\n" * 40


def segments_of(model):
    return np.sort(np.random.default_rng(1).integers(0, model.config.segments, (3, 12)), axis=1)


@each
def test_sentences_are_the_same_in_any_batch_and_order(name):
    model = made(name, task="encode")
    rows = [list(TOKENS[i % 3, : 1 + 5 * i % 12]) for i in range(7)]
    vectors = model.embed_sentences(rows, room=17)
    assert vectors.shape == (7, 32) and np.allclose((vectors**2).sum(-1), 1, atol=1e-5)
    for row, vector in zip(rows, vectors, strict=True):
        x = model.hidden(row).data[0].mean(axis=0)
        np.testing.assert_allclose(vector, x / np.sqrt((x * x).sum()), rtol=1e-4, atol=1e-5)
    for wrong, message in (([[5], []], "text 1 has no tokens"), ([[5] * 13], "13 tokens exceed")):
        refuses(message, model.embed_sentences, wrong)


@pytest.mark.parametrize("modes, message", [
    ({"pooling_mode": "mean", "then": "Dense"}, r"modules\.json has a step 'Dense'"),
    ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True, "prompt": True}, ""),
    ({"pooling_mode": "mean"}, ""), ({"pooling_mode": "cls"}, "1_Pooling.*'cls'.*tinyllm has the mean"),
    ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "cls_token"),
    ({}, "1_Pooling.*has the mean"),
])
def test_other_poolings_are_refused(tmp_path, modes, message):
    made("bert").save_pretrained(tmp_path)
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"size": 32} | modes))
    (tmp_path / "modules.json").write_text(json.dumps([{"type": "a." + modes.get("then", "Pooling")}]))
    if message:
        refuses(message, from_pretrained, tmp_path)
    else:
        assert from_pretrained(tmp_path)


@each
def test_a_task_keeps_the_encoder_and_changes_the_rest(tmp_path, name):
    model = made(name)
    classes = model.for_task("classify", ["good", "bad", "neither"])
    with no_grad():
        x, (w, b, v, c) = classes.hidden(TOKENS).data, [
            p.data for layer in (classes.pooler, classes.classifier) for p in (layer.weight, layer.bias)]
        assert np.array_equal(x, model.hidden(TOKENS).data)
        expected = np.tanh(x[:, 0] @ w + b) @ v + c
        np.testing.assert_allclose(classes.classify(TOKENS).data, expected, rtol=1e-4, atol=1e-5)
    classes.save_pretrained(tmp_path)
    loaded = from_pretrained(tmp_path)
    assert loaded.config == classes.config and loaded.config.labels == ["good", "bad", "neither"]
    found = json.loads((tmp_path / "config.json").read_text())
    assert found["label2id"] == {"good": 0, "bad": 1, "neither": 2}
    back = classes.for_task("masked").state_dict()
    assert all(np.array_equal(array, back[n]) for n, array in model.state_dict().items() if "encoder" in n)
    for refused in (lambda: classes(TOKENS), lambda: model.classify(TOKENS)):
        refuses(r"does not score tokens|for_task", refused)


@each
def test_segments_matter_and_wrong_ones_are_refused_and_no_text_is_continued(name):
    model = made(name)
    count = model.config.segments
    with no_grad():
        assert not np.allclose(model(TOKENS, segments_of(model)).data, model(TOKENS).data)
    for wrong in (np.full((3, 12), count), np.full((3, 12), -1), np.zeros((3, 11), int)):
        refuses("segments must have the shape", model, TOKENS, wrong)
    refuses("fills in masked tokens, and cannot continue a text", tl.generate, model, [[5]], max_tokens=1)


@given(first=IDS, second=st.none() | IDS)
def test_texts_stand_between_special_tokens(first, second):
    """[CLS] is 1 here, [SEP] 2; the longer text is cut until both fit into 12 tokens."""
    given_texts = [text for text in (first, second) if text is not None]
    kept = [list(text) for text in given_texts]
    while sum(map(len, kept)) > 11 - len(kept):
        kept[max(range(len(kept)), key=lambda i: len(kept[i]))].pop()
    tokens = [1, *(token for text in kept for token in [*text, 2])]
    segments = [0] * (len(kept[0]) + 2) + [1] * (len(tokens) - len(kept[0]) - 2)
    ids = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[MASK]": 3}
    assert made("bert").framed(ids, *given_texts) == (tokens, segments)


@each
@pytest.mark.parametrize("task", ["classify", "encode"])
def test_classes_and_vectors_are_those_of_transformers(tmp_path, transformers, name, task):
    import torch

    model = made(name, task=task, labels=["a", "b", "c", "d"] if task == "classify" else None)
    model.save_pretrained(tmp_path)
    theirs = open_there(transformers, tmp_path).eval()
    real = np.arange(12) < LENGTHS[:, None]
    given_there = {"input_ids": TOKENS, "attention_mask": real, "token_type_ids": segments_of(model)}
    found = theirs(**{name: torch.from_numpy(x.astype(np.int64)) for name, x in given_there.items()})
    inputs = {"segments": segments_of(model), "seen": nn.Seen(lengths=LENGTHS)}
    with no_grad():
        if task == "classify":
            assert theirs.config.id2label == dict(enumerate("abcd"))
            ours, there = model.classify(TOKENS, **inputs).data, found.logits
        else:
            ours, there = model.hidden(TOKENS, **inputs).data[real], found.last_hidden_state[real]
    np.testing.assert_allclose(ours, there.detach().numpy(), rtol=1e-4, atol=1e-4)
    theirs.save_pretrained(tmp_path / "theirs")
    again = from_pretrained(tmp_path / "theirs")
    assert again.config.task == task and again.config.labels == model.config.labels
    assert np.array_equal(again.hidden(TOKENS).data, model.hidden(TOKENS).data)


@pytest.fixture(scope="module")
def tokenizer():
    letters = CharTokenizer.train(TEXT)
    letters.add_special_tokens(("[PAD]", "[CLS]", "[SEP]", "[MASK]"))
    return letters


def encoder(tokenizer, **changes):
    return build(SIZES | {"vocab_size": tokenizer.vocab_size, "context": 40} | changes).eval()


def test_hidden_tokens_are_masks_others_and_themselves_and_only_these_count():
    batch = masked(np.zeros((400, 100), int), 9, 8, 0)
    seen = batch.tokens[batch.targets == 0]
    assert abs(len(seen) / batch.tokens.size - 0.15) < 0.01 and not batch.tokens[batch.targets < 0].any()
    assert abs((seen == 9).mean() - 0.8) < 0.02 and abs((seen == 0).mean() - 0.1 - 0.1 / 8) < 0.02
    model, rng, rows = build(SIZES).eval(), np.random.default_rng(0), []
    tokens = rng.integers(0, 19, (3, 12))
    targets = np.where(rng.random((3, 12)) < 0.3, tokens, -100)
    with nn.tap(model, "lm_head", lambda x, y: rows.append(x.shape)):
        loss, numbers = masked_token(model, Batch(tokens, targets))
        losses = [loss.item(), model.loss(tokens, targets).item()]
    assert rows == [((targets >= 0).sum(), 16)] * 2  # logits that do not count are not computed
    np.testing.assert_allclose(losses, F.cross_entropy(model(tokens), targets).item(), rtol=1e-5)
    right = model(tokens).data.argmax(-1) == targets
    assert np.isclose(numbers["accuracy"], right[targets >= 0].mean())


def test_partners_find_each_other():
    model = build(SIZES | {"task": "encode", "init_std": 0.3}).eval()
    rows = [[i, i, (i * 7) % 19, i] for i in range(6) for _ in (0, 1)]
    tokens, lengths = padded(rows)
    batch = TextBatch(tokens, np.zeros((12, 1), int), lengths=lengths)
    loss, numbers = same_meaning(model, batch)
    assert numbers["accuracy"] == 1.0 and loss.item() < np.log(6)
    mixed = TextBatch(np.roll(tokens, 1, axis=0), batch.targets, lengths=lengths)
    assert same_meaning(model, mixed)[1]["accuracy"] < 0.5


def test_masks_are_filled_with_the_likeliest_tokens_and_classes_have_chances(here, tokenizer, printed):
    model, prompt = encoder(tokenizer, init_std=0.5), "the [MASK]at sat[MASK]"
    text, guesses = fill(model, tokenizer, prompt, top=3)
    assert text.startswith("the ") and len(text) == len("the ?at sat?") and len(guesses) == 2
    for place, found in zip((4, 11), guesses, strict=True):
        chances = [p for _, p in found]
        assert text[place] == found[0][0] and chances == sorted(chances, reverse=True)
    special = tokenizer.special_tokens
    ids = [special["[CLS]"], *tokenizer.encode(prompt, {"[MASK]"}), special["[SEP]"]]
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
        refuses(message, act)
    for name, trained in (("masked", model), ("judge", judge)):  # `generate` gives the same answers
        trained.save_pretrained(name)
        save_tokenizer(tokenizer, here / name / "tokenizer.json")
    shown = json.loads(printed("generate", "masked", "--prompt", prompt, "--json"))["guesses"]
    assert [place[0][0] for place in shown] == [text[4], text[11]]
    ((best, _), *_), = json.loads(printed("generate", "judge", "--prompt", "the cat", "--json"))["guesses"]
    assert best == classes(judge, tokenizer, "the cat")[0][0]


def test_batches_of_masked_models_are_framed_and_evaluation_repeats_itself():
    settings = {"model.type": "bert", "model.layers": 1, "model.heads": 2, "model.width": 16,
                "model.hidden": 32, "model.context": 16, "train.batch": 4, "train.eval_windows": 8}
    setup = tl.prepare(tl.make_config(settings), Corpus("x", TEXT.encode()))
    ids, special = setup.tokenizer.special_tokens, setup.model.special_tokens
    batch = setup.plan.batches(3)
    assert batch.tokens.shape == (4, 16) and (batch.tokens[:, 0] == ids[special["begin"]]).all()
    assert (batch.tokens[:, -1] == ids[special["end"]]).all() and (batch.targets[:, [0, -1]] == -100).all()
    first, second = (setup.plan.evaluate(setup.model) for _ in range(2))
    assert first == second and 0 <= first["val_accuracy"] <= 1 and first["val_loss_per_char"] is None


@pytest.mark.parametrize("lines, model, message", [
    ("the cat\tcat\nthe dog\tdog\n", "gpt", "the recipe classify cannot train a gpt2: it needs bert"),
    ("the cat\tcat\n", "bert", "1 classes: give examples of 2"),
])
def test_classes_that_cannot_be_learnt_are_refused(here, refused, lines, model, message):
    (here / "classes.tsv").write_text(lines * 20)
    assert message in refused("train", "classify", "--data", "classes.tsv", "--out", "c", "--model", model)
