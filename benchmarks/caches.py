"""Shrink the KV cache in every way, side by side: `python benchmarks/caches.py [--steps N] [--seeds N]`.

Two-layer models of equal width learn three tasks, the same batches for all: the world's stories, character by
character; recall, who has which thing, said once and asked for later; and hops, who knows whom, then walks of
two steps from a person. A line has the bytes of a token in the cache (all layers) and three scores, read with
that cache: the loss on held-out stories in nats per character, and how many calls and how many ends of walks
are right. int8 and bf16 store the same trained models in fewer bits. Means over seeds; behind them the loss
above that of the first line in the same seed, with its 95 % interval (Student's t), and the lowest and the
highest share of any seed.
"""

import argparse
from functools import partial

import numpy as np

import tinyllm as tl
from tinyllm import nn, ops
from tinyllm.data import get_batch, load_corpus
from tinyllm.models import build
from tinyllm.rng import Random
from tinyllm.world import KINDS, World
from tinyllm.world.kinds.recall import KEYS

SIZES = {"context": 64, "layers": 2, "heads": 4, "width": 64, "hidden": 160, "init_std": 0.125}
LATENT = {"head_width": 8, "plain_width": 16, "value_width": 16, "latent": 32}
WAYS = {
    "4 heads": {"model_type": "llama", "kv_heads": 4},
    "2 shared": {"model_type": "llama", "kv_heads": 2},
    "1 shared": {"model_type": "llama", "kv_heads": 1},
    "window 16": {"model_type": "mistral", "kv_heads": 4, "window": 16},
    "latent 32": {"model_type": "deepseek_v3", "kv_heads": 4, **LATENT},
}
PAIRS, PEOPLE, WORLD = 4, 6, World()
T95 = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776}  # Student's t for so many seeds


def recall(random):
    """Return the words of one document, and the places of those that can be known."""
    kind = KINDS["recall"]
    document = kind.write(WORLD, random, kind.Dials(pairs=PAIRS, names=PAIRS, queries=28))
    return document.text.split(" "), document.labels["scored"]


def hops(random):
    """Return the same for walks: `Mia Tom .` for each person, then `Tom Zoe Ben .`, where Ben is scored.

    Each knows one other, and all are one ring. A full stop ends each part, so that neighbours are no pairs.
    """
    ring = random.shuffle(KEYS[:PEOPLE])
    after = dict(zip(ring, ring[1:] + ring[:1], strict=True))
    words = [word for who in random.shuffle(ring) for word in (who, after[who], ".")]
    scored = range(len(words) + 2, 63, 4)
    for _ in scored:
        who = random.choice(ring)
        words += [who, after[who], after[after[who]], "."]
    return words[:65], list(scored)


def rows(task, seed, count):
    """Return inputs and targets of documents of a task: ids (count, 64), targets -100 where not scored."""
    found, scored = np.zeros((count, 65), np.int64), np.zeros((count, 65), bool)
    for i in range(count):
        words, places = task(Random(seed, i))
        found[i, : len(words)] = [VOCABULARY.setdefault(word, len(VOCABULARY)) for word in words]
        scored[i, places] = True
    return found[:, :-1], np.where(scored, found, -100)[:, 1:]


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


def calls(task, seed):
    """Return the same for recall or hops: the score is the share of calls that are answered right."""
    test = rows(task, "test", 100)

    def score(model):
        counted = test[1] >= 0
        return float((read(model, test[0]).argmax(-1) == test[1])[counted].mean())

    return lambda step: rows(task, f"{seed} {step}", 32), 2 * PAIRS + 60, score


TASKS = {"loss": stories, "recall": partial(calls, recall), "hops": partial(calls, hops)}


def line(scores, first):
    """Write the scores of one cache, {task: one number for each seed}, beside those of the first line."""
    above = np.subtract(scores["loss"], first["loss"])
    wide = T95.get(len(above), 1.96) * above.std(ddof=1) / len(above) ** 0.5 if len(above) > 1 else np.nan
    text = f"{np.mean(scores['loss']):>6.3f} {above.mean():>+7.3f} +-{wide:.3f}"
    for shares in (scores["recall"], scores["hops"]):
        text += f" {np.mean(shares):>7.1%} {min(shares):>6.1%} to {max(shares):>6.1%}"
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    tl.threads(args.threads)
    print(f"{'':<10} {'cache':<8} {'bytes':>6} {'loss':>6} {'above':>7} {'+-':>7} {'recall':>7} {'hops':>25}")
    first = None
    for way in WAYS:
        found: dict = {}
        for seed in range(args.seeds):
            for name, task in TASKS.items():
                batch, vocab_size, score = task(seed)
                model = trained(way, vocab_size, batch, args.steps, seed)
                for kind in ("float32", "bf16", "int8"):
                    size = sum(c.nbytes for c in nn.pack_cache(model, kind).new_cache()) // SIZES["context"]
                    found.setdefault((kind, size), {}).setdefault(name, []).append(score(model))
        for (kind, size), scores in found.items():
            first = first or scores
            print(f"{way:<10} {kind:<8} {size:>6} {line(scores, first)}", flush=True)


if __name__ == "__main__":
    main()
