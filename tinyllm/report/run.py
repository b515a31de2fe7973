"""report.html: what happened in a run, as one page that opens from disk.

It is made from run.json and log.jsonl alone.
"""

import math
from html import escape
from pathlib import Path

from tinyllm.files import atomic_write_text
from tinyllm.models import build
from tinyllm.nn import summarise
from tinyllm.report.curves import column, loss_curves
from tinyllm.report.page import PAGE, STYLE
from tinyllm.report.plot import Series, chart
from tinyllm.train.log import read_log

FOOTER = "Written by tinyllm from log.jsonl and run.json; <code>tinyllm report</code> writes it again."


def write_report(run, path=None):
    """Write the report of a `Run` to `path` (by custom, report.html in its folder) and return the path.

    Raises UserError when the folder holds no run, its log is damaged, or the page cannot be written.
    """
    config, facts = run.read_config()
    text = render(run.folder.absolute().name, config, facts, read_log(run.log.path), run.replaced_ops())
    path = Path(path or run.report)
    atomic_write_text(path, text)
    return path


def render(title, config, facts, records, replaced=()):
    """Return the page as text. All that came from a user (names, samples, settings) is escaped."""
    steps = [record for record in records if record.get("kind") == "step"]
    model = build(config.model_config(facts.vocab_size), seed=None)
    body = [
        _numbers(steps, facts, model),
        _charts(records, facts),
        _samples(records),
        "<h2>Data and settings</h2>",
        _settings(config, facts),
        "<h2>Model</h2>",
        f"<pre>{escape(summarise(model, config.train.batch, model.config.context))}</pre>",
        _evaluations(steps),
    ]
    done = steps[-1]["step"] if steps else 0
    lead = (
        f"A {type(model).__name__} of {model.num_parameters():,} parameters, trained for {done:,} of "
        f"{config.train.steps:,} steps on {facts.data}."
    )
    if replaced:
        lead += f" These ops were replaced: {', '.join(record['op'] for record in replaced)}."
    return PAGE.format(
        title=escape(title),
        lead=escape(lead),
        style=STYLE,
        body="\n".join(filter(None, body)),
        footer=FOOTER,
    )


def _numbers(steps, facts, model):
    """Return the figures that one wants to see first."""
    evaluated = [record for record in steps if record["val_loss"] is not None]
    if not evaluated:
        return ""
    last = evaluated[-1]
    best = min(evaluated, key=lambda record: record["val_loss"])
    cards = [("Validation loss", f"{last['val_loss']:.3f}", "nats per token")]
    if best is not last:
        cards.append(("Best", f"{best['val_loss']:.3f}", f"at step {best['step']:,}"))
    if last["val_loss_per_char"] is not None:
        cards.append(("Per character", f"{last['val_loss_per_char'] / math.log(2):.3f}", "bits"))
        if facts.entropy_per_char is not None:
            above = last["val_loss_per_char"] - facts.entropy_per_char
            cards.append(("Above the floor", f"{above:.3f}", "nats per character"))
    if last["tokens_per_second"] is not None:
        cards.append(("Speed", f"{last['tokens_per_second']:,.0f}", "tokens/s"))
    cards.append(("Time", f"{last['seconds'] / 60:.1f}", "minutes"))
    if last["peak_rss_mb"] is not None:
        cards.append(("Peak memory", f"{last['peak_rss_mb']:,.0f}", "MiB"))
    items = "".join(
        f"<div><dt>{name}</dt><dd>{value} <small>{unit}</small></dd></div>" for name, value, unit in cards
    )
    return f'<dl class="numbers">{items}</dl>'


def _charts(records, facts):
    """Return the loss, large, and learning rate, gradient norm and speed below it, small."""
    curves = loss_curves(records, facts.entropy_per_char)
    series = [Series("training", curves.train, "train"), Series("validation", curves.val, "val", "dots")]
    last_step = max((step for step, _ in curves.train + curves.val), default=0)
    description = "; ".join(
        f"{s.name} goes from {s.points[0][1]:.3f} to {s.points[-1][1]:.3f} at step {s.points[-1][0]}"
        for s in series
        if s.points
    )
    unit = f"{curves.unit}, log scale, by step"
    if curves.floor is not None:
        said = f"; the entropy of the language is {curves.floor:.3f}"
        description += said
        unit += "" if curves.floor_in_sight else f"{said}, far below"
    if curves.floor_in_sight:
        floor = [(0, curves.floor), (last_step, curves.floor)]
        series.insert(0, Series(f"entropy of the language, {curves.floor:.3f}", floor, "floor", "dashes"))
    small = [
        ("Learning rate", "lr", ""),
        ("Gradient norm", "grad_norm", ""),
        ("Speed", "tokens_per_second", "tokens/s"),
    ]
    trio = "".join(_small_chart(name, column(records, key), unit) for name, key, unit in small)
    loss = chart("Loss", description, series, unit, log=True, tall=True)
    return f'{loss}<div class="trio">{trio}</div>'


def _small_chart(name, points, unit):
    if not points:
        return ""
    values = [y for _, y in points]
    description = f"between {min(values):.4g} and {max(values):.4g}, {values[-1]:.4g} at the end"
    return chart(name, description, [Series(name, points, "other")], unit)


def _samples(records):
    samples = [record for record in records if record.get("kind") == "sample"]
    if not samples:
        return ""
    rows = "".join(
        f'<div class="sample"><h3>{_when(record["step"])}</h3><p>{escape(record["text"].strip())}</p></div>'
        for record in reversed(samples)
    )
    return f"<h2>What it writes</h2>{rows}"


def _when(step):
    return f"after {step:,} steps" if step else "before training"


def _data_rows(facts):
    floor = facts.entropy_per_char
    return {
        "data": facts.data,
        "size": f"{facts.bytes:,} bytes",
        "SHA-256": facts.sha256,
        "training tokens": f"{facts.train_tokens:,}",
        "validation tokens": f"{facts.val_tokens:,}",
        "vocabulary": f"{facts.vocab_size:,} tokens",
        "entropy": "not known" if floor is None else f"{floor:.4f} nats per character",
    }


def _settings(config, facts):
    """Return two tables: what the run is made of, and how it was trained."""
    flat = config.flat()
    settings = {k: repr(v) if isinstance(v, str) and not v.isprintable() else v for k, v in flat.items()}
    train = {name: value for name, value in settings.items() if name.startswith("train.")}
    rest = {name: value for name, value in settings.items() if name not in train and name != "data"}
    return f'<div class="columns">{_table(_data_rows(facts) | rest)}{_table(train)}</div>'


def _table(rows):
    cells = "".join(
        f'<tr><th scope="row">{escape(str(k))}</th><td>{escape(str(v))}</td></tr>' for k, v in rows.items()
    )
    return f"<table><tbody>{cells}</tbody></table>"


def _evaluations(steps):
    """Return the evaluations in numbers: the same as the chart, for those who want or need to read them."""
    names = (
        "step",
        "train_loss",
        "val_loss",
        "val_loss_per_char",
        "lr",
        "grad_norm",
        "tokens_per_second",
        "seconds",
    )
    rows = "".join(
        "<tr>"
        + "".join(f"<td>{'' if record[n] is None else format(record[n], ',.5g')}</td>" for n in names)
        + "</tr>"
        for record in steps
        if record["val_loss"] is not None
    )
    head = "".join(f'<th scope="col">{name.replace("_", " ")}</th>' for name in names)
    return (
        "<details><summary>All evaluations in numbers</summary>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )
