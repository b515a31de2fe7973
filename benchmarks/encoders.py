"""Measure what pretraining is worth to a small BERT: `python benchmarks/encoders.py [--seeds N]`.

Texts are the world's claims behind denials ("Jane lied when she said that the soup was good"). Pretraining
sees them with what somebody did then, and no labels; fine-tuning gets labels, and a test asks about documents
of the test split, which are in no training text. Figures: the share of right classes after 500 labels with
pretrained and with new weights, and after a new label in every row.
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

SIZES = {"layers": 3, "heads": 4, "width": 64, "hidden": 256, "context": 80, "init_std": 64**-0.5}
LABELS = ["no", "yes"]
BATCH, FEW, ASKED = 64, 500, 1000
SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[MASK]")


def run(seed, pretraining, fine_tuning, all_labels):
    """Train all models of one seed -> {figure: value}."""
    labelled, unseen = (stream(split, seed) for split in ("train", "test"))
    told = stream("train", seed + 1, consequences=True)
    pieces = Pieces("\n".join(s[i].text for s in (labelled, told, unseen) for i in range(2000)), WORDS)
    ids = {name: len(pieces.numbers) + i for i, name in enumerate(SPECIAL)}
    size = len(pieces.numbers) + len(ids)

    def framed(text):
        return [ids["[CLS]"], *pieces.encode(text), ids["[SEP]"]]

    def hidden(step):
        tokens, lengths = padded([framed(told[step * BATCH + i].text) for i in range(BATCH)])
        batch = masked(tokens, ids["[MASK]"], size, seed, step)
        real = np.arange(tokens.shape[1]) < lengths[:, None]
        return TextBatch(batch.tokens, np.where(real, batch.targets, -100), lengths=lengths)

    def classes(documents):
        tokens, lengths = padded([framed(document.prompt) for document in documents])
        targets = np.array([[LABELS.index(document.answer.strip())] for document in documents])
        return TextBatch(tokens, targets, segments=np.zeros_like(tokens), lengths=lengths)

    def few(step):
        chosen = tl.Random(seed, "few", step).integers(FEW, BATCH)
        return classes([labelled[i] for i in chosen.tolist()])

    def many(step):
        return classes([labelled[step * BATCH + i] for i in range(BATCH)])

    def right(model):
        with inference(model):
            return text_class(model, classes([unseen[i] for i in range(ASKED)]))[1]["accuracy"]

    def learn(model, batches, steps, lr, loss=text_class):
        tl.fit(model, batches, steps, lr, loss=loss, seed=seed, beta2=0.98, weight_decay=0.05)
        return model

    began = time.perf_counter()
    new = tl.build({"model_type": "bert", "vocab_size": size, **SIZES}, seed)
    plain, whole = (new.for_task("classify", LABELS, seed) for _ in range(2))
    pretrained = learn(new, hidden, pretraining, 2e-3, masked_token).for_task("classify", LABELS, seed)
    return {
        "500 labels": right(learn(plain, few, fine_tuning, 1e-3)),
        "pretrained": right(learn(pretrained, few, fine_tuning, 1e-3)),
        "all labels": right(learn(whole, many, all_labels, 2e-3)),
        "seconds": time.perf_counter() - began,
    }


def stream(split, seed, **dials):
    """Return the claims of a split."""
    kind = KINDS["sentiment"]
    return Stream(WORLD, kind, kind.dials(**dials), seed, split)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="how many (default 3)")
    for name, steps in (("pretraining", 2000), ("fine-tuning", 400), ("all-labels", 2000)):
        parser.add_argument(f"--{name}", type=int, default=steps, help=f"steps (default {steps})")
    args = parser.parse_args()
    for seed in range(args.seeds):
        figures = run(seed, args.pretraining, args.fine_tuning, args.all_labels)
        print(seed, *(f"{name} {value:.4g}" for name, value in figures.items()), flush=True)


if __name__ == "__main__":
    main()
