"""Measure how well a small Fuyu describes pictures: `python benchmarks/pictures.py [--seeds N]`.

It learns captions and questions together, as `tinyllm train sft --model fuyu` does. Then it is asked about
unseen scenes, and about scenes in which a colour and a shape meet that never met in training. An answer is
right if all of its characters are. Seconds are those of the processor.
"""

import argparse
import dataclasses
import time
from itertools import islice

import numpy as np

import tinyllm as tl
from tinyllm.data import load_corpus
from tinyllm.eval import answers, find_task

KINDS = ("caption", "picture_question")
ASKED = 300


def corpus(n):
    """Return captions and questions of training in turn; the last are for validation."""
    first, second = (load_corpus(f"world:{kind},n={n}") for kind in KINDS)
    both = tuple(page for pair in zip(first.documents, second.documents, strict=True) for page in pair)
    return dataclasses.replace(first, name="pictures", data=first.data + second.data, documents=both)


def measure(seed, steps, batch, lr, n):
    """Train a Fuyu nano, then ask -> {figure: share of right answers, or seconds}."""
    settings = {"recipe": "sft", "model.type": "fuyu", "tokenizer": "bpe:400", "train.lr": lr, "seed": seed,
                "train.steps": steps, "train.batch": batch, "train.eval_every": steps}
    data = corpus(n)
    captions = tl.prepare(tl.make_config(settings), corpus=load_corpus(f"world:caption,n={n}"))  # for tokens
    setup = tl.prepare(captions.config, corpus=data, tokenizer=captions.tokenizer)
    began = time.process_time()
    for event in setup.train():
        if hasattr(event, "val_loss"):
            print(f"step {event.step} loss {event.val_loss:.4f}", flush=True)
    figures = {"seconds": time.process_time() - began, "parameters": setup.model.num_parameters()}
    known = {picture.tobytes() for picture, *_ in data.shown}
    opened = tl.Opened(setup.model.eval(), setup.tokenizer, setup.frame)
    for kind in KINDS:
        for by in ("scene", "combination"):
            task = find_task(f"world:{kind},by={by},n=2000,seed={seed}")
            new = (x for x in task.items("test") if by != "scene" or x.picture.tobytes() not in known)
            found = answers(opened, task, islice(new, ASKED), max_tokens=60)
            figures[f"{kind} by {by}"] = np.mean([answer.score for answer in found])
    return figures


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--n", type=int, default=20_000, help="captions, and as many questions")
    parser.add_argument("--threads", type=int, help="of the kernels")
    args = parser.parse_args(argv)
    if args.threads:
        tl.threads(args.threads)
    for seed in range(args.seeds):
        figures = measure(seed, args.steps, args.batch, args.lr, args.n)
        print(seed, *(f"{what} {value:.4g}" for what, value in figures.items()), flush=True)


if __name__ == "__main__":
    main()
