"""Read a page of HTML, or let a browser run it; hold a text that must never become markup."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

EVIL = '<script>alert("x")</script>&amp;\'"<img src=x onerror=y>\x1b[31m'


class Page(HTMLParser):
    """The tags, attributes and words of a page; `open` is empty when every tag was closed in order."""

    VOID = {"meta", "br", "img", "link", "input"}

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words, self.open = [], [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


def whole(text, scripts=0):
    """Return a page, after checking that it is complete, and loads and runs nothing but its own scripts."""
    page = Page(text)
    assert not page.open and page.tags.count("script") == text.count("</script") == scripts
    assert not {"link", "iframe", "object", "a", "img"} & {*page.tags}
    for name, value in page.attributes:
        assert name not in ("src", "href", "action") and not name.startswith("on"), (name, value)
    assert not re.search(r"https?:|url\(|@import", text)
    return page


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
         "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--disable-dev-shm-usage",
         "--proxy-server=127.0.0.1:9", "--enable-logging=stderr", "--dump-dom")  # no network
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


def browse(folder, page, scheme="light", *flags):
    """Let Chromium open a page -> what the page wrote, as JSON, into `seen`; it must complain of nothing."""
    (folder / "page.html").write_text(page, "utf-8")
    return seen_by_browser(folder, (folder / "page.html").as_uri(), scheme, *flags)


def seen_by_browser(folder, address, scheme="light", *flags):
    """Do the same with the page at an address."""
    flags += (f"--user-data-dir={folder / 'profile'}", address,
              f"--blink-settings=preferredColorScheme={['dark', 'light'].index(scheme)}")
    done = subprocess.run([CHROMIUM, *FLAGS, *flags], capture_output=True, text=True, timeout=600)
    assert "CONSOLE" not in done.stderr, done.stderr
    return json.loads(html.unescape(re.search('<pre id="seen">(.+?)</pre>', done.stdout, re.DOTALL)[1]))
