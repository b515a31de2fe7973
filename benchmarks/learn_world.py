"""Measure what small models learn from the world, one document a row.

The model is a LLaMA whose weights start with a standard deviation of 1 / sqrt(width); the learning rate
follows a cosine. Documents of the test split are in no training text (see Kind.splits). An answer is right if
each of its words is the likeliest.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

import tinyllm as tl
from tinyllm.ops.loss import IGNORED
from tinyllm.world import KINDS, Stream, World

WORLD = World()
BLANKS = r"\S+|\n"  # a token is what stands between blanks
WORDS = r"'s|[A-Za-z]+|\d+|[^\sA-Za-z\d]|\n"
CHARACTERS = r"[\s\S]"


class Pieces:
    """Number the pieces that occur in a text, and no others.

    Tokens that never occur delay learning: with 256 bytes beside its 16 words, `mapping` needs five times as
    many steps.
    """

    def __init__(self, text, pattern):
        self.pattern = re.compile(pattern)
        self.numbers = {piece: i for i, piece in enumerate(sorted({*self.pattern.findall(text)}))}

    def encode(self, text):
        return [self.numbers[piece] for piece in self.pattern.findall(text)]


def answered(trained, figure, documents):
    """Return the share of answers that are right."""
    hits, asked = trained.hits(documents)
    return {figure: (hits | ~asked).all(axis=1).mean()}


def each_call(trained, figure, documents):
    """Return the share of right answers to all calls of all rows."""
    hits, asked = trained.hits(documents)
    return {figure: hits[asked].mean()}


def bayes(trained, figure, documents):
    """Return the accuracy at some shots, and the largest distance to the best possible at any."""
    hits, asked = trained.hits(documents)
    right = hits[:, asked[0]]
    curve = right.mean(axis=0)
    off = np.abs((right - np.array([document.labels["bayes"] for document in documents])).mean(axis=0)).max()
    return {"first": curve[0], "ninth": curve[8], "last": curve[-1], "off the curve": off}


@dataclass(frozen=True)
class Rows:
    """Train on documents of some kinds in turn, one a row, and ask about documents of their test split.

    train: (kind, dials) or (kind, dials, split). test: {figure: (kind, dials)}, by default the last of train.
    by: how documents are held out. whole: whether the loss counts the whole text, or answers only (where
    nothing is asked, the whole text). One bit a row starves a model that must compare two sentences: from
    the names that come again in the text it learns to look back, and then the answer.
    parts: how many parts a step is computed in; as many as kinds saves the padding of the shorter kind.
    wanted(document) says which documents may be asked about.
    measure(trained, figure, documents) returns {figure: value}.
    """

    train: tuple
    steps: int
    test: dict = field(default_factory=dict)
    by: str | None = None
    whole: bool = False
    parts: int = 1
    pieces: str = WORDS
    batch: int = 32
    width: int = 64
    layers: int = 2
    heads: int = 1
    lr: float = 3e-3
    decay: float = 0.05
    embed_std: float | None = None
    asked: int = 300
    wanted: Callable = lambda document: True
    measure: Callable = answered

    def __call__(self, seed, **settings):
        return Trained(replace(self, **settings), seed).figures()


class Trained:
    """A LLaMA that was trained on rows, with its `pieces`."""

    def __init__(self, rows: Rows, seed: int):
        self.rows, self.seed = rows, seed
        self.streams = [self.stream(part, seed) for part in rows.train]
        self.asked = {figure: list(islice(filter(rows.wanted, self.stream((*part[:2], "test"), seed + 1000)),
                                          rows.asked))
                      for figure, part in (rows.test or {"right": rows.train[-1]}).items()}
        seen = [stream[i] for stream in self.streams for i in range(2000)]
        seen += [document for documents in self.asked.values() for document in documents]
        self.pieces = Pieces("".join(document.text + "\n" for document in seen), rows.pieces)
        context = 40 + max(len(self.pieces.encode(document.text)) for document in seen)
        config = tl.LlamaConfig(
            len(self.pieces.numbers), context=context, layers=rows.layers, heads=rows.heads,
            kv_heads=rows.heads, width=rows.width, hidden=round(rows.width / 6) * 16,
            init_std=rows.width**-0.5, embed_std=rows.embed_std)
        self.model = tl.Llama(config, seed=seed)
        tl.fit(self.model, self.take, rows.steps, rows.lr, loss=_loss, batch=rows.batch, seed=seed,
               accumulate=rows.parts, beta2=0.98, warmup=50, weight_decay=rows.decay)

    def figures(self):
        """Return what the experiment measures of the model."""
        found = {}
        for figure, documents in self.asked.items():
            found |= self.rows.measure(self, figure, documents)
        return found

    def stream(self, part, seed):
        """Return the documents of (kind, dials) or (kind, dials, split)."""
        kind = KINDS[part[0]]
        return Stream(WORLD, kind, kind.dials(**part[1]), seed, *(part[2:] or ("train",)), by=self.rows.by)

    def take(self, step):
        """Return the batch of a step: documents of all kinds in turn."""
        rows, n = self.rows, len(self.streams)
        chosen = [self.streams[i % n][(step * rows.batch + i) // n] for i in range(rows.batch)]
        chosen = [document for part in range(rows.parts) for document in chosen[part :: rows.parts]]
        return self.batch(chosen, rows.whole)

    def batch(self, documents, whole=False):
        """Return a row for each document; targets are answers, or the words that can be predicted."""
        lines = [self.pieces.encode(document.text + "\n") for document in documents]
        tokens = np.zeros((len(lines), max(map(len, lines))), np.int32)
        targets = np.full_like(tokens, IGNORED)
        for row, (line, document) in enumerate(zip(lines, documents, strict=True)):
            tokens[row, : len(line)] = line
            answer = slice(0 if whole else len(self.pieces.encode(document.prompt)), len(line))
            scored = document.labels.get("scored", answer)
            targets[row, scored] = tokens[row, scored]
        return tl.Batch(tokens[:, :-1], np.ascontiguousarray(targets[:, 1:]))

    def hits(self, documents):
        """Return where the likeliest token is the right one, and where a token is asked for, (rows, T)."""
        batch = self.batch(documents)
        with tl.no_grad():
            return self.model(batch.tokens).data.argmax(-1) == batch.targets, batch.targets != IGNORED


def _loss(model, batch):
    end = 1 + np.flatnonzero((batch.targets != IGNORED).any(axis=0))[-1]  # no later token is seen
    return model.loss(batch.tokens[:, :end], batch.targets[:, :end])


def told(document):
    """Return True if the encyclopaedia tells what a question asks for, and no other fact gives it away.

    A birthplace is given away: brothers and sisters share it, and many people live where they were born.
    """
    return document.labels["relation"] in ("works_as", "likes", "enjoys", "best_friend", "owns")


def shell(n, **dials):
    """Follow 1 to 12 swaps of two pairs of cups, or of one (hands=1) -> share right by swaps."""
    parts = {f"{m} swaps": ("shell_game", {"moves": m} | dials) for m in range(1, 13)}
    test = {f"{m} swaps": parts[f"{m} swaps"] for m in (1, 2, 3, 4, 6, 8, 12)}
    return Rows((*parts.values(),), n, test, pieces=BLANKS, batch=60, layers=3, heads=2, lr=2e-3)


def questions(**dials):
    """Ask about people of whom only an encyclopaedia told; others were asked about."""
    parts = ("encyclopaedia", dials, "all"), ("question", {})
    return Rows(parts, 6000, heads=2, wanted=told, parts=2)


LETTERS = ("mapping", {"letters": 3}), ("mapping", {})  # rows with few letters show the way
CONTEXT = {"pieces": BLANKS, "decay": 0.01}
DEEP = {"layers": 3, "heads": 2}
ABOUT = ("entailment", {"about": "family"}), ("entailment", {"about": "work"})
WIDE = {"width": 128, "layers": 4, "heads": 4}
EXPERIMENTS = {
    "shell-steps": shell(400, steps=True),
    "mapping": Rows(LETTERS, 1000, asked=2000, measure=bayes, **CONTEXT),
    "recall": Rows((("recall", {}),), 400, measure=each_call, **CONTEXT),
    "recall-once": Rows((("recall", {"queries": 1}),), 800, measure=each_call, **CONTEXT),
    "recall-early": Rows((("recall", {"queries": 1}),), 800, measure=each_call, embed_std=1.0, **CONTEXT),
    "translation": Rows((("translation", {}),), 800, pieces=CHARACTERS, lr=1e-3, **WIDE),
    "shell-direct": shell(2000),
    "shell-one-pair": shell(2000, hands=1),
    "coreference": Rows((("coreference", {"clue": "gender"}),), 300, whole=True, **DEEP),
    "coreference-jobs": Rows((("coreference", {"clue": "job"}),), 1200, whole=True, **DEEP),
    "paraphrase": Rows((("paraphrase", {}),), 3000, whole=True, **DEEP),
    "entailment": Rows(ABOUT, 1500, {"family": ABOUT[0], "work": ABOUT[1]}, whole=True, **DEEP),
    "syllogisms": Rows((("entailment", {"about": "groups"}),), 1200, by="pattern", whole=True, **DEEP),
    "questions": questions(),
    "questions-plain": questions(ways=1, shuffle=False),
}
