"""Implement `tinyllm quantize` and `tinyllm merge`, which copy a run with other weights."""

from typing import Literal

from tinyllm.cli.command import command


@command("quantize")
def quantize(run: str | None = None, *, bits: Literal[8, 4] = 8, which: Literal["best", "last"] = "best",
             out: str | None = None, overwrite: bool = False) -> None:
    """Round a trained model's weights to 8 or 4 bits.

    The copy is smaller and generates faster, but cannot be trained any further.

    RUN          the folder of a training run; the newest in runs/ if not given
    --bits       bits of a weight
    --which      which checkpoint
    --out DIR    the folder of the new run (default RUN-intBITS)
    --overwrite  replace the run in DIR

    example:
      tinyllm quantize runs/stories-laptop --bits 8
      tinyllm generate runs/stories-laptop-int8 --prompt "Once"
    """
    copy_run(run, bits, out, which, overwrite)


@command("merge")
def merge(run: str | None = None, *, which: Literal["best", "last"] = "best", out: str | None = None,
          overwrite: bool = False) -> None:
    """Add a trained adapter to the weights of its start.

    The copy needs no start. It can be quantized, exported, or the start of others.

    RUN          a run with `lora.rank`; the newest in runs/ if not given
    --which      which checkpoint
    --out DIR    the folder of the new run (default RUN-merged)
    --overwrite  replace the run in DIR

    example:
      tinyllm merge runs/tuned --out runs/merged
    """
    copy_run(run, None, out, which, overwrite)


def copy_run(run: str | None, bits: int | None, out: str | None, which: str, overwrite: bool) -> None:
    """Write a merged or quantised copy of a run, and print its size and loss."""
    from tinyllm.cli.newest import chosen
    from tinyllm.compress.quantize_run import default_folder, quantize_run

    run = chosen(run)
    folder = default_folder(run, f"int{bits}" if bits else "merged") if out is None else out
    done = quantize_run(run, bits, folder, which, overwrite)
    share = done.bytes_after / done.bytes_before
    print(f"weights          {done.bytes_before:,} -> {done.bytes_after:,} bytes ({share:.2f} of the size)")
    if done.loss_after is None:
        print(f"validation loss  not measured: {done.no_loss}")
    else:
        print(f"validation loss  {done.loss_before:.4f} -> {done.loss_after:.4f} nats per token")
    print(f"wrote {done.run.folder}")
