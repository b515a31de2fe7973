"""Measure what filling in the middle teaches: `python benchmarks/middle.py [--rates 0 0.5] [--seeds N]`.

A model learns the programs of the world (`tinyllm data show world:program`), in a share of the windows with
the middle moved to the end. Then it fills gaps in functions whose combinations of operations are in no
training text, and the interpreter of the world runs their tests. For each gap it writes some middles, of
which pass@1 and pass@10 are estimated. A model with rate 0 gets what is before the gap, and writes to the
end of the function. `loss` is that of held-out programs from left to right, in nats per character.
"""

import argparse
import time

import tinyllm as tl
from tinyllm.middle import fill_middle
from tinyllm.ops import pass_at_k, split_middle
from tinyllm.rng import Random
from tinyllm.world import KINDS, Stream, World
from tinyllm.world.corpus import SEPARATOR, read_name

PROGRAM = KINDS["program"]
KEYWORDS = {"max_tokens": 64, "overflow": "stop"}


def line(body, random):
    """Cut out one line."""
    lines = body.splitlines(keepends=True)
    at = random.integers(len(lines))
    return "".join(lines[:at]), "".join(lines[at + 1 :])


def anywhere(body, random):
    """Cut at two places anywhere, as in training."""
    before, _, after = split_middle(body, tuple(random.uniform(2).tolist()))
    return before, after


GAPS = {"body": lambda body, random: ("", ""), "line": line, "anywhere": anywhere}


def train(seed, rate, steps, args):
    """Train as `tinyllm train` does -> (model in evaluation mode, tokenizer, validation loss)."""
    settings = {
        "data": f"world:program,{args.dials},n={args.documents},seed={seed}", "seed": seed,
        "tokenizer": args.tokenizer, "model.context": args.context,
        "pretrain.middle": rate, "pretrain.short": 0.0,
        "train.steps": steps, "train.batch": args.batch, "train.lr": args.lr, "train.eval_every": steps,
        "train.sample_every": 10**6,
    }  # fmt: skip
    setup = tl.prepare(tl.make_config(settings | dict(pair.split("=") for pair in args.set)))
    losses = [event.val_loss for event in setup.train() if hasattr(event, "val_loss")]
    return setup.model.eval(), setup.tokenizer, losses[-1]


def ask(model, tokenizer, documents, gap, rate, args, **options):
    """Fill a gap of each document n times -> how often each passes its tests."""
    cuts = [GAPS[gap](document.answer, Random(i, gap)) for i, document in enumerate(documents)]
    around = zip(documents, cuts, strict=True)
    gaps = [(document.prompt + before, after + SEPARATOR) for document, (before, after) in around]
    if rate:
        found = fill_middle(model, tokenizer, gaps, suffix_first=args.suffix_first, **KEYWORDS, **options)
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
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--tokenizer", default="bpe:512")
    parser.add_argument("--dials", default="parts=1,examples=0", help="of world:program")
    parser.add_argument("--documents", type=int, default=8_000)
    parser.add_argument("--asked", type=int, default=100, help="functions with a gap")
    parser.add_argument("--samples", type=int, default=10, help="middles for each gap")
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--suffix-first", action="store_true", help="ask in the order SPM")
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
            model, tokenizer, loss = train(seed, rate, args.steps, args)
            print(f"seed {seed} rate {rate}: loss {loss:.4f}", end="")
            print(f" after {time.process_time() - began:.0f} s of the processor", flush=True)
            for gap in GAPS:
                greedy, _ = ask(model, tokenizer, documents, gap, rate, args, sampling=tl.Sampling(0))
                drawn = tl.Sampling(args.temperature)
                passed, n = ask(model, tokenizer, documents, gap, rate, args, sampling=drawn, n=args.samples)
                chances = (f"pass@{k} {pass_at_k(passed, n, k):.3f}" for k in (1, 10) if k <= n)
                print(f"  {gap:9} greedy {sum(greedy) / len(greedy):.3f}", *chances, flush=True)


if __name__ == "__main__":
    main()
