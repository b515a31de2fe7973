"""BERT and its kin: padding, pairs, classes and sentences, and the same from transformers."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import MODELS, made, open_there, rewrite

import tinyllm as tl
import tinyllm.functional as F
from tinyllm import nn
from tinyllm.errors import UserError
from tinyllm.models import build, family, from_pretrained, names
from tinyllm.models.bert import TASKS
from tinyllm.padding import padded
from tinyllm.tensor import no_grad

ENCODERS = [name for name in names() if family(name).objective == "masked"]
CONFIGS = [name for name, settings in MODELS.items() if settings["model_type"] in ENCODERS]
each = pytest.mark.parametrize("name", CONFIGS)
TOKENS = np.random.default_rng(0).integers(4, 19, (3, 12))
LENGTHS = np.array([12, 5, 1])
REAL = np.arange(12) < LENGTHS[:, None]


def segments_of(model):
    count = max(model.config.segments, 1)
    return np.sort(np.random.default_rng(1).integers(0, count, (3, 12)), axis=1)


@each
@given(row=st.integers(0, 2), fill=st.integers(0, 18))
def test_padding_is_not_seen(name, row, fill):
    model, length = made(name), LENGTHS[row]
    tokens = np.where(REAL, TOKENS, fill)
    with no_grad():
        alone = model.hidden(TOKENS[row, :length]).data[0]
        beside = model.hidden(tokens, seen=nn.Seen(lengths=LENGTHS)).data[row, :length]
        limits = {"starts": np.zeros((3, 12), int), "ends": np.broadcast_to(LENGTHS[:, None], (3, 12))}
        ranges = model.hidden(tokens, seen=nn.Seen(**limits)).data
    np.testing.assert_allclose(beside, alone, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ranges[row, :length], alone, rtol=1e-4, atol=1e-5)


@each
@given(t=st.integers(0, 11), seed=st.integers(0, 5))
def test_every_position_sees_every_token(name, t, seed):
    model, tokens = made(name), np.random.default_rng(seed).integers(4, 19, (1, 12))
    changed = tokens.copy()
    changed[0, t] = (changed[0, t] - 3) % 15 + 4
    with no_grad():
        assert (np.abs(model(tokens).data - model(changed).data).max(axis=-1) > 1e-6).all()


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
                           (both, "cls_token"), ({}, "asks for")):
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
def test_texts_in_one_row_are_as_alone(name):
    model = made(name)
    texts = [[5, 3, 6], [7, 1, 1, 8], TOKENS[2].tolist()]  # 1 and 3 are the padding of some RoBERTas
    edges = np.cumsum([0, *map(len, texts)])
    starts, ends = (np.repeat(x, np.diff(edges))[None] for x in (edges[:-1], edges[1:]))
    with no_grad():
        whole = model.hidden(np.concatenate(texts), seen=nn.Seen(starts=starts, ends=ends)).data[0]
        for text, begin, end in zip(texts, edges, edges[1:], strict=False):
            np.testing.assert_allclose(whole[begin:end], model.hidden(text).data[0], rtol=1e-4, atol=1e-5)


@each
def test_a_task_keeps_the_encoder_and_changes_the_rest(tmp_path, name):
    model = made(name)
    classes = model.for_task("classify", ["good", "bad", "neither"])
    with no_grad():
        assert np.array_equal(classes.hidden(TOKENS).data, model.hidden(TOKENS).data)
        assert classes.classify(TOKENS).shape == (3, 3)
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


@each
def test_a_round_trip_keeps_every_byte(tmp_path, name):
    for task in TASKS:
        made(name, task=task).save_pretrained(tmp_path / "a")
        from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
        for file in ("config.json", "model.safetensors"):
            a, b = (hashlib.sha256((tmp_path / x / file).read_bytes()).hexdigest() for x in "ab")
            assert a == b


def test_old_files_are_read(tmp_path):
    """Those of 2018 call the weights of norms gamma and beta, and hold parts for another objective."""
    model = made("bert")
    model.save_pretrained(tmp_path)
    more = {"bert.pooler.dense.weight": np.ones((32, 32), np.float32),
            "cls.seq_relationship.bias": np.ones(2, np.float32),
            "bert.embeddings.position_ids": np.arange(12)[None]}
    rewrite(tmp_path, lambda state: more | {
        n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): a
        for n, a in state.items()})
    with no_grad():
        assert np.array_equal(from_pretrained(tmp_path)(TOKENS).data, model(TOKENS).data)


def test_files_of_a_bare_encoder_have_no_prefix(tmp_path):
    for name in ENCODERS:
        model = made(name, task="encode")
        model.save_pretrained(tmp_path)
        rewrite(tmp_path, lambda state, name=name: {n.removeprefix(f"{name}."): a for n, a in state.items()})
        with no_grad():
            assert np.array_equal(from_pretrained(tmp_path).hidden(TOKENS).data, model.hidden(TOKENS).data)


@pytest.mark.parametrize("labels", [[], [1], ["a", None]])
def test_labels_are_names(labels):
    with pytest.raises(UserError, match="labels must be a list of names"):
        build(MODELS["bert"] | {"task": "classify", "labels": labels})


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


# The same with transformers.


def given_there(model, **more):
    """Return the inputs of transformers' model: tokens, mask and segments."""
    import torch

    given = {"input_ids": TOKENS, "attention_mask": REAL.astype(np.int64)} | more
    if model.config.segments:
        given["token_type_ids"] = segments_of(model)
    return {name: torch.from_numpy(x) for name, x in given.items()}


@each
def test_hidden_states_losses_and_gradients_are_those_of_transformers(tmp_path, transformers, name):
    model, layers = made(name), []
    model.save_pretrained(tmp_path)
    theirs = open_there(transformers, tmp_path).eval()
    targets = np.where(REAL & (TOKENS % 3 == 0), TOKENS, -100)
    found = theirs(**given_there(model, labels=targets), output_hidden_states=True)
    inputs = {"segments": segments_of(model), "seen": nn.Seen(lengths=LENGTHS)}
    for i in range(2):
        with nn.tap(model, f"encoder.layers.{i}", lambda x, y: layers.extend([x, y])):
            model.hidden(TOKENS, **inputs)
    assert len(found.hidden_states) == 3
    for ours, state in zip((layers[0], layers[1], layers[3]), found.hidden_states, strict=True):
        np.testing.assert_allclose(ours.data[REAL], state.detach().numpy()[REAL], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(model(TOKENS, **inputs).data[REAL], found.logits.detach().numpy()[REAL],
                               rtol=1e-4, atol=1e-4)
    loss = model.loss(TOKENS, targets, **inputs)
    assert abs(loss.item() - found.loss.item()) < 1e-4
    loss.backward()
    found.loss.backward()
    gradients = {n: p.grad.numpy() for n, p in theirs.named_parameters()}
    matrices = {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    for n, p in model.named_parameters():
        theirs_grad = gradients[model.file_name(n)]
        grad = p.grad.T if n in matrices else p.grad
        np.testing.assert_allclose(grad, theirs_grad, rtol=1e-3, atol=1e-4, err_msg=n)


@each
@pytest.mark.parametrize("task", ["classify", "encode"])
def test_classes_and_poolers_are_those_of_transformers(tmp_path, transformers, name, task):
    model = made(name, task=task, labels=["a", "b", "c", "d"] if task == "classify" else None)
    model.save_pretrained(tmp_path)
    theirs = open_there(transformers, tmp_path).eval()
    found = theirs(**given_there(model))
    inputs = {"segments": segments_of(model), "seen": nn.Seen(lengths=LENGTHS)}
    with no_grad():
        if task == "classify":
            assert theirs.config.id2label == dict(enumerate("abcd"))
            ours, there = model.classify(TOKENS, **inputs), found.logits
        else:
            x = model.hidden(TOKENS, **inputs)
            np.testing.assert_allclose(x.data[REAL], found[0].detach().numpy()[REAL], rtol=1e-4, atol=1e-4)
            ours, there = model.pooled(x), found.pooler_output
    np.testing.assert_allclose(ours.data, there.detach().numpy(), rtol=1e-4, atol=1e-4)
    theirs.save_pretrained(tmp_path / "theirs")
    again = from_pretrained(tmp_path / "theirs")
    assert again.config.task == task and again.config.labels == model.config.labels
    assert np.array_equal(again.hidden(TOKENS).data, model.hidden(TOKENS).data)
    again.save_pretrained(tmp_path / "again")
    read = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in (".", "again")]
    assert hashlib.sha256(read[0]).hexdigest() == hashlib.sha256(read[1]).hexdigest()
