"""Race tinyllm against other libraries: `python benchmarks/race.py NAME [--seconds S] [--threads N]`.

    train      GPT nano and mini beside PyTorch: eager and compiled, in float32 and bfloat16
    generate   GPT-2 and LLaMA beside transformers
    tokenizer  learning, encoding, decoding and splitting beside tiktoken, tokenizers, rustbpe and regex

The first contender of a race is tinyllm, and a ratio is the other's time as a multiple of its time. Each
must compute what tinyllm computes. `pip install --editable '.[peers]'` installs all libraries; one that is
not installed is left out, and a line says so.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial

import other_models
import other_tokenizers

import tinyllm as tl
from tinyllm.bench import rows
from tinyllm.bench.rows import BATCH, SIZES, Race
from tinyllm.cli.bench import introduce, run


def train(quick: bool) -> Iterator[Race]:
    """Yield the races of `tinyllm bench train`, with PyTorch."""
    for about, makers in rows.train_races(quick):
        name = about["setting"]
        torch = partial(other_models.torch_trainer, SIZES[name], BATCH[name])
        theirs = {"torch": torch, "torch bf16": partial(torch, bf16=True),
                  "torch compiled": partial(torch, compiled=True),
                  "torch compiled bf16": partial(torch, compiled=True, bf16=True)}
        yield about, makers | theirs


def generate(quick: bool) -> Iterator[Race]:
    """Yield the races of `tinyllm bench generate`, with transformers."""
    for about, makers in rows.generate_races(quick):
        theirs = partial(other_models.transformers_writer, SIZES[about["setting"]], about["task"])
        yield about, makers | {"transformers": theirs}


RACES: dict[str, tuple[Callable, float]] = {  # name -> races of (quick), seconds of each
    "train": (train, 20.0), "generate": (generate, 5.0),
    "tokenizer": (other_tokenizers.tokenizer, 3.0),
}


def main(argv: list[str] | None = None) -> None:
    """Run the races of one name."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("name", choices=RACES)
    parser.add_argument("--seconds", type=float, help="of each race")
    parser.add_argument("--threads", type=int, help="of every library (default: as many as there are CPUs)")
    parser.add_argument("--data", help="tokenizer: a file or a corpus")
    parser.add_argument("--quick", action="store_true", help="the smallest model or text only")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    args = parser.parse_args(argv)
    if args.threads:
        tl.threads(args.threads)
    races, seconds = RACES[args.name]
    if args.data and args.name != "tokenizer":
        parser.error("--data goes with tokenizer")
    given = {"data": args.data} if args.data else {}
    seconds = args.seconds if args.seconds is not None else seconds / (20 if args.quick else 1)
    run(args.name, races(args.quick, **given), seconds, introduce(args.json), args.json)


if __name__ == "__main__":
    main()
