"""Measure what pretraining is worth to a small BERT: `python benchmarks/encoders.py [--seeds N]`.

Texts are the world's claims behind denials ("Jane lied when she said that the soup was good"), --depth of
them at most. Pretraining sees them with what somebody did then, smile or frown, and no labels; fine-tuning
gets the claims with labels, and a test asks about documents of the test split, which are in no training text.
Figures: the share of right classes after some --labels with new and with pretrained weights.
"""

import argparse
import time

import numpy as np
from world import WORDS, WORLD, Pieces

import tinyllm as tl
from tinyllm.nn.encoder import padded
from tinyllm.nn.module import inference
from tinyllm.train.objectives import masked, masked_token, text_class
from tinyllm.train.recipes.classify import TextBatch
from tinyllm.world import KINDS, Stream

SIZES = {"heads": 4, "width": 64, "hidden": 256, "context": 80, "init_std": 64**-0.5}
LABELS = ["no", "yes"]
BATCH, ASKED = 64, 1000
SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[MASK]")


def run(seed, depth, layers, pretraining, fine_tuning, labels):
    """Train both models of one seed -> {figure: value}."""
    labelled, unseen = (stream(split, seed, depth=depth) for split in ("train", "test"))
    told = stream("train", seed + 1, depth=depth, consequences=True)
    pieces = Pieces("\n".join(s[i].text for s in (labelled, told, unseen) for i in range(2000)), WORDS)
    ids = {name: len(pieces.numbers) + i for i, name in enumerate(SPECIAL)}
    size = len(pieces.numbers) + len(ids)

    def framed(text):
        return [ids["[CLS]"], *pieces.encode(text), ids["[SEP]"]]

    def hidden(step):
        chosen = [told[step * BATCH + i] for i in range(BATCH)]
        tokens, lengths = padded([framed(f"{each.prompt} {each.answer.split()[0]}") for each in chosen])
        batch = masked(tokens, ids["[MASK]"], size, seed, step, rate=0.2)
        real = np.arange(tokens.shape[1]) < lengths[:, None]
        return TextBatch(batch.tokens, np.where(real, batch.targets, -100), lengths=lengths)

    def classes(documents):
        tokens, lengths = padded([framed(each.prompt.partition(". Was")[0]) for each in documents])
        targets = np.array([[LABELS.index(document.answer.strip())] for document in documents])
        return TextBatch(tokens, targets, segments=np.zeros_like(tokens), lengths=lengths)

    def few(step):
        chosen = tl.Random(seed, "few", step).integers(labels, BATCH // 2)
        return classes([labelled[i] for i in chosen.tolist()])

    def right(model):
        with inference(model):
            return text_class(model, classes([unseen[i] for i in range(ASKED)]))[1]["accuracy"]

    def learn(model, batches, steps, lr, loss=text_class):
        settings = {"warmup": steps // 10, "beta2": 0.98, "weight_decay": 0.05}
        tl.fit(model, batches, steps, lr, loss=loss, seed=seed, **settings)
        return model

    began = time.process_time()
    new = tl.build({"model_type": "bert", "vocab_size": size, "layers": layers, **SIZES}, seed)
    plain = new.for_task("classify", LABELS, seed)
    pretrained = learn(new, hidden, pretraining, 3e-3, masked_token).for_task("classify", LABELS, seed)
    return {
        "new weights": right(learn(plain, few, fine_tuning, 1e-3)),
        "pretrained": right(learn(pretrained, few, fine_tuning, 1e-3)),
        "seconds": time.process_time() - began,
    }


def stream(split, seed, **dials):
    """Return the claims of a split."""
    kind = KINDS["sentiment"]
    return Stream(WORLD, kind, kind.dials(**dials), seed, split)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="how many (default 3)")
    parser.add_argument("--threads", type=int, help="of the kernels")
    numbers = ("depth", 1), ("layers", 2), ("pretraining", 750), ("fine-tuning", 150), ("labels", 200)
    for name, value in numbers:
        parser.add_argument(f"--{name}", type=int, default=value, help=f"(default {value})")
    args = parser.parse_args()
    if args.threads:
        tl.threads(args.threads)
    for seed in range(args.seeds):
        figures = run(seed, args.depth, args.layers, args.pretraining, args.fine_tuning, args.labels)
        print(seed, *(f"{name} {value:.4g}" for name, value in figures.items()), flush=True)


if __name__ == "__main__":
    main()
