"""Compare SHA-256 of logits, gradients and weights over threads, CPU levels, batch positions and caches.

    python tests/proofs/verify_bits.py [--quick]

nano is trained for 200 steps under every thread count and CPU level, each in a process of its own, so that
nothing is shared but the code. Then the logits of one text must be the same alone, in any place of any batch,
in chunks of any length through a cache, and token by token; on every thread count and CPU level, too. Exits
with 1 if any bit differs.
"""

import argparse
import hashlib
import os
import subprocess
import sys

import numpy as np

from tinyllm.data import get_batch, load_corpus
from tinyllm.models import GPT, GPTConfig
from tinyllm.ops.registry import _compiled
from tinyllm.rng import Random
from tinyllm.tensor import no_grad
from tinyllm.tokenizer import make_tokenizer
from tinyllm.train import AdamW, clip_grad_norm

THREADS = (1, 2, 3, 4, 8)
CHUNKS = (1, 2, 3, 7, 16, 31, 64)  # of 64 tokens
BATCHES = (1, 2, 3, 5, 8, 16)


def digest(arrays):
    """SHA-256 of arrays, one after the other."""
    h = hashlib.sha256()
    for a in arrays:
        h.update(np.ascontiguousarray(a).tobytes())
    return h.hexdigest()


def trained(steps):
    """Train nano on the stories, as `tinyllm train` does; return it and the ids of the last batch."""
    text = load_corpus("stories").data[:400_000]
    tokenizer = make_tokenizer("char", text)
    tokens = tokenizer.encode_to_numpy(text)
    model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, dropout=0.1, **GPT.PRESETS["nano"]), seed=0)
    optimizer = AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    for step in range(steps):
        x, y = get_batch(tokens, 0, step, 12, 64)
        model.train().dropout_stream(0, step)
        optimizer.zero_grad()
        model.loss(x, y).backward()
        clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
    return model, x


def digests_of_training(steps):
    """The SHA-256 of logits, gradients and weights after some steps, by name."""
    model, x = trained(steps)
    with no_grad():
        logits = model.eval()(x).data
    return {"logits": digest([logits]), "gradients": digest(p.grad for p in model.parameters()),
            "weights": digest(model.state_dict().values())}


def chunked(model, row, chunk):
    """The logits of one row (1, T), put through a cache in chunks of some length."""
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


def trained_elsewhere(steps, **environment):
    command = [sys.executable, __file__, "--digest", "--steps", str(steps)]
    run = subprocess.run(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True)
    return dict(line.split() for line in run.stdout.strip().split("\n"))


def compare_trainings(steps):
    """Train in every way; return whether all digests are equal."""
    ways = [{"TINYLLM_THREADS": str(n)} for n in THREADS]
    ways += [{"TINYLLM_CPU": level} for level in _compiled.levels()]
    found = []
    for way in ways:
        found.append(trained_elsewhere(steps, **way))
        name, value = next(iter(way.items()))
        print(f"{name}={value:10}", *(f"{what} {sha[:16]}" for what, sha in found[-1].items()), flush=True)
    different = {what: len({digests[what] for digests in found}) for what in found[0]}
    print(f"=> {len(found)} trainings of {steps} steps; different SHA-256 of",
          ", ".join(f"{what}: {count}" for what, count in different.items()))
    return set(different.values()) == {1}


def compare_logits(steps):
    """Compute one text's logits in every way; return whether all digests are equal."""
    model, _ = trained(steps)
    model.eval()
    found = {}
    for level in _compiled.levels():
        for threads in THREADS:
            _compiled.use_level(level)
            _compiled.threads(threads)
            for how, sha in logits_in_every_way(model):
                found.setdefault(sha, f"{how}, level {level}, {threads} threads")
    ways = len(_compiled.levels()) * len(THREADS) * len(list(logits_in_every_way(model)))
    print(f"=> {ways} ways to compute one text's logits (batches, chunks, threads, levels); "
          f"different SHA-256: {len(found)}")
    print(*(f"    {sha}, first: {how}" for sha, how in found.items()), sep="\n")
    return len(found) == 1


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="5 steps")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--digest", action="store_true", help="train here and print the digests")
    args = parser.parse_args(argv)
    steps = 5 if args.quick else args.steps
    if args.digest:
        print(*(f"{what} {sha}" for what, sha in digests_of_training(steps).items()), sep="\n")
        return 0
    if _compiled is None:
        sys.exit("the promise is the compiled kernels', and they are not built here")
    good = compare_trainings(steps)
    good &= compare_logits(min(steps, 20))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
