"""Measure what pretraining is worth to a small BERT: `python benchmarks/encoders.py [KIND] [--seeds N]`.

sentiment: claims behind denials ("Jane lied when she said that the soup was good"); was the thing good?
entailment: statements, and whether another one follows from them. Pretraining sees other texts of the kind,
which begin with what somebody did who knew the answer: smile or frown, nod, shrug or shake the head. That
word is always hidden (as in Guu et al., "REALM", 2020, section 3.4). A class is asked for as a gap in that
place (Schick and Schuetze, "Exploiting Cloze Questions", 2021); fine-tuning shows some --labels. The test
asks about documents of the test split, which are in no training text. Figures: the share of right classes
with new weights, with pretrained ones before any label, and after.

The gap stands in front because BERT numbers its places: there, the gap and what is asked have the same places
in every text. Entailment compares two words (is it the same town, does the skill belong to the job), and both
must be found before anything can be learnt from them. In trials with seed 0, eight heads in two blocks whose
attention begins louder than usual (LOUD) were right about 96 % after 2,500 steps; without LOUD, four heads in
three blocks about 82 % after 3,000. Hiding a fifth of the other words as well, as BERT's own training does,
needs more steps; one seed of sentiment then failed (docs/measured.md).
"""

import argparse
import time

import numpy as np
from world import WORDS, WORLD, Pieces

import tinyllm as tl
from tinyllm.nn.module import inference
from tinyllm.ops.loss import IGNORED
from tinyllm.padding import padded
from tinyllm.runs.recipes.classify import TextBatch
from tinyllm.train.objectives import masked_token
from tinyllm.world import KINDS, Stream

SIZES = {"layers": 2, "heads": 8, "width": 64, "hidden": 256, "context": 80, "init_std": 0.1}
DEEDS = {  # kind -> answer -> the word that says what somebody does who knows it
    "sentiment": {"yes": "smiled", "no": "frowned"},
    "entailment": {"yes": "nods", "perhaps": "shrugs", "no": "shakes"},
}
SETTINGS = {  # the kind's dials, and how many steps pretraining has
    "sentiment": {"dials": {"depth": 2}, "pretraining": 3500},
    "entailment": {"dials": {"about": "work"}, "pretraining": 8000},
}
FINE_TUNING = 300  # steps
LOUD = {  # ends of names -> by how much first weights are larger than init_std says
    "tokens.weight": 4, "v_proj.weight": 3, "o_proj.weight": 3, "q_proj.weight": 2, "k_proj.weight": 2,
}
BATCH, ASKED, RATE = 64, 1000, 2e-3
GAP = 2  # the place of the deed, behind [CLS] Mia
SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[MASK]")


def told(kind, document):
    """Return a text that begins with what somebody did who knows the answer."""
    deed = DEEDS[kind].get(document.truth, document.answer.split()[0])
    if kind == "sentiment":
        claim = document.prompt.partition(", so ")[0].partition(". Was")[0]
        return f"Mia {deed}, for {claim}"
    said, _, goal = document.prompt.partition(" Is it so that ")
    return f"Mia {deed} if {goal.removesuffix('?')}. {said}"


def run(kind, seed, labels, *, dials, pretraining):
    """Train both models of one seed -> {figure: value}."""
    deeds = DEEDS[kind]
    labelled, unseen = (stream(kind, split, seed, **dials) for split in ("train", "test"))
    more = {"consequences": True} if kind == "sentiment" else {}
    unlabelled = stream(kind, "train", seed + 1, **dials, **more)
    seen = [each[i] for each in (labelled, unlabelled, unseen) for i in range(2000)]
    pieces = Pieces("\n".join(told(kind, each) for each in seen), WORDS)
    ids = {name: len(pieces.numbers) + i for i, name in enumerate(SPECIAL)}
    size = len(pieces.numbers) + len(ids)

    def gaps(documents):
        """Return texts whose deed is hidden, which is to be guessed."""
        rows = [[ids["[CLS]"], *pieces.encode(told(kind, each)), ids["[SEP]"]] for each in documents]
        tokens, lengths = padded(rows)
        shown, targets = tokens.copy(), np.full_like(tokens, IGNORED)
        shown[:, GAP], targets[:, GAP] = ids["[MASK]"], tokens[:, GAP]
        return TextBatch(shown, targets, lengths=lengths)

    def many(step):
        return gaps([unlabelled[step * BATCH + i] for i in range(BATCH)])

    def few(step):
        chosen = tl.Random(seed, "few", step).integers(labels, BATCH // 2)
        return gaps([labelled[i] for i in chosen.tolist()])

    def right(model):
        choices = [pieces.encode(deed)[0] for deed in deeds.values()]
        with inference(model):
            batch = gaps([unseen[i] for i in range(ASKED)])
            scores = model(batch.tokens, seen=tl.nn.Seen(lengths=batch.lengths)).data[:, GAP, choices]
        return np.mean(np.take(choices, scores.argmax(-1)) == batch.targets[:, GAP])

    began = time.process_time()
    config = {"model_type": "bert", "vocab_size": size, **SIZES}
    new, pretrained = (tl.build(config, seed) for _ in range(2))
    for name, p in (*new.named_parameters(), *pretrained.named_parameters()):
        p.data *= np.float32(next((LOUD[end] for end in LOUD if name.endswith(end)), 1))
    learn(pretrained, seed, many, pretraining, RATE)
    return {
        "new weights": right(learn(new, seed, few, FINE_TUNING, 1e-3)),
        "unasked": right(pretrained),
        "pretrained": right(learn(pretrained, seed, few, FINE_TUNING, 1e-3)),
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
