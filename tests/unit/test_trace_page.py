"""Check the page of a trace: it shows all data, no text becomes markup, and a browser loads nothing else."""

import html
import re

import numpy as np
import pytest
from html_page import EVIL, browse, needs_browser, whole
from tiny_gpt import tiny_gpt

from tinyllm.nn.module import forward_flops
from tinyllm.report.svg import heat_map
from tinyllm.report.terminal import short
from tinyllm.report.tokens import label
from tinyllm.report.trace import examine, page
from tinyllm.report.trace.page import render
from tinyllm.tokenizer import BPETokenizer, ByteTokenizer, CharTokenizer

SPELLED = EVIL.replace("\x1b", "␛")  # as the page shows it
HOSTILE = EVIL.encode() + b"\x00\x07\xff\xfe\r\n" + "\u202e{}{0}%s\u2028".encode()
TEXT = "the cat sat on a mat. " * 3
TOKENIZERS = {
    "char": CharTokenizer.train(TEXT),
    "byte": ByteTokenizer(),
    "bpe": BPETokenizer.train(TEXT.encode() * 5, 270),
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
    trace = traced(TOKENIZERS[kind], TEXT)
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
