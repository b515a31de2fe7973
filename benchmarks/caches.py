"""Shrink the KV cache in every way, side by side: `python benchmarks/caches.py [--steps N] [--seeds N]`.

Two-layer models of equal width learn the world's stories, character by character, and recall: who has which
thing, said once and asked for later. A line has the bytes of a token in the cache (all layers), the loss on
held-out stories in nats per character, and the share of calls that are answered right, both read with that
cache; int8 and bf16 store the same trained models in fewer bits. Means over seeds.
"""

import argparse

import numpy as np

import tinyllm as tl
from tinyllm import nn, ops
from tinyllm.data import get_batch, load_corpus
from tinyllm.models import build
from tinyllm.rng import Random
from tinyllm.world import KINDS, World

SIZES = {"context": 64, "layers": 2, "heads": 4, "width": 64, "hidden": 160, "init_std": 0.125}
LATENT = {"head_width": 8, "plain_width": 16, "value_width": 16, "latent": 32, "dense_layers": 2,
          "expert_hidden": 8}  # fmt: skip
WAYS = {
    "4 heads": {"model_type": "llama", "kv_heads": 4},
    "2 shared": {"model_type": "llama", "kv_heads": 2},
    "1 shared": {"model_type": "llama", "kv_heads": 1},
    "window 16": {"model_type": "mistral", "kv_heads": 4, "window": 16},
    "latent 32": {"model_type": "deepseek_v3", "kv_heads": 4, **LATENT},
}
PAIRS = 4


def recall(seed, count):
    """Return words of `count` documents as ids (count, 65), the same padded length, and which are scored."""
    kind, world = KINDS["recall"], World()
    dials = kind.Dials(pairs=PAIRS, names=PAIRS, queries=28)
    rows, scored = np.zeros((count, 65), np.int64), np.zeros((count, 65), bool)
    for i in range(count):
        document = kind.write(world, Random(seed, i), dials)
        ids = [VOCABULARY.setdefault(word, len(VOCABULARY)) for word in document.text.split(" ")]
        rows[i, : len(ids)] = ids
        scored[i, document.labels["scored"]] = True
    return rows[:, :-1], np.where(scored, rows, -100)[:, 1:]


VOCABULARY: dict = {"": 0}


def trained(way, vocab_size, batch, steps, seed):
    """Train a model on `batch(step)` -> the model."""
    model = build({"vocab_size": vocab_size, **SIZES, **WAYS[way]}, seed=seed).train()
    optimizer = tl.AdamW(model.parameters(), lr=3e-3)
    for step in range(steps):
        optimizer.lr = ops.lr_schedule(step, steps, 3e-3, 20, 0.1)
        model.loss(*batch(step)).backward()
        tl.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def read(model, tokens):
    """Return the logits of tokens that are read through the cache."""
    with tl.no_grad():
        return model.head(model.hidden(tokens, model.new_cache(len(tokens)))).data


def stories(seed):
    """Return a function that draws a batch of stories, the vocabulary's size, and one that scores a model."""
    corpus = load_corpus("stories")
    tokenizer = tl.CharTokenizer.train(corpus.text())
    tokens = tokenizer.encode_to_numpy(corpus.data)
    test = get_batch(tokens[-100_000:], 99, 0, batch=32, context=64)

    def score(model):
        return float(ops.cross_entropy(read(model, test[0]), test[1])[0])

    def batch(step):
        return get_batch(tokens[:-100_000], seed, step, batch=16, context=64)

    return batch, tokenizer.vocab_size, score


def needles(seed):
    """Return the same for recall: the score is the share of calls that are answered right."""
    test = recall("test", 100)

    def score(model):
        counted = test[1] >= 0
        return float((read(model, test[0]).argmax(-1) == test[1])[counted].mean())

    return lambda step: recall(f"{seed} {step}", 32), 2 * PAIRS + 60, score


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    tl.threads(args.threads)
    print(f"{'':<10} {'cache':<8} {'bytes':>6} {'loss':>6} {'recall':>7}")
    for way in WAYS:
        found = {}
        for seed in range(args.seeds):
            for task in (stories, needles):
                batch, vocab_size, score = task(seed)
                model = trained(way, vocab_size, batch, args.steps, seed)
                for kind in ("float32", "bf16", "int8"):
                    size = sum(c.nbytes for c in nn.pack_cache(model, kind).new_cache()) // SIZES["context"]
                    found.setdefault((kind, size), {}).setdefault(task, []).append(score(model))
        for (kind, size), scores in found.items():
            loss, right = np.mean(scores[stories]), np.mean(scores[needles])
            print(f"{way:<10} {kind:<8} {size:>6} {loss:>6.3f} {100 * right:>6.1f}%", flush=True)


if __name__ == "__main__":
    main()
