"""The page of a trace: right numbers, small, and nothing in it is more than text; and the command."""

import re
from html import escape

import numpy as np
import pytest
from html_page import EVIL, Page
from tiny_gpt import tiny_gpt
from tiny_run import new_training, write_text

from tinyllm.cli import main
from tinyllm.nn import inference
from tinyllm.report.tokens import label
from tinyllm.report.trace import capture, examine, page
from tinyllm.report.trace.compare import compare_captures, show_comparison
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


def rows_of(text, label):
    """The cells of the table in the region with a label, row by row, without tags."""
    table = text[text.index(f'aria-label="{label}"'):]
    body = table[table.index("<tbody>"):table.index("</tbody>")]
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in body.split("<tr")[1:]]


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_the_page_holds_the_numbers(kind):
    tokenizer = TOKENIZERS[kind]
    trace = traced(tokenizer, TEXT)
    text = render(trace, "a run")
    parsed = Page(text)
    assert not parsed.open and "script" not in parsed.tags
    rows = rows_of(text, "tokens in numbers")
    assert len(rows) == len(trace.ids)
    for t in range(1, len(rows)):
        assert float(rows[t][2]) == pytest.approx(trace.surprisal[t], abs=6e-5)
        assert float(rows[t][3]) == pytest.approx(np.exp(-trace.surprisal[t]), abs=6e-5)
        assert re.findall(r'class="tok">(.*?)</span>', rows[t][4]) == \
            [escape(label(trace.names[i])) for i, _ in trace.candidates[t - 1]]
    assert len(re.findall(r'<span class="t[ "]', text)) == len(trace.ids)
    assert f"{trace.predicted.mean():.3f}" in parsed.words
    ops = rows_of(text, "every op")
    assert [row[1] for row in ops] == [f"<code>{step.op}</code>" for step in trace.ops]
    total = sum(step.flops for step in trace.ops)
    shares = [float(re.search(r"([\d.]+) %", row[5])[1]) for row in ops]
    assert shares == pytest.approx([100 * step.flops / total for step in trace.ops], abs=0.06)
    by_layer = rows_of(text, "lengths by layer")
    assert [float(row[1]) for row in by_layer] == pytest.approx(trace.residual.mean(axis=1), abs=6e-4)
    assert [float(row[4]) for row in by_layer] == pytest.approx([x.nats.mean() for x in trace.lens], abs=6e-5)
    cache = rows_of(text, "cache in numbers")
    assert [int(row[1].replace(",", "")) for row in cache] == [g.bytes for g in trace.growth]
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
    text = show_comparison(compare_captures(*roots, ids, "A", "B"))
    assert "  wte: embedding\n" in text and max(len(line) for line in text.split("\n")) <= 80
    same = compare_captures(roots[0], roots[0], ids, "A", "B")
    assert "no difference: all 27 ops" in show_comparison(same)


# The command.


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trace")
    text = write_text(folder / "text.txt")
    settings = {"model__width": 32, "model__context": 16, "train__steps": 30, "train__lr": 0.01}
    list(new_training(folder / "run", text, **settings))
    main(["quantize", str(folder / "run")])
    list(new_training(folder / "bytes", text, tokenizer="byte"))
    return folder


def test_the_command_writes_a_page_and_says_the_basics(trained, tmp_path, printed):
    words = ["--tokens", "4", "--out", tmp_path / "page.html"]
    out = printed("trace", trained / "run", "--prompt", "the cat", *words)
    text = (tmp_path / "page.html").read_text("utf-8")
    assert text.startswith("<!DOCTYPE html>") and "did with 11 tokens, of which it wrote the last 4" in text
    nats = [float(row[2]) for row in rows_of(text, "tokens in numbers")[1:]]
    mean, worst, largest = re.fullmatch(
        r"11 tokens: mean surprisal (\S+) nats, perplexity \S+\n"
        r"most surprising: token (\d+), \S+, (\S+) nats, probability 0.\d{4}\nwrote .*\n", out).groups()
    assert float(mean) == pytest.approx(np.mean(nats), abs=1e-4)
    assert 1 + int(np.argmax(nats)) == int(worst) and float(largest) == pytest.approx(max(nats), abs=0.006)
    said = printed("trace", trained / "run", "--tokens", "0", "--out", tmp_path / "a\033.html")
    assert said.startswith("wrote ") and "\033" not in said
    prompt = os_bytes(b"\xff\x1b[31m")
    assert "\033" not in printed("trace", trained / "bytes", "--prompt", prompt, "--tokens", "1")
    assert "\\xff" in (trained / "bytes" / "trace.html").read_text("utf-8")


def os_bytes(raw):
    """Bytes as they arrive in sys.argv."""
    return raw.decode("utf-8", "surrogateescape")


def test_bad_input_is_one_line_and_writes_nothing(trained, here, refused):
    run, page_file = trained / "run", here / "page.html"
    for words, said in [
        (["nothing"], "holds no run"),
        ([run, "--prompt", "XYZ"], "unknown to this char tokenizer"),
        ([run, "--prompt", os_bytes(b"\xff")], "not UTF-8"),
        ([run, "--prompt", "the cat sat on a mat"], "context is 16"),
        ([run, "--tokens", "-1"], "at least 0"),
        ([run, "--tokens", "x"], "invalid int"),
        ([run, "--temperature", "-1"], "temperature"),
        (["--diff", run], "two runs"),
        (["--diff", run, run, run], "got 3"),
        (["--diff", run, trained / "bytes"], "different tokenizers"),
        (["--diff", run, "--mine", ","], "give lessons by number"),
        (["--diff", run, "--mine", "99"], "no lesson"),
        (["--diff", run, run, "--mine", "4"], "one run, with --mine"),
    ]:
        out = [] if "--diff" in words else ["--out", page_file]
        assert said in refused("trace", *words, *out), words
    assert "leave out --out" in refused("trace", "--diff", run, run, "--out", page_file)
    assert not page_file.exists()
    assert main(["trace", str(run), "--out", str(here / "no" / "page.html")]) == 2


def test_diff_names_the_op_and_the_layer(trained, printed):
    run, small = str(trained / "run"), str(trained / "run-int8")
    out = printed("trace", "--diff", run, small, "--prompt", "the")
    assert "first difference:\n  layer 0, h.0.attn.c_attn: linear in A, linear_int8 in B\n" in out
    assert "no difference: all" in printed("trace", run, "--diff", run, "--prompt", "the")


def test_diff_names_a_students_mistake(trained, here, capsys, refused, printed):
    assert main(["lesson", "start", "4"]) == 0
    capsys.readouterr()
    exercise = here / "04_softmax_and_loss" / "exercise.py"
    words = ["--diff", trained / "run", "--mine", "4", "--prompt", "the"]
    assert "nothing of yours to plug in: fill in" in refused("trace", *words)
    body = "import numpy as np\n\n\ndef softmax(x):\n"
    body += "    e = np.exp(x - x.max(-1, keepdims=True))\n    return e / {}\n"
    exercise.write_text(body.format("e.sum(-1, keepdims=True)"))
    assert "no difference" in printed("trace", *map(str, words))
    exercise.write_text(body.format("(e.sum(-1, keepdims=True) + np.float32(0.01))"))
    assert "first difference:\n  layer 0, h.0.attn: softmax\n" in printed("trace", *map(str, words))
    exercise.write_text(body.format("undefined"))
    assert "NameError" in refused("trace", *words)
    exercise.write_text("def softmax(x:\n")
    assert "line 1: '(' was never closed" in refused("trace", *words)
