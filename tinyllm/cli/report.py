"""Implement `tinyllm report`, which rewrites the report.html of a run."""

from tinyllm.cli.command import command


@command("report")
def report(run: str | None = None) -> None:
    """Write the report.html of a run again.

    RUN  the folder of a run; the newest in runs/ if not given

    example:
      tinyllm report runs/stories-laptop
    """
    from tinyllm.cli.opening import chosen
    from tinyllm.report.run import write_report
    from tinyllm.runs.run import Run

    print(f"wrote {write_report(Run(chosen(run)))}")
