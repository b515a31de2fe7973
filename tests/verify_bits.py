"""Train nano for 200 steps under every thread count and CPU level, and compare the SHA-256 of the weights.

    python tests/verify_bits.py [--steps 200]

Each training is a process of its own, so that nothing is shared but the code. Exits with 1 if any
weight differs.
"""

import argparse
import hashlib
import os
import subprocess
import sys

import numpy as np

from tinyllm.data import get_batch, load_corpus
from tinyllm.models import GPT, PRESETS, GPTConfig
from tinyllm.ops.registry import _compiled
from tinyllm.tokenizer import make_tokenizer
from tinyllm.train import AdamW, clip_grad_norm


def digest_of_training(steps):
    """Train nano on the stories, as `tinyllm train` does, and return the SHA-256 of its weights."""
    text = load_corpus("stories").data[:400_000]
    tokenizer = make_tokenizer("char", text)
    tokens = tokenizer.encode_to_numpy(text)
    model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, dropout=0.1, **PRESETS["nano"]), seed=0)
    optimizer = AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    for step in range(steps):
        x, y = get_batch(tokens, 0, step, 12, 64)
        model.train().dropout_stream(0, step)
        optimizer.zero_grad()
        model.loss(x, y).backward()
        clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
    digest = hashlib.sha256()
    for name, array in model.state_dict().items():
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def trained_elsewhere(steps, **environment):
    command = [sys.executable, __file__, "--digest", "--steps", str(steps)]
    run = subprocess.run(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True)
    return run.stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--digest", action="store_true", help="train here and print the digest")
    args = parser.parse_args()
    if args.digest:
        print(digest_of_training(args.steps))
        return 0
    if _compiled is None:
        sys.exit("the promise is the compiled kernels', and they are not built here")
    ways = [{"TINYLLM_THREADS": str(n)} for n in (1, 2, 3, 4, 8)]
    ways += [{"TINYLLM_CPU": level} for level in _compiled.levels()]
    digests = {}
    for way in ways:
        digests[next(iter(way.items()))] = trained_elsewhere(args.steps, **way)
    for (name, value), digest in digests.items():
        print(f"{name}={value:7} {digest}")
    count = len(set(digests.values()))
    print(f"{len(digests)} trainings of {args.steps} steps, {count} different SHA-256 of the weights")
    return 0 if count == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
