"""Check traces and their page: numbers equal those of a plain computation, and tracing changes nothing."""

import html
import re

import numpy as np
import pytest
from helpers import refuses
from html_page import EVIL, browse, needs_browser, whole
from tiny_gpt import by_hand, tiny_gpt

from tinyllm import BPETokenizer, ByteTokenizer, CharTokenizer, Llama, LlamaConfig, UserError
from tinyllm.nn import inference, quantize
from tinyllm.nn.module import forward_flops
from tinyllm.ops.registry import OPS, override, use
from tinyllm.report.svg import heat_map
from tinyllm.report.terminal import short
from tinyllm.report.tokens import label
from tinyllm.report.trace import capture, compare, describe_differences, examine, observe, page, take_text
from tinyllm.report.trace.compare import first_difference
from tinyllm.report.trace.page import render

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


# The page shows all data; no text becomes markup, and a browser loads nothing else.

SPELLED = EVIL.replace("\x1b", "␛")  # as the page shows it
HOSTILE = EVIL.encode() + b"\x00\x07\xff\xfe\r\n" + "\u202e{}{0}%s\u2028".encode()
LONGER = "the cat sat on a mat. " * 3
TOKENIZERS = {
    "char": CharTokenizer.train(LONGER),
    "byte": ByteTokenizer(),
    "bpe": BPETokenizer.train(LONGER.encode() * 5, 270),
}


def traced(tokenizer, text, **sizes):
    model = tiny_gpt(tokenizer.vocab_size, **({"context": 128} | sizes))
    ids = tokenizer.encode(text)
    return examine(model, tokenizer, ids, len(ids) // 2)


def facts(trace):
    """Yield every number and word of a trace, in the order in which the page shows them."""
    names, percent = [label(name) for name in trace.names], page._percent
    for t in range(1, len(trace.ids)):
        nats = trace.surprisal[t - 1]
        expected = "".join(f"{names[i]}{percent(p)}" for i, p in trace.candidates[t - 1])
        said = f"{nats:.2f} nats, probability {percent(np.exp(-nats))}"
        yield f"token {t}, {names[trace.ids[t]]}: {said}. Expected: {expected}"
    for lens in trace.lens[1:]:
        yield "".join([lens.name, f"{lens.nats.mean():.2f} nats", *(names[i] for i in lens.ids)])
    for lens, weights in zip(trace.lens[1:], trace.attention, strict=True):
        yield lens.name
        yield from (f"head {h}" for h in range(len(weights)))
    total = sum(step.flops for step in trace.ops)
    for step in trace.ops:
        shapes = " ".join(str(x.shape) for x in step.inputs if isinstance(x, np.ndarray))
        shapes += str(np.shape(step.outputs[0]))
        share = f"{100 * step.flops / total:.1f} %"
        yield f"{step.path or '(model)'}{step.op}{shapes}{short(step.flops)}{share}{step.backend}"
    T, whole, past = len(trace.ids), *(forward_flops(trace.model, len(trace.ids) - n) for n in (0, 1))
    yield f"{sum(layer.nbytes for layer in trace.model.new_cache(1, T)):,} bytes for {T} tokens"
    yield f"{short(whole - past)} FLOPs with the cache, {short(whole)} without"


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_each_fact_of_a_trace_is_in_the_page(kind):
    trace = traced(TOKENIZERS[kind], LONGER)
    text = render(trace, "a run")
    parsed, at = whole(text), 0
    for fact in facts(trace):
        assert fact in parsed.words[at:], fact
        at = parsed.words.index(fact, at)
    assert f"{trace.surprisal.mean():.3f}" in parsed.words
    assert len(re.findall(r'<span class="t[ "]', text)) == len(trace.ids)
    assert text.count('class="map"') == 4 == text.count('aria-label="h.')
    assert parsed.tags.count("svg") == 4 == sum(a == ("role", "img") for a in parsed.attributes)
    assert all(value for name, value in parsed.attributes if name == "aria-label")
    assert ('class="up"' in text) == (len(trace.ids) <= 48)  # maps of short texts name tokens
    reachable = [value for name, value in parsed.attributes if name == "tabindex"]  # by keyboard
    assert set(reachable) == {"0"} and len(reachable) >= len(trace.ids) + 4 + parsed.tags.count("table")


def test_nothing_is_asked_of_a_network_and_what_users_wrote_is_only_text():
    text = render(traced(TOKENIZERS["byte"], HOSTILE), EVIL)
    assert whole(text).words.count(SPELLED) >= 2 and "default-src 'none'" in text  # title and heading
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]", text)
    tokenizer = ByteTokenizer(special_tokens=["<img id=x>", "<script>"])
    trace = examine(tiny_gpt(tokenizer.vocab_size), tokenizer, [256, 257, 256, 257])
    trace.candidates[0] = [(256, 0.5), (257, 0.5)]
    parsed = whole(render(trace, "\udcff"))  # a folder's name that is not UTF-8
    assert ("id", "x") not in parsed.attributes
    assert "<img id=x>" in parsed.words and "\\xff" in parsed.words


@pytest.mark.parametrize("ids", [[256, 257] * 256, np.random.default_rng(0).integers(0, 258, 512).tolist()],
                         ids=["text", "bytes"])
def test_long_texts_and_many_heads_stay_below_the_limit(ids):
    tokenizer = ByteTokenizer(special_tokens=["<" * 300, "&" * 300])
    model = tiny_gpt(tokenizer.vocab_size, context=512, layers=12, heads=12, width=24)
    trace = examine(model, tokenizer, ids)
    page = render(trace, "big")
    assert 300_000 < len(page.encode()) < 2_000_000 and page.count(" are shown.") == 1
    last = heat_map(np.sqrt(trace.attention[0][0][-45:, -45:]), "")
    assert last[: last.index(' viewBox')] in page and last[last.index("<path") :] in page


FRAMES = """<meta name="color-scheme" content="light dark"><pre id="seen"></pre>
<iframe srcdoc="PAGE" width="1200" height="900"></iframe><iframe srcdoc="PAGE" width="400"></iframe><script>
function look(frame) {
    const page = frame.document, all = what => [...page.querySelectorAll(what)];
    const css = part => frame.getComputedStyle(part), {color: ink, backgroundColor: paper} = css(page.body);
    const shown = () => all(".pop").filter(pop => css(pop).display != "none").length, before = shown();
    all(".t")[5]?.focus();
    return {ink, paper, shown: [before, shown(), all(".t:focus .bar").length],
        width: frame.innerWidth, needed: page.documentElement.scrollWidth, maps: all(".map path").length,
        asked: all("script").length + frame.performance.getEntriesByType("resource").length};
}
onload = () => document.querySelector("#seen").textContent = JSON.stringify(Array.from(frames).map(look));
</script>"""


@needs_browser
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_a_browser_asks_and_complains_of_nothing_and_the_page_can_be_read(tmp_path, scheme):
    """Open the page wide and narrow; a token's alternatives must appear on focus only."""
    page = render(traced(TOKENIZERS["byte"], EVIL.encode() + b"\xff the end", heads=4), EVIL)
    frames = browse(tmp_path, FRAMES.replace("PAGE", html.escape(page)), scheme)
    assert [frame["width"] for frame in frames] == [1200, 400]
    for frame in frames:
        assert frame["needed"] <= frame["width"] and frame["maps"] > 8 and not frame["asked"]
        assert frame["shown"] == [0, 1, 5]
        ink, paper = (sum(map(int, frame[what][4:-1].split(","))) / 3 for what in ("ink", "paper"))
        assert (ink > paper) == (scheme == "dark") and abs(ink - paper) > 150
