"""The page's sections on the model's inside: residual stream, attention, ops and the KV cache."""

from html import escape

import numpy as np

from tinyllm.report.plot import Series, chart
from tinyllm.report.trace.flops import short
from tinyllm.report.trace.heads import head_facts, say, strongest
from tinyllm.report.trace.png import data_url, shrink
from tinyllm.report.trace.spell import visible

COLOURS = {"attention": "val", "mlp": "other"}


def residual_section(trace):
    """How the residual stream grows from layer to layer, and how sure the lens is there."""
    stream = list(enumerate(trace.residual.mean(axis=1).tolist()))
    series = [Series("the stream", stream, "train", "line")]
    for kind, lengths in trace.added.items():
        points = list(enumerate(lengths.mean(axis=1).tolist(), 1))
        series.append(Series(f"{kind} adds", points, COLOURS[kind], "line"))
    words = "; ".join(f"{s.name} from {s.points[0][1]:.2f} to {s.points[-1][1]:.2f}" for s in series)
    left = chart("Residual stream", words, series, "mean length of a token's vector, by layers done")
    right = ""
    if len(trace.ids) > 1:
        nats = [(i, float(lens.nats.mean())) for i, lens in enumerate(trace.lens)]
        words = f"from {nats[0][1]:.2f} to {nats[-1][1]:.2f} nats"
        right = chart("Surprise by the lens", words, [Series("lens", nats, "floor", "line")],
                      "mean nats per token, by layers done")  # fmt: skip
    return (
        "<h2>Residual stream</h2>"
        '<p class="note">Each token is a vector that runs through all layers; attention and MLP only add '
        "to it. 0 stands for the embedding, 1 for the state behind the first layer.</p>"
        f'<div class="duo">{left}{right}</div>{_norm_table(trace)}'
    )


def _norm_table(trace):
    rows = ""
    for i, lens in enumerate(trace.lens):
        added = [f"{lengths[i - 1].mean():.3f}" if i else "" for lengths in trace.added.values()]
        nats = f"{lens.nats.mean():.4f}" if lens.nats.size else ""
        cells = [f"{trace.residual[i].mean():.3f}", *added, nats]
        numbers = "".join(f'<td class="n">{cell}</td>' for cell in cells)
        rows += f'<tr><th scope="row">{escape(lens.name)}</th>{numbers}</tr>'
    head = "".join(f'<th scope="col" class="n">{n}</th>' for n in
                   ("stream", *(f"{kind} adds" for kind in trace.added), "lens, nats"))  # fmt: skip
    return (
        "<details><summary>The same in numbers</summary>"
        '<div class="scroll" tabindex="0" role="region" aria-label="lengths by layer"><table><thead><tr>'
        f'<th scope="col">behind</th>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>'
    )


def attention_section(trace, limits):
    """A map for every head of every layer, and tables of where each token looks."""
    maps = sum(len(weights) for weights in trace.attention)
    side = max(16, int((limits.map_pixels / max(maps, 1)) ** 0.5))
    T = len(trace.ids)
    step = -(-T // side)
    cut = f" The text is long: a pixel is the largest of {step} x {step} weights." if step > 1 else ""
    body = ""
    for layer, weights in enumerate(trace.attention):
        figures = "".join(_map(trace.parts[layer], h, w, side) for h, w in enumerate(weights))
        body += f'<h3>{escape(trace.parts[layer])}</h3><div class="heads">{figures}</div>'
        body += _looks(trace, layer, max(2, limits.look_cells // maps))
    return (
        "<h2>Attention</h2>"
        '<p class="note">A row for each token, from the first at the top to the last; along it, how much '
        "the token reads from each token up to itself. Each row sums to 1; the shade is the square root of "
        "the weight. Below each map, how much of its weight lies on the text's first token, on the previous "
        f"one and on the token itself. Click a map, or move to it with Tab, to enlarge it.{cut}</p>{body}"
    )


def _map(part, h, weights, side):
    distance, shares = say(head_facts(weights))
    words = f"{part}, head {h}: looks {distance}; of its weight {shares}"
    picture = data_url(np.sqrt(shrink(weights, side)))
    return (
        f'<figure tabindex="0"><img src="{picture}" alt="{escape(words)}">'
        f"<figcaption><b>head {h}</b>{distance}<br>{shares}</figcaption></figure>"
    )


def _looks(trace, layer, count):
    """For each token, the one that each head reads most: the maps for those who cannot see them."""
    T, heads = len(trace.ids), len(trace.attention[layer])
    first = max(0, T - count)
    rows = ""
    for t in range(first, T):
        cells = ""
        for h in range(heads):
            at, name, weight = strongest(trace, layer, h, t)
            cells += f'<td><span class="tok">{escape(name)}</span> at {at}, {weight:.2f}</td>'
        rows += f'<tr><td class="n">{t}</td><th scope="row" class="tok">{_spelled(trace, t)}</th>{cells}</tr>'
    head = "".join(f'<th scope="col">head {h}</th>' for h in range(heads))
    what = f"Where each token looks most in {escape(trace.parts[layer])}"
    cut = f", the last {T - first}" if first else ""
    return (
        f"<details><summary>{what}{cut}</summary>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{what}"><table><thead><tr>'
        f'<th scope="col"></th><th scope="col">token</th>{head}</tr></thead><tbody>{rows}</tbody></table>'
        "</div></details>"
    )


def _spelled(trace, t):
    return escape(visible(trace.names[trace.ids[t]]))


def ops_section(trace):
    """Every op of the forward pass: where, on what shapes, and how much work."""
    total = sum(step.flops for step in trace.ops) or 1
    products = sum(step.flops for step in trace.ops if step.is_product)
    rows = "".join(_op_row(step, total) for step in trace.ops)
    head = "".join(f'<th scope="col"{c}>{n}</th>' for n, c in (
        ("part", ""), ("op", ""), ("inputs", ""), ("output", ""), ("FLOPs", ' class="n"'), ("share", ""),
        ("run by", "")))  # fmt: skip
    return (
        "<h2>Every op</h2>"
        f'<p class="note">One pass over the whole text: {len(trace.ops)} ops, {total:,} operations on '
        f"numbers, {100 * products / total:.1f} % of them in matrix products and attention. A multiplication "
        "and an addition are two. Small ops count one for each arithmetic step of their specification.</p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="every op"><table><thead><tr>'
        f"{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _op_row(step, total):
    share = 100 * step.flops / total
    inputs = " ".join(_shape(s) for s in step.shapes)
    return (
        f'<tr><th scope="row">{escape(step.path) or "(model)"}</th><td><code>{step.op}</code></td>'
        f'<td>{inputs}</td><td>{_shape(step.shape)}</td><td class="n">{short(step.flops)}</td>'
        f'<td><span class="share"><i style="--w:{share:.1f}"></i></span>{share:.1f} %</td>'
        f"<td>{step.backend}</td></tr>"
    )


def _shape(shape):
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


def cache_section(trace):
    """How the KV cache grows, and what it saves."""
    sizes = [(g.length, g.bytes / 1024) for g in trace.growth]
    room = trace.capacity / 1024
    held = Series("holds", sizes, "train")
    full = Series(f"room for {trace.context} tokens", [(sizes[0][0], room), (sizes[-1][0], room)], "floor",
                  "dashes")  # fmt: skip
    words = f"from {sizes[0][1]:,.1f} to {sizes[-1][1]:,.1f} KiB, of {room:,.0f} that are taken at once"
    left = chart("KV cache", words, [held, full], "KiB by tokens")
    with_cache = Series("with the cache", [(g.length, g.flops / 1e6) for g in trace.growth], "train")
    anew = Series("without", [(g.length, g.flops_anew / 1e6) for g in trace.growth], "val")
    last = trace.growth[-1]
    words = f"{short(last.flops)} with the cache, {short(last.flops_anew)} without, at {last.length} tokens"
    right = chart("Work for one more token", words, [with_cache, anew], "million FLOPs by tokens")
    each = last.bytes // last.length
    same = "The logits are the same bits with the cache and without."
    if trace.cache_difference:
        same = f"With and without the cache the logits differ by at most {trace.cache_difference:.2g}."
    return (
        "<h2>KV cache</h2>"
        f'<p class="note">Decoding keeps the keys and values of the past: {each:,} bytes for each token. '
        f"Here the text went through it, {len(trace.growth)} of its tokens one by one. {same}</p>"
        f'<div class="duo">{left}{right}</div>{_cache_table(trace)}'
    )


def _cache_table(trace):
    rows = "".join(
        f'<tr><td class="n">{g.length}</td><td class="n">{g.bytes:,}</td><td class="n">{g.flops:,}</td>'
        f'<td class="n">{g.flops_anew:,}</td></tr>'
        for g in trace.growth
    )
    head = "".join(f'<th scope="col" class="n">{n}</th>' for n in
                   ("tokens", "bytes held", "FLOPs of the newest", "FLOPs without the cache"))  # fmt: skip
    return (
        "<details><summary>The same in numbers</summary>"
        '<div class="scroll" tabindex="0" role="region" aria-label="cache in numbers"><table><thead><tr>'
        f"{head}</tr></thead><tbody>{rows}</tbody></table></div></details>"
    )
