"""Measure how well a small Fuyu describes pictures: `python benchmarks/pictures.py [--seeds N]`.

It learns captions and questions together, as `tinyllm train sft --model fuyu` does. Then it is asked about
unseen scenes, and about scenes in which a colour and a shape meet that never met in training. An answer is
right if all of its characters are. Seconds are those of the processor.
"""

import argparse
import dataclasses
import time

import numpy as np

import tinyllm as tl
from tinyllm.data import load_corpus
from tinyllm.world.corpus import read_name
from tinyllm.world.pictures import shown

KINDS = ("caption", "picture_question")
ASKED = 300
GREEDY = tl.Sampling(temperature=0)


def corpus(n):
    """Return captions and questions of training in turn; the last are for validation."""
    first, second = (load_corpus(f"world:{kind},n={n}") for kind in KINDS)
    both = tuple(example for pair in zip(first.shown, second.shown, strict=True) for example in pair)
    return dataclasses.replace(first, name="pictures", data=first.data + second.data, shown=both)


def asked(kind, by, seed, known):
    """Return (picture, prompt, answer) of documents for testing, without scenes of training."""
    found = []
    for document in read_name(f"world:{kind},split=test,by={by},n=2000,seed={seed}").documents():
        picture, prompt = shown(document)
        if by == "combination" or picture.tobytes() not in known:
            found.append((picture, prompt, document.answer.lstrip()))
    return found[:ASKED]


def right(model, tokenizer, examples):
    """Return the share of greedy answers that are right to the last character."""
    cache = model.new_cache(len(examples))
    with tl.nn.inference(model):
        pictures = np.stack([picture for picture, *_ in examples])
        model.hidden([model.picture_marks] * len(examples), cache, pictures=pictures)
    prompts = [[*model.picture_marks, *tokenizer.encode(f"{prompt}\n")] for _, prompt, _ in examples]
    options = {"sampling": GREEDY, "stop": "\n", "tokenizer": tokenizer, "cache": cache}
    found = model.generate(prompts, max_tokens=60, **options)
    texts = [tokenizer.decode(ids).split("\n")[0] for ids in found]
    return np.mean([text == answer for text, (*_, answer) in zip(texts, examples, strict=True)])


def measure(seed, steps, batch, lr, n):
    """Train a Fuyu nano, then ask -> {figure: share of right answers, or seconds}."""
    settings = {"recipe": "sft", "model.type": "fuyu", "tokenizer": "bpe:400", "train.lr": lr, "seed": seed,
                "train.steps": steps, "train.batch": batch, "train.eval_every": steps}  # fmt: skip
    data = corpus(n)
    setup = tl.prepare(tl.make_config(settings), corpus=data)
    began = time.process_time()
    for event in setup.train():
        if hasattr(event, "val_loss"):
            print(f"step {event.step} loss {event.val_loss:.4f}", flush=True)
    figures = {"seconds": time.process_time() - began, "parameters": setup.model.num_parameters()}
    known = {picture.tobytes() for picture, *_ in data.shown}
    model = setup.model.eval()
    for kind in KINDS:
        for by in ("scene", "combination"):
            figures[f"{kind} by {by}"] = right(model, setup.tokenizer, asked(kind, by, seed, known))
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
