"""Time a pass over a few tokens beside a pass over one, by turns: `python benchmarks/thin.py [--threads N]`.

Checking a draft of speculative decoding is such a pass. Both read the same weights, and a pass over one token
waits for memory, so a few more tokens should cost little. Both start behind the same 64 tokens in a cache.
"""

import argparse
from statistics import median

import numpy as np

import tinyllm as tl
from tinyllm.bench.timing import Contender, race, ratio
from tinyllm.models import build
from tinyllm.nn import inference, quantize


def contender(model, tokens):
    """Return a timed pass over `tokens` tokens, all logits included, behind 64 that were read before."""
    caches = model.new_cache()
    ids = np.arange(64 + tokens)[None]
    with inference(model):
        model.hidden(ids[:, :64], caches)

    def step():
        for cache in caches:
            cache.lengths[:] = 64
        with inference(model):
            model.head(model.hidden(ids[:, 64:], caches))

    return Contender(step)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    args = parser.parse_args()
    tl.threads(args.threads)
    for family, sizes in (("gpt2", tl.GPT.PRESETS["small"]), ("llama", tl.Llama.PRESETS["llama-110m"])):
        for bits in (32, 8, 4):
            model = build({"model_type": family, "vocab_size": 32000, **sizes})
            model = model if bits == 32 else quantize(model, bits)
            times = race({"few": contender(model, args.tokens), "one": contender(model, 1)}, args.seconds)
            one = 1e3 * median(times["one"])
            print(f"{family}, {bits} bits a weight: one token {one:.1f} ms, {args.tokens} tokens "
                  f"{ratio(times, 'few', 'one'):.2f} times as long", flush=True)


if __name__ == "__main__":
    main()
