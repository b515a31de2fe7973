"""Check traces: every number equals one computed by hand, and tracing changes nothing."""

import re

import numpy as np
import pytest
from tiny_gpt import by_hand, tiny_gpt

from tinyllm import ops
from tinyllm.errors import UserError
from tinyllm.models import build, family
from tinyllm.models.llama import Llama, LlamaConfig
from tinyllm.nn import inference, quantize
from tinyllm.nn.module import forward_flops
from tinyllm.ops.registry import OPS, override, use
from tinyllm.report.trace import capture, compare, describe_differences, examine, observe, take_text
from tinyllm.report.trace.compare import first_difference
from tinyllm.report.trace.examine import describe_head
from tinyllm.tokenizer import ByteTokenizer, CharTokenizer

TEXT = "the cat sat on a mat."
CHARS = CharTokenizer.train(TEXT)
IDS = CHARS.encode(TEXT)


@pytest.fixture(scope="module")
def model():
    return tiny_gpt(CHARS.vocab_size)


@pytest.fixture(scope="module")
def trace(model):
    return examine(model, CHARS, IDS)


def test_every_number_is_that_of_a_model_in_plain_numpy(model, trace):
    truth, rows = by_hand(model, IDS), np.arange(len(IDS) - 1)
    p = truth["p"][-1]
    assert np.isnan(trace.surprisal[0])
    np.testing.assert_allclose(trace.predicted, -np.log(p[rows, IDS[1:]]), rtol=1e-3, atol=1e-5)
    assert trace.predicted.std() > 0.5  # a model that is sure of some and wrong about others
    for t, candidates in enumerate(trace.candidates):
        best = np.argsort(-p[t])[:5]
        assert [i for i, _ in candidates] == best.tolist()
        np.testing.assert_allclose([p for _, p in candidates], p[t][best], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(trace.attention, truth["attention"], rtol=1e-3, atol=1e-5)
    assert np.ptp(np.array(trace.attention)[:, :, -1]) > 0.2
    assert [lens.name for lens in trace.lens] == ["embedding", "h.0", "h.1"]
    for lens, p in zip(trace.lens, truth["p"], strict=True):
        np.testing.assert_allclose(lens.nats, -np.log(p[rows, IDS[1:]]), rtol=1e-3, atol=1e-4)
        assert np.array_equal(lens.ids, p.argmax(axis=-1))
        np.testing.assert_allclose(lens.p, p.max(axis=-1), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("bits", [None, 8, 4])
def test_recording_changes_nothing_and_leaves_nothing_behind(bits):
    model = tiny_gpt(CHARS.vocab_size, width=32)
    model = quantize(model, bits) if bits else model
    before = {name: o._run for name, o in OPS.items()}
    hooks = [part.hooks for _, part in model.named_modules()]
    with inference(model):
        plain = model(np.array([IDS])).data[0]
    trace = examine(model, CHARS, IDS)
    assert np.array_equal(observe(model, IDS).steps[-1].outputs[0][0], plain)
    assert np.array_equal(trace.lens[-1].nats, trace.predicted)  # the last lens is the model, bit for bit
    with pytest.raises(UserError), capture(model):
        model(np.array([[999]]))
    assert all(OPS[name]._run is run for name, run in before.items())
    assert hooks == [part.hooks for _, part in model.named_modules()]


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


def test_flops_of_the_ops_are_those_of_the_modules(model, trace):
    T, C, V = len(IDS), 16, CHARS.vocab_size
    products = sum(step.flops for step in trace.ops if callable(OPS[step.op].flops))
    assert products == forward_flops(model, T) == ops.count_flops(V, T, 2, C)
    adds = [step for step in trace.ops if step.op == "add"]
    assert len(adds) == 5 and {step.flops for step in adds} == {T * C}
    first = next(step for step in trace.ops if step.op == "linear")
    assert (first.path, first.flops) == ("h.0.attn.c_attn", 2 * T * C * 48)


@pytest.mark.parametrize("length", [1, 21, 200])
def test_the_work_of_a_token_is_what_it_adds_to_a_growing_text(length):
    model = tiny_gpt(256, context=200)
    trace = examine(model, ByteTokenizer(), list(range(length)))
    lengths = [n for n, *_ in trace.work]
    assert (lengths[0], lengths[-1], len(lengths)) == (1, length, min(length, 48))
    assert lengths == sorted(set(lengths)) and trace.cache_bytes == 2 * 2 * 16 * 4
    for n, with_cache, without in trace.work:
        assert (with_cache, without) == (without - forward_flops(model, n - 1), forward_flops(model, n))


def test_what_a_head_looks_at_is_said_in_words():
    even = np.tril(np.ones((4, 4))) / np.arange(1, 5)[:, None]  # 0, 1/2, 1 and 3/2 tokens back
    assert describe_head(even) == ("0.8 tokens back on average", "first 52%, previous 36%, self 52%")
    assert describe_head(np.eye(1))[1] == "first 100%, previous 0%, self 100%"


def test_llama_is_seen_as_well():
    config = LlamaConfig(vocab_size=256, context=16, layers=3, heads=4, kv_heads=2, width=16, hidden=24)
    model = Llama(config)
    trace = examine(model, ByteTokenizer(), list(b"hello"))
    assert np.shape(trace.attention) == (3, 4, 5, 5)
    assert np.array_equal(trace.lens[-1].nats, trace.predicted)
    assert trace.cache_bytes == 3 * 2 * 2 * 4 * 4
    assert sum(s.flops for s in trace.ops if callable(OPS[s.op].flops)) == forward_flops(model, 5)


def test_a_text_is_read_written_on_and_cut_at_the_context(model):
    ids, given = take_text(model, CHARS, "the", tokens=5)
    assert ids[:3] == CHARS.encode("the") and given == 3 and len(ids) == 8
    assert len(take_text(model, CHARS, "the", tokens=500)[0]) == model.config.context
    for prompt, tokens, why in (("the cat" * 20, 0, "context"), ("the", -1, "at least 0")):
        with pytest.raises(UserError, match=why):
            take_text(model, CHARS, prompt, tokens=tokens)
    for name in ("t5", "bert"):  # a T5 ended in a traceback
        other = build({"model_type": name, "vocab_size": 9} | family(name).PRESETS["nano"])
        with pytest.raises(UserError, match="a trace shows a decoder"):
            take_text(other, CHARS, "the")
    assert examine(model, CHARS, ids[:1]).predicted.size == 0
    broken = tiny_gpt(CHARS.vocab_size)
    broken.ln_f.weight.data[0] = np.nan
    with pytest.raises(UserError, match="not finite"):
        examine(broken, CHARS, [0, 1])


# Comparing.


def planted(name, error):
    """An op that is right but for a small factor."""
    spec = OPS[name].reference

    def wrong(*args):
        result = spec(*args)
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
            yours = observe(model, IDS)
    found = first_difference(compare(ours, yours))
    assert (found.op_a, found.op_b, found.path) == (op, op, where)
    assert found.share == pytest.approx(1e-3, rel=0.1)
    a, b, apart = map(float, re.match(r"(\S+) in A, (\S+) in B .* apart by (\S+), ", found.amount).groups())
    assert b == pytest.approx(a * 1.001, rel=1e-4) and apart == pytest.approx(abs(a - b), rel=0.02)


def test_rounding_is_no_difference_and_neither_is_nothing(model):
    with use("numpy"):
        ours = observe(model, IDS)
        assert describe_differences(ours, observe(model, IDS)).startswith("no difference: all 27 ops")
        with override(gelu_tanh=planted("gelu_tanh", 3e-7)):
            said = describe_differences(ours, observe(model, IDS))
            assert "no difference beyond rounding" in said and "largest: layer" in said
        with override(embedding=planted("embedding", 3e-7), gelu_tanh=planted("gelu_tanh", 1e-3)):
            said = describe_differences(ours, observe(model, IDS))
    assert said.startswith("first difference:\n  layer 0, h.0.mlp: gelu_tanh\n")
    assert "before it only rounding, first in wte: embedding" in " ".join(said.split())
    assert max(map(len, said.split("\n"))) <= 80


def test_what_is_not_finite_or_has_another_shape_is_a_difference(model):
    with use("numpy"):
        ours = observe(model, IDS)
        with override(softmax=lambda x: np.full_like(x, np.nan)), np.errstate(all="ignore"):
            found = first_difference(compare(ours, observe(model, IDS)))
        assert (found.op_b, found.path, found.share) == ("softmax", "h.0.attn", np.inf)
    whole, shorter = observe(model, IDS), observe(model, IDS[:4])
    assert "shapes" in first_difference(compare(whole, shorter)).amount


@pytest.mark.parametrize("bits", [8, 4])
def test_quantised_weights_first_differ_in_the_first_product(bits):
    models = [tiny_gpt(CHARS.vocab_size, width=32) for _ in range(2)]
    quantize(models[1], bits)
    found = first_difference(compare(*(observe(model, IDS) for model in models)))
    assert (found.path, found.op_a, found.op_b) == ("h.0.attn.c_attn", "linear", f"linear_int{bits}")
