"""Measure what filling in the middle teaches: `python benchmarks/middle.py [--rates 0 0.5] [--seeds N]`.

A model learns the programs of the world (`tinyllm data show world:program`), one a row, a share of them with
the middle moved to the end; nine in ten of these are whole lines. Then it fills gaps in functions whose
combinations of operations are in no training text, and the interpreter of the world runs their tests. For
each gap it writes some middles, of which pass@1 and pass@10 are estimated. A model with rate 0 gets what is
before the gap, and writes to the end of the function. `loss` is that of held-out programs from left to
right, in nats per character.
"""

import argparse
import time

import tinyllm as tl
from tinyllm.decode.middle import fill_middle
from tinyllm.ops import pass_at_k, split_middle
from tinyllm.rng import Random
from tinyllm.world import KINDS, Stream, World
from tinyllm.world.corpus import SEPARATOR, read_name

PROGRAM = KINDS["program"]
KEYWORDS = {"max_tokens": 64, "overflow": "stop"}


def body(text, random):
    """Cut out all lines beneath the docstring."""
    return "\n", ""


def line(text, random):
    """Cut out one line beneath the docstring."""
    lines = text.splitlines(keepends=True)  # the first ends the docstring
    at = 1 + random.integers(len(lines) - 1)
    return "".join(lines[:at]), "".join(lines[at + 1 :])


def anywhere(text, random):
    """Cut at two places anywhere, as in one of ten middles of the training."""
    before, _, after = split_middle(text, tuple(random.uniform(2).tolist()))
    return before, after


GAPS = (body, line, anywhere)


def train(seed, rate, args):
    """Train as `tinyllm train` does -> (model in evaluation mode, tokenizer, validation loss)."""
    settings = {
        "data": f"world:program,{args.dials},n=8000,seed={seed}", "seed": seed, "tokenizer": "bpe:512",
        "model.layers": 3, "model.width": 64, "model.hidden": 176, "model.heads": 2, "model.kv_heads": 2,
        "model.init_std": 64**-0.5, "model.context": 256,
        "pretrain.middle": rate, "pretrain.lines": 0.9, "pretrain.documents": True,
        "train.steps": args.steps, "train.batch": 32, "train.eval_every": args.steps,
        "train.sample_every": 10**6,
    }  # fmt: skip
    setup = tl.prepare(tl.make_config(settings | dict(pair.split("=") for pair in args.set)))
    losses = [event.val_loss_per_char for event in setup.train() if hasattr(event, "val_loss")]
    return setup.model.eval(), setup.tokenizer, losses[-1]


def ask(model, tokenizer, documents, gap, rate, args, **options):
    """Fill a gap of each document n times -> how often each passes its tests."""
    cuts = [gap(document.answer, Random(i, gap.__name__)) for i, document in enumerate(documents)]
    around = zip(documents, cuts, strict=True)
    gaps = [(document.prompt + before, after + SEPARATOR) for document, (before, after) in around]
    if rate:
        found = fill_middle(model, tokenizer, gaps, suffix_first=not args.psm, **KEYWORDS, **options)
    else:
        prompts = [before for before, _ in gaps]
        rows = model.generate(prompts, tokenizer=tokenizer, stop=[SEPARATOR], **KEYWORDS, **options)
        found = [tokenizer.decode(ids).partition(SEPARATOR)[0] for ids in rows]
    n, passed = len(found) // len(documents), []
    for i, (document, (before, after)) in enumerate(zip(documents, cuts, strict=True)):
        entry = PROGRAM.entry(document)
        answers = (before + text + (after if rate else "") for text in found[n * i : n * (i + 1)])
        passed.append(int(sum(PROGRAM.score_answer(answer, entry) for answer in answers)))
    return passed, n


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rates", type=float, nargs="+", default=[0.0, 0.5], help="shares of windows")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--dials", default="parts=1,examples=0", help="of world:program")
    parser.add_argument("--asked", type=int, default=100, help="functions with a gap")
    parser.add_argument("--samples", type=int, default=10, help="middles for each gap")
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--psm", action="store_true", help="ask in the order PSM, not SPM")
    parser.add_argument("--threads", type=int, help="of the kernels")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="other settings of a run")
    args = parser.parse_args(argv)
    if args.threads:
        tl.threads(args.threads)
    for seed in range(args.first, args.first + args.seeds):
        asked = Stream(World(), PROGRAM, read_name(f"world:program,{args.dials}").dials, seed, "test")
        documents = [asked[i] for i in range(args.asked)]
        for rate in args.rates:
            began = time.process_time()
            model, tokenizer, loss = train(seed, rate, args)
            print(f"seed {seed} rate {rate}: loss {loss:.4f}", end="")
            print(f" after {time.process_time() - began:.0f} s of the processor", flush=True)
            for gap in GAPS:
                greedy, _ = ask(model, tokenizer, documents, gap, rate, args, sampling=tl.Sampling(0))
                drawn = tl.Sampling(args.temperature)
                passed, n = ask(model, tokenizer, documents, gap, rate, args, sampling=drawn, n=args.samples)
                chances = (f"pass@{k} {pass_at_k(passed, n, k):.3f}" for k in (1, 10) if k <= n)
                print(f"  {gap.__name__:9} greedy {sum(greedy) / len(greedy):.3f}", *chances, flush=True)


if __name__ == "__main__":
    main()
