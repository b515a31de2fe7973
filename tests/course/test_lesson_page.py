"""Check the pages of pictures that lessons write: valid HTML, right numbers, escaped text."""

import re

import numpy as np
import pytest
from html_page import EVIL, whole

import tinyllm as tl
from tinyllm.course import page
from tinyllm.course.page import curves, roofline, told, weights, write_page
from tinyllm.report.svg import heat_map

ROWS = np.array([[1.0, 0.0], [0.254, 0.746]])
X = tl.Tensor(2.0, requires_grad=True)


@pytest.mark.parametrize("picture", [
    curves(EVIL, EVIL, {EVIL: [4, 2, 1], "other": [4, 3, 3]}), weights(EVIL, [EVIL, "b"], ROWS),
    told(EVIL, EVIL), tl.draw(X * X, **{EVIL: X}), page.next_letters(EVIL, ["<", "\n"], ROWS, EVIL),
    page.coloured(EVIL, EVIL, [EVIL.encode(), b"\xff"]),
])
def test_pictures_are_whole_and_words_in_them_stay_words(here, capsys, picture):
    write_page(here / "page.html", EVIL, EVIL, [picture])
    text = (here / "page.html").read_text("utf-8")
    whole(text)
    said = f"wrote page.html, {len(text.encode()) / 1000:.0f} kB: open it in a browser\n"
    assert capsys.readouterr().out == said


def test_curves_and_weights_hold_their_numbers():
    drawn = curves("", "", {"a loss": [4, 2, 1], "other": [4, 3, 3]})
    assert "a loss from 4 to 1; other from 4 to 3" in drawn
    doubled = curves("", "", {"a": [1, 2, 3]}, at=[1, 8, 64], log_x=True)
    assert [x for x, _ in points(re.search(r' line" d="([^"]+)', doubled)[1])] == [0, 500, 1000]
    shown = re.findall(r'--s:(\d+)">(\d*)<', weights("", ["a", "b"], ROWS))
    assert shown == [("100", "100"), ("0", ""), ("25", "25"), ("75", "75")]


def points(path):
    return [tuple(map(float, pair.split())) for pair in re.split("[ML]", path.strip("Z")) if pair]


def test_the_hands_of_the_clocks_keep_their_angle():
    """100 positions later, the angle between query and key is the same: the picture is to show this."""
    text = page.clocks(np.array([1.0, 0.3]), [(5, 2), (105, 102)])
    hands = [points(d) for d in re.findall(r'<g class="arrow \w+"><path d="([^"]+)"', text)]
    turns = [np.arctan2(y0 - y1, x1 - x0) for (x0, y0), (x1, y1) in hands]
    between = (np.array(turns[1::2]) - turns[::2]) % (2 * np.pi)  # query minus key, for each dial
    assert np.allclose(between, [3, 3, 0.9, 0.9], atol=0.02)


def test_the_roof_bends_where_arithmetic_takes_as_long_as_memory():
    text = roofline(100, 10, {"softmax": (1, 5)})
    (roof,) = (points(d) for d in re.findall(r'class="floor line" d="([^"]+)"', text))
    (dot,) = re.findall(r'class="val dots" d="M([\d.]+) ([\d.]+)h0"', text)
    (left, low), (bend, high), (right, top) = roof
    assert bend == 500 and high == top and (left, right) == (0, 1000)  # 10 is half-way from 0.1 to 1000
    assert float(dot[0]) == 250 and high < float(dot[1]) < low


def test_a_heat_map_names_its_rows_and_columns_and_a_picture_has_all_its_dots():
    """Attention maps once had no tokens beside them, so rows and columns could not be told apart."""
    text = heat_map(ROWS, "weights", ["<a>", "b"])
    assert re.findall(r"<text[^>]*>([^<]+)</text>", text) == ["&lt;a&gt;", "b"] * 2
    picture = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
    drawn = page.dots("Dots", picture, "few", patch=2)
    assert f'<rect x="3" y="1" width="1" height="1" fill="#{bytes(picture[1, 3]).hex()}"' in drawn
    assert drawn.count("<rect") == 8 and 'd="M2 0V2"' in drawn
