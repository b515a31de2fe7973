"""Measure how well and how fast a small T5 translates: `python benchmarks/translation.py [--seeds N]`.

The language and its grammar are known (`tinyllm data show world:translation`), and the sentences asked for
are in no training text. An answer is right if all of its characters are. With --speed, time how fast greedy
answers are written instead: `python benchmarks/translation.py --speed transformers` runs the same untrained
weights in transformers, in a process of its own.
"""

import argparse
import tempfile
import time

import numpy as np
from world import CHARACTERS, WORLD, Pieces, learn

import tinyllm as tl
from tinyllm.data import two_texts
from tinyllm.models.t5 import PRESETS, T5, T5Config
from tinyllm.train import next_token
from tinyllm.world import KINDS, Stream

ASKED, BEAMS = 300, 4
GREEDY = tl.Sampling(temperature=0)


def measure(seed, steps, batch, lr):
    """Train a T5 nano on translations, then ask for unseen sentences -> {figure: share of right answers}."""
    kind = KINDS["translation"]
    learnt, unseen = (Stream(WORLD, kind, kind.dials(), seed, split) for split in ("train", "test"))
    asked = [unseen[i] for i in range(ASKED)]
    texts = [learnt[i].text for i in range(2000)] + [document.text for document in asked]
    pieces = Pieces("".join(texts) + "\n", CHARACTERS)
    start, end = len(pieces.numbers), pieces.numbers["\n"]
    model = T5(T5Config(start + 1, start=start, end=end, **PRESETS["nano"]), seed)

    def pair(document):
        return pieces.encode(document.prompt), [*pieces.encode(document.answer.lstrip()), end]

    def take(step):
        return two_texts(*zip(*(pair(learnt[step * batch + i]) for i in range(batch)), strict=True), 128)

    seconds = learn(model, take, steps, seed, lr, loss=next_token)
    prompts, answers = zip(*map(pair, asked), strict=True)
    written = model.generate(prompts, max_tokens=128, sampling=GREEDY)
    right = np.mean([ids == answer for ids, answer in zip(written, answers, strict=True)])
    return {"right": right, "parameters": model.num_parameters(), "seconds": seconds}


def speed(engine, preset, rows, length=64, new=64):
    """Write `new` greedy tokens after prompts of `length` tokens -> tokens a second, the best of 4 times."""
    model = T5(T5Config(32128, **PRESETS[preset]))
    prompts = np.random.default_rng(0).integers(0, 32128, (rows, length))
    if engine == "tinyllm":
        def write():
            return np.array(model.generate(prompts.tolist(), max_tokens=new, sampling=GREEDY))
    else:
        write = transformers(model, prompts, new)
    best = np.inf
    for _ in range(4):
        began = time.perf_counter()
        ids = write()
        best = min(best, time.perf_counter() - began)
    return {"tokens a second": rows * new / best, "first": ids[0, :4].tolist()}


def transformers(model, prompts, new):
    """Return a function that writes the same tokens with transformers."""
    import torch
    from transformers import T5ForConditionalGeneration

    torch.set_num_threads(tl.threads())
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        theirs = T5ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    options = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False, "num_beams": 1}
    return lambda: theirs.generate(torch.tensor(prompts), **options)[:, 1:].numpy()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--speed", choices=("tinyllm", "transformers"), help="time this instead")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="small", help="sizes to time")
    parser.add_argument("--rows", type=int, default=1, help="prompts that are answered together")
    parser.add_argument("--threads", type=int, help="of the kernels")
    args = parser.parse_args(argv)
    if args.threads:
        tl.threads(args.threads)
    if args.speed:
        figures = speed(args.speed, args.preset, args.rows)
        print(args.speed, *(f"{what} {value}" for what, value in figures.items()))
        return
    for seed in range(args.first, args.first + args.seeds):
        figures = measure(seed, args.steps, args.batch, args.lr)
        print(seed, *(f"{what} {value:.4g}" for what, value in figures.items()), flush=True)


if __name__ == "__main__":
    main()
