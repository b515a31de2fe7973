"""Write the HTML page of a trace: text, logit lens, residual stream, attention, ops and KV cache."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyllm.report.page import (
    Html,
    assemble,
    cards,
    column_head,
    details,
    html,
    number,
    row_head,
    section,
    table,
    tag,
    write,
)
from tinyllm.report.svg import Series, chart, heat_map, shrink
from tinyllm.report.terminal import short
from tinyllm.report.tokens import label, plain, running
from tinyllm.report.trace.capture import TracedCall
from tinyllm.report.trace.examine import Lens, Trace, head_facts
from tinyllm.train.evaluate import perplexity

MAX_BYTES = 2_000_000
NAMED = 48  # tokens of a text up to which attention maps have their names
HOT = 5.0  # the surprisal in nats from which a token has the full colour
COLOURS = {"attention": "val", "mlp": "other"}
Table = tuple[list[str], list[list[str]]]  # the heads of columns, and rows whose first cell names them
FOOTER = Html("Written by <code>tinyllm trace</code>. The page holds all it needs: no script, no network.")


@dataclass(frozen=True)
class Limits:
    """The most that a page shows of a long text."""

    tokens: int = 400  # in the text and its table
    lens_cells: int = 4000
    map_cells: int = 400_000  # of all attention maps together

    def smaller(self) -> "Limits":
        """Return limits of half the size."""
        return Limits(self.tokens // 2, self.lens_cells // 2, self.map_cells // 2)


def write_page(trace: Trace, title: str, path: str | Path) -> int:
    """Write the page of a trace to a file and return its size in bytes; raise UserError if that fails."""
    return write(path, render(trace, title))


def render(trace: Trace, title: str) -> str:
    """Return the page of a trace as HTML text of at most 2 MB; of a long text, only a part is shown."""
    limits = Limits()
    while True:
        text = _render(trace, title, limits)
        if len(text.encode()) < MAX_BYTES or limits.tokens < 2:
            return text
        limits = limits.smaller()


def _render(trace: Trace, title: str, limits: Limits) -> str:
    own = len(trace.ids) - trace.prompt_length
    wrote = f", of which it wrote the last {own:,}" if own else ""
    lead = f"What a model of {trace.parameters:,} parameters did with {len(trace.ids):,} tokens{wrote}."
    body = [_numbers(trace), _tokens(trace, limits), _lens(trace, limits), _residual(trace),
            _attention(trace, limits), _ops(trace), _cache(trace)]
    return assemble(plain(title), lead, body, FOOTER)


def _numbers(trace: Trace) -> Html:
    shown: list = []
    if len(trace.ids) > 1:
        mean = float(trace.predicted.mean())
        worst = trace.most_surprising
        shown += [
            ("Mean surprisal", f"{mean:.3f}", "nats per token"),
            ("Perplexity", perplexity(mean), "equally likely choices"),
            ("Largest surprisal", label(trace.names[trace.ids[worst]]),
             f"token {worst}, {trace.surprisal[worst]:.2f} nats"),
        ]
    last = trace.growth[-1]
    return cards([*shown, ("Work", short(sum(step.flops for step in trace.ops)), "operations in one pass"),
                  ("KV cache", f"{last.bytes / 1024:,.0f} KiB", f"for {last.length} tokens")])


def _heat(value: float, full: float) -> str:
    return f"--s:{100 * min(value / full, 1):.0f}"


def _percent(p: float) -> str:
    return f"{100 * p:.1f} %" if p >= 0.0005 else f"{100 * p:.1g} %"


def _tokens(trace: Trace, limits: Limits) -> Html:
    T, first = len(trace.ids), max(0, len(trace.ids) - limits.tokens)
    cut = f" Only the last {limits.tokens} are shown." if first else ""
    own = " Underlined tokens are the model's own." if trace.prompt_length < T else ""
    note = ("The stronger the colour, the less the model expected the token: its surprisal, −log p, in nats. "
            f"Point at a token, or move to it with Tab, to see the alternatives.{own}{cut}")
    text = tag("div", [_token(trace, t) for t in range(first, T)], class_="text", role="group",
               aria_label="the text, token by token")
    head = ["token", "", column_head("nats"), column_head("probability"), "what the model expected there"]
    rows = [_token_row(trace, t) for t in range(first, T)]
    numbers = details("Every token and its alternatives in numbers", table("tokens in numbers", head, rows))
    after = tag("p", "After the last token it expects ", _list(trace, trace.candidates[-1]), ".")
    return section("Tokens by surprisal", note, text, _scale("0 nats", f"{HOT:g} and more", "hot"), numbers,
                   after)


def _scale(low: str, high: str, colour: str) -> Html:
    return tag("div", low, tag("i"), high, class_="scale", style=f"--c:var(--{colour})", aria_hidden="true")


def _token(trace: Trace, t: int) -> Html:
    """Return one token of the text, with the tokens that the model expected instead."""
    raw, own = trace.names[trace.ids[t]], " own" if t >= trace.prompt_length else ""
    name, focus = label(raw), {"tabindex": 0, "role": "group"}
    if t == 0:
        said = "the first token: nothing predicts it"
        pop = tag("span", tag("b", name), f" {said}", class_="pop")
        return tag("span", running(raw), pop, class_=f"t{own}", **focus, aria_label=f"{name}: {said}")
    nats = trace.surprisal[t]
    said = f"{nats:.2f} nats, probability {_percent(math.exp(-nats))}"
    bars = [tag("span", tag("b", label(trace.names[i])), tag("i", style=f"--w:{100 * p:.1f}"),
                tag("span", _percent(p)), class_="bar")
            for i, p in trace.candidates[t - 1]]
    pop = tag("span", f"token {t}, ", tag("b", name), f": {said}. Expected: ", bars, class_="pop")
    return tag("span", running(raw), pop, class_=f"t heat{own}", style=_heat(nats, HOT), **focus,
               aria_label=f"{name}: {said}")


def _token_row(trace: Trace, t: int) -> list:
    name = row_head(label(trace.names[trace.ids[t]]), class_="tok")
    if t == 0:
        return [number(0), name, "", "", ""]
    nats = trace.surprisal[t]
    heat = tag("td", f"{nats:.4f}", class_="n heat", style=_heat(nats, HOT))
    return [number(t), name, heat, number(f"{math.exp(-nats):.4f}"),
            tag("td", _list(trace, trace.candidates[t - 1]))]


def _list(trace: Trace, candidates: list) -> Html:
    items = [html([tag("span", label(trace.names[i]), class_="tok"), f" {_percent(p)}"])
             for i, p in candidates]
    return Html(", ".join(items))


def _lens(trace: Trace, limits: Limits) -> Html:
    T, rows = len(trace.ids), len(trace.lens) + 1
    first = max(0, T - max(2, limits.lens_cells // rows))
    shown = range(first, T)
    cut = f" The last {T - first} positions are shown." if first else ""
    note = ("What the model would say next if it stopped there: the residual stream at each layer, sent "
            "through the last norm and the output layer. The stronger the colour, the more sure it is; "
            f"underlined is what really came next. Read a column downwards.{cut}")
    head = ["after", *(tag("th", label(trace.names[trace.ids[t]]), scope="col", class_="tok") for t in shown)]
    truth = [tag("td", label(trace.names[trace.ids[t + 1]]), class_="tok truth") for t in shown[:-1]]
    body = [*(_lens_row(trace, lens, shown) for lens in trace.lens),
            [row_head("what came next", class_="truth"), *truth, ""]]
    return section("Logit lens", note, table("logit lens", head, body, class_="lens"),
                   _scale("p = 0", "1", "cool"))


def _lens_row(trace: Trace, lens: Lens, shown: range) -> list:
    T = len(trace.ids)
    right = [t + 1 < T and lens.ids[t] == trace.ids[t + 1] for t in range(T)]
    cells = [tag("td", label(trace.names[lens.ids[t]]), class_=f"tok heat{' right' if right[t] else ''}",
                 style=_heat(lens.p[t], 1)) for t in shown]
    nats = tag("small", f"{lens.nats.mean():.2f} nats") if T > 1 else None
    return [row_head([lens.name, nats]), *cells]


def _residual(trace: Trace) -> Html:
    """Return charts by layer: lengths in the residual stream, and surprisal by the logit lens."""
    stream = list(enumerate(trace.residual.mean(axis=1).tolist()))
    series = [Series("the stream", stream, "train")]
    for kind, lengths in trace.added.items():
        points = list(enumerate(lengths.mean(axis=1).tolist(), 1))
        series.append(Series(f"{kind} adds", points, COLOURS[kind]))
    words = "; ".join(f"{s.name} from {s.points[0][1]:.2f} to {s.points[-1][1]:.2f}" for s in series)
    left = chart("Residual stream", words, series, "mean length of a token's vector, by layers done")
    nats = [(i, float(lens.nats.mean())) for i, lens in enumerate(trace.lens) if lens.nats.size]
    words = f"from {nats[0][1]:.2f} to {nats[-1][1]:.2f} nats" if nats else ""
    right = chart("Surprise by the lens", words, [Series("lens", nats, "floor")],
                  "mean nats per token, by layers done")
    note = ("Each token is a vector that runs through all layers; attention and MLP only add to it. 0 stands "
            "for the embedding, 1 for the state after the first layer.")
    return section("Residual stream", note, tag("div", left, right, class_="duo"),
                   _in_numbers("lengths by layer", _layer_lengths(trace)))


def _layer_lengths(trace: Trace) -> Table:
    """Tabulate by layer: length of the stream, lengths of the added vectors, surprisal by the logit lens."""
    rows = []
    for i, lens in enumerate(trace.lens):
        added = [f"{lengths[i - 1].mean():.3f}" if i else "" for lengths in trace.added.values()]
        nats = f"{lens.nats.mean():.4f}" if lens.nats.size else ""
        rows.append([lens.name, f"{trace.residual[i].mean():.3f}", *added, nats])
    return ["after", "stream", *(f"{kind} adds" for kind in trace.added), "lens, nats"], rows


def _in_numbers(name: str, described: Table) -> Html:
    """Return a table of numbers that is hidden until the reader opens it."""
    head, rows = described
    cells = [[row_head(first), *map(number, others)] for first, *others in rows]
    return details("The same in numbers", table(name, [head[0], *map(column_head, head[1:])], cells))


def _attention(trace: Trace, limits: Limits) -> Html:
    """Return an attention map for every head of every layer."""
    maps = sum(len(weights) for weights in trace.attention)
    side = max(16, int((limits.map_cells / max(maps, 1)) ** 0.5))
    step = -(-len(trace.ids) // side)
    short_text = len(trace.ids) <= min(side, NAMED)
    names = [label(trace.names[i])[:8] for i in trace.ids] if short_text else []
    cut = f" The text is long: a cell is the largest of {step} x {step} weights." if step > 1 else ""
    note = ("A row for each token, from the first at the top to the last; along it, how much the token reads "
            "from each token up to itself. Each row sums to 1; the shade is the square root of the weight. "
            "Below each map, how much of its weight lies on the text's first token, on the previous one and "
            f"on the token itself. Click a map, or move to it with Tab, to enlarge it.{cut}")
    body = []
    for layer, weights in enumerate(trace.attention):
        figures = [_map(trace.parts[layer], h, w, side, names) for h, w in enumerate(weights)]
        body += [tag("h3", trace.parts[layer]), tag("div", figures, class_="heads")]
    return section("Attention", note, body)


def _map(part: str, h: int, weights: np.ndarray, side: int, names: list[str]) -> Html:
    distance, shares = head_facts(weights).words()
    picture = heat_map(np.sqrt(shrink(weights, side)), f"{part}, head {h}: looks {distance}; {shares}",
                       names)
    caption = tag("figcaption", tag("b", f"head {h}"), distance, Html("<br>"), shares)
    return tag("figure", picture, caption, tabindex=0)


def _ops(trace: Trace) -> Html:
    """Return a table of the ops of the forward pass, with part, shapes and FLOPs."""
    total = sum(step.flops for step in trace.ops) or 1
    note = (f"{_ops_note(trace)} A multiplication and an addition are two. Small ops count one for "
            "each arithmetic step of their specification.")
    head = ["part", "op", "inputs", "output", column_head("FLOPs"), "share", "run by"]
    return section("Every op", note, table("every op", head, [_op_row(step, total) for step in trace.ops]))


def _ops_note(trace: Trace) -> str:
    """Describe in a sentence how many ops and FLOPs one pass over the whole text took."""
    total = sum(step.flops for step in trace.ops)
    products = sum(step.flops for step in trace.ops if step.is_product)
    return (f"One pass over the whole text: {len(trace.ops)} ops, {total:,} operations on numbers, "
            f"{100 * products / (total or 1):.1f} % of them in matrix products and attention.")


def _op_row(step: TracedCall, total: int) -> list:
    share = 100 * step.flops / total
    bar = tag("span", tag("i", style=f"--w:{share:.1f}"), class_="share")
    return [row_head(step.path or "(model)"), tag("td", tag("code", step.op)),
            " ".join(map(_shape, step.shapes)), _shape(step.shape), number(short(step.flops)),
            tag("td", bar, f"{share:.1f} %"), step.backend]


def _shape(shape: tuple) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


def _cache(trace: Trace) -> Html:
    """Return charts of the size of the KV cache, and of the FLOPs with and without the cache."""
    sizes = [(g.length, g.bytes / 1024) for g in trace.growth]
    room = trace.capacity / 1024
    full = [(sizes[0][0], room), (sizes[-1][0], room)]
    words = f"from {sizes[0][1]:,.1f} to {sizes[-1][1]:,.1f} KiB, of {room:,.0f} that are taken at once"
    held = [Series("holds", sizes, "train"),
            Series(f"room for {trace.context} tokens", full, "floor", "dashes")]
    left = chart("KV cache", words, held, "KiB by tokens")
    work = [Series("with the cache", [(g.length, g.flops / 1e6) for g in trace.growth], "train"),
            Series("without", [(g.length, g.flops_without / 1e6) for g in trace.growth], "val")]
    last = trace.growth[-1]
    words = f"{short(last.flops)} with the cache, {short(last.flops_without)} without"
    right = chart("Work for one more token", words, work, "million FLOPs by tokens")
    note = f"{_cache_note(trace)} Of the text, {len(trace.growth)} tokens were read one by one."
    return section("KV cache", note, tag("div", left, right, class_="duo"),
                   _in_numbers("cache in numbers", _cache_sizes(trace)))


def _cache_note(trace: Trace) -> str:
    """Describe in two sentences the memory that the KV cache takes and the FLOPs that it saves."""
    last = trace.growth[-1]
    same = "the logits are the same bits with it and without"
    if trace.cache_difference:
        same = f"with it and without, the logits differ by at most {trace.cache_difference:.2g}"
    return (f"KV cache: the keys and values of the past are {last.bytes // last.length:,} bytes for each "
            f"token, {last.bytes:,} for {last.length}, with room for {trace.context}. The last token cost "
            f"{short(last.flops)} FLOPs with the cache, {short(last.flops_without)} without; {same}.")


def _cache_sizes(trace: Trace) -> Table:
    """Tabulate the bytes of the KV cache and the FLOPs of the newest token, as the cache grows."""
    rows = [[f"{n:,}" for n in (g.length, g.bytes, g.flops, g.flops_without)] for g in trace.growth]
    return ["tokens", "bytes held", "FLOPs of the newest", "FLOPs without the cache"], rows
