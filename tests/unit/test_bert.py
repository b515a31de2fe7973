"""Check BERT: vectors of sentences, pairs of texts, classes, and sentence-transformers' files."""

import json

import numpy as np
import pytest
from tiny_models import MODELS, V, made, open_there

import tinyllm as tl
import tinyllm.functional as F
from tinyllm import nn
from tinyllm.errors import UserError
from tinyllm.models import from_pretrained
from tinyllm.padding import padded
from tinyllm.tensor import no_grad

each = pytest.mark.parametrize("name", [name for name in MODELS if "bert" in name])
TOKENS = np.random.default_rng(0).integers(4, V, (3, 12))
LENGTHS = np.array([12, 5, 1])
REAL = np.arange(12) < LENGTHS[:, None]


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
        with pytest.raises(UserError, match=message):
            model.embed_sentences(wrong)


def pooled(folder, **modes):
    """Write the files of a sentence-transformers folder with these modes of pooling."""
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **modes}))
    steps = [{"idx": 0, "type": "sentence_transformers.models.Transformer"}, {"type": "a.Pooling"}]
    (folder / "modules.json").write_text(json.dumps(steps))


def test_other_poolings_and_steps_are_refused(tmp_path):
    made("bert").save_pretrained(tmp_path)
    both = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}
    for modes, message in (({"pooling_mode_max_tokens": True}, "pooling_mode_max_tokens"),
                           (both, "cls_token"), ({}, "has the mean")):
        pooled(tmp_path, **modes)
        with pytest.raises(UserError, match=message) as error:
            from_pretrained(tmp_path)
        assert "1_Pooling" in str(error.value)
    pooled(tmp_path, pooling_mode_cls_token=False, pooling_mode_mean_tokens=True, include_prompt=True)
    assert from_pretrained(tmp_path)
    (tmp_path / "modules.json").write_text('[{"type": "sentence_transformers.models.Dense"}]')
    with pytest.raises(UserError, match=r"modules\.json has a step 'Dense'"):
        from_pretrained(tmp_path)


@each
def test_a_task_keeps_the_encoder_and_changes_the_rest(tmp_path, name):
    model = made(name)
    classes = model.for_task("classify", ["good", "bad", "neither"])
    with no_grad():
        assert np.array_equal(classes.hidden(TOKENS).data, model.hidden(TOKENS).data)
        assert classes.classify(TOKENS).shape == (3, 3)
        x, layer = classes.hidden(TOKENS), classes.pooler
        pooled = np.tanh(x.data[:, 0] @ layer.weight.data + layer.bias.data)
        np.testing.assert_allclose(classes.pooled(x).data, pooled, rtol=1e-4, atol=1e-5)
    classes.save_pretrained(tmp_path)
    loaded = from_pretrained(tmp_path)
    assert loaded.config == classes.config and loaded.config.labels == ["good", "bad", "neither"]
    found = json.loads((tmp_path / "config.json").read_text())
    assert found["label2id"] == {"good": 0, "bad": 1, "neither": 2}
    back = classes.for_task("masked").state_dict()
    assert all(np.array_equal(array, back[n]) for n, array in model.state_dict().items() if "encoder" in n)
    for refused in (lambda: classes(TOKENS), lambda: model.classify(TOKENS), lambda: model.pooled(TOKENS)):
        with pytest.raises(UserError, match=r"does not score tokens|for_task"):
            refused()


@each
def test_segments_matter_and_wrong_ones_are_refused(name):
    model = made(name)
    count = model.config.segments
    if count > 1:
        with no_grad():
            other = model(TOKENS, segments_of(model)).data
            assert not np.allclose(other, model(TOKENS).data) and np.allclose(other, model(
                TOKENS, segments=segments_of(model)).data)
    for wrong in (np.full((3, 12), max(count, 1)), np.full((3, 12), -1), np.zeros((3, 11), int)):
        with pytest.raises(UserError, match="segments must have the shape"):
            model(TOKENS, wrong)


def test_the_loss_skips_logits_that_do_not_count():
    model, targets = made("bert"), np.where(np.arange(12) % 5 == 2, TOKENS, -100)
    rows = []
    with no_grad(), nn.tap(model, "lm_head", lambda x, y: rows.append(x.shape)):
        loss = model.loss(TOKENS, targets).item()
    assert rows == [(6, 32)]
    with no_grad():
        assert np.isclose(loss, F.cross_entropy(model(TOKENS), targets).item(), rtol=1e-5)


@each
def test_encoders_do_not_continue_texts(name):
    with pytest.raises(UserError, match="fills in masked tokens, and cannot continue a text"):
        tl.generate(made(name), [[5]], max_tokens=1)


def test_padded_texts():
    tokens, lengths = padded([[5, 6, 7], [8]])
    assert tokens.tolist() == [[5, 6, 7], [8, 0, 0]] and lengths.tolist() == [3, 1]


@each
@pytest.mark.parametrize("task", ["classify", "encode"])
def test_classes_and_poolers_are_those_of_transformers(tmp_path, transformers, name, task):
    import torch

    model = made(name, task=task, labels=["a", "b", "c", "d"] if task == "classify" else None)
    model.save_pretrained(tmp_path)
    theirs = open_there(transformers, tmp_path).eval()
    given = {"input_ids": TOKENS, "attention_mask": REAL, "token_type_ids": segments_of(model)}
    found = theirs(**{name: torch.from_numpy(x.astype(np.int64)) for name, x in given.items()})
    inputs = {"segments": segments_of(model), "seen": nn.Seen(lengths=LENGTHS)}
    with no_grad():
        if task == "classify":
            assert theirs.config.id2label == dict(enumerate("abcd"))
            ours, there = model.classify(TOKENS, **inputs), found.logits
        else:
            ours, there = model.pooled(model.hidden(TOKENS, **inputs)), found.pooler_output
    np.testing.assert_allclose(ours.data, there.detach().numpy(), rtol=1e-4, atol=1e-4)
    theirs.save_pretrained(tmp_path / "theirs")
    again = from_pretrained(tmp_path / "theirs")
    assert again.config.task == task and again.config.labels == model.config.labels
    assert np.array_equal(again.hidden(TOKENS).data, model.hidden(TOKENS).data)
