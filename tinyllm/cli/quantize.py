"""Implement `tinyllm quantize`, which copies a run with weights of 8 or 4 bits."""

from typing import Literal

from tinyllm.cli.command import command


@command("quantize")
def quantize(
    run: str | None = None,
    *,
    bits: Literal[8, 4] = 8,
    which: Literal["best", "last"] = "best",
    out: str | None = None,
    overwrite: bool = False,
) -> None:
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
    from tinyllm.cli.newest import chosen
    from tinyllm.compress.quantize_run import default_folder, quantize_run

    run = chosen(run)
    folder = default_folder(run, f"int{bits}") if out is None else out
    done = quantize_run(run, bits, folder, which, overwrite)
    share = done.bytes_after / done.bytes_before
    print(f"weights          {done.bytes_before:,} -> {done.bytes_after:,} bytes ({share:.2f} of the size)")
    if done.loss_after is None:
        print(f"validation loss  not measured: {done.no_loss}")
    else:
        print(f"validation loss  {done.loss_before:.4f} -> {done.loss_after:.4f} nats per token")
    print(f"wrote {done.run.folder}")
