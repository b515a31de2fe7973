"""Show an evaluation, as lines of text or as a page: each task's score with its interval, beside chance."""

import math
from collections import defaultdict
from dataclasses import replace
from itertools import chain, cycle, pairwise
from typing import Any

from tinyllm.report import page as parts
from tinyllm.report.page import Html, section, tag
from tinyllm.report.svg import Series, chart
from tinyllm.report.terminal import columns, paragraph, printable, table

WIDE, HIGH = 220, 16  # of the bar in a row; with more than one model, bars are shorter
FULL = {"exposure": 7.0}  # metric: the score of a whole bar; it is 1 for the others


def lines(models: list[dict[str, Any]], pairs: list[dict[str, Any]]) -> list[str]:
    """Return the scores of models, and how they differ from those of the first, as lines of text."""
    said, apart, head = [], _apart(pairs), ["task", "metric", "score", "95 %", "chance", "best", "n"]
    for model in models:
        cells = [_cells(row, apart.get((model["model"], i))) for i, row in enumerate(model["rows"])]
        room = max(16, columns() - max(sum(map(len, others)) for _, *others in [head, *cells]) - 14)
        cells = [[printable(name if len(name) <= room else f"{name[: room - 3]}..."), *others]
                 for name, *others in cells]
        said += [f"{printable(model['model'])}, {model['parameters']:,} parameters",
                 *table(head, cells, "<<<<>>>"), *map(paragraph, map(printable, _notes(model["rows"]))), ""]
    if not pairs:
        return said[:-1]
    return [*said, paragraph(f"better, worse: than {printable(models[0]['model'])} on the same questions "
                             "(p < 0.05 by a paired test, each row for itself)", further=0)]


def spread(models: list[dict[str, Any]], configs: list[Any]) -> list[str]:
    """Return the mean, the lowest and the highest score of runs that differ in their seed only, as lines."""
    seeds = {config.seed for config in configs if config}
    if not 1 < len(models) == len(seeds) or len({repr(replace(config, seed=0)) for config in configs}) > 1:
        return []
    rows = []
    for first, *others in zip(*(model["rows"] for model in models), strict=True):
        known = [row["score"] for row in (first, *others) if row["score"] is not None]
        if len(known) == len(models):
            mean = math.fsum(known) / len(known)
            rows.append([*_cells(first)[:2], f"{mean:.3f}", f"{min(known):.3f} to {max(known):.3f}"])
    return ["", *table([f"{len(models)} seeds", "metric", "mean", "lowest to highest"], rows, "<<<<")]


def page(suite: Any, models: list[dict[str, Any]], pairs: list[dict[str, Any]]) -> str:
    """Return the page of one or more models that were asked the same suite."""
    names, rows, families = [model["model"] for model in models], models[0]["rows"], defaultdict(list)
    facts = [(model["model"], f"{model['parameters']:,}",
              f"parameters; {sum(row['seconds'] for row in model['rows']):,.0f} s, "
              f"{sum(row['tokens'] for row in model['rows']):,} tokens") for model in models]
    for i, row in enumerate(rows):
        families[row["family"] or "tasks"].append(i)
    body = [parts.cards(facts)]
    body += [section(family, None, _scores(models, _apart(pairs), places)) for family, places in
             families.items()]
    if len(models) > 2:
        body.append(section("Score by size", "Which tasks grow with the model, which jump, which never come",
                            tag("div", [_curve(models, i) for i in range(len(rows))], class_="trio")))
    body.append(section("Asked and answered", "The first questions of each task; calls of tools in brackets",
                        _examples(models)))
    body += _transcripts(models)
    notes = [tag("li", f"{model['model']}: {note}") for model in models for note in _notes(model["rows"])]
    if notes:
        body.append(section("Notes", "What is missing, cut off, or asked with fewer shots", tag("ul", notes)))
    return parts.assemble(f"{suite.name}: {', '.join(names)}", suite.help, body,
                          "Bars are scores, lines 95 % intervals, dashes what guessing reaches, strokes what "
                          "the best model could reach. Made by tinyllm.")


def _apart(pairs):
    """Return {(model, place of a row): the test} where a model differs from the first one."""
    return {(pair["second"], pair["row"]): pair for pair in pairs if pair["p"] < 0.05}


def _name(row):
    """Return what a row asks, in a few words."""
    return row["task"].removeprefix("world:") + (f" ({row['change']})" if row["change"] else "")


def _interval(row):
    return "" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"


def _cells(row, differs=None):
    """Return a row's name, metric, score, interval, chance, ceiling and number of questions as texts."""
    name = _name(row) + (f" {row['shots']}-shot" if row["shots"] else "")
    score, chance = ("" if row[key] is None else f"{row[key]:.3f}" for key in ("score", "chance"))
    if differs:
        score += " better" if differs["better"] else " worse"
    best = f"{row['ceiling']:.3f}" if score else ""
    return [name, row["metric"], score or "-", _interval(row), chance, best, str(row["n"] or "")]


def _notes(rows):
    """Return sentences about rows that are missing, cut off, or asked with fewer shots."""
    notes = defaultdict(list)
    for row in rows:
        name = _name(row)
        if "why" in row:
            notes[f"missing: {row['why']}"].append(name)
        if row["fewer_shots"]:
            notes["fewer shots, because not all fit into the context"].append(
                f"{name} ({row['fewer_shots']} questions)")
        if row["cut_off"] > row["n"] / 10:
            notes["answers cut off before their end"].append(f"{name} ({row['cut_off']})")
    return [f"{', '.join(names[:4])}{', ...' if names[4:] else ''}: {why}" for why, names in notes.items()]


def _scores(models, apart, places):
    """Return a table of some rows, with a column for each model."""
    rows, wide = [], min(WIDE, 4 * WIDE // (1 + 2 * len(models)))
    for i in places:
        row = models[0]["rows"][i]
        cells = [_cell(model["rows"][i], apart.get((model["model"], i)), wide) for model in models]
        note = tag("small", f" {row['note']}" if row["note"] else "")
        rows.append([[_name(row), note], row["metric"], row["shots"], *cells])
    head = ["task", "metric", "shots", *(model["model"] for model in models)]
    return parts.table("scores", head, rows, "wrap")


def _examples(models):
    """Return a table of a few questions of each task, with the models' answers."""
    rows = []
    for same in zip(*(model["rows"] for model in models), strict=True):
        for asked in zip(*(x["examples"] for x in same if x["examples"]), strict=False):
            answers = [[text.strip() or "(nothing)", tag("small", " right" if score == 1 else " wrong")]
                       for _, text, score, _ in asked]
            rows.append([f"{_name(same[0])}, {same[0]['metric']}", asked[0][0][-400:], *answers])
    return parts.table("answers", ["task", "question", *(model["model"] for model in models)], rows, "wrap")


def _transcripts(models):
    """Yield a section for each of these answers in which tools were called, with a block for each turn."""
    for model in models:
        for row in model["rows"]:
            for question, text, score, told in row["examples"]:
                ends, who = [0, *chain(*told), len(text)], chain(["question"], cycle(["model", "tool"]))
                turns = [question, *(text[start:end].strip() for start, end in pairwise(ends))]
                if told:
                    yield section(f"Transcript: {_name(row)}, {model['model']}",
                                  f"The answer is {'right' if score == 1 else 'wrong'}",
                                  [_turn(*turn) for turn in zip(who, turns, strict=False)])


def _turn(who, said):
    """Return a block of a transcript; what a tool said has other letters, and an error a bar beside it."""
    bar = "found" if said.startswith("=> error: ") else None
    content = tag("samp", said) if who == "tool" else said
    return tag("div", tag("h3", who), tag("p", content, class_=bar), class_="sample")


def _cell(row, differs, wide):
    """Return a score as a bar with its interval and chance, or say why it is missing."""
    if row["score"] is None:
        return tag("span", "missing", title=row.get("why", "no number"), class_="unit")
    said = f"{row['score']:.3f}, n {row['n']}"
    if differs:
        said += f"; {differs['difference']:+.3f}, p {differs['p']:.3f}"
    return [_bar(row, wide), tag("div", tag("small", said)), tag("div", tag("small", _interval(row)))]


def _bar(row, wide):
    """Return a bar from 0 to 1, or to the metric's largest score, as SVG."""
    def x(value):
        return round(wide * min(max(value / FULL.get(row["metric"], 1.0), 0.0), 1.0), 1)

    shapes = [tag("rect", x=0, y=3, width=x(row["score"]), height=HIGH - 6, fill="var(--train)",
                  opacity=0.75)]
    if row["low"] is not None:
        shapes.append(tag("path", d=f"M{x(row['low'])} {HIGH / 2}H{x(row['high'])}", stroke="var(--ink)",
                          stroke_width=1.5))
    for value, dash in ((row["chance"], "3 2"), (row["ceiling"], None)):
        if value is not None:
            shapes.append(tag("path", d=f"M{x(value)} 0V{HIGH}", stroke="var(--val)", stroke_width=1.5,
                              stroke_dasharray=dash))
    frame = tag("rect", x=0, y=3, width=wide, height=HIGH - 6, fill="none", stroke="var(--rule)")
    return tag("svg", frame, shapes, viewBox=f"0 0 {wide} {HIGH}", width=wide, height=HIGH,
               role="img", aria_label=f"score {row['score']:.3f}")


def _curve(models, i):
    """Return a chart of a task's score over the parameters of the models, or nothing if some are missing."""
    row = models[0]["rows"][i]
    points = sorted((model["parameters"], model["rows"][i]["score"]) for model in models
                    if model["rows"][i]["score"] is not None)
    if len({x for x, _ in points}) < 3:
        return Html()
    words = f"from {points[0][1]:.3f} to {points[-1][1]:.3f}"
    series = [Series("score", points, "train")]
    if row["chance"] is not None:
        series.append(Series("chance", [(x, row["chance"]) for x, _ in points], "floor"))
    return chart(_name(row), words, series, f"{row['metric']}, by parameters", log_x=True)
