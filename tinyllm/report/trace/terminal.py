"""Format a trace, or the comparison of two captures, for a terminal of 80 columns."""

import math
import textwrap

import numpy as np

from tinyllm.report.terminal import bar, paint, table
from tinyllm.report.tokens import label, running
from tinyllm.report.trace.compare import ROUNDING, Comparison, Difference, first_difference
from tinyllm.report.trace.examine import Trace
from tinyllm.report.trace.tables import cache_note, heads, layers, ops_by_kind, ops_note
from tinyllm.train.evaluate import perplexity

WIDTH = 80
SHADES = ((0.5, "", "below 0.5"), (1.5, "48;5;230;30", "0.5 to 1.5"), (3.0, "48;5;222;30", "1.5 to 3"),
          (5.0, "48;5;214;30", "3 to 5"), (math.inf, "48;5;202;30", "5 nats and more"))
ROWS = 24  # tokens in the table


def show(trace: Trace, colour: bool = False) -> str:
    """Format a trace for a terminal; `colour` allows escape codes."""
    notes = "\n".join(textwrap.fill(note, WIDTH) for note in (ops_note(trace), cache_note(trace)))
    tables = ("\n".join(table(*make(trace))) for make in (layers, heads, ops_by_kind))
    return "\n\n".join([_text(trace, colour), _token_table(trace), *tables, notes])


def _shade(nats: float) -> str:
    return next(code for limit, code, _ in SHADES if not nats >= limit)  # NaN: no colour


def _text(trace: Trace, colour: bool) -> str:
    """Return the text; with colour, the shade shows the surprisal of each token."""
    if not colour:
        return "".join(running(trace.names[i]) for i in trace.ids).rstrip("\n")
    words = "".join(paint(running(trace.names[i]), _shade(nats))
                    for i, nats in zip(trace.ids, trace.surprisal, strict=True))
    return words + "\n\n" + " ".join(paint(f" {what} ", code) for _, code, what in SHADES)


def _token_table(trace: Trace) -> str:
    T = len(trace.ids)
    first = max(1, T - ROWS)
    rows = [[f"{t:>4}", label(trace.names[trace.ids[t]]), f"{trace.surprisal[t]:.2f}",
             f"{math.exp(-trace.surprisal[t]):.4f}", _expected(trace, trace.candidates[t - 1], 38)]
            for t in range(first, T)]
    lines = []
    if rows:
        mean = float(trace.predicted.mean())
        lines = table(["", "token", "nats", "p", "expected"], rows, "<<>><")
        lines += [f"the last {ROWS} of {T - 1} tokens"] if first > 1 else []
        lines.append(f"mean of all: {mean:.4f} nats, perplexity {perplexity(mean)}")
    return "\n".join([*lines, f"next it expects {_expected(trace, trace.candidates[-1], 64)}"])


def _expected(trace: Trace, candidates: list, width: int) -> str:
    """Return the likeliest tokens with their probabilities, as many as fit."""
    text = ""
    for i, p in candidates:
        more = f"{'  ' if text else ''}{label(trace.names[i])} {p:.2f}"
        if len(text) + len(more) > width:
            break
        text += more
    return text


def place(difference: Difference) -> str:
    """Describe where a difference is, such as "layer 0, h.0.attn: attention"."""
    path = difference.path
    layer = next((piece for piece in path.split(".") if piece.isdigit()), None)
    where = f"layer {layer}, {path}" if layer else path or "the model"
    ops = (difference.op_a, difference.op_b)
    if ops[0] == ops[1]:
        return f"{where}: {ops[0]}" if ops[0] else where
    return f"{where}: {ops[0] or 'several ops'} in A, {ops[1] or 'several ops'} in B"


def amount(difference: Difference) -> str:
    """Describe how much two results differ, in numbers."""
    if difference.note:
        return difference.note
    share = f"{100 * difference.share:.2g} %" if np.isfinite(difference.share) else "infinitely many times"
    return (
        f"{difference.a:.6g} in A, {difference.b:.6g} in B at {list(difference.index)}: "
        f"apart by {difference.largest:.3g}, {share} of the largest value"
    )


def _indented(text: str) -> list[str]:
    """Break a line at the width of the terminal; return lines that are indented by two spaces."""
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")


def show_comparison(comparison: Comparison) -> str:
    """Format the comparison of two captures for a terminal."""
    c = comparison
    lines = [f"A  {c.name_a}", f"B  {c.name_b}", f"on {c.tokens} tokens", ""]
    if not c.differences:
        return "\n".join([*lines, f"no difference: all {c.steps} ops gave the same bits"])
    found = first_difference(c.differences)
    if found is None:
        worst = max(c.differences, key=lambda d: d.share)
        lines += [f"no difference beyond rounding ({ROUNDING:g} of the largest value)",
                  f"largest: {place(worst)}", *_indented(amount(worst))]
    else:
        lines += ["first difference:", f"  {place(found)}", *_indented(amount(found))]
        if c.differences[0] is not found:
            lines += _indented(f"before it only rounding, first in {place(c.differences[0])}")
    widest = max((layer.share for layer in c.layers), default=0) or 1
    rows = [[layer.path, f"{layer.size:.4g}", f"{layer.difference:.3g}", f"{100 * layer.share:.2g} %",
             bar(layer.share / widest)] for layer in c.layers]
    lines += ["", *table(["after", "size", "difference", "share", ""], rows, "<>>><"), ""]
    lines.append(f"the likeliest next token is the same at {c.agree} of {c.tokens} positions")
    lines += [f"mean surprisal {c.nats[0]:.4f} nats in A, {c.nats[1]:.4f} in B"] if c.nats else []
    return "\n".join(lines)
