"""Check that tokens reach a page or a terminal as letters only."""

import pytest
from hypothesis import given
from sample_texts import any_bytes

from tinyllm.report.terminal import width
from tinyllm.report.tokens import label, running, visible


@given(any_bytes)
def test_what_is_shown_is_printable_and_never_empty(data):
    shown = visible(data)
    assert shown.isprintable() and bool(shown) == bool(data)
    assert width(shown) >= bool(data) and label(data).isprintable()
    assert running(data).replace("\n", "").isprintable()


@pytest.mark.parametrize("token, shown", [
    (b" the", "·the"), (b"\n", "↵"), (b"\t\r\n", "→␍↵"), (b"\x1b\x00", "␛␀"), ("😀é你".encode(), "😀é你"),
    (b"\xf0\x9f", r"\xf0\x9f"), (b"a\xff", r"a\xff"), ("\u202e\u200b\xa0".encode(), r"\u202e\u200b\u00a0"),
    ("\u0301x".encode(), "◌\u0301x"), ("❤\ufe0f".encode(), r"❤\ufe0f"), (b"\x7f", "␡"),
])
def test_bytes_that_could_mislead_are_spelt_out(token, shown):
    assert visible(token) == shown


def test_labels_are_short_and_running_text_keeps_its_spaces_and_lines():
    assert (label(b"x" * 40), label(b""), label(b" a")) == ("x" * 15 + "…", "(empty)", "·a")
    assert running(b"a b\n\x1b") == "a b↵\n␛"
