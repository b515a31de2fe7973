"""Draw the page of an evaluation: each task's score with its interval, beside chance and ceiling."""

from collections import defaultdict
from typing import Any

from tinyllm.report.page import Html, assemble, cards, section, table, tag
from tinyllm.report.svg import Series, chart

WIDE, HIGH = 220, 16  # of the bar in a row; with more than one model, bars are shorter


def page(suite: Any, models: list[dict[str, Any]], pairs: list[dict[str, Any]]) -> str:
    """Return the page of one or more models that were asked the same suite."""
    names = [model["model"] for model in models]
    facts = [(model["model"], f"{model['parameters']:,}",
              f"parameters; {sum(row['seconds'] for row in model['rows']):,.0f} s, "
              f"{sum(row.get('tokens', 0) for row in model['rows']):,} tokens") for model in models]
    families = defaultdict(list)
    for i, row in enumerate(suite.rows):
        families[row.family or "tasks"].append(i)
    body = [cards(facts)]
    body += [section(family, None, _table(suite, models, pairs, places)) for family, places in
             families.items()]
    if len(models) > 2:
        body.append(section("Score by size", "Which tasks grow with the model, which jump, which never come",
                            tag("div", [_curve(suite.rows[i], i, models) for i in range(len(suite.rows))],
                                class_="trio")))
    body.append(section("Asked and answered", "The first questions of each task; calls of tools in brackets",
                        _examples(suite, models)))
    missing = {why: row["task"] for model in models for row in model["rows"] if (why := row.get("why"))}
    if missing:
        body.append(section("Missing", "Why some models could not be asked",
                            tag("ul", [tag("li", f"{task}: {why}") for why, task in missing.items()])))
    return assemble(f"{suite.name}: {', '.join(names)}", suite.help, body,
                    "Bars are scores, lines 95 % intervals, dashes what guessing reaches, strokes what the "
                    "best model could reach. Made by tinyllm.")


def _table(suite, models, pairs, places):
    """Return a table of some rows of the suite, with a column for each model."""
    rows = []
    for i in places:
        row = suite.rows[i]
        cells = [_cell(model["rows"][i], next((pair for pair in pairs if pair["row"] == i
                                               and pair["second"] == model["model"]), None),
                       min(WIDE, 4 * WIDE // (1 + 2 * len(models))))
                 for model in models]
        name = f"{row.task.removeprefix('world:')}{f' ({row.change})' if row.change else ''}"
        rows.append([[name, tag("small", f" {row.note}" if row.note else "")], row.metric, row.shots, *cells])
    return table("scores", ["task", "metric", "shots", *(model["model"] for model in models)], rows, "wrap")


def _examples(suite, models):
    """Return a table of a few questions of each task, with the models' answers."""
    rows = []
    for row, *same in zip(suite.rows, *(model["rows"] for model in models), strict=True):
        for k, (question, _, _) in enumerate(next(filter(None, (x.get("examples") for x in same)), [])):
            said = [x["examples"][k] for x in same if x.get("examples")]
            answers = [[text.strip() or "(nothing)", tag("small", " right" if score == 1 else " wrong")]
                       for _, text, score in said]
            rows.append([f"{row.task.removeprefix('world:')}, {row.metric}", question[-400:], *answers])
    return table("answers", ["task", "question", *(model["model"] for model in models)], rows, "wrap")


def _cell(row, pair, wide):
    """Return a score as a bar with its interval and chance, or say why it is missing."""
    if row["score"] is None:
        return tag("span", "missing", title=row.get("why", "no number"), class_="unit")
    said, interval = f"{row['score']:.3f}, n {row['n']}", ""
    if row["low"] is not None:
        interval = f"{row['low']:.3f} to {row['high']:.3f}"
    if pair and pair["p"] < 0.05:
        said += f"; {pair['difference']:+.3f}, p {pair['p']:.3f}"
    return [_bar(row, wide), tag("div", tag("small", said)), tag("div", tag("small", interval))]


def _bar(row, wide):
    """Return a bar from 0 to 1 as SVG."""
    def x(value):
        return round(wide * min(max(value, 0.0), 1.0), 1)

    shapes = [tag("rect", x=0, y=3, width=x(row["score"]), height=HIGH - 6, fill="var(--train)",
                  opacity=0.75)]
    if row["low"] is not None:
        shapes.append(tag("path", d=f"M{x(row['low'])} {HIGH / 2}H{x(row['high'])}", stroke="var(--ink)",
                          stroke_width=1.5))
    for value, dash in ((row["chance"], "3 2"), (row.get("ceiling"), None)):
        if value is not None:
            shapes.append(tag("path", d=f"M{x(value)} 0V{HIGH}", stroke="var(--val)", stroke_width=1.5,
                              stroke_dasharray=dash))
    frame = tag("rect", x=0, y=3, width=wide, height=HIGH - 6, fill="none", stroke="var(--rule)")
    return tag("svg", frame, shapes, viewBox=f"0 0 {wide} {HIGH}", width=wide, height=HIGH,
               role="img", aria_label=f"score {row['score']:.3f}")


def _curve(row, i, models):
    """Return a chart of a task's score over the parameters of the models, or nothing if some are missing."""
    points = sorted((model["parameters"], model["rows"][i]["score"]) for model in models
                    if model["rows"][i]["score"] is not None)
    if len({x for x, _ in points}) < 3:
        return Html()
    words = f"from {points[0][1]:.3f} to {points[-1][1]:.3f}"
    chance = models[0]["rows"][i]["chance"]
    series = [Series("score", points, "train")]
    if chance is not None:
        series.append(Series("chance", [(x, chance) for x, _ in points], "floor"))
    return chart(row.task.removeprefix("world:"), words, series, f"{row.metric}, by parameters", log_x=True)
