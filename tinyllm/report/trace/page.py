"""Write the HTML page of a trace: text, logit lens, attention, ops and KV cache."""

import math
from pathlib import Path

import numpy as np

from tinyllm.nn.module import forward_flops
from tinyllm.report.page import Html, assemble, cards, section, table, tag, write
from tinyllm.report.svg import heat_map
from tinyllm.report.terminal import short
from tinyllm.report.tokens import label, plain, running
from tinyllm.report.trace.examine import Lens, Trace
from tinyllm.train.evaluate import perplexity

LENS_CELLS = 3000  # at most in the logit lens table; with these limits a page has less than 2 MB
MAP_CELLS = 300_000  # at most in all attention maps together
NAMED = 48  # attention maps of at most this many tokens show the tokens' names
HOT = 5.0  # the surprisal in nats from which a token has the full colour
FOOTER = Html("Written by <code>tinyllm trace</code>. The page holds all it needs: no script, no network.")


def write_page(trace: Trace, title: str, path: str | Path) -> int:
    """Write the page of a trace to a file and return its size in bytes; raise UserError if that fails."""
    return write(path, render(trace, title))


def render(trace: Trace, title: str) -> str:
    """Return the page of a trace as HTML text; of a long text, only the last tokens are shown."""
    own, maps = len(trace.ids) - trace.prompt_length, sum(map(len, trace.attention))
    most = min(LENS_CELLS // len(trace.lens), max(16, int((MAP_CELLS / maps) ** 0.5)))
    shown = range(len(trace.ids))[-most:]
    wrote = f", of which it wrote the last {own:,}" if own else ""
    cut = f" Only the last {len(shown)} are shown." if shown[0] else ""
    size = trace.model.num_parameters()
    lead = f"What a model of {size:,} parameters did with {len(trace.ids):,} tokens{wrote}.{cut}"
    body = [_numbers(trace), _tokens(trace, shown), _lens(trace, shown), _attention(trace, shown),
            _ops(trace), _cache(trace)]
    return assemble(plain(title), lead, body, FOOTER)


def _numbers(trace: Trace) -> Html:
    facts = [("Work", short(sum(step.flops for step in trace.ops)), "operations in one pass")]
    if len(trace.ids) > 1:
        mean = float(trace.surprisal.mean())
        facts = [("Mean surprisal", f"{mean:.3f}", "nats per token"),
                 ("Perplexity", perplexity(mean), "equally likely choices"), *facts]
    return cards(facts)


def _heat(value: float, full: float) -> str:
    return f"--s:{100 * min(value / full, 1):.0f}"


def _percent(p: float) -> str:
    return f"{100 * p:.1f} %" if p >= 0.0005 else f"{100 * p:.1g} %"


def _tokens(trace: Trace, shown: range) -> Html:
    own = " Underlined tokens are the model's own." if trace.prompt_length < len(trace.ids) else ""
    note = ("The stronger the colour, the less the model expected the token: its surprisal, −log p, in nats. "
            f"Point at a token, or move to it with Tab, to see the alternatives.{own}")
    text = tag("div", [_token(trace, t) for t in shown], class_="text", role="group",
               aria_label="the text, token by token")
    expected = ", ".join(f"{label(trace.names[i])} {_percent(p)}" for i, p in trace.candidates[-1])
    after = tag("p", f"After the last token it expects {expected}.")
    return section("Tokens by surprisal", note, text, after)


def _token(trace: Trace, t: int) -> Html:
    """Return one token of the text, with the tokens that the model expected instead."""
    raw, name = trace.names[trace.ids[t]], label(trace.names[trace.ids[t]])
    class_ = ("t heat" if t else "t") + (" own" if t >= trace.prompt_length else "")
    if t == 0:
        said, style = "the first token: nothing predicts it", None
        pop = tag("span", tag("b", name), f" {said}", class_="pop")
    else:
        nats = trace.surprisal[t - 1]
        said, style = f"{nats:.2f} nats, probability {_percent(math.exp(-nats))}", _heat(nats, HOT)
        bars = [tag("span", tag("b", label(trace.names[i])), tag("i", style=f"--w:{100 * p:.1f}"),
                    tag("span", _percent(p)), class_="bar")
                for i, p in trace.candidates[t - 1]]
        pop = tag("span", f"token {t}, ", tag("b", name), f": {said}. Expected: ", bars, class_="pop")
    return tag("span", running(raw), pop, class_=class_, style=style, tabindex=0, role="group",
               aria_label=f"{name}: {said}")


def _lens(trace: Trace, shown: range) -> Html:
    note = ("What the model would say next if it stopped there: the residual stream at each layer, sent "
            "through the last norm and the output layer. The stronger the colour, the more sure it is; "
            "underlined is what really came next. Read a column downwards.")
    names = [label(trace.names[i]) for i in trace.ids]
    head = ["after", *(tag("th", names[t], scope="col", class_="tok") for t in shown)]
    truth = [tag("td", name, class_="tok truth") for name in names[shown[0] + 1 :]]
    body = [*(_lens_row(trace, lens, shown) for lens in trace.lens),
            [tag("th", "what came next", scope="row", class_="truth"), *truth, ""]]
    return section("Logit lens", note, table("logit lens", head, body, class_="lens"))


def _lens_row(trace: Trace, lens: Lens, shown: range) -> list:
    right = [guess == came for guess, came in zip(lens.ids, [*trace.ids[1:], None], strict=True)]
    cells = [tag("td", label(trace.names[lens.ids[t]]), class_=f"tok heat{' right' if right[t] else ''}",
                 style=_heat(lens.p[t], 1)) for t in shown]
    nats = tag("small", f"{lens.nats.mean():.2f} nats") if len(right) > 1 else None
    return [[lens.name, nats], *cells]


def _attention(trace: Trace, shown: range) -> Html:
    """Return an attention map for every head of every layer."""
    names = [label(trace.names[i])[:8] for i in trace.ids] if len(trace.ids) <= min(NAMED, len(shown)) else []
    note = ("A row for each token, from the first at the top to the last; along it, how much the token reads "
            "from each token up to itself. Each row sums to 1; the shade is the square root of the weight. "
            "Click a map, or move to it with Tab, to enlarge it.")
    body = []
    for part, layer in zip((lens.name for lens in trace.lens[1:]), trace.attention, strict=True):
        maps = [heat_map(np.sqrt(weights[shown[0] :, shown[0] :]), f"{part}, head {h}", names)
                for h, weights in enumerate(layer)]
        figures = [tag("figure", each, tag("figcaption", tag("b", f"head {h}")), tabindex=0)
                   for h, each in enumerate(maps)]
        body += [tag("h3", part), tag("div", figures, class_="heads")]
    return section("Attention", note, body)


def _ops(trace: Trace) -> Html:
    """Return a table of the ops of the forward pass, with part, shapes and FLOPs."""
    total = sum(step.flops for step in trace.ops) or 1
    note = (f"One pass over the whole text: {len(trace.ops)} ops, {total:,} operations on numbers. A "
            "multiplication and an addition are two.")
    rows = []
    for step in trace.ops:
        shapes = " ".join(str(x.shape) for x in step.inputs if isinstance(x, np.ndarray))
        rows.append([step.path or "(model)", tag("td", tag("code", step.op)), shapes,
                     str(np.shape(step.outputs[0])), tag("td", short(step.flops), class_="n"),
                     f"{100 * step.flops / total:.1f} %", step.backend])
    return section("Every op", note, table(
        "every op", ["part", "op", "inputs", "output", "FLOPs", "share", "run by"], rows))


def _cache(trace: Trace) -> Html:
    """Say what the KV cache costs, and what it saves."""
    model, T, context = trace.model, len(trace.ids), trace.model.config.context
    each, whole = sum(layer.nbytes for layer in model.new_cache(1, 1)), forward_flops(model, T)
    note = (f"The keys and values of the past are {each:,} bytes for each token: {each * T:,} bytes for {T} "
            f"tokens, and {each * context:,} for the whole context of {context}. The last token costs "
            f"{short(whole - forward_flops(model, T - 1))} FLOPs with the cache, {short(whole)} without.")
    return section("KV cache", note)
