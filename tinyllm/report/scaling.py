"""Show a scaling law: the fits, the best sizes, and how well a larger run was predicted."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyllm.ops import compute_optimal
from tinyllm.report import page as parts
from tinyllm.report.page import section, tag
from tinyllm.report.svg import Series, chart
from tinyllm.runs.scaling import fit_law, intervals, isoflop, predicted_loss

HEAD = ["runs", "E", "alpha", "beta", "a in N ~ C^a"]


def numbers(law: Any) -> list[float]:
    """Return E, alpha, beta, and the exponent a of the best size: beta / (alpha + beta)."""
    return [law[0], law[2], law[4], law[4] / (law[2] + law[4])]


def rows(runs: Sequence[np.ndarray], law: np.ndarray) -> list[list[str]]:
    """Return the law of each seed's runs, and that of all with 95 % intervals, as texts."""
    laws = [*((f"seed {seed}", fit_law(points)) for seed, points in enumerate(runs)), ("all", law)]
    low, high = intervals(np.concatenate(runs), law, numbers)
    return [[name, *(f"{x:.3f}" for x in numbers(each))] for name, each in laws[len(runs) == 1 :]] + [
        ["95 %", *(f"{x:.3f} to {y:.3f}" for x, y in zip(low, high, strict=True))]]


def notes(held: tuple[float, ...], law: np.ndarray, floor: float) -> list[str]:
    """Return sentences about the floor that was found, and the larger run (N, D, loss, predicted loss)."""
    params, tokens, loss, predicted = held
    return [f"floor: {law[0]:.4f} fitted, {floor:.4f} in truth: {100 * (law[0] / floor - 1):+.2f} %",
            f"larger run, {params:,} parameters, {tokens:,} facts: {predicted:.4f} predicted, {loss:.4f} "
            f"measured: {100 * (predicted / loss - 1):+.2f} %, or "
            f"{100 * (predicted - loss) / (loss - floor):+.1f} % of what is above the floor"]


def page(points: np.ndarray, law: np.ndarray, table: list[list[str]], said: list[str], held: Any) -> str:
    """Return the page of a law that was fitted to points (R, 3), and perhaps of a larger run."""
    params, tokens, losses = points.T
    flops, most = 6 * params * tokens, 6 * held[0] * held[1] if held else 6 * (params * tokens).max()
    budgets = np.geomspace(flops.min(), most, 30)
    best, read = compute_optimal(law, budgets)
    curves = [Series("runs", list(zip(flops, losses, strict=True)), "other", "dots"),
              Series("the law at its best sizes",
                     list(zip(budgets, predicted_loss(law, best, read), strict=True)), "train")]
    if held:
        curves += [Series(name, [(most, x)], style, "dots") for name, x, style in (
            ("predicted", held[3], "floor"), ("measured", held[2], "val"))]
    sizes = [Series("lowest points of parabolas", isoflop(points, budgets), "val", "dots"),
             Series("the law", list(zip(budgets, best, strict=True)), "train")]
    drawn = [chart(name, unit, series, f"{unit}, by FLOPs 6 N D", log=True, tall=True, log_x=True)
             for name, unit, series in (("Loss", "nats", curves), ("The best size", "parameters", sizes))]
    body = [section("The law", "L = E + A / N^alpha + B / D^beta for N parameters and D tokens",
                    parts.table("laws", HEAD, table), tag("ul", [tag("li", each) for each in said])),
            tag("div", drawn, class_="duo")]
    return parts.assemble("A scaling law", "Fitted to small runs, and held to a larger one.", body,
                          "Intervals: bootstraps over runs. Made by tinyllm.")
