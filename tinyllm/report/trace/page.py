"""The page of a trace: one HTML file without scripts, which opens from disk and asks nothing of a network."""

import math
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from tinyllm.files import atomic_write_text
from tinyllm.report.page import PAGE
from tinyllm.report.page import STYLE as REPORT_STYLE
from tinyllm.report.trace.flops import short
from tinyllm.report.trace.pictures import attention_section, cache_section, ops_section, residual_section
from tinyllm.report.trace.spell import plain, running, visible
from tinyllm.report.trace.style import STYLE
from tinyllm.train.evaluate import perplexity

MAX_BYTES = 2_000_000
HOT = 5.0  # nats from which on a token has the full colour
FOOTER = "Written by <code>tinyllm trace</code>. The page holds all it needs: no script, no network."


@dataclass(frozen=True)
class Limits:
    """How much of a long text is shown, so that the page stays small."""

    tokens: int = 400  # in the text and its table
    lens_cells: int = 4000
    look_cells: int = 4000  # of the tables that say where heads look
    map_pixels: int = 1_000_000  # of all attention maps together

    def smaller(self):
        """Half of everything."""
        return Limits(self.tokens // 2, self.lens_cells // 2, self.look_cells // 2, self.map_pixels // 2)


def write_page(trace, title, path):
    """Write the page of a `Trace` to a file -> its size in bytes. Raises UserError."""
    text = render(trace, title)
    atomic_write_text(Path(path), text)
    return len(text.encode())


def render(trace, title):
    """Return the page as text, below MAX_BYTES whatever the text's length."""
    limits = Limits()
    while True:
        text = _render(trace, title, limits)
        if len(text.encode()) < MAX_BYTES or limits.tokens < 2:
            return text
        limits = limits.smaller()


def _render(trace, title, limits):
    own = len(trace.ids) - trace.prompt_length
    wrote = f", of which it wrote the last {own:,}" if own else ""
    lead = f"What a model of {trace.parameters:,} parameters did with {len(trace.ids):,} tokens{wrote}."
    body = [
        _numbers(trace),
        _tokens(trace, limits),
        _lens(trace, limits),
        residual_section(trace),
        attention_section(trace, limits),
        ops_section(trace),
        cache_section(trace),
    ]
    return assemble(title, lead, body)


def assemble(title, lead, body, footer=FOOTER):
    """Put the parts of a page together -> str."""
    return PAGE.format(title=escape(plain(title)), lead=escape(plain(lead)), style=REPORT_STYLE + STYLE,
                       body="\n".join(filter(None, body)), footer=footer)  # fmt: skip


def _numbers(trace):
    flops = sum(step.flops for step in trace.ops)
    cards = []
    if len(trace.ids) > 1:
        mean = float(trace.predicted.mean())
        worst = int(np.nanargmax(trace.surprisal))
        cards += [
            ("Mean surprisal", f"{mean:.3f}", "nats per token"),
            ("Perplexity", perplexity(mean), "equally likely choices"),
            ("Largest surprise", escape(visible(trace.names[trace.ids[worst]])),
             f"token {worst}, {trace.surprisal[worst]:.2f} nats"),
        ]  # fmt: skip
    cards += [
        ("Work", short(flops), "operations in one pass"),
        ("KV cache", f"{trace.growth[-1].bytes / 1024:,.0f} KiB", f"for {trace.growth[-1].length} tokens"),
    ]
    items = "".join(f"<div><dt>{n}</dt><dd>{v} <small>{u}</small></dd></div>" for n, v, u in cards)
    return f'<dl class="numbers">{items}</dl>'


def _tokens(trace, limits):
    T, first = len(trace.ids), max(0, len(trace.ids) - limits.tokens)
    shown = range(first, T)
    spans = "".join(_token(trace, t) for t in shown)
    cut = f" Only the last {limits.tokens} are shown." if first else ""
    own = " Underlined tokens are the model's own." if trace.prompt_length < T else ""
    rows = "".join(_token_row(trace, t) for t in shown)
    head = "".join(f'<th scope="col"{c}>{n}</th>' for n, c in (
        ("token", ""), ("", ""), ("nats", ' class="n"'), ("probability", ' class="n"'),
        ("what the model expected there", "")))  # fmt: skip
    return (
        "<h2>Tokens by surprise</h2>"
        '<p class="note">The stronger the colour, the less the model expected the token: its surprisal, '
        f"&minus;log p, in nats. Point at a token, or move to it with Tab, to see the alternatives.{own}{cut}"
        f'</p><div class="text" role="group" aria-label="the text, token by token">{spans}</div>'
        f'<div class="scale" style="--c:var(--hot)" aria-hidden="true">0 nats<i></i>{HOT:g} and more</div>'
        f"<details><summary>Every token and its alternatives in numbers</summary>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="tokens in numbers"><table><thead><tr>'
        f"{head}</tr></thead><tbody>{rows}</tbody></table></div></details>{_next(trace)}"
    )


def _heat(value, full):
    return f"--s:{100 * min(value / full, 1):.0f}"


def _token(trace, t):
    """One token of the text, with what the model had expected in its place."""
    raw = trace.names[trace.ids[t]]
    name, own = escape(visible(raw)), " own" if t >= trace.prompt_length else ""
    if t == 0:
        said = "the first token: nothing predicts it"
        return (
            f'<span class="t{own}" tabindex="0" role="group" aria-label="{name}: {said}">'
            f'{escape(running(raw))}<span class="pop"><b>{name}</b> {said}</span></span>'
        )
    nats = trace.surprisal[t]
    said = f"{nats:.2f} nats, probability {_percent(math.exp(-nats))}"
    bars = "".join(
        f'<span class="bar"><b>{escape(visible(trace.names[i]))}</b><i style="--w:{100 * p:.1f}"></i>'
        f"<span>{_percent(p)}</span></span>"
        for i, p in trace.candidates[t - 1]
    )
    return (
        f'<span class="t heat{own}" style="{_heat(nats, HOT)}" tabindex="0" role="group" '
        f'aria-label="{name}: {said}">{escape(running(raw))}'
        f'<span class="pop">token {t}, <b>{name}</b>: {said}. Expected: {bars}</span></span>'
    )


def _percent(p):
    return f"{100 * p:.1f} %" if p >= 0.0005 else f"{100 * p:.1g} %"


def _token_row(trace, t):
    name = escape(visible(trace.names[trace.ids[t]]))
    if t == 0:
        return f'<tr><td class="n">0</td><th scope="row" class="tok">{name}</th>' + "<td></td>" * 3 + "</tr>"
    nats = trace.surprisal[t]
    return (
        f'<tr><td class="n">{t}</td><th scope="row" class="tok">{name}</th>'
        f'<td class="n heat" style="{_heat(nats, HOT)}">{nats:.4f}</td>'
        f'<td class="n">{math.exp(-nats):.4f}</td><td>{_list(trace, trace.candidates[t - 1])}</td></tr>'
    )


def _list(trace, candidates):
    return ", ".join(f'<span class="tok">{escape(visible(trace.names[i]))}</span> {_percent(p)}'
                     for i, p in candidates)  # fmt: skip


def _next(trace):
    return f"<p>After the last token it expects {_list(trace, trace.candidates[-1])}.</p>"


def _lens(trace, limits):
    T, rows = len(trace.ids), len(trace.lens) + 1
    first = max(0, T - max(2, limits.lens_cells // rows))
    shown = range(first, T)
    cut = f" The last {T - first} positions are shown." if first else ""
    head = "".join(f'<th scope="col" class="tok">{_name(trace, trace.ids[t])}</th>' for t in shown)
    body = "".join(_lens_row(trace, lens, shown) for lens in trace.lens)
    truth = "".join(f'<td class="tok">{_name(trace, trace.ids[t + 1])}</td>' for t in shown[:-1])
    return (
        "<h2>Logit lens</h2>"
        '<p class="note">What the model would say next if it stopped there: the residual stream at each '
        "layer, sent through the last norm and the output layer. The stronger the colour, the more sure "
        f"it is; underlined is what really came next. Read a column downwards.{cut}</p>"
        '<div class="scroll lens" tabindex="0" role="region" aria-label="logit lens"><table><thead><tr>'
        f'<th scope="col">behind</th>{head}</tr></thead><tbody>{body}'
        f'<tr class="truth"><th scope="row">what came next</th>{truth}<td></td></tr></tbody></table></div>'
        '<div class="scale" style="--c:var(--cool)" aria-hidden="true">p = 0<i></i>1</div>'
    )


def _name(trace, i):
    return escape(visible(trace.names[i]))


def _lens_row(trace, lens, shown):
    T = len(trace.ids)
    cells = "".join(
        f'<td class="tok heat{" right" if t + 1 < T and lens.ids[t] == trace.ids[t + 1] else ""}" '
        f'style="{_heat(lens.p[t], 1)}">{_name(trace, lens.ids[t])}</td>'
        for t in shown
    )
    nats = f"<small>{lens.nats.mean():.2f} nats</small>" if T > 1 else ""
    return f'<tr><th scope="row">{escape(lens.name)}{nats}</th>{cells}</tr>'
