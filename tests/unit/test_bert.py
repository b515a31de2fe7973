"""Check BERT: vectors of sentences, pairs of texts, classes, and sentence-transformers' files."""

import json

import numpy as np
import pytest
from helpers import refuses
from hypothesis import given, strategies as st
from test_family_folders import given_there
from tiny_models import MODELS, V, made, open_there, reads

import tinyllm as tl

each = pytest.mark.parametrize("name", [name for name in MODELS if "bert" in name])
TOKENS = np.random.default_rng(0).integers(4, V, (3, 12))
IDS = st.lists(st.integers(5, 9), max_size=20)


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
        refuses(message, tl.from_pretrained, tmp_path)
    else:
        assert tl.from_pretrained(tmp_path)


@each
def test_a_task_keeps_the_encoder_and_changes_the_rest(tmp_path, name):
    model = made(name)
    classes = model.for_task("classify", ["good", "bad", "neither"])
    x, (w, b, v, c) = classes.hidden(TOKENS).data, [
        p.data for layer in (classes.pooler, classes.classifier) for p in (layer.weight, layer.bias)]
    assert np.array_equal(x, model.hidden(TOKENS).data)
    expected = np.tanh(x[:, 0] @ w + b) @ v + c
    np.testing.assert_allclose(classes.classify(TOKENS).data, expected, rtol=1e-4, atol=1e-5)
    classes.save_pretrained(tmp_path)
    loaded = tl.from_pretrained(tmp_path)
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
    reading = reads(model)
    tokens, segments = reading.tokens, reading.more["segments"]
    assert not np.allclose(model(tokens, segments).data, model(tokens).data)
    for wrong in (segments + model.config.segments, segments - 1 - segments.max(), segments[:, 1:]):
        refuses("segments must have the shape", model, tokens, wrong)
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
    model = made(name, task=task, labels=["a", "b", "c", "d"] if task == "classify" else None)
    model.save_pretrained(tmp_path)
    theirs = open_there(transformers, tmp_path).eval()
    reading = reads(model)
    found, (_, real) = theirs(**given_there(reading, model)), reading.out
    if task == "classify":
        assert theirs.config.id2label == dict(enumerate("abcd"))
        ours, there = reading.of(model.classify).data, found.logits
    else:
        ours, there = reading.of(model.hidden).data[real], found.last_hidden_state[real]
    np.testing.assert_allclose(ours, there.detach().numpy(), rtol=1e-4, atol=1e-4)
    theirs.save_pretrained(tmp_path / "theirs")
    again = tl.from_pretrained(tmp_path / "theirs")
    assert again.config.task == task and again.config.labels == model.config.labels
    assert np.array_equal(again.hidden(TOKENS).data, model.hidden(TOKENS).data)
