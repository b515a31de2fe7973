"""Implement `tinyllm report`, which rewrites the report.html of a run."""

from pathlib import Path

from tinyllm.cli.command import command


@command("report")
def report(run: str | None = None, *, out: str | None = None) -> None:
    """Write the report.html of a run again.

    RUN         the folder of a run; the newest in runs/ if not given
    --out FILE  the file to write (default RUN/report.html)

    example:
      tinyllm report runs/stories-laptop
      tinyllm report runs/stories-laptop --out my-first-model.html
    """
    from tinyllm.cli.opening import chosen
    from tinyllm.report.run import write_report
    from tinyllm.runs.run import Run

    path = write_report(Run(chosen(run)), out and Path(out))
    print(f"wrote {path}")
