"""Measure what a draft saves: `python benchmarks/draft.py RUN DRAFT [--tokens 1 2 3 4 6] [--texts 5]`.

RUN writes texts alone and with proposals by DRAFT, a run or `lookup`, in turns. The texts must be the same. A
line has the tokens in a pass, and the speed as a multiple of the speed without a draft (medians).
"""

import argparse
from functools import partial

import numpy as np

import tinyllm as tl
from tinyllm.bench.race import Contender, compare
from tinyllm.decode.speculative import DraftModel, Lookup


def write(opened, draft, sampling, texts):
    """Write texts one after the other -> (all tokens, tokens in a pass)."""
    engine = tl.Engine(opened.model, opened.tokenizer, draft=draft, batch=1)
    written = [engine.add("Once there was a", sampling, max_tokens=100, stop="\n", seed=i)
               for i in range(texts)]
    for _ in engine:
        pass
    return np.concatenate([s.tokens for s in written]), engine.written / engine.passes


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("draft")
    parser.add_argument("--tokens", nargs="+", type=int, default=[1, 2, 3, 4, 6])
    parser.add_argument("--texts", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20)
    args = parser.parse_args(arguments)
    opened = tl.open_model(args.run)
    make = Lookup if args.draft == "lookup" else partial(DraftModel, tl.open_model(args.draft).model)
    drafts = {"alone": None} | {f"{n} proposals": make(tokens=n) for n in args.tokens}
    for name, sampling in {"temperature 1": tl.Sampling(), "as the run draws": opened.sampling}.items():
        works = {each: partial(write, opened, draft, sampling, args.texts) for each, draft in drafts.items()}
        for record in compare({each: lambda work=work: Contender(work, answer=lambda: work()[0])
                               for each, work in works.items()}, args.seconds):
            each = record["engine"]
            print(f"{name}, {each}: {works[each]()[1]:.2f} tokens a pass, "
                  f"{1 / record.get('times', 1):.2f} x the speed")


if __name__ == "__main__":
    main()
