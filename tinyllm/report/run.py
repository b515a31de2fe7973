"""Write report.html, a page about a training run, from the run's files run.json and log.jsonl."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinyllm.models import build
from tinyllm.nn import without_memory
from tinyllm.report.page import Html, assemble, cards, section, table, tag, write
from tinyllm.report.summary import summarise
from tinyllm.report.svg import Series, chart
from tinyllm.runs import find_recipe, read_log

FOOTER = Html("Written by tinyllm from log.jsonl and run.json; <code>tinyllm report</code> writes it again.")
TINY = 1e-3  # the smallest loss on a logarithmic axis
SEEN, TRUE = "what training sees", "the true reward"
# Of each chart: its title, what the axes show, column of the x axis, {name of a curve: column of the log}.
ALIGNED = [  # what post-training did: its rewards, and the signs of trouble
    ("Reward", "mean of an answer, by step", "step", {SEEN: "objective/scores", TRUE: "true_reward"}),
    ("Reward and distance", "validation, by nats from the start", "val_objective/kl",
     {SEEN: "val_objective/scores", TRUE: "val_true_reward"}),
    ("Rewards of pairs", "nats from the start, times beta", "step",
     {"chosen": "rewards/chosen", "rejected": "rewards/rejected"}),
    ("Pairs in the right order", "share, by step", "step",
     {"training": "rewards/accuracies", "validation": "val_rewards/accuracies"}),
    ("Distance", "KL divergence from the start, nats", "step", {"": "objective/kl"}),
    ("Length", "tokens of an answer", "step", {"": "completions/mean_length"}),
    ("Entropy", "nats of an answer", "step", {"": "objective/entropy"}),
    ("Cut off", "share of answers without an end", "step", {"": "completions/clipped_ratio"}),
    ("No contrast", "share of prompts whose answers earn the same", "step", {"": "frac_reward_zero_std"}),
]
SMALL = [("Learning rate", "", "step", {"": "lr"}), ("Gradient norm", "", "step", {"": "grad_norm"}),
         ("Speed", "tokens/s", "step", {"": "tokens_per_second"})]


@dataclass(frozen=True)
class LossCurves:
    """Training and validation loss, and the entropy of the text if it is known."""

    train: list  # [(step, nats)]
    val: list
    floor: float | None
    unit: str  # "nats per character", or the `unit` of the recipe


def write_report(run: Any) -> Path:
    """Write report.html into the folder of a training run, and return its path, or raise UserError."""
    record, log = run.read(), read_log(run.log.path)
    replaced = record.notes.get("replaced_ops", ())
    text = render(run.folder.absolute().name, record.config, record.facts, log, replaced)
    write(run.report, text)
    return run.report


def render(title: str, config: Any, facts: Any, records: list[dict], replaced: Any = ()) -> str:
    """Return the report of a training run as HTML text."""
    steps = [record for record in records if record.get("kind") == "step"]
    with without_memory():
        model: Any = build(replace(config.model, vocab_size=facts.vocab_size), seed=None)
    done = steps[-1]["step"] if steps else 0
    lead = (f"A {type(model).__name__} of {model.num_parameters():,} parameters, trained for {done:,} of "
            f"{config.train.steps:,} steps on {facts.data}.")
    if replaced:
        lead += f" These ops were replaced: {', '.join(record['op'] for record in replaced)}."
    unit = find_recipe(config.recipe).unit
    curves = loss_curves(records, facts.entropy_per_char, unit)
    body = [
        _numbers(steps, curves),
        _loss_chart(curves) if "nats" in unit else Html(),  # a loss of rewards says little: see the rewards
        _charts(records, ALIGNED),
        _charts(records, SMALL),
        _samples(records),
        section("Data and settings", None, _settings(config, facts)),
        section("Model", None, tag("pre", summarise(model, config.train.batch, model.config.context))),
    ]
    return assemble(title, lead, body, FOOTER)


def column(records: list[dict], name: str, across: str = "step") -> list[tuple[float, float]]:
    """Return [(step, value)] for a field of a log, by `across`; records without a value are left out."""
    return [(record[across], record[name]) for record in records
            if record.get(across) is not None and record.get(name) is not None]


def characters_per_token(records: list[dict]) -> float | None:
    """Return the mean number of characters per token in the validation text, or None if unknown."""
    for record in reversed(records):
        per_token, per_char = record.get("val_loss"), record.get("val_loss_per_char")
        if per_token is not None and per_char is not None:
            size = per_token / per_char if per_char else 1.0
            return size if 1e-6 < size < 1e6 else 1.0  # the loss is 0, or the log is damaged
    return None


def loss_curves(records: list[dict], floor_per_char: float | None = None,
                unit: str = "nats per token") -> LossCurves:
    """Return a log's loss curves in nats per character, or in `unit` if the length of tokens is unknown.

    Losses per character can be compared between tokenizers, and with the entropy floor. A log has the
    training loss per token only, so it is divided by the mean number of characters per validation token.
    """
    train, size = column(records, "train_loss"), characters_per_token(records)
    if size is None:
        return LossCurves(train, column(records, "val_loss"), None, unit)
    train = [(step, nats / size) for step, nats in train]
    return LossCurves(train, column(records, "val_loss_per_char"), floor_per_char, "nats per character")


def _numbers(steps: list[dict], curves: LossCurves) -> Html:
    """Return the most important figures."""
    if not curves.val:
        return Html()
    last = next(record for record in reversed(steps) if record["val_loss"] is not None)
    loss, (best_step, best) = curves.val[-1][1], min(curves.val, key=lambda point: point[1])
    rewarded = "nats" not in curves.unit and last.get("val_objective/scores") is not None
    shown = [("Mean reward", -loss, ".3f", "validation prompts")] if rewarded else [
        ("Validation loss", loss, ".3f", curves.unit),
        ("Best", best if best < loss else None, ".3f", f"at step {best_step:,}"),
        ("Training loss", curves.train[-1][1] if curves.train else None, ".3f", curves.unit),
        ("Above the floor", None if curves.floor is None else loss - curves.floor, ".3f", curves.unit),
    ]
    shown += [
        ("Speed", last["tokens_per_second"], ",.0f", "tokens/s"),
        ("Time", last["seconds"] / 60, ".1f", "minutes"),
        ("Peak memory", last["peak_rss_mb"], ",.0f", "MiB"),
    ]
    return cards([(name, format(value, digits), unit) for name, value, digits, unit in shown
                  if value is not None])


def _loss_chart(curves: LossCurves) -> Html:
    """Return a large chart of the loss. A floor far below the losses is named, but not drawn."""
    series = [Series("training", curves.train, "train"), Series("validation", curves.val, "val", "dots")]
    words = [f"{s.name} goes from {s.points[0][1]:.3f} to {s.points[-1][1]:.3f} at step {s.points[-1][0]}"
             for s in series if s.points]
    unit, drawn = f"{curves.unit}, log scale, by step", curves.train + curves.val
    if curves.floor is not None and drawn:
        words.append(f"the entropy of the language is {curves.floor:.3f}")
        low, high = (max(extreme(y for _, y in drawn), TINY) for extreme in (min, max))
        if curves.floor >= low * (low / high) ** 2:  # the losses then fill at least a third of the axis
            floor = [(0, curves.floor), (max(step for step, _ in drawn), curves.floor)]
            series.insert(0, Series(f"entropy of the language, {curves.floor:.3f}", floor, "floor", "dashes"))
        else:
            unit += f"; {words[-1]}, far below"
    return chart("Loss", "; ".join(words), series, unit, log=True, tall=True)


def _charts(records: list[dict], charts: list) -> Html:
    """Return charts of columns of a log, or empty HTML if it has none of these."""
    drawn = []
    for title, unit, across, curves in charts:
        series = []
        for (name, field), style in zip(curves.items(), ("train", "val"), strict=False):
            points = sorted(column(records, field, across))
            series.append(Series(name, points, style if len(curves) > 1 else "other"))
        words = [f"{s.name} between {min(ys):.4g} and {max(ys):.4g}, {ys[-1]:.4g} at the end".strip()
                 for s in series if (ys := [y for _, y in s.points])]
        drawn.append(chart(title, "; ".join(words), series, unit))
    return tag("div", drawn, class_="trio") if any(drawn) else Html()


def _samples(records: list[dict]) -> Html:
    rows = []
    for record in reversed([record for record in records if record.get("kind") == "sample"]):
        when = f"after {record['step']:,} steps" if record["step"] else "before training"
        rows.append(tag("div", tag("h3", when), tag("p", record["text"].strip()), class_="sample"))
    return section("What it writes", None, rows) if rows else Html()


def _settings(config: Any, facts: Any) -> Html:
    """Return a table of facts of the data and of all settings."""
    rows = [[name, repr(value) if isinstance(value, str) and not value.isprintable() else value]
            for name, value in (vars(facts) | config.flat()).items()]
    return table("data and settings", ["name", "value"], rows)
