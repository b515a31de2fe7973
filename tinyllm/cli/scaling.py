"""Implement `tinyllm scaling`, which measures a scaling law and predicts a larger run."""

from pathlib import Path
from typing import Any

import numpy as np

from tinyllm.cli.command import command
from tinyllm.errors import UserError
from tinyllm.files import atomic_write_text
from tinyllm.ops import compute_optimal
from tinyllm.report import page
from tinyllm.report.svg import Series, chart
from tinyllm.report.terminal import progress_bar, table
from tinyllm.runs import scaling as study

HEAD = ["runs", "E", "alpha", "beta", "a in N ~ C^a"]
LAW = "L = E + A / N^alpha + B / D^beta for N parameters and D tokens; the best N for C FLOPs grows as C^a"


@command("scaling")
def scaling(points: str | None = None, *, out: str, seeds: int = 3) -> None:
    """Find out how the loss falls with parameters and tokens, and predict a larger run.

    Models of nine sizes are trained with one to four budgets of facts, whose lowest possible loss is known.
    The law L = E + A / N^alpha + B / D^beta is fitted to them. A run of 3.7 times the FLOPs tests it.

    POINTS     a file of other runs, with params,tokens,loss on each line: the law is
               fitted to them, and nothing is trained
    --out DIR  where a page and the runs (points.csv) are written
    --seeds N  how often each run is repeated

    examples:
      tinyllm scaling --out laws
      tinyllm scaling laws/points.csv --out again
    """
    if not 1 <= seeds <= 100:
        raise UserError(f"--seeds must be from 1 to 100, got {seeds}")
    given, folder = study.read_points(points)[None] if points else None, Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    runs, larger = _train(seeds) if given is None else (given, None)
    every = np.concatenate(runs)
    law = study.fit_law(every)
    found = {f"seed {seed}": _numbers(study.fit_law(each)) for seed, each in enumerate(runs) if larger}
    low, high = study.intervals(every, law, _numbers)
    found |= {"all": _numbers(law), "95 % from": low, "95 % to": high}
    rows = [[name, *(f"{x:.3f}" for x in numbers)] for name, numbers in found.items()]
    notes = _compare(law, every, *larger) if larger else []
    lines = [",".join(map(str, point)) for point in every.tolist()]
    atomic_write_text(folder / "points.csv", "\n".join(["# params,tokens,loss", *lines, ""]))
    body = [page.section("The law", LAW, page.table("laws", HEAD, rows), [page.tag("p", x) for x in notes]),
            _chart(law, every, larger)]
    page.write(folder / "scaling.html", page.assemble(
        "A scaling law", "Fitted to small runs, to predict larger ones.", body, "Made by tinyllm."))
    print(*table(HEAD, rows), *notes, f"see {folder / 'scaling.html'} in a browser", sep="\n")


def _train(seeds: int) -> tuple[np.ndarray, tuple[float, ...]]:
    """Train models of all sizes with all budgets -> points (seeds, R, 3), and the mean larger run."""
    jobs = [(*run, seed) for seed in range(seeds) for run in study.RUNS]
    points, facts = [], study.Facts()
    with progress_bar("trained") as move:
        for job in jobs:
            points.append(study.measure(facts, *job)[-1])
            move(len(points), len(jobs))
    runs = np.array(points).reshape(seeds, -1, 3)
    return runs[:, :-1], tuple(runs[:, -1].mean(axis=0).tolist())


def _numbers(law: Any) -> list[float]:
    return [law[0], law[2], law[4], law[4] / (law[2] + law[4])]


def _compare(law: Any, points: np.ndarray, params: float, tokens: float, loss: float) -> list[str]:
    """Return sentences about the floor, and about a larger run, which the law has not seen."""
    floor, predicted = study.Facts().floor, study.predicted_loss(law, params, tokens)
    low, high = study.intervals(points, law, lambda law: study.predicted_loss(law, params, tokens))
    return [f"floor: {law[0]:.4f} fitted, {floor:.4f} in truth: {100 * (law[0] / floor - 1):+.2f} %",
            f"larger run, {params:,.0f} parameters, {tokens:,.0f} facts: {predicted:.4f} predicted "
            f"({low:.4f} to {high:.4f}), {loss:.4f} measured: {100 * (predicted / loss - 1):+.2f} %, or "
            f"{100 * (predicted - loss) / (loss - floor):+.1f} % of what is above the floor"]


def _chart(law: np.ndarray, points: np.ndarray, larger: tuple[float, ...] | None) -> page.Html:
    """Return a chart of runs and of the law at its best sizes, and perhaps of a larger run."""
    params, tokens, losses = points.T
    flops = 6 * params * tokens
    budgets = np.geomspace(flops.min(), 4 * flops.max(), 30)
    best = study.predicted_loss(law, *compute_optimal(law, budgets))
    series = [Series("runs", [*zip(flops, losses, strict=True)], "other", "dots"),
              Series("the law at its best sizes", [*zip(budgets, best, strict=True)], "train")]
    if larger:
        at, predicted = 6 * larger[0] * larger[1], study.predicted_loss(law, *larger[:2])
        series += [Series("predicted", [(at, predicted)], "floor", "dots"),
                   Series("measured", [(at, larger[2])], "val", "dots")]
    return chart("Loss", "runs and law", series, "nats, by FLOPs 6 N D", log=True, tall=True, log_x=True)
