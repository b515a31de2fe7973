"""Check the page of a trace: each fact is in it, it is small, and no text becomes markup."""

import re

import numpy as np
import pytest
from html_page import EVIL, Page
from tiny_gpt import tiny_gpt

from tinyllm.nn import inference
from tinyllm.report.terminal import short
from tinyllm.report.tokens import label
from tinyllm.report.trace import capture, examine, page
from tinyllm.report.trace.compare import compare_captures
from tinyllm.report.trace.examine import head_facts
from tinyllm.report.trace.page import MAX_BYTES, render
from tinyllm.tokenizer import BPETokenizer, ByteTokenizer, CharTokenizer

SPELLED = EVIL.replace("\x1b", "␛")  # how it is shown
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
    percent = page._percent
    for t in range(1, len(trace.ids)):
        nats = trace.surprisal[t]
        expected = ", ".join(f"{label(trace.names[i])} {percent(p)}" for i, p in trace.candidates[t - 1])
        yield f"{label(trace.names[trace.ids[t]])}{nats:.4f}{np.exp(-nats):.4f}{expected}"
    for lens in trace.lens[1:]:
        yield "".join([lens.name, f"{lens.nats.mean():.2f} nats", *(label(trace.names[i]) for i in lens.ids)])
    for i, lens in enumerate(trace.lens[1:]):
        added = "".join(f"{lengths[i].mean():.3f}" for lengths in trace.added.values())
        yield f"{lens.name}{trace.residual[i + 1].mean():.3f}{added}{lens.nats.mean():.4f}"
    for layer, weights in enumerate(trace.attention):
        yield trace.parts[layer]
        yield from ("".join([f"head {h}", *head_facts(w).words()]) for h, w in enumerate(weights))
    total = sum(step.flops for step in trace.ops)
    for step in trace.ops:
        shapes = " ".join(map(str, step.shapes)) + str(step.shape)
        share = f"{100 * step.flops / total:.1f} %"
        yield f"{step.path or '(model)'}{step.op}{shapes}{short(step.flops)}{share}{step.backend}"
    yield from (f"{g.length:,}{g.bytes:,}{g.flops:,}{g.flops_without:,}" for g in trace.growth)


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_each_fact_of_a_trace_is_in_the_page(kind):
    tokenizer = TOKENIZERS[kind]
    trace = traced(tokenizer, TEXT)
    text = render(trace, "a run")
    parsed, at = Page(text), 0
    for fact in facts(trace):
        assert fact in parsed.words[at:], fact
        at = parsed.words.index(fact, at)
    assert not parsed.open and f"{trace.predicted.mean():.3f}" in parsed.words
    assert len(re.findall(r'<span class="t[ "]', text)) == len(trace.ids)
    assert text.count('class="map"') == 4 == text.count('aria-label="h.')


def test_every_picture_is_described_and_everything_can_be_reached_by_keyboard():
    parsed = Page(render(traced(TOKENIZERS["char"], TEXT), "a run"))
    assert parsed.tags.count("svg") == 8 == sum(a == ("role", "img") for a in parsed.attributes)
    assert all(value for name, value in parsed.attributes if name == "aria-label")
    reachable = sum(a == ("tabindex", "0") for a in parsed.attributes)
    assert reachable >= len(TEXT) + 4 + parsed.tags.count("table")
    assert all(value == "0" for name, value in parsed.attributes if name == "tabindex")


def test_nothing_is_asked_of_a_network_and_what_users_wrote_is_only_text():
    trace = traced(TOKENIZERS["byte"], HOSTILE)
    text = render(trace, EVIL)
    parsed = Page(text)
    assert not {"script", "link", "iframe", "object", "a", "form", "img"} & set(parsed.tags)
    assert not [n for n, _ in parsed.attributes if n.startswith("on") or n in ("href", "src", "action")]
    assert "url(" not in text and "@import" not in text and "default-src 'none'" in text
    assert not parsed.open and parsed.words.count(SPELLED) >= 2  # the title, and the heading
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]", text)
    assert "\\xff" in render(trace, "\udcff")  # a folder's name may hold any bytes
    tokenizer = ByteTokenizer(special_tokens=["<img id=x>", "<script>"])
    parsed = Page(render(examine(tiny_gpt(tokenizer.vocab_size), tokenizer, [256, 257, 256, 257]), "run"))
    assert not parsed.open and "script" not in parsed.tags and ("id", "x") not in parsed.attributes
    assert "<img id=x>" in parsed.words


@pytest.mark.parametrize("make", [str, bytes], ids=["text", "bytes"])
def test_long_texts_and_many_heads_stay_below_the_limit(make):
    tokenizer = ByteTokenizer(special_tokens=["<" * 300, "&" * 300])
    model = tiny_gpt(tokenizer.vocab_size, context=512, layers=12, heads=12, width=24)
    rng = np.random.default_rng(0)
    ids = rng.integers(0, tokenizer.vocab_size, 512).tolist() if make is bytes else [256, 257] * 256
    size = len(render(examine(model, tokenizer, ids), "big").encode())
    assert 300_000 < size < MAX_BYTES == 2_000_000


def test_a_page_that_would_be_too_large_shows_less(monkeypatch):
    trace = traced(TOKENIZERS["byte"], "x" * 120)
    whole = render(trace, "run")
    monkeypatch.setattr(page, "MAX_BYTES", 150_000)
    less = render(trace, "run")
    assert len(less) < 150_000 < len(whole) and not Page(less).open
    assert "are shown" in less and "are shown" not in whole


def test_a_comparison_is_shown():
    tokenizer = TOKENIZERS["byte"]
    models = [tiny_gpt(tokenizer.vocab_size, seed=seed) for seed in (1, 2)]
    ids, roots = list(b"hello"), []
    for model in models:
        with inference(model), capture(model) as root:
            model(np.array([ids]))
        roots.append(root)
    text = str(compare_captures(*roots, ids, "A", "B"))
    assert "  wte: embedding\n" in text and max(len(line) for line in text.split("\n")) <= 80
    same = compare_captures(roots[0], roots[0], ids, "A", "B")
    assert "no difference: all 27 ops" in str(same)
