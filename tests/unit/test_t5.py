"""Encoder-decoders: padding, the cache of both texts, losses, gradients."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_gpt import check_slopes, shaken, softmax
from tiny_models import rewrite

import tinyllm as tl
from tinyllm import nn, ops
from tinyllm.data.corruption import span_corruption
from tinyllm.errors import UserError
from tinyllm.models import build, from_pretrained
from tinyllm.nn import Seen
from tinyllm.ops.registry import _compiled
from tinyllm.tensor import no_grad

V, CONTEXT = 11, 9
SIZES = {"vocab_size": V, "context": CONTEXT, "layers": 2, "heads": 3, "width": 16, "head_width": 6,
         "hidden": 20, "buckets": 6, "max_distance": 5}
KINDS = {
    "t5": {"model_type": "t5"},
    "t5 1.1": {"model_type": "t5", "mlp": "gated-gelu", "tied": False, "scaled": False},
    "mt5": {"model_type": "mt5", "decoder_layers": 3, "eps": 1e-3, "start": 4},
    "shallow": {"model_type": "t5", "decoder_layers": 1, "tied": False, "buckets": 9, "max_distance": 7},
}
each = pytest.mark.parametrize("kind", KINDS)


def lively(kind, seed=0, dtype=np.float32, **changes):
    """A small model whose weights are large enough for every part of it to matter."""
    return shaken(build(SIZES | KINDS[kind] | changes, seed=None), 0.3, seed, dtype).eval()


def texts(seed, *shape):
    return np.random.default_rng(seed).integers(0, V, shape)


def test_heads_tell_distances_apart_from_the_start():
    """With first numbers of C^-0.5, AdamW needed a thousand steps until words had an order."""
    model = build(SIZES | KINDS["t5"] | {"width": 512, "buckets": 32, "max_distance": 128})
    for stack in (model.encoder, model.decoder):
        table = stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight.data
        assert 0.8 < table.std() < 1.2


@each
@given(seed=st.integers(0, 9), padding=st.integers(0, V - 1))
def test_padding_and_other_rows_change_nothing(kind, seed, padding):
    model, tokens, written = lively(kind, seed), texts(seed, 3, 7), texts(seed + 1, 3, 5)
    lengths = np.array([7, 4, 1])
    other, seen = np.where(np.arange(7) < lengths[:, None], tokens, padding), Seen(lengths=lengths)
    with no_grad():
        y = model(tokens, written, seen).data
        assert np.array_equal(model(other, written, seen).data, y)
        for row, n in enumerate(lengths):
            alone = model(tokens[row, :n], written[row]).data[0]
            np.testing.assert_allclose(alone, y[row], rtol=1e-4, atol=1e-4)
            assert not _compiled or np.array_equal(alone, y[row])


@each
@given(pieces=st.lists(st.integers(1, 3), min_size=1, max_size=3), seed=st.integers(0, 9))
def test_a_cache_that_has_read_the_text_gives_the_same_logits_in_pieces(kind, pieces, seed):
    """Also when its rows have written different numbers of tokens before."""
    model, tokens, written = lively(kind, seed), texts(seed, 3, 6), texts(seed + 1, 3, sum(pieces))
    lengths, parts, start = np.array([6, 2, 5]), [], 0
    with no_grad():
        whole = model(tokens, written, Seen(lengths=lengths)).data
        cache = model.read([row[:n] for row, n in zip(tokens, lengths, strict=True)])
        for layer in cache:
            layer.reserve(3, sum(pieces))
        for n in pieces:
            parts.append(model.head(model.hidden(written[:, start : start + n], cache)).data)
            start += n
        np.testing.assert_allclose(np.concatenate(parts, 1), whole, rtol=1e-4, atol=1e-4)
        for layer in cache:
            layer.lengths[:] = [0, 0, start - 1]
        last = written[[0, 1, 2], [0, 0, start - 1]][:, None]
        y = model.head(model.hidden(last, cache)).data[:, 0]
    np.testing.assert_allclose(y, whole[[0, 1, 2], [0, 0, start - 1]], rtol=1e-4, atol=1e-4)


@each
def test_no_position_sees_a_later_token_that_is_written_but_every_one_that_is_read(kind):
    model, tokens, written = lively(kind), texts(0, 1, 6), texts(1, 1, 6)
    with no_grad():
        before = model(tokens, written).data[0]
        later, end = written.copy(), tokens.copy()
        later[0, 4], end[0, 5] = (later[0, 4] + 1) % V, (end[0, 5] + 1) % V
        after, other = model(tokens, later).data[0], model(end, written).data[0]
    assert np.array_equal(before[:4], after[:4]) and not np.allclose(before[4], after[4])
    assert all(not np.allclose(a, b) for a, b in zip(before, other, strict=True))


@each
def test_the_loss_is_that_of_the_targets_after_the_start_token(kind):
    model, tokens, targets = lively(kind), texts(0, 2, 6), texts(1, 2, 5)
    targets[1, 3:] = -100
    written = np.insert(np.where(targets < 0, model.config.start, targets), 0, model.config.start, 1)[:, :-1]
    seen = Seen(lengths=np.array([6, 3]))
    p = softmax(model(tokens, written, seen).data.astype(np.float64))
    nats = -np.log(np.take_along_axis(p, targets.clip(0)[..., None], -1)[..., 0]) * (targets >= 0)
    loss = model.loss(tokens, targets, seen=seen)
    assert np.isclose(loss.item(), nats.sum() / 8, rtol=1e-4)
    found = model.token_losses(tokens, targets, seen=seen).data
    np.testing.assert_allclose(found, nats, rtol=1e-3, atol=1e-4)
    weights = np.random.default_rng(0).random(targets.shape)
    mean = (nats * weights).sum() / weights[targets >= 0].sum()
    assert np.isclose(model.loss(tokens, targets, weights, seen=seen).item(), mean, rtol=1e-4)


@each
def test_the_gradient_is_the_slope_of_the_loss(kind):
    model, tokens, targets = lively(kind, 1, np.float64), texts(0, 3, 6), texts(1, 3, 5)
    with ops.use("numpy"):
        seen = Seen(lengths=np.array([6, 2, 4]))
        check_slopes(lambda: model.loss(tokens, targets, seen=seen), model.named_parameters())


def test_new_weights_keep_the_published_deviations_and_dropout_acts_only_in_training():
    model = build(SIZES | {"width": 64, "head_width": 24, "hidden": 128, "vocab_size": 99} | KINDS["t5 1.1"])
    for end, n in {"shared": 1, ".q": 64 * 24, ".k": 64, ".o": 3 * 24, ".wo": 128, ".wi_1": 64}.items():
        found = [p.data.std() for name, p in model.named_parameters() if name.endswith(f"{end}.weight")]
        np.testing.assert_allclose(found, n**-0.5, rtol=0.1)
    model = lively("t5", dropout=0.3)
    tokens = texts(0, 1, 5)
    assert np.array_equal(model(tokens, tokens).data, model(tokens, tokens).data)
    model.train().dropout_stream(0)
    assert not np.allclose(model(tokens, tokens).data, model(tokens, tokens).data)


def test_recomputing_quantizing_and_adapting_work_here_too():
    tokens, targets = texts(0, 2, 6), texts(1, 2, 5)
    plain, saving = lively("t5"), nn.recompute(lively("t5"), large=0)
    for model in (plain, saving):
        model.loss(tokens, targets).backward()
    for p, q in zip(plain.parameters(), saving.parameters(), strict=True):
        np.testing.assert_allclose(p.grad, q.grad, rtol=1e-5, atol=1e-7)
    near = tl.quantize(lively("t5"), 8).loss(tokens, targets).item()
    assert abs(near - plain.loss(tokens, targets).item()) < 0.3
    adapted = nn.adapt(lively("t5"), rank=2, where=[f"EncDecAttention.{part}" for part in "qkvo"])
    adapted.loss(tokens, targets).backward()
    learnt = {name.split(".")[-3] for name, p in adapted.named_parameters() if p.grad is not None}
    assert learnt == set("qkvo")


@pytest.mark.parametrize("tokens, written, message", [
    ([], [1], "at least one token"), ([1], [], "at least one token"), ([V], [1], "token 11 is outside"),
    ([1], [-1], "token -1 is outside"), ([1] * 10, [1], "10 tokens exceed the model's context of 9"),
    ([1], [1] * 10, "10 tokens exceed"),
])
def test_tokens_that_cannot_be_read_are_named(tokens, written, message):
    with pytest.raises(UserError, match=message):
        lively("t5")(tokens, written)


@pytest.mark.parametrize("lengths", [[0], [4], [2, 2], [1.0], 2])
def test_lengths_that_no_row_has_are_refused(lengths):
    with pytest.raises(ValueError, match="lengths must be 1 whole numbers from 1 to 3"):
        lively("t5")([1, 2, 3], [1], Seen(lengths=np.array(lengths)))


GREEDY = tl.Sampling(temperature=0)


def plain_loop(model, prompt, count, sampling=GREEDY, seed=0):
    """Generation as one would explain it: no cache, no batch."""
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


@each
@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("sampling", [GREEDY, tl.Sampling(temperature=0.7)], ids=["greedy", "drawn"])
def test_prompts_of_unequal_lengths_are_answered_together_as_alone(kind, use_cache, sampling):
    model = lively(kind, end=1)
    prompts = [texts(i, n).tolist() for i, n in enumerate((1, 6, 9, 3, 6))]
    prompts.append(prompts[1])
    engine = tl.Engine(model, batch=4, use_cache=use_cache)  # two have to wait
    asked = [engine.add(p, sampling, max_tokens=8, seed=i) for i, p in enumerate(prompts)]
    next(iter(engine))
    begun = {"prompt": [model.config.start], "cache": model.read(prompts[:1])}
    asked.append(engine.add(**begun, sampling=sampling, max_tokens=3, seed=9))  # while others are at work
    list(engine)
    for i, s in enumerate(asked[:-1]):
        assert s.tokens == plain_loop(model, prompts[i], 8, sampling, i)
        assert s.finish == ("stop" if s.tokens[-1] == 1 else "length")
    assert asked[-1].tokens == plain_loop(model, prompts[0], 3, sampling, 9)


def test_a_text_that_is_longer_than_the_context_slides():
    model = lively("t5")
    with_cache, without = (tl.generate(model, [[1, 2, 3], [4]], max_tokens=25, sampling=GREEDY,
                                       use_cache=cached) for cached in (True, False))
    assert with_cache == without and [len(ids) for ids in with_cache] == [25, 25]


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_a_stack_with_an_embedding_of_its_own_is_refused(tmp_path, stack):
    lively("t5").save_pretrained(tmp_path)
    rewrite(tmp_path, lambda state: state | {f"{stack}.embed_tokens.weight": state["shared.weight"] + 1})
    with pytest.raises(UserError, match=rf"{stack}\.embed_tokens\.weight differs from shared\.weight"):
        from_pretrained(tmp_path)


def test_text_ends_with_the_end_token_and_shows_hidden_parts_by_name():
    names = ["<pad>", "</s>", "<extra_id_0>"]
    tokenizer = tl.CharTokenizer.train("abcdefgh", names)
    model = lively("t5", start=8, end=9)
    steps = list(tl.stream(model, "ab<extra_id_0>c", max_tokens=4, sampling=GREEDY, tokenizer=tokenizer))
    found = [step.token for step in steps]
    assert found == tl.generate(model, [0, 1, 10, 2, 9], max_tokens=4, sampling=GREEDY)
    assert "".join(step.text for step in steps) == tokenizer.decode([i for i in found if i != 9])
    with pytest.raises(UserError, match="has 10 tokens and the model's context is 9"):
        tl.generate(model, "abcdefgha", max_tokens=4, tokenizer=tokenizer)


TINY = {"model.type": "t5", "model.context": 32, "model.width": 16, "model.heads": 2, "model.head_width": 8,
        "model.hidden": 16, "model.layers": 1, "train.steps": 3, "train.batch": 4}


def trained(tmp_path, text, **changes):
    """A T5 that was trained for three steps on a text -> its setup, and the events."""
    (tmp_path / "text").write_text(text)
    setup = tl.prepare(tl.make_config({"data": str(tmp_path / "text")} | TINY | changes))
    return setup, list(setup.train())


def test_a_text_is_learnt_by_its_hidden_spans(tmp_path):
    setup, events = trained(tmp_path, "to be or not to be, that is the question. " * 40)
    ids = setup.tokenizer.special_tokens
    assert setup.model.config.start == ids["<pad>"] and setup.model.config.end == ids["</s>"]
    batch = setup.plan.batches(0)
    assert batch.tokens.max() == ids["<extra_id_0>"] == len(setup.tokenizer._tokens) - 1
    assert (batch.tokens[:, -1] == ids["</s>"]).all() and (batch.targets[:, 0] == ids["<extra_id_0>"]).all()
    read, written = setup.sample(setup.model).split("\n\n", 1)
    assert "<extra_id_0>" in read and "<extra_id_2>" not in read and written
    losses = [event.val_loss for event in events if hasattr(event, "val_loss")]
    assert losses[-1] < losses[0]
    with pytest.raises(UserError, match="hide less"):
        trained(tmp_path, "to be or not to be. " * 40, **{"spans.hidden": 0.8})


def test_a_run_with_more_than_256_tokens_can_be_read_again(tmp_path):
    setup, _ = trained(tmp_path, "to be or not to be, that is the question. " * 40, tokenizer="bpe:270")
    assert setup.config.model.start > 256 and tl.make_config(setup.config.flat()) == setup.config


def test_pairs_are_learnt_by_reading_one_and_writing_the_other(tmp_path):
    setup, events = trained(tmp_path, "abc\tcba\nbd\tdb\n" * 10, recipe="sft")
    batch, end = setup.plan.batches(0), setup.model.config.end
    decode, each = setup.tokenizer.decode, zip(batch.tokens, batch.targets, batch.lengths, strict=True)
    texts = {(decode(read[:n]), decode(written[written >= 0])) for read, written, n in each}
    assert texts <= {("abc\n</s>", "cba\n</s>"), ("bd\n</s>", "db\n</s>")}
    assert end == batch.targets.max()
    losses = [event.val_loss for event in events if hasattr(event, "val_loss")]
    assert losses[-1] < losses[0]
    with pytest.raises(UserError, match="a t5 reads one prompt at a time"):
        trained(tmp_path, "abc\tcba\n" * 20, recipe="sft", **{"sft.packed": True})


def test_transformers_agrees_on_states_losses_gradients_and_answers(tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    for kind in KINDS:
        ours = lively(kind, end=1)
        ours.save_pretrained(tmp_path / "ours")
        theirs = getattr(transformers, ours.architecture).from_pretrained(tmp_path / "ours")
        tokens, lengths = texts(0, 3, 8), np.array([8, 5, 3])
        mask, states = torch.tensor((np.arange(8) < lengths[:, None]).astype(int)), []
        found = theirs.encoder(torch.tensor(tokens), attention_mask=mask, output_hidden_states=True)
        with contextlib.ExitStack() as stack:
            for i in range(ours.config.layers - 1):
                keep = states.append
                stack.enter_context(nn.tap(ours, f"encoder.block.{i}", lambda x, y, keep=keep: keep(y.data)))
            states.append(ours.encode(tokens, Seen(lengths=lengths)).data)
        for mine, other in zip(states, found.hidden_states[1:], strict=True):
            for row, n in enumerate(lengths):
                np.testing.assert_allclose(mine[row, :n], other[row, :n].detach(), rtol=1e-4, atol=1e-4)

        batch = span_corruption(texts(1, 4, 8), [10, 9, 8], kind, end=[1])
        loss = ours.loss(batch.tokens, batch.targets)
        loss.backward()
        read, written = (torch.tensor(x.astype(int)) for x in (batch.tokens, batch.targets))
        other = theirs(read, labels=written).loss
        other.backward()
        assert abs(loss.item() - other.item()) < 1e-4
        grads = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
        linear = {f"{name}.weight" for name, m in ours.named_modules() if isinstance(m, nn.Linear)}
        for name, p in ours.named_parameters():
            grad = grads[name].T if name in linear else grads[name]
            np.testing.assert_allclose(p.grad, grad, rtol=1e-3, atol=1e-4, err_msg=name)

        for prompt in (tokens[0].tolist(), tokens[2, :3].tolist()):
            options = {"max_new_tokens": 7, "do_sample": False, "eos_token_id": 1}
            options["use_cache"] = kind != "mt5"  # its cache has no place for more layers than the encoder's
            answer = theirs.generate(torch.tensor([prompt]), **options)
            assert tl.generate(ours, [prompt], max_tokens=7, sampling=GREEDY)[0] == answer[0, 1:].tolist()
