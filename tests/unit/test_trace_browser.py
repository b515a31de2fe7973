"""The page of a trace in a real browser: it opens from disk, asks and complains of nothing, and fits."""

import pytest
from chromium import PROGRAM, Browser
from test_report import EVIL
from tiny_gpt import tiny_gpt

from tinyllm.report.trace import examine
from tinyllm.report.trace.page import render
from tinyllm.tokenizer import ByteTokenizer

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium here")


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    tokenizer = ByteTokenizer()
    model = tiny_gpt(tokenizer.vocab_size, context=128, heads=4)
    path = tmp_path_factory.mktemp("page") / "trace.html"
    ids = list(EVIL.encode() + b"\xff the end")
    path.write_text(render(examine(model, tokenizer, ids, len(ids) - 4), EVIL), "utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser():
    with Browser() as opened:
        yield opened


def test_it_opens_offline_and_nothing_is_asked_for_or_complained_of(browser, url):
    browser.open(url)
    assert browser.requests() == [url]
    assert browser.complaints() == []
    assert browser.run("document.scripts.length") == 0
    assert browser.run("document.querySelectorAll('.map path').length") > 8


def test_a_script_or_a_picture_from_outside_would_be_noticed(browser, url, tmp_path):
    path = tmp_path / "bad.html"
    path.write_text('<img src="http://localhost:9/x.png"><script>console.log(1)</script>')
    browser.open(path.as_uri())
    assert any("localhost" in address for address in browser.requests()) and browser.complaints()


@pytest.mark.parametrize("width", [1200, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read(browser, url, width, scheme):
    browser.open(url)
    browser.look(width, 900, scheme)
    assert browser.run("document.documentElement.scrollWidth") <= width
    ink, paper = browser.run("(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
    assert (brightness(ink) > brightness(paper)) == (scheme == "dark")
    assert abs(brightness(ink) - brightness(paper)) > 150
    assert browser.picture().startswith(b"\x89PNG")


def brightness(colour):
    return sum(int(n) for n in colour[4:-1].split(",")) / 3


def test_alternatives_are_seen_on_focus_and_not_before(browser, url):
    browser.open(url)
    browser.look(1200, 900, "light")
    shown = "[...document.querySelectorAll('.pop')].filter(p => getComputedStyle(p).display != 'none').length"
    assert browser.run(shown) == 0
    browser.run("document.querySelectorAll('.t')[5].focus()")
    assert browser.run(shown) == 1
    assert browser.run("document.querySelectorAll('.t')[5].querySelectorAll('.bar').length") == 5
