"""Check traces: their numbers equal those of a plain computation, and tracing changes nothing."""

import re

import numpy as np
import pytest
from helpers import refuses
from tiny_gpt import by_hand, tiny_gpt

from tinyllm.errors import UserError
from tinyllm.models.llama import Llama, LlamaConfig
from tinyllm.nn import inference, quantize
from tinyllm.nn.module import forward_flops
from tinyllm.ops.registry import OPS, override, use
from tinyllm.report.trace import capture, compare, describe_differences, examine, observe, take_text
from tinyllm.report.trace.compare import first_difference
from tinyllm.tokenizer import ByteTokenizer, CharTokenizer

TEXT = "the cat sat on a mat."
CHARS = CharTokenizer.train(TEXT)
IDS = CHARS.encode(TEXT)


@pytest.fixture(scope="module")
def model():
    return tiny_gpt(CHARS.vocab_size)


def test_every_number_is_that_of_a_model_in_plain_numpy(model):
    trace = examine(model, CHARS, IDS)
    (attention, by_layer), rows = by_hand(model, IDS), np.arange(len(IDS) - 1)
    p = by_layer[-1]
    np.testing.assert_allclose(trace.surprisal, -np.log(p[rows, IDS[1:]]), rtol=1e-3, atol=1e-5)
    assert trace.surprisal.std() > 0.5  # the loss differs from token to token
    for t, candidates in enumerate(trace.candidates):
        best = np.argsort(-p[t])[:5]
        assert [i for i, _ in candidates] == best.tolist()
        np.testing.assert_allclose([p for _, p in candidates], p[t][best], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(trace.attention, attention, rtol=1e-3, atol=1e-5)
    assert np.ptp(np.array(trace.attention)[:, :, -1]) > 0.2
    assert [lens.name for lens in trace.lens] == ["embedding", "h.0", "h.1"]
    for lens, p in zip(trace.lens, by_layer, strict=True):
        np.testing.assert_allclose(lens.nats, -np.log(p[rows, IDS[1:]]), rtol=1e-3, atol=1e-4)
        assert np.array_equal(lens.ids, p.argmax(axis=-1))
        np.testing.assert_allclose(lens.p, p.max(axis=-1), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("bits", [None, 8, 4])
def test_recording_changes_nothing_and_leaves_nothing_behind(bits):
    model = tiny_gpt(CHARS.vocab_size, width=32)
    model = quantize(model, bits) if bits else model
    before = [o._run for o in OPS.values()], [part.hooks for _, part in model.named_modules()]
    with inference(model):
        plain = model(np.array([IDS])).data[0]
    trace = examine(model, CHARS, IDS)
    assert np.array_equal(observe(model, IDS).steps[-1].outputs[0][0], plain)
    assert np.array_equal(trace.lens[-1].nats, trace.surprisal)  # the last lens has the model's bits
    with pytest.raises(UserError), capture(model):
        model(np.array([[999]]))
    assert before == ([o._run for o in OPS.values()], [part.hooks for _, part in model.named_modules()])


def test_a_recording_goes_on_while_backends_change_and_other_models_are_no_parts_of_it(model):
    other = tiny_gpt(CHARS.vocab_size, seed=4)
    with inference(model), capture(model) as root:
        other(np.array([[0]]))
        with use("numpy"):
            model(np.array([[0, 1]]))
    assert {step.path for step in root.steps if step.op is None} == {""}
    (attention,) = [op for op in root.steps[-1].ops() if (op.op, op.path) == ("attention", "h.0.attn")]
    assert [step.op for step in attention.steps][:2] == ["matmul", "softmax"]
    assert {step.backend for step in [*root.steps[-1].ops(), *attention.steps]} == {"numpy"}


@pytest.mark.parametrize("model", [
    tiny_gpt(256, context=200),
    Llama(LlamaConfig(vocab_size=256, context=200, layers=3, heads=4, kv_heads=2, width=16, hidden=24)),
], ids=["gpt2", "llama"])
@pytest.mark.parametrize("length", [1, 5, 200])
def test_flops_are_those_of_the_modules(model, length):
    trace, C = examine(model, ByteTokenizer(), list(range(length))), model.config
    assert sum(x.flops for x in trace.ops if callable(OPS[x.op].flops)) == forward_flops(model, length)
    adds = [step.flops for step in trace.ops if step.op == "add"]
    assert set(adds) == {length * C.width} and len(adds) >= 2 * C.layers
    assert np.shape(trace.attention) == (C.layers, C.heads, length, length)


def test_a_text_is_read_written_on_and_cut_at_the_context(model):
    ids, given = take_text(model, CHARS, "the", tokens=5)
    assert ids[:3] == CHARS.encode("the") and given == 3 and len(ids) == 8
    assert len(take_text(model, CHARS, "the", tokens=500)[0]) == model.config.context
    for prompt, tokens, why in (("the " * 40, 0, "context"), ("the", -1, "at least 0")):
        refuses(why, take_text, model, CHARS, prompt, tokens=tokens)
    broken = tiny_gpt(CHARS.vocab_size)
    broken.ln_f.weight.data[0] = np.nan
    refuses("not finite", examine, broken, CHARS, [0, 1])


def planted(name, error):
    """Return an op whose first result is wrong by a small factor."""
    def wrong(*args):
        result = OPS[name].reference(*args)
        if isinstance(result, tuple):
            return (result[0] * np.float32(1 + error), *result[1:])
        return result * np.float32(1 + error)

    wrong.__signature__ = OPS[name].__signature__
    return wrong


@pytest.mark.parametrize("op, where", [
    ("layernorm", "h.0.ln_1"), ("attention", "h.0.attn"), ("add", ""), ("softmax", "h.0.attn"),
    ("gelu_tanh", "h.0.mlp"), ("embedding", "wte"), ("linear", "h.0.attn.c_attn"),
])
def test_a_planted_error_is_named_where_it_first_shows(model, op, where):
    with use("numpy"):
        ours = observe(model, IDS)
        with override(**{op: planted(op, 1e-3)}):
            found = first_difference(compare(ours, observe(model, IDS)))
    assert (found.op_a, found.op_b, found.path) == (op, op, where)
    assert found.share == pytest.approx(1e-3, rel=0.1)
    a, b, apart = map(float, re.match(r"(\S+) in A, (\S+) in B .* apart by (\S+), ", found.amount).groups())
    assert b == pytest.approx(a * 1.001, rel=1e-4) and apart == pytest.approx(abs(a - b), rel=0.02)


def test_rounding_is_no_difference_and_neither_is_nothing(model):
    said = []
    with use("numpy"):
        ours = observe(model, IDS)
        for wrong in ({}, {"gelu_tanh": 3e-7}, {"embedding": 3e-7, "gelu_tanh": 1e-3}):
            with override(**{op: planted(op, error) for op, error in wrong.items()}):
                said.append(describe_differences(ours, observe(model, IDS)))
        with override(softmax=lambda x: np.full_like(x, np.nan)), np.errstate(all="ignore"):
            found = first_difference(compare(ours, observe(model, IDS)))
    assert said[0].startswith("no difference: all 27 ops")
    assert "no difference beyond rounding" in said[1]
    assert said[2].startswith("first difference:\n  layer 0, h.0.mlp: gelu_tanh\n")
    assert max(map(len, said[2].split("\n"))) <= 80
    assert (found.op_b, found.path, found.share) == ("softmax", "h.0.attn", np.inf)
    assert "shapes" in first_difference(compare(ours, observe(model, IDS[:4]))).amount
