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
from itertools import islice

import tinyllm as tl
from tinyllm.eval import Gaps, answers
from tinyllm.eval.gaps import anywhere, body, line
from tinyllm.ops import pass_at_k

MOST = 64  # tokens in a gap


def train(seed, rate, args):
    """Train as `tinyllm train` does -> (the opened model, validation loss)."""
    settings = {
        "data": f"world:program,{args.dials},n=8000,seed={seed}", "seed": seed, "tokenizer": "bpe:512",
        "model.layers": 3, "model.width": 64, "model.hidden": 176, "model.heads": 2, "model.kv_heads": 2,
        "model.init_std": 64**-0.5, "model.context": 256,
        "pretrain.middle": rate, "pretrain.lines": 0.9, "pretrain.documents": True,
        "train.steps": args.steps, "train.batch": 32, "train.eval_every": args.steps,
        "train.sample_every": 10**6,
    }
    setup = tl.prepare(tl.make_config(settings | dict(pair.split("=") for pair in args.set)))
    losses = [event.val_loss_per_char for event in setup.train() if hasattr(event, "val_loss")]
    return tl.Opened(setup.model.eval(), setup.tokenizer), losses[-1]


def ask(opened, task, asked, n, temperature):
    """Fill the gap of each program n times -> how often each passes its tests."""
    drawn = {"sampling": tl.Sampling(temperature), "max_tokens": MOST, "n": n}
    found = answers(opened, task, islice(task.items("test"), asked), **drawn)
    return [int(sum(each.score for each in found[i : i + n])) for i in range(0, len(found), n)]


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
    parser.add_argument("--threads", type=int, help="of the kernels")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="other settings of a run")
    args = parser.parse_args(argv)
    if args.threads:
        tl.threads(args.threads)
    for seed in range(args.first, args.first + args.seeds):
        for rate in args.rates:
            began = time.process_time()
            opened, loss = train(seed, rate, args)
            print(f"seed {seed} rate {rate}: loss {loss:.4f}", end="")
            print(f" after {time.process_time() - began:.0f} s of the processor", flush=True)
            for cut in (body, line, anywhere):
                task, n = Gaps(f"world:program,{args.dials},seed={seed}", cut, ahead=rate > 0), args.samples
                greedy = ask(opened, task, args.asked, 1, 0)
                passed = ask(opened, task, args.asked, n, args.temperature)
                chances = (f"pass@{k} {pass_at_k(passed, n, k):.3f}" for k in (1, 10) if k <= n)
                print(f"  {cut.__name__:9} greedy {sum(greedy) / len(greedy):.3f}", *chances, flush=True)


if __name__ == "__main__":
    main()
