"""Check traces: every number equals one computed by hand, and tracing changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_gpt import by_hand, tiny_gpt

from tinyllm import ops
from tinyllm.errors import UserError
from tinyllm.models.llama import Llama, LlamaConfig
from tinyllm.nn import inference, quantize
from tinyllm.nn.module import forward_flops
from tinyllm.ops.registry import OPS, override, use
from tinyllm.report.trace import capture, compare, examine, take_text
from tinyllm.report.trace.compare import compare_captures, first_difference
from tinyllm.report.trace.examine import head_facts, products
from tinyllm.tokenizer import ByteTokenizer, CharTokenizer

TEXT = "the cat sat on a mat."
CHARS = CharTokenizer.train(TEXT)


@pytest.fixture(scope="module")
def model():
    return tiny_gpt(CHARS.vocab_size)


@pytest.fixture(scope="module")
def trace(model):
    return examine(model, CHARS, CHARS.encode(TEXT))


@pytest.fixture(scope="module")
def truth(model):
    return by_hand(model, CHARS.encode(TEXT))


def observe(model, ids):
    with inference(model), capture(model) as root:
        model(np.array([ids]))
    return root


def test_surprisal_and_alternatives_are_those_of_the_softmax(trace, truth):
    p, ids = truth["p"][-1], np.array(trace.ids)
    assert np.isnan(trace.surprisal[0])
    nats = -np.log(p[np.arange(len(ids) - 1), ids[1:]])
    np.testing.assert_allclose(trace.predicted, nats, rtol=1e-3, atol=1e-5)
    assert trace.predicted.std() > 0.5  # a model that is sure of some and wrong about others
    for t, candidates in enumerate(trace.candidates):
        best = np.argsort(-p[t])[:5]
        assert [i for i, _ in candidates] == best.tolist()
        np.testing.assert_allclose([p for _, p in candidates], p[t][best], rtol=1e-3, atol=1e-6)


def test_attention_maps_are_the_weights_of_every_head(trace, truth):
    assert np.shape(trace.attention) == (2, 2, len(TEXT), len(TEXT))
    np.testing.assert_allclose(trace.attention, truth["attention"], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(np.sum(trace.attention, axis=-1), 1, atol=1e-5)
    assert not np.triu(np.array(trace.attention), 1).any()
    assert np.ptp(np.array(trace.attention)[:, :, -1]) > 0.2


def test_the_stream_and_what_is_added_have_the_right_length(trace, truth):
    np.testing.assert_allclose(trace.residual, np.linalg.norm(truth["stream"], axis=-1), rtol=1e-4)
    for part in ("attention", "mlp"):
        wanted = np.linalg.norm(truth[f"{part} adds"], axis=-1)
        np.testing.assert_allclose(trace.added[part], wanted, rtol=1e-3)


def test_the_lens_is_what_the_model_would_say_at_each_layer(trace, truth, model):
    ids = np.array(trace.ids)
    assert [lens.name for lens in trace.lens] == ["embedding", "h.0", "h.1"]
    for lens, p in zip(trace.lens, truth["p"], strict=True):
        nats = -np.log(p[np.arange(len(ids) - 1), ids[1:]])
        np.testing.assert_allclose(lens.nats, nats, rtol=1e-3, atol=1e-4)
        assert np.array_equal(lens.ids, p.argmax(axis=-1))
        np.testing.assert_allclose(lens.p, p.max(axis=-1), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("bits", [None, 8, 4])
def test_the_lens_of_the_last_layer_is_the_model_itself_bit_for_bit(bits):
    model = tiny_gpt(CHARS.vocab_size, width=32)
    if bits:
        quantize(model, bits)
    trace = examine(model, CHARS, CHARS.encode(TEXT))
    assert np.array_equal(trace.lens[-1].nats, trace.predicted)
    assert len(trace.lens) == 3 and len(trace.attention) == 2


def test_flops_of_the_ops_are_those_of_the_modules(model, trace):
    root = observe(model, trace.ids)
    T, C, V = len(trace.ids), 16, CHARS.vocab_size
    assert products(root) == forward_flops(model, T) == ops.count_flops(V, T, 2, C)
    adds = [step for step in trace.ops if step.op == "add"]
    assert len(adds) == 5 and {step.flops for step in adds} == {T * C}
    first = next(step for step in trace.ops if step.op == "linear")
    assert first.path == "h.0.attn.c_attn"
    assert (first.shapes, first.shape) == (((1, T, C), (C, 48), (48,)), (1, T, 48))
    assert first.flops == 2 * T * C * 48
    assert root.flops == sum(step.flops for step in root.ops()) == sum(step.flops for step in trace.ops)


def test_the_cache_grows_by_the_keys_and_values_of_a_token(model, trace):
    each = 2 * 2 * 16 * 4  # keys and values, layers, width, bytes of a float
    assert [g.length for g in trace.growth] == list(range(1, len(TEXT) + 1))
    assert [g.bytes for g in trace.growth] == [each * g.length for g in trace.growth]
    assert trace.capacity == each * model.config.context
    for g in trace.growth:
        assert g.flops == forward_flops(model, g.length) - forward_flops(model, g.length - 1)
        assert g.flops_without == forward_flops(model, g.length)
    assert trace.cache_difference < 1e-4
    if {step.backend for step in trace.ops} == {"compiled"}:  # a promise of the kernels
        assert trace.cache_difference == 0


def test_a_long_text_is_watched_from_its_beginning_to_its_end():
    model = tiny_gpt(256, context=200)
    trace = examine(model, ByteTokenizer(), list(range(200)))
    lengths = [g.length for g in trace.growth]
    assert (lengths[0], lengths[-1], len(lengths)) == (1, 200, 48) and lengths == sorted(set(lengths))
    assert trace.growth[-1].flops == forward_flops(model, 200) - forward_flops(model, 199)
    assert trace.cache_difference < 1e-3


def test_head_facts():
    even = np.tril(np.ones((4, 4))) / np.arange(1, 5)[:, None]
    facts = head_facts(even)
    assert facts.back == pytest.approx((0 + 1 / 2 + 3 / 3 + 6 / 4) / 4)
    assert facts.first == facts.itself == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert facts.previous == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 3)
    assert head_facts(np.eye(1)).previous == 0


@pytest.mark.parametrize("bits", [None, 8])
def test_recording_changes_nothing_and_leaves_nothing_behind(bits):
    model, ids = tiny_gpt(CHARS.vocab_size, width=32), np.array([CHARS.encode(TEXT)])
    model = quantize(model, bits) if bits else model
    before = {name: o._run for name, o in OPS.items()}
    hooks = [part.hooks for _, part in model.named_modules()]
    with inference(model):
        plain = model(ids).data
        with capture(model) as root:
            recorded = model(ids).data
    assert np.array_equal(plain, recorded) and root.steps
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
    attention = next(step for step in root.steps[-1].walk() if step.op == "attention")
    assert [step.op for step in attention.steps][:2] == ["matmul", "softmax"]
    assert {step.backend for step in root.steps[-1].walk() if step.op} == {"numpy"}


def test_llama_is_seen_as_well():
    config = LlamaConfig(vocab_size=256, context=16, layers=3, heads=4, kv_heads=2, width=16, hidden=24)
    model = Llama(config)
    trace = examine(model, ByteTokenizer(), list(b"hello"))
    assert np.shape(trace.attention) == (3, 4, 5, 5) and trace.residual.shape == (4, 5)
    assert np.array_equal(trace.lens[-1].nats, trace.predicted)
    assert trace.growth[-1].bytes == 5 * 3 * 2 * 2 * 4 * 4
    products = ("linear", "matmul", "attention")
    assert sum(s.flops for s in trace.ops if s.op in products) == forward_flops(model, 5)


def test_a_text_is_read_written_on_and_cut_at_the_context(model):
    ids, given = take_text(model, CHARS, "the", tokens=5)
    assert ids[:3] == CHARS.encode("the") and given == 3 and len(ids) == 8
    ids, _ = take_text(model, CHARS, "the", tokens=500)
    assert len(ids) == model.config.context
    with pytest.raises(UserError, match="context"):
        take_text(model, CHARS, "the cat" * 20)
    with pytest.raises(UserError, match="at least 0"):
        take_text(model, CHARS, "the", tokens=-1)
    one = examine(model, CHARS, ids[:1])
    assert one.predicted.size == 0 and len(one.growth) == 1


def test_broken_weights_are_an_error():
    model = tiny_gpt(CHARS.vocab_size)
    model.ln_f.weight.data[0] = np.nan
    with pytest.raises(UserError, match="not finite"):
        examine(model, CHARS, [0, 1])


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
def test_a_planted_error_is_named_where_it_first_shows(model, trace, op, where):
    with use("numpy"):
        ours = observe(model, trace.ids)
        with override(**{op: planted(op, 1e-3)}):
            yours = observe(model, trace.ids)
    found = first_difference(compare(ours, yours))
    assert (found.op_a, found.op_b, found.path) == (op, op, where)
    assert found.share == pytest.approx(1e-3, rel=0.1)
    assert found.b == pytest.approx(found.a * 1.001, rel=1e-5)
    assert found.largest == pytest.approx(abs(found.a - found.b))


def test_rounding_is_no_difference_and_neither_is_nothing(model, trace):
    with use("numpy"):
        ours = observe(model, trace.ids)
        assert compare(ours, observe(model, trace.ids)) == []
        with override(gelu_tanh=planted("gelu_tanh", 3e-7)):
            differences = compare(ours, observe(model, trace.ids))
    assert differences and first_difference(differences) is None
    assert differences[0].op_a == "gelu_tanh"


def test_what_is_not_finite_or_has_another_shape_is_a_difference(model, trace):
    with use("numpy"):
        ours = observe(model, trace.ids)

        def broken(x):
            return np.full_like(x, np.nan)

        with override(softmax=broken), np.errstate(all="ignore"):
            found = first_difference(compare(ours, observe(model, trace.ids)))
        assert (found.op_b, found.path, found.largest) == ("softmax", "h.0.attn", np.inf)
    shorter = observe(model, trace.ids[:4])
    assert "shapes" in first_difference(compare(observe(model, trace.ids), shorter)).note
    whole = replace(shorter.steps[0], steps=[])
    assert "0 results" in first_difference(compare(whole, replace(whole, outputs=()))).note


@pytest.mark.parametrize("bits", [8, 4])
def test_quantised_weights_first_differ_in_the_first_product(bits):
    model, small = (tiny_gpt(CHARS.vocab_size, width=32) for _ in range(2))
    quantize(small, bits)
    ids = CHARS.encode(TEXT)
    result = compare_captures(observe(model, ids), observe(small, ids), ids, "A", "B")
    found = first_difference(result.differences)
    assert (found.path, found.op_a, found.op_b) == ("h.0.attn.c_attn", "linear", f"linear_int{bits}")
    assert [layer.path for layer in result.layers] == ["wte", "wpe", "h.0", "h.1", "ln_f", "lm_head"]
    assert result.layers[1].difference == 0 < result.layers[2].share < result.layers[-1].share
    x, y = (m(np.array([ids])).data[0] for m in (model, small))
    assert result.agree == (x.argmax(-1) == y.argmax(-1)).sum()
    assert result.layers[-1].difference == pytest.approx(np.sqrt(np.mean((x - y) ** 2)), rel=1e-5)
    nats = [examine(m, CHARS, ids).predicted.mean() for m in (model, small)]
    assert result.nats == pytest.approx(nats, rel=1e-4)
