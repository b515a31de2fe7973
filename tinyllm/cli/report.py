"""`tinyllm report RUN`: write the report.html of a run again."""

from pathlib import Path

from tinyllm.cli.command import command


@command("report")
def report(run: str | None = None, *, out: str | None = None) -> None:
    """Write the report.html of a run again.

    RUN         the folder of a run; the newest in runs/ if not given
    --out FILE  where to write it (default RUN/report.html)

    example:
      tinyllm report runs/stories-laptop
      tinyllm report runs/stories-laptop --out my-first-model.html
    """
    from tinyllm.errors import UserError
    from tinyllm.report.run import write_report
    from tinyllm.train.run import Run, list_runs

    found = [Run(run)] if run is not None else list_runs()
    if not found:
        raise UserError("there is no run in runs/: give its folder, or make one with `tinyllm train`")
    path = write_report(found[0], out and Path(out))
    print(f"wrote {path}")
