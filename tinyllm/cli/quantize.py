"""Implement `tinyllm quantize` and `tinyllm merge`, which copy a run with other weights."""

import os
from typing import Literal

from tinyllm.cli.command import command


@command("quantize")
def quantize(run: str | None = None, *, bits: Literal[8, 4] = 8, out: str | None = None,
             overwrite: bool = False) -> None:
    """Round a trained model's weights to 8 or 4 bits.

    The copy is smaller and generates faster, but cannot be trained any further.

    RUN          the folder of a training run; the newest in runs/ if not given
    --bits       bits of a weight
    --out DIR    the folder of the new run (default RUN-intBITS)
    --overwrite  replace the run in DIR

    example:
      tinyllm quantize runs/stories-laptop --bits 8
      tinyllm generate runs/stories-laptop-int8 --prompt "Once"
    """
    copy_run(run, bits, out, overwrite)


@command("merge")
def merge(run: str | None = None, *, out: str | None = None, overwrite: bool = False) -> None:
    """Add a trained adapter to the weights of its start.

    The copy needs no start. It can be quantized, exported, or the start of others.

    RUN          a run with `lora.rank`; the newest in runs/ if not given
    --out DIR    the folder of the new run (default RUN-merged)
    --overwrite  replace the run in DIR

    example:
      tinyllm merge runs/tuned --out runs/merged
    """
    copy_run(run, None, out, overwrite)


def copy_run(run: str | None, bits: int | None, out: str | None, overwrite: bool) -> None:
    """Write a merged or quantised copy of a run, and print its size."""
    from tinyllm.cli.opening import chosen
    from tinyllm.compress.quantize_run import quantize_run

    run = chosen(run)
    out = out or os.path.relpath(f"{os.path.abspath(run)}-{f'int{bits}' if bits else 'merged'}")
    before, after = quantize_run(run, bits, out, overwrite)
    print(f"weights  {before:,} -> {after:,} bytes ({after / before:.2f} of the size)\nwrote {out}")
