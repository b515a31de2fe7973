"""Time training a mixture beside the dense model of equal active FLOPs: `python benchmarks/experts.py`.

Each line is one preset of `mixtral` (8 experts, of which a token uses 2) beside `llama`, whose MLP does the
work of those two: milliseconds of processor time on one thread for the loss, its gradients, the norm of the
gradients and AdamW's step, and the median over rounds of the ratio of both, which are timed by turns. With
`--threads N` it is time on the clock.
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


def trainer(name, preset, batch, vocab_size):
    """Return a function that does one step of training on random tokens."""
    model = build({"model_type": name, "vocab_size": vocab_size} | family(name).PRESETS[preset]).train()
    optimizer = tl.AdamW(model.parameters(), lr=1e-4)
    tokens = Random("tokens").integers(vocab_size, (batch, model.config.context + 1))

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


def compare(preset, rounds, clock, batch, vocab_size=512):
    """Return the median seconds of a step of the dense model and of the mixture, and their ratio."""
    dense, mixture = (trainer(name, preset, batch, vocab_size) for name in ("llama", "mixtral"))
    dense(), mixture()
    pairs = [(timed(dense, clock), timed(mixture, clock)) for _ in range(rounds)]
    ratio = statistics.median(b / a for a, b in pairs)
    return *(statistics.median(side) for side in zip(*pairs, strict=True)), ratio


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--preset", choices=SHAPES, action="append")
    args = parser.parse_args()
    tl.threads(args.threads)
    clock = time.process_time if args.threads == 1 else time.perf_counter
    for preset in args.preset or SHAPES:
        dense, mixture, ratio = compare(preset, args.rounds, clock, SHAPES[preset])
        print(f"{preset}: dense {dense * 1e3:.1f} ms, mixture {mixture * 1e3:.1f} ms, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
