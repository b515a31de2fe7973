"""Measure how well and how fast a small T5 translates: `python benchmarks/translation.py [--seeds N]`.

It trains as `tinyllm train sft --model t5 --data world:translation` does. The language and its grammar are
known (`tinyllm data show world:translation`), and the sentences asked for are in no training text. An answer
is right if all of its characters are. With --speed, time how fast greedy answers are written instead:
`python benchmarks/translation.py --speed transformers` runs the same untrained weights in transformers, in a
process of its own.
"""

import argparse
import tempfile
import time
from itertools import islice

import numpy as np

import tinyllm as tl
from tinyllm.eval import answers, find_task
from tinyllm.models.t5 import PRESETS, T5, T5Config

ASKED = 300
GREEDY = tl.Sampling(temperature=0)


def measure(seed, settings):
    """Train on translations, then ask for unseen sentences -> figures, with the seconds of the processor."""
    data = f"world:translation,seed={seed}"
    config = tl.make_config({"recipe": "sft", "model.type": "t5", "data": data, "seed": seed} | settings)
    began = time.process_time()
    setup = tl.prepare(config)
    losses = [event.loss for event in setup.train() if hasattr(event, "grad_norm")]
    seconds = time.process_time() - began
    opened, task = tl.Opened(setup.model.eval(), setup.tokenizer, setup.frame), find_task(data)
    found = answers(opened, task, islice(task.items("test"), ASKED), max_tokens=64)
    right = [answer.score for answer in found]
    numbers = {"loss": np.mean(losses[-50:]), "parameters": setup.model.num_parameters()}
    return {"right": np.mean(right)} | numbers | {"seconds": seconds}


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
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="of tinyllm train")
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
        figures = measure(seed, dict(setting.split("=", 1) for setting in args.set))
        print(seed, *(f"{what} {value:.4g}" for what, value in figures.items()), flush=True)


if __name__ == "__main__":
    main()
