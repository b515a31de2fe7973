"""The pages of pictures that lessons write: plain HTML, right numbers, and nothing but text in the words."""

import re

import numpy as np
from test_report import EVIL, Page

from tinyllm.course.page import curves, weights, write_page

ROWS = np.array([[1.0, 0.0], [0.254, 0.746]])


def write(path, name="a loss"):
    figures = [curves(name, "nats", {name: [4, 2, 1], "other": [4, 3, 3]}), weights(name, [name, "b"], ROWS)]
    return write_page(path, name, name, figures)


def test_it_says_where_it_is_and_holds_the_numbers(tmp_path):
    said = write(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert said == f"wrote {tmp_path / 'page.html'}, {len(text) / 1000:.0f} kB: open it in a browser"
    assert re.findall(r'--s:(\d+)">(\d*)<', text) == [("100", "100"), ("0", ""), ("25", "25"), ("75", "75")]
    assert "a loss from 4 to 1; other from 4 to 3" in text


def test_whatever_words_it_is_given_stay_words(tmp_path):
    write(tmp_path / "page.html", EVIL)
    text = (tmp_path / "page.html").read_text("utf-8")
    assert not Page(text).open
    assert "<script" not in text and "<img" not in text
