"""A trace in the terminal: the same numbers as on the page, in 80 columns."""

import math
import textwrap

import numpy as np

from tinyllm.report.trace.compare import ROUNDING, first_difference
from tinyllm.report.trace.flops import short
from tinyllm.report.trace.heads import head_facts
from tinyllm.report.trace.spell import quoted, running
from tinyllm.train.evaluate import perplexity

WIDTH = 80
SHADES = ((0.5, "", "below 0.5"), (1.5, "48;5;230;30", "0.5 to 1.5"), (3.0, "48;5;222;30", "1.5 to 3"),
          (5.0, "48;5;214;30", "3 to 5"), (math.inf, "48;5;202;30", "5 nats and more"))  # fmt: skip
ROWS = 24  # tokens in the table


def show(trace, colour=False):
    """Lay a trace out for a terminal -> str; colour says whether escape codes may be used."""
    parts = [_text(trace, colour), _token_table(trace), _layer_table(trace), _head_table(trace),
             _work(trace), _cache(trace)]  # fmt: skip
    return "\n\n".join(part for part in parts if part)


def _paint(text, code):
    return f"\033[{code}m{text}\033[0m" if code else text


def _shade(nats):
    return next(code for limit, code, _ in SHADES if not nats >= limit)  # NaN: no colour


def _text(trace, colour):
    """The text; with colour, the shade says how surprising a token was."""
    if not colour:
        return "".join(running(trace.names[i]) for i in trace.ids).rstrip("\n")
    words = "".join(_lines(running(trace.names[i]), _shade(nats))
                    for i, nats in zip(trace.ids, trace.surprisal, strict=True))  # fmt: skip
    legend = " ".join(_paint(f" {what} ", code) for _, code, what in SHADES)
    return f"{words}\n\n{legend}"


def _lines(text, code):
    """Colour a text line by line, for a colour that runs over a line's end would fill the screen."""
    return "\n".join(_paint(line, code) if line else "" for line in text.split("\n"))


def _token_table(trace):
    T = len(trace.ids)
    first = max(1, T - ROWS)
    lines = [f"{'':>4}  {'token':<18} {'nats':>6} {'p':>7}  expected"]
    for t in range(first, T):
        nats = trace.surprisal[t]
        lines.append(f"{t:>4}  {quoted(trace.names[trace.ids[t]]):<18} {nats:>6.2f} {math.exp(-nats):>7.4f}  "
                     f"{_expected(trace, trace.candidates[t - 1], 38)}")  # fmt: skip
    if T > 1:
        mean = float(trace.predicted.mean())
        lines += [f"the last {ROWS} of {T - 1} tokens"] if first > 1 else []
        lines.append(f"mean of all: {mean:.4f} nats, perplexity {perplexity(mean)}")
    lines = lines if T > 1 else []
    return "\n".join([*lines, f"next it expects {_expected(trace, trace.candidates[-1], 64)}"])


def _expected(trace, candidates, width):
    """The likeliest tokens with their probabilities, as many as fit."""
    text = ""
    for i, p in candidates:
        more = f"{'  ' if text else ''}{quoted(trace.names[i])} {p:.2f}"
        if len(text) + len(more) > width:
            break
        text += more
    return text


def _layer_table(trace):
    lines = [f"{'behind':<20} {'stream':>9} {'attention adds':>15} {'mlp adds':>10} {'lens, nats':>11}"]
    for i, lens in enumerate(trace.lens):
        added = [f"{lengths[i - 1].mean():.2f}" if i else "" for lengths in trace.added.values()]
        nats = f"{lens.nats.mean():.3f}" if lens.nats.size else ""
        size = trace.residual[i].mean()
        lines.append(f"{lens.name:<20} {size:>9.2f} {added[0]:>15} {added[1]:>10} {nats:>11}".rstrip())
    return "\n".join(lines)


def _head_table(trace):
    """How far back each head looks; as many heads as fit into a line."""
    heads = min(len(trace.attention[0]), (WIDTH - 20) // 6)
    lines = [f"{'tokens back, by head':<20}" + "".join(f"{h:>6}" for h in range(heads))]
    for part, weights in zip(trace.parts, trace.attention, strict=True):
        lines.append(f"{part:<20}" + "".join(f"{head_facts(w).back:>6.1f}" for w in weights[:heads]))
    return "\n".join(lines)


def _work(trace):
    """The FLOPs of each kind of op."""
    total = sum(step.flops for step in trace.ops) or 1
    by_op: dict[str, list] = {}
    for step in trace.ops:
        by_op.setdefault(step.op, []).append(step.flops)
    lines = [f"{'op':<20} {'calls':>6} {'FLOPs':>10} {'share':>8}"]
    for op, flops in sorted(by_op.items(), key=lambda item: -sum(item[1])):
        share = f"{100 * sum(flops) / total:.1f} %"
        lines.append(f"{op:<20} {len(flops):>6} {short(sum(flops)):>10} {share:>8}")
    products = sum(step.flops for step in trace.ops if step.is_product)
    lines.append(f"one pass over {len(trace.ids)} tokens: {total:,} operations, {products:,} in products")
    return "\n".join(lines)


def _cache(trace):
    last = trace.growth[-1]
    apart = trace.cache_difference
    same = f"apart by at most {apart:.2g}" if apart else "the same bits"
    return (
        f"KV cache: {last.bytes // last.length:,} bytes a token, {last.bytes:,} for {last.length}, room for "
        f"{trace.context}.\nThe last token cost {short(last.flops)} FLOPs with it, {short(last.flops_anew)} "
        f"without it;\nits logits are {same}."
    )


def place(difference):
    """Say in words where a difference is: layer 0, attention in h.0.attn."""
    path = difference.path
    layer = next((piece for piece in path.split(".") if piece.isdigit()), None)
    where = f"layer {layer}, {path}" if layer else path or "the model"
    ops = (difference.op_a, difference.op_b)
    if ops[0] == ops[1]:
        return f"{where}: {ops[0]}" if ops[0] else where
    return f"{where}: {ops[0] or 'several ops'} in A, {ops[1] or 'several ops'} in B"


def amount(difference):
    """Say in words how much two results differ."""
    if difference.note:
        return difference.note
    return (
        f"{difference.a:.6g} in A, {difference.b:.6g} in B at {list(difference.index)}: "
        f"apart by {difference.largest:.3g}, {_share(difference.share)} of the largest value"
    )


def _share(share):
    return f"{100 * share:.2g} %" if np.isfinite(share) else "infinitely many times"


def _indented(text):
    """Break a line at the terminal's width -> list of lines, set in by two spaces."""
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")


def show_comparison(comparison):
    """Lay a `Comparison` out for a terminal -> str."""
    c = comparison
    lines = [f"A  {c.name_a}", f"B  {c.name_b}", f"on {c.tokens} tokens", ""]
    if not c.differences:
        return "\n".join([*lines, f"no difference: all {c.steps} ops gave the same bits"])
    found = first_difference(c.differences)
    if found is None:
        worst = max(c.differences, key=lambda d: d.share)
        lines += [f"no difference beyond rounding ({ROUNDING:g} of the largest value)",
                  f"largest: {place(worst)}", *_indented(amount(worst))]  # fmt: skip
    else:
        lines += ["first difference:", f"  {place(found)}", *_indented(amount(found))]
        if c.differences[0] is not found:
            lines += _indented(f"before it only rounding, first in {place(c.differences[0])}")
    lines += ["", f"{'behind':<20} {'size':>10} {'difference':>11} {'share':>9}"]
    widest = max((layer.share for layer in c.layers), default=0) or 1
    for layer in c.layers:
        bar = "#" * round(24 * layer.share / widest) if np.isfinite(layer.share) else ""
        lines.append(f"{layer.path:<20} {layer.size:>10.4g} {layer.difference:>11.3g} "
                     f"{100 * layer.share:>7.2g} %  {bar}".rstrip())  # fmt: skip
    lines += ["", c.verdict()]
    return "\n".join(lines)
