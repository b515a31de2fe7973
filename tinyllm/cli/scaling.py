"""Implement `tinyllm scaling`, which measures a scaling law and predicts a larger run."""

import itertools
import json
from pathlib import Path

import numpy as np

from tinyllm.cli.command import command
from tinyllm.errors import UserError
from tinyllm.files import atomic_write_text, locked, read_json
from tinyllm.report.terminal import progress_bar, table


@command("scaling")
def scaling(points: str | None = None, *, out: str, seeds: int = 3) -> None:
    """Find out how the loss falls with parameters and tokens, and predict a larger run.

    Models of four sizes are trained with five budgets each, on facts whose lowest possible loss is known. The
    law L = E + A / N^alpha + B / D^beta is fitted to them; then a run of four times the FLOPs is trained.

    POINTS     a file of other runs, with params,tokens,loss on each line: the law is
               fitted to them, and nothing is trained
    --out DIR  where runs and a page are kept; a call that was killed goes on there
    --seeds N  how often each run is repeated

    example:
      tinyllm scaling --out scaling
      tinyllm scaling runs.csv --out scaling
    """
    from tinyllm.report import scaling as report
    from tinyllm.report.page import write
    from tinyllm.runs import scaling as study

    if seeds < 1:
        raise UserError(f"--seeds must be at least 1, got {seeds}")
    runs, notes, held = [study.read_points(points)] if points else [], [], None
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder), progress_bar("trained") as move:
        facts, kept = study.Facts(), folder / "points.json"
        done = read_json(kept, study.KEPT) if kept.exists() else {}

        def run(seed: int, width: int, steps: int) -> tuple[int, int, float]:
            if (name := f"seed {seed}, width {width}, {steps} steps") not in done:
                done[name] = study.measure(facts, width, steps, seed)
                atomic_write_text(kept, json.dumps(done, indent=1))
                move(len(done), seeds * (len(grid) + 1))
            return study.last(done[name])

        grid = list(itertools.product(study.WIDTHS, study.STEPS))
        if not points:
            runs = [np.array([run(seed, *sizes) for sizes in grid]) for seed in range(seeds)]
        law = study.fit_law(np.concatenate(runs))
        print("\n".join(table(report.HEAD, rows := report.rows(runs, law))), flush=True)
        if not points:
            params, tokens, _ = run(0, *study.LARGER)
            predicted = float(study.predicted_loss(law, params, tokens))
            loss = float(np.mean([run(seed, *study.LARGER)[2] for seed in range(seeds)]))
            held = params, tokens, loss, predicted
            notes = report.notes(held, law, facts.floor)
            print("\n".join(["", *notes]))
        write(folder / "scaling.html", report.page(np.concatenate(runs), law, rows, notes, held))
    print(f"\nsee {folder / 'scaling.html'} in a browser")
