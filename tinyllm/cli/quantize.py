"""`tinyllm quantize RUN`: a copy of a run whose weights have 8 or 4 bits."""

from tinyllm.cli import add_command

EXAMPLE = """example:
  tinyllm quantize runs/stories-nano --bits 8
  tinyllm generate runs/stories-nano-int8 --prompt "Once"
"""


def add_parser(subparsers):
    """Add `tinyllm quantize`."""
    parser = add_command(
        subparsers,
        "quantize",
        "round a trained model's weights to 8 or 4 bits",
        EXAMPLE,
        "Write a copy of a run whose weights have 8 or 4 bits: smaller, and faster to generate with.\n"
        "It cannot be trained any further.",
    )
    parser.add_argument("RUN", help="the folder of a training run")
    parser.add_argument("--bits", type=int, choices=(8, 4), default=8, help="bits of a weight (default 8)")
    parser.add_argument("--which", choices=("best", "last"), default="best",
                        help="which checkpoint (default best)")  # fmt: skip
    parser.add_argument("--out", metavar="DIR", help="the folder of the new run (default RUN-intBITS)")
    parser.add_argument("--overwrite", action="store_true", help="replace the run in DIR")
    parser.set_defaults(run=run)


def run(args):
    """Write the run, and say what became of size and loss."""
    from tinyllm.compress import default_folder, quantize_run

    out = args.out or default_folder(args.RUN, args.bits)
    done = quantize_run(args.RUN, args.bits, out, args.which, args.overwrite)
    share = done.bytes_after / done.bytes_before
    print(f"weights          {done.bytes_before:,} -> {done.bytes_after:,} bytes ({share:.2f} of the size)")
    if done.loss_after is None:
        print(f"validation loss  not measured: {done.no_loss}")
    else:
        print(f"validation loss  {done.loss_before:.4f} -> {done.loss_after:.4f} nats per token")
    print(f"wrote {done.run.folder}")
