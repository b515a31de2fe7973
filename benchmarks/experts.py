"""Time two families of equal sizes by turns: `python benchmarks/experts.py [--families gpt2 llama]`.

Each line is one preset. By default `mixtral` (8 experts, of which a token uses 2) stands beside `llama`,
whose MLP does the work of those two. Training is milliseconds of processor time on one thread for the loss,
its gradients, the norm of the gradients and AdamW's step; --write times writing whole contexts from one token
each. Ratios are the second family's time divided by the first's, the median over rounds: as it is, and per
FLOP of the products. With `--threads N` it is time on the clock.
"""

import argparse
import statistics
import time

import tinyllm as tl
from tinyllm.models import build
from tinyllm.models.registry import family
from tinyllm.rng import Random
from tinyllm.train.optimizer import clipped_step, gradient_norm

SHAPES = {"nano": 16, "laptop": 8, "mini": 4}  # preset: rows of a batch


def writer(model, batch):
    """Return a function that writes the likeliest tokens until the context is full."""
    prompts = Random("tokens").integers(model.config.vocab_size, (batch, 1)).tolist()
    new, greedy = model.config.context - 1, tl.Sampling(temperature=0)
    return lambda: tl.generate(model, prompts, max_tokens=new, sampling=greedy)


def trainer(model, batch):
    """Return a function that does one step of training on random tokens."""
    optimizer, c = tl.AdamW(model.parameters(), lr=1e-4), model.config
    tokens = Random("tokens").integers(c.vocab_size, (batch, c.context + 1))

    def step():
        optimizer.zero_grad()
        model.loss(tokens[:, :-1], tokens[:, 1:]).backward()
        clipped_step(optimizer, gradient_norm(optimizer.parameters), 1.0)

    return step


def timed(step, clock):
    """Return the seconds that a step takes."""
    start = clock()
    step()
    return clock() - start


def compare(families, preset, rounds, clock, work, batch, vocab_size=512):
    """Return the median seconds of both families, the median ratio of their times, and of their FLOPs."""
    models = [build({"model_type": name, "vocab_size": vocab_size} | family(name).PRESETS[preset]).train()
              for name in families]
    first, second = (work(model, batch) for model in models)
    first(), second()
    pairs = [(timed(first, clock), timed(second, clock)) for _ in range(rounds)]
    few, many = (sum(sum(m.flops(batch, model.config.context).values()) for _, m in model.named_modules())
                 for model in models)
    ratio = statistics.median(b / a for a, b in pairs)
    return *(statistics.median(side) for side in zip(*pairs, strict=True)), ratio, many / few


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--preset", choices=SHAPES, action="append")
    parser.add_argument("--families", nargs=2, default=("llama", "mixtral"), metavar="NAME")
    parser.add_argument("--write", action="store_true", help="time writing, not training")
    args = parser.parse_args()
    tl.threads(args.threads)
    clock = time.process_time if args.threads == 1 else time.perf_counter
    work = writer if args.write else trainer
    for preset in args.preset or SHAPES:
        *both, ratio, flops = compare(args.families, preset, args.rounds, clock, work, SHAPES[preset])
        times = ", ".join(f"{name} {t * 1e3:.1f} ms" for name, t in zip(args.families, both, strict=True))
        print(f"{preset}: {times}, ratio {ratio:.2f}, per FLOP {ratio / flops:.2f}", flush=True)


if __name__ == "__main__":
    main()
