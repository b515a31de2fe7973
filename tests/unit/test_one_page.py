"""Check the page that runs a model: it encodes, scores and draws as the library's model with 8-bit weights.

It rounds sums in another way, so on `shipped` it differs by as much as the library's own backends do.
"""

import html
import json

import numpy as np
import pytest
from html_page import EVIL, browse, needs_browser, whole
from sample_texts import TEXT
from tiny_gpt import tiny_gpt
from tiny_models import made

import tinyllm as tl
from tinyllm import Opened, nn
from tinyllm.files import read_text
from tinyllm.ops import unicode
from tinyllm.ops.pieces import PATTERNS
from tinyllm.report import one_page
from tinyllm.report.trace import examine
from tinyllm.runs.recipe import CHAT
from tinyllm.tokenizer.chat import ChatTemplate, Special

LAST = np.flatnonzero(np.diff(unicode.classes())).tolist()  # where a run of characters of one class ends
EDGES = "".join(f"a{chr(c)}7 {chr(c)}" for at in LAST for c in (at, at + 1) if not 0xD7FF < c < 0xE000)
HOSTILE = [TEXT, EVIL, EDGES, "", "\0\r\n\n \u2028\ufeff\u202e", "x'\u017f 'LL 'Re'S", "a\u3000 \x85b \x1c c",
           "e\u0301 \ufb01", "a" * 400, "<|end|><script></script>", "/\n//\r\n", "👩‍👩‍👧12345٣", "IǅǆÀÉéΣσς"]
SPECIAL = ["</script><img id=x>", "<|end|>"]
LETTERS, ADDED = (tl.CharTokenizer.train("\nabcdefghijklmnopqr") for _ in range(2))  # as in tiny models
ADDED.add_tokens({"abc": 19})


def run(folder, script, cases):
    """Let a browser apply a function of JavaScript to cases, behind the page's runtime."""
    runtime = read_text(one_page.Path(one_page.__file__).with_name("runtime.js"))
    return browse(folder, f"""<meta charset="utf-8"><pre id="seen"></pre><script>{runtime}
        const cases = {json.dumps(cases).replace("<", chr(92) + "u003c")};
        document.querySelector("#seen").textContent = JSON.stringify(cases.map({script}))</script>""")


@needs_browser
def test_texts_become_the_librarys_ids_and_ids_its_texts(tmp_path):
    tokenizers = [tl.BPETokenizer.train(HOSTILE, 2000, pattern, SPECIAL) for pattern in PATTERNS]
    tokenizers += [tl.BPETokenizer.whole_words(TEXT), tl.ByteTokenizer(SPECIAL),
                   tl.CharTokenizer.train("".join(HOSTILE)), tl.BPETokenizer.train(HOSTILE, 300)]
    tokenizers[-1].normalizer, rng = "NFC", np.random.default_rng(0)
    drawn = [rng.integers(0, tokenizer.vocab_size, 2000).tolist() for tokenizer in tokenizers]
    found = run(tmp_path, """([data, texts, drawn]) => {
        const tokenizer = new Tokenizer(data), decoder = new TextDecoder("utf-8", {ignoreBOM: true});
        const parts = drawn.map(id => decoder.decode(tokenizer.bytesOf(id), {stream: true}));
        return [texts.map(text => tokenizer.encode(text)), parts.join("") + decoder.decode()];
    }""", [[one_page.tokenizer_data(t), HOSTILE, ids] for t, ids in zip(tokenizers, drawn, strict=True)])
    for tokenizer, ids, (encoded, decoded) in zip(tokenizers, drawn, found, strict=True):
        assert encoded == tokenizer.encode_batch(HOSTILE) and decoded == tokenizer.decode(ids)


@needs_browser
def test_models_score_and_draw_what_the_library_does(tmp_path):
    """Let the page read the library's texts, and say at each place what it would have written."""
    names, cases, drawing = ("gpt2", "llama", "llama tied", "llama of odd sizes"), [], (0.8, 9, 0.9, 0.1, 1.2)
    opened = [Opened(nn.quantize(made(name), 8), LETTERS) for name in names]
    opened.append(tl.open_model("shipped", bits=8))
    for i, seed in np.ndindex(len(opened), 4):
        model, begun = opened[i].model, opened[i].tokenizer.encode("Once upon" if i == 4 else "ab")
        sampling, most = tl.Sampling(*drawing if seed else [0]), model.config.context - len(begun)
        ids = tl.generate(model, [begun], max_tokens=most, seed=seed, sampling=sampling)[0]
        cases.append([one_page.describe(opened[i]), begun + ids, len(begun), vars(sampling) | {"seed": seed}])
    found = run(tmp_path, """([page, ids, begun, settings]) => {
        const model = new Model(page), scores = ids.map((id, n) => model.read(id, n));
        const next = n => choose(scores[n - 1], ids.slice(0, n), settings, uniform(settings.seed, n - begun));
        return [scores.map(row => [...row.slice(0, 20)]), ids.map((id, n) => n < begun ? id : next(n))];
    }""", cases)
    for i, ((_, ids, n, settings), (scores, written)) in enumerate(zip(cases, found, strict=True)):
        logits, near = opened[i // 4].model(np.array([ids])).data[0], 1e-5 if i < 16 else 0.5
        np.testing.assert_allclose(scores, logits[:, :20], atol=near)
        first, second = np.sort(logits[n - 1 : -1])[:, :-3:-1].T
        clear, equal = first - second > near, np.equal(ids, written)[n:]
        assert clear.mean() > 0.8 and equal[clear].all() if settings["seed"] == 0 else equal.mean() > 0.95


DRIVER = """<meta charset="utf-8"><pre id="seen"></pre><iframe srcdoc="PAGE" width="390"></iframe><script>
const pause = () => new Promise(resume => setTimeout(resume, 3000));
onload = async () => {
    const page = frames[0].document, at = id => page.getElementById(id);
    const all = what => [...page.querySelectorAll(what)], texts = what => all(what).map(x => x.textContent);
    [at("temperature").value, at("tokens").value, at("prompt").value] = [0, 20, "<b>\u00e9"];
    at("form").requestSubmit();
    await pause();
    at("head").value = 1;
    all(".t")[6].click();
    const seen = {text: texts(".t"), there: texts(".bar .tok"), needed: page.documentElement.scrollWidth,
        heat: all(".t").map(part => Number(part.style.getPropertyValue("--s")))};
    all(".bar")[1].click();
    await pause();
    seen.asked = frames[0].performance.getEntriesByType("resource").length + all("img").length;
    document.querySelector("#seen").textContent = JSON.stringify({...seen, other: texts(".t")});
};
</script>"""


@needs_browser
def test_the_page_asks_an_assistant_shows_and_goes_on_from_another_token(tmp_path):
    tokenizer = tl.ByteTokenizer([*SPECIAL, "<|model|>"])
    user, end, model = map(Special, tokenizer.special_tokens)
    tokenizer.chat = ChatTemplate({"user": (user,), "assistant": (model,)}, (end, "\n"))
    opened = Opened(nn.quantize(tiny_gpt(tokenizer.vocab_size, context=12), 8), tokenizer, CHAT)
    one_page.write_page(opened, EVIL, tmp_path / "model.html")
    begun, driver = CHAT.prompt(tokenizer, "<b>é"), html.escape(read_text(tmp_path / "model.html"))
    ids = begun + tl.generate(opened.model, [begun], max_tokens=20, sampling=tl.Sampling(temperature=0))[0]
    trace = examine(opened.model, tokenizer, ids[:12])
    likely = [i for i, _ in trace.candidates[5]]
    text, other = ([*map(tokenizer.decode_stream().push, zip(x))] for x in (ids, [*ids[:6], likely[1]]))
    seen = browse(tmp_path, DRIVER.replace("PAGE", driver), "light", "--virtual-time-budget=60000")
    assert seen["text"] == text and seen["other"][:7] == other and len(seen["other"]) == 7 + 20
    assert seen["there"][: len(likely)] == [tokenizer.decode([i]) for i in likely]
    heat = np.pad(100 * trace.attention[0][1][5, :6], (0, len(ids) - 6))
    np.testing.assert_allclose(seen["heat"], heat, atol=1e-3)
    assert seen["needed"] <= 390 and not seen["asked"]


def test_data_cannot_become_markup_and_the_shipped_model_makes_a_small_page(tmp_path, printed, refused):
    opened = Opened(nn.quantize(tiny_gpt(258), 8), tl.ByteTokenizer(SPECIAL))
    one_page.write_page(opened, EVIL, tmp_path / "model.html")
    words = ["export", "shipped", "--html", tmp_path / "shipped.html"]
    assert "wrote" in printed(*words) and "exists already" in refused(*words)
    assert (tmp_path / "shipped.html").stat().st_size < 2_500_000
    for name in ("model.html", "shipped.html"):
        whole(text := read_text(tmp_path / name), scripts=2)
        assert "default-src 'none'" in text


@pytest.mark.parametrize("name", ["bert", "qwen3", "llama yarn", "llama"])
def test_what_a_page_cannot_run_is_refused(name):
    with pytest.raises(tl.UserError, match="added tokens" if name == "llama" else "without rope_scaling"):
        one_page.describe(Opened(nn.quantize(made(name), 8), ADDED))
