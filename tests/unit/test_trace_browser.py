"""Open the page of a trace in a real browser: no requests, no errors, and it fits any window."""

import html
import json
import re
import shutil
import subprocess

import pytest
from html_page import EVIL
from tiny_gpt import tiny_gpt

from tinyllm.report.trace import examine
from tinyllm.report.trace.page import render
from tinyllm.tokenizer import ByteTokenizer

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
         "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--disable-dev-shm-usage",
         "--proxy-server=127.0.0.1:9", "--enable-logging=stderr", "--dump-dom")  # no way out, whoever asks
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


def seen(page, folder, scheme=1):
    """Open a page twice, wide and narrow -> what a script sees in both, and if anything was printed."""
    (folder / "frames.html").write_text(FRAMES.replace("PAGE", html.escape(page)), "utf-8")
    words = [f"--user-data-dir={folder / 'profile'}", f"--blink-settings=preferredColorScheme={scheme}"]
    done = subprocess.run([CHROMIUM, *FLAGS, *words, (folder / "frames.html").as_uri()], capture_output=True,
                          text=True, timeout=600)
    found = re.search('<pre id="seen">(.+?)</pre>', done.stdout)
    return json.loads(html.unescape(found[1])), "CONSOLE" in done.stderr


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_it_asks_and_complains_of_nothing_and_can_be_read(tmp_path, scheme):
    """Alternatives are seen on focus, and not before."""
    tokenizer = ByteTokenizer()
    ids = list(EVIL.encode() + b"\xff the end")
    page = render(examine(tiny_gpt(tokenizer.vocab_size, context=128, heads=4), tokenizer, ids), EVIL)
    frames, printed = seen(page, tmp_path, ["dark", "light"].index(scheme))
    assert not printed and [frame["width"] for frame in frames] == [1200, 400]
    for frame in frames:
        assert frame["needed"] <= frame["width"] and frame["maps"] > 8 and not frame["asked"]
        assert frame["shown"] == [0, 1, 5]
        ink, paper = (sum(map(int, frame[what][4:-1].split(","))) / 3 for what in ("ink", "paper"))
        assert (ink > paper) == (scheme == "dark") and abs(ink - paper) > 150


def test_a_script_or_a_picture_from_outside_would_be_noticed(tmp_path):
    frames, printed = seen('<img src="http://localhost:9/x.png"><script>console.log(1)</script>', tmp_path)
    assert printed and all(frame["asked"] == 2 for frame in frames)
