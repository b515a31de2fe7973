"""Show a trace in the terminal: the same numbers as on the page, in 80 columns."""

import math
import textwrap

import numpy as np

from tinyllm.report.terminal import bar, short, table
from tinyllm.report.trace.compare import ROUNDING, Comparison, Difference, first_difference
from tinyllm.report.trace.examine import Trace, head_facts
from tinyllm.report.trace.token_labels import quoted, running
from tinyllm.train.evaluate import perplexity

WIDTH = 80
SHADES = ((0.5, "", "below 0.5"), (1.5, "48;5;230;30", "0.5 to 1.5"), (3.0, "48;5;222;30", "1.5 to 3"),
          (5.0, "48;5;214;30", "3 to 5"), (math.inf, "48;5;202;30", "5 nats and more"))
ROWS = 24  # tokens in the table


def show(trace: Trace, colour: bool = False) -> str:
    """Format a trace for a terminal; `colour` allows escape codes."""
    parts = [_text(trace, colour), _token_table(trace), _layer_table(trace), _head_table(trace),
             _work(trace), _cache(trace)]
    return "\n\n".join(part for part in parts if part)


def _paint(text: str, code: str) -> str:
    """Colour a text line by line, because a colour across a line end would fill the screen."""
    return "\n".join(f"\033[{code}m{line}\033[0m" if line and code else line for line in text.split("\n"))


def _shade(nats: float) -> str:
    return next(code for limit, code, _ in SHADES if not nats >= limit)  # NaN: no colour


def _text(trace: Trace, colour: bool) -> str:
    """Return the text; with colour, the shade shows the surprisal of each token."""
    if not colour:
        return "".join(running(trace.names[i]) for i in trace.ids).rstrip("\n")
    words = "".join(_paint(running(trace.names[i]), _shade(nats))
                    for i, nats in zip(trace.ids, trace.surprisal, strict=True))
    return words + "\n\n" + " ".join(_paint(f" {what} ", code) for _, code, what in SHADES)


def _token_table(trace: Trace) -> str:
    T = len(trace.ids)
    first = max(1, T - ROWS)
    rows = []
    for t in range(first, T):
        nats, name = trace.surprisal[t], quoted(trace.names[trace.ids[t]])
        rows.append([f"{t:>4}", name, f"{nats:.2f}", f"{math.exp(-nats):.4f}",
                     _expected(trace, trace.candidates[t - 1], 38)])
    lines = table(["", "token", "nats", "p", "expected"], rows, "<<>><")
    if T > 1:
        mean = float(trace.predicted.mean())
        lines += [f"the last {ROWS} of {T - 1} tokens"] if first > 1 else []
        lines.append(f"mean of all: {mean:.4f} nats, perplexity {perplexity(mean)}")
    lines = lines if T > 1 else []
    return "\n".join([*lines, f"next it expects {_expected(trace, trace.candidates[-1], 64)}"])


def _expected(trace: Trace, candidates: list, width: int) -> str:
    """Return the likeliest tokens with their probabilities, as many as fit."""
    text = ""
    for i, p in candidates:
        more = f"{'  ' if text else ''}{quoted(trace.names[i])} {p:.2f}"
        if len(text) + len(more) > width:
            break
        text += more
    return text


def _layer_table(trace: Trace) -> str:
    rows = []
    for i, lens in enumerate(trace.lens):
        added = [f"{lengths[i - 1].mean():.2f}" if i else "" for lengths in trace.added.values()]
        nats = f"{lens.nats.mean():.3f}" if lens.nats.size else ""
        rows.append([lens.name, f"{trace.residual[i].mean():.2f}", *added, nats])
    head = ["after", "stream", *(f"{kind} adds" for kind in trace.added), "lens, nats"]
    return "\n".join(table(head, rows))


def _head_table(trace: Trace) -> str:
    """Return the mean distance that each head looks back, for as many heads as fit into a line."""
    heads = min(len(trace.attention[0]), (WIDTH - 22) // 6)
    rows = [[part, *(f"{head_facts(w).back:.1f}" for w in weights[:heads])]
            for part, weights in zip(trace.parts, trace.attention, strict=True)]
    return "\n".join(table(["tokens back, by head", *map(str, range(heads))], rows))


def _work(trace: Trace) -> str:
    """Return the FLOPs of each kind of op."""
    total = sum(step.flops for step in trace.ops) or 1
    by_op: dict[str, list[int]] = {}
    for step in trace.ops:
        by_op.setdefault(step.op or "", []).append(step.flops)
    rows = [[op, str(len(flops)), short(sum(flops)), f"{100 * sum(flops) / total:.1f} %"]
            for op, flops in sorted(by_op.items(), key=lambda item: -sum(item[1]))]
    products = sum(step.flops for step in trace.ops if step.is_product)
    said = f"one pass over {len(trace.ids)} tokens: {total:,} operations, {products:,} in products"
    return "\n".join([*table(["op", "calls", "FLOPs", "share"], rows), said])


def _cache(trace: Trace) -> str:
    last = trace.growth[-1]
    apart = trace.cache_difference
    same = f"apart by at most {apart:.2g}" if apart else "the same bits"
    return (
        f"KV cache: {last.bytes // last.length:,} bytes a token, {last.bytes:,} for {last.length}, room for "
        f"{trace.context}.\nThe last token cost {short(last.flops)} FLOPs with it, "
        f"{short(last.flops_without)} without it;\nits logits are {same}."
    )


def place(difference: Difference) -> str:
    """Describe in words where a difference is: layer 0, attention in h.0.attn."""
    path = difference.path
    layer = next((piece for piece in path.split(".") if piece.isdigit()), None)
    where = f"layer {layer}, {path}" if layer else path or "the model"
    ops = (difference.op_a, difference.op_b)
    if ops[0] == ops[1]:
        return f"{where}: {ops[0]}" if ops[0] else where
    return f"{where}: {ops[0] or 'several ops'} in A, {ops[1] or 'several ops'} in B"


def amount(difference: Difference) -> str:
    """Describe in words how much two results differ."""
    if difference.note:
        return difference.note
    return (
        f"{difference.a:.6g} in A, {difference.b:.6g} in B at {list(difference.index)}: "
        f"apart by {difference.largest:.3g}, {_share(difference.share)} of the largest value"
    )


def _share(share: float) -> str:
    return f"{100 * share:.2g} %" if np.isfinite(share) else "infinitely many times"


def _indented(text: str) -> list[str]:
    """Break a line at the width of the terminal -> list of lines, indented by two spaces."""
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")


def show_comparison(comparison: Comparison) -> str:
    """Format a `Comparison` for a terminal."""
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
    rows = [[layer.path, f"{layer.size:.4g}", f"{layer.difference:.3g}", f"{100 * layer.share:.2g} %"]
            for layer in c.layers]
    bars = ["", *(bar(layer.share / widest) for layer in c.layers)]
    text = table(["after", "size", "difference", "share"], rows)
    lines += ["", *(f"{line}  {drawn}".rstrip() for line, drawn in zip(text, bars, strict=True))]
    return "\n".join([*lines, "", c.verdict()])
