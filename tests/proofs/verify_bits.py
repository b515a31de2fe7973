"""Compare SHA-256 of logits, gradients and weights over threads, CPU levels, batch positions and caches.

    python tests/proofs/verify_bits.py [--quick]

nano is trained for 200 steps with every number of threads and at every CPU level. Then the logits of one text
must be the same alone, in any place of any batch, in chunks of any length through a cache, and token by
token; with every number of threads and at every level, too. Exits with 1 if any bit differs.
"""

import argparse
import hashlib
import itertools
import sys

import numpy as np

from tinyllm import ops
from tinyllm.models import GPT, GPTConfig
from tinyllm.ops.registry import _compiled
from tinyllm.rng import Random
from tinyllm.tensor import no_grad
from tinyllm.train import AdamW, clip_grad_norm

THREADS = (1, 2, 3, 4, 8)
CHUNKS = (1, 2, 3, 7, 16, 31, 64)  # of 64 tokens
BATCHES = (1, 2, 3, 5, 8, 16)
NANO = GPTConfig(vocab_size=65, dropout=0.1, **GPT.PRESETS["nano"])


def digest(arrays):
    """Return the SHA-256 of arrays, one after the other."""
    h = hashlib.sha256()
    for a in arrays:
        h.update(np.ascontiguousarray(a).tobytes())
    return h.hexdigest()


def trained(config, steps, batch=3):
    """Train a GPT on random ids for some steps -> the model and the last ids."""
    model, random = GPT(config, seed=1), Random("bits")
    optimizer = AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    for step in range(steps):
        tokens = random.integers(config.vocab_size, (batch, config.context + 1)).astype(np.int32)
        model.train().dropout_stream(0, step)
        optimizer.zero_grad()
        model.loss(tokens[:, :-1], tokens[:, 1:]).backward()
        clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
    return model, tokens[:, :-1]


def digest_of_training(config, steps, batch=3):
    """Return the SHA-256 of logits, gradients and weights after some steps."""
    model, tokens = trained(config, steps, batch)
    with no_grad():
        logits = model.eval()(tokens).data
    return digest([logits, *(p.grad for p in model.parameters()), *model.state_dict().values()])


def chunked(model, row, chunk):
    """Return the logits of one row (1, T), put through a cache in chunks of some length."""
    cache = model.new_cache()
    parts = [model(row[:, i : i + chunk], cache).data for i in range(0, row.shape[1], chunk)]
    return np.concatenate(parts, 1)


def logits_in_every_way(model, seed=0):
    """Yield (how, SHA-256) for the logits of one text: alone, in batches, through a cache."""
    context, vocab = model.config.context, model.config.vocab_size
    row = Random(seed, "row").integers(vocab, (1, context))
    with no_grad():
        for size in BATCHES:
            others = Random(seed, "others", size).integers(vocab, (size, context))
            for place in {0, size // 2, size - 1}:
                others[place] = row[0]
                yield f"place {place} of {size}", digest([model(others).data[place]])
        for chunk in CHUNKS:
            yield f"cached, chunks of {chunk}", digest([chunked(model, row, chunk)[0]])


def settings():
    """Set every level and number of threads, one after the other; yield each in words."""
    for level, threads in itertools.product(_compiled.levels(), THREADS):
        _compiled.use_level(level)
        _compiled.threads(threads)
        yield f"level {level}, {threads} threads"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="5 steps")
    steps = 5 if parser.parse_args(argv).quick else 200
    if _compiled is None:
        sys.exit("the promise is the compiled kernels', and they are not built here")
    trainings, texts = {}, {}
    ops.use("compiled")
    for setting in settings():
        trainings[setting] = digest_of_training(NANO, steps, batch=12)
        print(f"{setting}: {trainings[setting][:16]}", flush=True)
    model = trained(NANO, min(steps, 20))[0].eval()
    for setting in settings():
        texts |= {f"{setting}, {how}": sha for how, sha in logits_in_every_way(model)}
    kinds = [len({*found.values()}) for found in (trainings, texts)]
    print(f"=> {len(trainings)} trainings of {steps} steps (levels, threads); different SHA-256: {kinds[0]}")
    print(f"=> {len(texts)} ways to compute one text's logits (batches, chunks, threads, levels); "
          f"different SHA-256: {kinds[1]}")
    return 0 if kinds == [1, 1] else 1


if __name__ == "__main__":
    sys.exit(main())
