"""Measure what pretraining is worth to a small BERT: `python benchmarks/encoders.py [KIND] [--seeds N]`.

sentiment: claims behind denials ("Jane lied when she said that the soup was good"); was the thing good?
entailment: statements, and whether another one follows from them. Pretraining sees other texts of the kind,
which end in what somebody did who knew the answer: smile or frown, nod, shrug or shake the head. That word is
always hidden (as in Guu et al., "REALM", 2020, section 3.4). A class is asked for as a gap in that place
(Schick and Schuetze, "Exploiting Cloze Questions", 2021); fine-tuning shows some --labels. The test asks
about documents of the test split, which are in no training text. Figures: the share of right classes with new
weights, with pretrained ones before any label, and after.
"""

import argparse
import time

import numpy as np
from world import WORDS, WORLD, Pieces

import tinyllm as tl
from tinyllm.nn.encoder import padded
from tinyllm.nn.module import inference
from tinyllm.train.objectives import masked, masked_token
from tinyllm.train.recipes.classify import TextBatch
from tinyllm.world import KINDS, Stream

SIZES = {"heads": 4, "width": 64, "hidden": 256, "context": 80, "init_std": 0.1}
DEEDS = {  # kind -> answer -> the word that says what somebody does who knows it
    "sentiment": {"yes": "smiled", "no": "frowned"},
    "entailment": {"yes": "nods", "perhaps": "shrugs", "no": "shakes"},
}
SETTINGS = {  # the kind's dials, and how long which model learns
    "sentiment": {"dials": {"depth": 2}, "layers": 3, "pretraining": 3500, "fine_tuning": 300},
    "entailment": {"dials": {"about": "work"}, "layers": 3, "pretraining": 3500, "fine_tuning": 300},
}
BATCH, ASKED, RATE = 64, 1000, 2e-3
SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[MASK]")


def told(kind, document):
    """Return a text that ends in what somebody did who knows the answer."""
    answer = document.answer.split()[0]
    return f"{document.prompt} {DEEDS[kind].get(answer, answer)}"


def asked(document):
    """Return the same without the last word."""
    claim, question, _ = document.prompt.partition(". Was")
    return f"{claim}, so Mia" if question else claim


def run(kind, seed, labels, dials, layers, pretraining, fine_tuning):
    """Train both models of one seed -> {figure: value}."""
    deeds = DEEDS[kind]
    labelled, unseen = (stream(kind, split, seed, **dials) for split in ("train", "test"))
    more = {"consequences": True} if kind == "sentiment" else {}
    unlabelled = stream(kind, "train", seed + 1, **dials, **more)
    seen = [each[i] for each in (labelled, unlabelled, unseen) for i in range(2000)]
    pieces = Pieces("\n".join(told(kind, each) for each in seen) + ", so Mia", WORDS)
    ids = {name: len(pieces.numbers) + i for i, name in enumerate(SPECIAL)}
    size = len(pieces.numbers) + len(ids)

    def framed(text):
        return [ids["[CLS]"], *pieces.encode(text), ids["[SEP]"]]

    def hidden(step):
        """Hide a fifth of the words, and always the last."""
        tokens, lengths = padded([framed(told(kind, unlabelled[step * BATCH + i])) for i in range(BATCH)])
        batch, places = masked(tokens, ids["[MASK]"], size, seed, step, rate=0.2), np.arange(tokens.shape[1])
        last, real = places == lengths[:, None] - 2, places < lengths[:, None]
        targets = np.where(last, tokens, np.where(real, batch.targets, -100))
        return TextBatch(np.where(last, ids["[MASK]"], batch.tokens), targets, lengths=lengths)

    def gaps(documents):
        """Return texts whose last word is hidden, which is to be guessed."""
        tokens, lengths = padded([framed(f"{asked(each)} {deeds[each.truth]}") for each in documents])
        last = np.arange(tokens.shape[1]) == lengths[:, None] - 2
        targets = np.where(last, tokens, -100)
        return TextBatch(np.where(last, ids["[MASK]"], tokens), targets, lengths=lengths)

    def few(step):
        chosen = tl.Random(seed, "few", step).integers(labels, BATCH // 2)
        return gaps([labelled[i] for i in chosen.tolist()])

    def right(model):
        choices = [pieces.encode(deed)[0] for deed in deeds.values()]
        with inference(model):
            batch = gaps([unseen[i] for i in range(ASKED)])
            scores = model(batch.tokens, lengths=batch.lengths).data[batch.targets >= 0][:, choices]
        return np.mean(np.take(choices, scores.argmax(-1)) == batch.targets[batch.targets >= 0])

    began = time.process_time()
    config = {"model_type": "bert", "vocab_size": size, "layers": layers, **SIZES}
    new, pretrained = (tl.build(config, seed) for _ in range(2))
    learn(pretrained, seed, hidden, pretraining, RATE)
    return {
        "new weights": right(learn(new, seed, few, fine_tuning, 1e-3)),
        "unasked": right(pretrained),
        "pretrained": right(learn(pretrained, seed, few, fine_tuning, 1e-3)),
        "seconds": time.process_time() - began,
    }


def learn(model, seed, batches, steps, lr):
    """Train a model on hidden tokens, and return it."""
    settings = {"warmup": steps // 10, "beta2": 0.98, "weight_decay": 0.05}
    tl.fit(model, batches, steps, lr, loss=masked_token, seed=seed, **settings)
    return model


def stream(kind, split, seed, **dials):
    """Return the texts of a split."""
    return Stream(WORLD, KINDS[kind], KINDS[kind].dials(**dials), seed, split)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kind", nargs="?", choices=SETTINGS, default="sentiment")
    parser.add_argument("--seeds", type=int, default=3, help="how many (default 3)")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--threads", type=int, help="of the kernels")
    parser.add_argument("--labels", type=int, default=500, help="(default 500)")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="dials and others")
    args = parser.parse_args()
    if args.threads:
        tl.threads(args.threads)
    settings = {**SETTINGS[args.kind]}
    for name, _, value in (pair.partition("=") for pair in args.set):
        number = int(value) if value.isdigit() else value
        if name in settings:
            settings[name] = number
        else:
            settings["dials"] = settings["dials"] | {name: number}
    for seed in range(args.first, args.first + args.seeds):
        figures = run(args.kind, seed, args.labels, **settings)
        print(seed, *(f"{name} {value:.4g}" for name, value in figures.items()), flush=True)


if __name__ == "__main__":
    main()
