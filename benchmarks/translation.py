"""Time how fast a T5 writes greedy answers: `python benchmarks/translation.py ENGINE`.

`transformers` runs the same untrained weights as `tinyllm`, in a process of its own. How well a small T5
translates is measured by `tinyllm eval` (docs/measured.md has the command).
"""

import argparse
import tempfile
import time

import numpy as np

import tinyllm as tl
from tinyllm.models.t5 import PRESETS, T5, T5Config

GREEDY = tl.Sampling(temperature=0)


def speed(engine, preset, rows, length=64, new=64):
    """Write `new` greedy tokens after prompts of `length` tokens -> tokens a second, the best of 4 times."""
    model = T5(T5Config(32128, **PRESETS[preset]))
    prompts = np.random.default_rng(0).integers(0, 32128, (rows, length))
    if engine == "tinyllm":
        def write():
            return np.array(tl.generate(model, prompts.tolist(), max_tokens=new, sampling=GREEDY))
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
    parser.add_argument("engine", choices=("tinyllm", "transformers"))
    parser.add_argument("--preset", choices=tuple(PRESETS), default="small", help="sizes to time")
    parser.add_argument("--rows", type=int, default=1, help="prompts that are answered together")
    parser.add_argument("--threads", type=int, help="of the kernels")
    args = parser.parse_args(argv)
    if args.threads:
        tl.threads(args.threads)
    figures = speed(args.engine, args.preset, args.rows)
    print(args.engine, *(f"{what} {value}" for what, value in figures.items()))


if __name__ == "__main__":
    main()
