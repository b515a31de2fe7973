"""Implement `tinyllm merge`, which adds a trained adapter to the weights of its base model."""

from typing import Literal

from tinyllm.cli.command import command


@command("merge")
def merge(run: str | None = None, *, which: Literal["best", "last"] = "best",
          out: str | None = None, overwrite: bool = False) -> None:  # fmt: skip
    """Add a trained adapter to the weights of its base model.

    The result needs no base: it can be quantized, exported, or the start of a new training.

    RUN          a run with `lora.rank`, or the folder of an adapter; the newest run in
                 runs/ if not given
    --which      which checkpoint
    --out DIR    the folder of the new run or model (default RUN-merged)
    --overwrite  replace the run in DIR

    example:
      tinyllm merge runs/tuned --out runs/merged
    """
    from tinyllm.cli.newest import chosen
    from tinyllm.compress.merge_run import merge_run
    from tinyllm.compress.quantize_run import default_folder

    run = chosen(run)
    folder = default_folder(run, "merged") if out is None else out
    merge_run(run, folder, which, overwrite)
    print(f"wrote {folder}")
