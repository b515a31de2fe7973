"""Check the report, its charts and its tokens: all data are shown, and none becomes markup."""

import dataclasses
import json
import re
import shutil
from types import SimpleNamespace

import html_page
import numpy as np
import pytest
from helpers import refuses
from hypothesis import given, strategies as st
from sample_texts import any_bytes

from tinyllm.cli.progress import Display
from tinyllm.report.run import loss_curves, render, write_report
from tinyllm.report.svg import Axis, heat_map, log_ticks
from tinyllm.report.terminal import width
from tinyllm.report.tokens import label, running, visible
from tinyllm.runs import Run
from tinyllm.runs.log import read_log


def step(number, loss, **more):
    record = {"kind": "step", "step": number, "train_loss": loss, "val_loss": loss, "val_loss_per_char": loss}
    record |= {"lr": 1e-3, "grad_norm": 1.0, "tokens_per_second": 1e4, "seconds": 1.0, "peak_rss_mb": 50.0}
    return record | more


def shown(run, records, title="x", **facts):
    """Return the page of a run, with this log and these changes of its facts."""
    found = run.read()
    return html_page.whole(render(title, found.config, dataclasses.replace(found.facts, **facts), records))


def test_the_report_is_one_file_with_everything_and_words_stay_words(whole, tmp_path):
    run = Run(shutil.copytree(whole, tmp_path / "run"))
    text = write_report(run).read_text()
    page, last = html_page.whole(text), read_log(run.log.path)[-1]
    for word in (run.read().facts.sha256, f"{last['val_loss']:.3f}", "Learning rate", "Gradient norm",
                 "Speed", "before training", "after 12 steps", "train.checkpoint_every", "h.*.attn.c_attn"):
        assert word in page.words, word
    assert page.tags.count("svg") == 4 == page.attributes.count(("role", "img")) == text.count("<desc>")
    records = [step(0, 2.0), {"kind": "sample", "step": 5, "text": html_page.EVIL}, step(5, 1.0)]
    assert shown(run, records, html_page.EVIL, data=html_page.EVIL).words.count(html_page.EVIL) >= 3
    for begun in ([], [{"kind": "data"}], [step(0, 2.0, train_loss=None, lr=None, tokens_per_second=None)]):
        assert "steps on" in shown(run, begun).words


@pytest.mark.parametrize("first, why", [
    ({"train_loss": 10**400}, "too long"), ({"seconds": 10**320}, "too long"), ({"step": 10**20}, "step"),
    ({"step": 13}, "line 2.*step"), ({"seconds": -5}, "seconds"), ({"kind": "stop"}, "kind"),
    ({"train_loss": 1e308, "lr": 1e308, "val_loss": -1e308}, "not a finite number"),
    ({"train_loss": 1e100, "lr": 1e100, "val_loss": 1e-300, "val_loss_per_char": 1e100}, ""),
    ({"train_loss": 1e100, "val_loss": -1e100, "val_loss_per_char": 5e-324}, ""),
])
def test_a_log_with_a_torn_line_and_extreme_numbers_is_drawn_or_refused(whole, tmp_path, first, why):
    run = Run(shutil.copytree(whole, tmp_path / "run"))
    lines = [step(1, 2.0, lr=0.1) | first, step(12, 1.0)]
    run.log.path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"torn"')
    if why:
        refuses(rf"log\.jsonl.*{why}", write_report, run)
    else:
        assert "svg" in write_report(run).read_text()
    run.log.path.write_text('{"kind": "data"}\n')  # without the evaluations that the end of a run shows
    refuses(r"log\.jsonl has no evaluation", Display.conclude, SimpleNamespace(run=run))


@pytest.mark.parametrize("losses, floor, seen", [
    ((4.2, 2.1), 0.069, False), ((4.2, 0.6), 0.069, True), ((4.2, 2.1), 2.0, True), ((2.0, 2.0), 0.5, False),
    ((2.0, 1.0), 3.0, True), ((0.0, 0.0), 0.5, True),
])
def test_a_floor_far_below_is_said_and_does_not_squash_the_losses(whole, losses, floor, seen):
    records = [step(i, loss) for i, loss in enumerate(losses)]
    page = shown(Run(whole), records, entropy_per_char=floor)
    assert ("dashes" in str(page.attributes)) == seen
    assert "entropy of the language" in page.words and ("far below" in page.words) != seen


@given(st.lists(st.floats(0.01, 9), min_size=1, max_size=9), st.floats(0.5, 9), st.none() | st.floats(0.1, 3))
def test_all_losses_are_drawn_in_one_unit(losses, size, floor):
    """Draw the same curves for losses per token of `size` characters as for losses per character."""
    records = [step(i, loss * size, val_loss_per_char=loss) for i, loss in enumerate(losses)]
    curves = loss_curves(records, floor)
    assert curves.val == list(enumerate(losses)) and curves.unit == "nats per character"
    assert [y for _, y in curves.train] == pytest.approx(losses) and curves.floor == floor
    unknown = loss_curves([step(i, loss, val_loss_per_char=None) for i, loss in enumerate(losses)], floor)
    assert unknown.train == unknown.val == list(enumerate(losses)) and unknown.unit == "nats per token"
    assert unknown.floor is None  # the floor is per character


@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=20), st.booleans(), st.sampled_from([1.0, 1.05]))
def test_every_value_and_tick_is_on_its_axis(values, log, room):
    axis = Axis([*values, 1], 4, log, room)
    assert all(-1e-9 <= axis(value) <= 1 + 1e-9 for value in [*values, *axis.ticks])
    assert sorted(values, key=axis) == sorted(values) and axis.ticks == sorted(set(axis.ticks))
    assert len(axis.ticks) <= 15 >= len(log_ticks(1e-99, 1e99))


def test_a_heat_map_draws_every_cell_once():
    x = np.repeat(np.tril(np.random.default_rng(0).random((8, 4))), 2, axis=1)
    drawn = np.zeros((8, 8))
    for shade, path in re.findall(r'<path d="([^"]*)" stroke-opacity="([^"]*)"', heat_map(x, "<map>")):
        for column, row, cells in re.findall(r"M(\d+) (\d+).5h(\d+)", shade):
            drawn[int(row), int(column) : int(column) + int(cells)] += float(path)
    np.testing.assert_allclose(drawn, x, atol=0.04)
    assert 'aria-label="&lt;map&gt;"' in heat_map(x, "<map>")


@given(any_bytes)
def test_what_is_shown_of_a_token_is_printable_and_never_empty(data):
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
    assert (label(b"x" * 40), label(b""), label(b" a")) == ("x" * 15 + "…", "(empty)", "·a")
    assert running(b"a b\n\x1b") == "a b↵\n␛"
