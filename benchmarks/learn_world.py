"""Measure what small models learn from the world, one document a row.

The model is a LLaMA whose weights start with a standard deviation of 1 / sqrt(width); the learning rate
follows a cosine. Documents of the test split are in no training text (see Kind.splits). An answer is right if
each of its words is the likeliest.
"""

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

import tinyllm as tl
from tinyllm.ops.loss import IGNORED
from tinyllm.train.config import TrainConfig
from tinyllm.world import KINDS, Stream, World

WORLD = World()
BLANKS = r"\S+|\n"  # a token is what stands between blanks
WORDS = r"'s|[A-Za-z]+|\d+|[^\sA-Za-z\d]|\n"
CHARACTERS = r"[\s\S]"
SPACED = r" ?[A-Za-z']+|[^A-Za-z']"  # a word with the blank before it


class Pieces:
    """Number the pieces that occur in a text, and no others.

    Tokens that never occur delay learning: with 256 bytes beside its 16 words, `mapping` needs five times as
    many steps. So does another token for the first word of a row, which has no blank before it.
    """

    def __init__(self, text, pattern):
        self.pattern = re.compile(pattern)
        self.numbers = {piece: i for i, piece in enumerate(sorted({*self.pattern.findall(text)}))}

    def encode(self, text):
        return [self.numbers[piece] for piece in self.pattern.findall(text)]

    def decode(self, tokens):
        pieces = list(self.numbers)
        return "".join(pieces[token] for token in tokens)


@dataclass(frozen=True)
class Rows:
    """Train on documents of some kinds in turn, one a row, and ask about documents of their test split.

    train: (kind, dials) or (kind, dials, split). test: {figure: (kind, dials)}, by default the last of train.
    by: how documents are held out. whole: whether the loss counts the whole text, or answers only (where
    nothing is asked, the whole text). One bit a row starves a model that must compare two sentences: from
    the names that come again in the text it learns to look back, and then the answer.
    parts: how many parts a step is computed in; as many as kinds saves the padding of the shorter kind.
    wanted(document) says which documents may be asked about. measure(hits, documents) returns more figures.
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
    muon: bool = False
    asked: int = 300
    wanted: Callable = lambda document: True
    measure: Callable | None = None

    def __call__(self, seed, **settings):
        if settings:
            return replace(self, **settings)(seed)
        streams = [self._stream(part, seed) for part in self.train]
        asked = {}
        for figure, part in (self.test or {"right": self.train[-1]}).items():
            documents = filter(self.wanted, self._stream((*part[:2], "test"), seed + 1000))
            asked[figure] = [document for document, _ in zip(documents, range(self.asked), strict=False)]
        seen = [stream[i] for stream in streams for i in range(2000)]
        seen += [document for documents in asked.values() for document in documents]
        pieces = Pieces("".join(document.text + "\n" for document in seen), self.pieces)
        context = 40 + max(len(pieces.encode(document.text)) for document in seen)
        model = self._model(len(pieces.numbers), context, seed)

        def take(step):
            n = len(streams)
            chosen = [streams[i % n][(step * self.batch + i) // n] for i in range(self.batch)]
            chosen = [document for part in range(self.parts) for document in chosen[part :: self.parts]]
            return self._batch(chosen, pieces, self.whole)

        settings = {"loss": _loss, "batch": self.batch, "accumulate": self.parts}
        if self.muon:
            optimizer = tl.Muon(tl.muon_groups(model, self.decay), self.lr, (0.9, 0.98))
            settings |= {"optimizer": optimizer, "schedule": "linear", "min_lr_ratio": 0.0}
        tl.fit(model, take, self.steps, self.lr, seed=seed, beta2=0.98, warmup=50, weight_decay=self.decay,
               **settings)
        return self._figures(model, asked, pieces, seed)

    def _model(self, vocab_size, context, seed):
        """Return a LLaMA with the first weights of the experiments."""
        heads, width = self.heads, self.width
        config = tl.LlamaConfig(vocab_size, context=context, layers=self.layers, heads=heads, kv_heads=heads,
                                width=width, hidden=round(width / 6) * 16, init_std=width**-0.5,
                                embed_std=self.embed_std)
        return tl.Llama(config, seed=seed)

    def _figures(self, model, asked, pieces, seed):
        figures = {}
        for figure, documents in asked.items():
            batch = self._batch(documents, pieces)
            hits = _guess(model, batch) == batch.targets
            if self.measure:
                figures |= self.measure(hits, batch, documents)
            else:
                figures[figure] = (hits | (batch.targets == IGNORED)).all(axis=1).mean()
        return figures

    def _stream(self, part, seed):
        kind = KINDS[part[0]]
        return Stream(WORLD, kind, kind.dials(**part[1]), seed, *(part[2:] or ("train",)), by=self.by)

    def _batch(self, documents, pieces, whole=False):
        """Return a row for each document; targets are answers, or the words that can be predicted."""
        lines = [pieces.encode(document.text + "\n") for document in documents]
        tokens = np.zeros((len(lines), max(map(len, lines))), np.int32)
        targets = np.full_like(tokens, IGNORED)
        for row, (line, document) in enumerate(zip(lines, documents, strict=True)):
            tokens[row, : len(line)] = line
            answer = slice(0 if whole else len(pieces.encode(document.prompt)), len(line))
            scored = document.labels.get("scored", answer)
            targets[row, scored] = tokens[row, scored]
        return tl.Batch(tokens[:, :-1], np.ascontiguousarray(targets[:, 1:]))


class Written(Rows):
    """Train on prose that is in no test split, and let the model write as many documents as `asked`.

    above floor: the loss on documents of the test split, per character, above the exact floor. parse: the
    share of documents that the grammar reads from the first to the last letter, at temperature 1, and drawn
    as `tinyllm generate` does. new: the share of these that are in no training row.
    """

    def _figures(self, model, asked, pieces, seed):
        (documents,) = asked.values()
        stream, batch = self._stream(self.train[0], seed), self._batch(documents, pieces)
        shown = {stream[i].text for i in range(self.steps * self.batch)}
        with tl.no_grad():
            nats = model.loss(batch.tokens, batch.targets).item() * (batch.targets != IGNORED).sum()
        above = nats + sum(document.logprob for document in documents)
        figures = {"above floor": above / sum(len(document.text) for document in documents)}
        usual, most = TrainConfig(), {"max_tokens": model.config.context - 1, "seed": seed}
        usual = tl.Sampling(temperature=usual.sample_temperature, min_p=usual.sample_min_p)
        for name, sampling in {"": tl.Sampling(), " as drawn": usual}.items():
            found = tl.generate(model, [pieces.encode("\n")] * self.asked, sampling=sampling, **most)
            texts = [pieces.decode(tokens).partition("\n")[0] for tokens in found]
            parsed = [text for text in texts if stream.kind.read(WORLD, text)]
            new = np.mean([text not in shown for text in parsed]) if parsed else math.nan
            figures |= {f"parse{name}": len(parsed) / len(texts), f"new{name}": new}
        return figures

    def _batch(self, documents, pieces, whole=False):
        begun = [replace(document, text="\n" + document.text) for document in documents]
        return super()._batch(begun, pieces, whole)


def _loss(model, batch):
    end = 1 + np.flatnonzero((batch.targets != IGNORED).any(axis=0))[-1]  # no later token is seen
    return model.loss(batch.tokens[:, :end], batch.targets[:, :end])


def _guess(model, batch):
    """Return the likeliest token at each place."""
    with tl.no_grad():
        return model(batch.tokens).data.argmax(-1)


def each_call(hits, batch, documents):
    """Return the share of right answers to all calls of all rows."""
    return {"right": hits[batch.targets != IGNORED].mean()}


def bayes(hits, batch, documents):
    """Return the accuracy at some shots, and the largest distance to the best possible at any."""
    right = hits[:, batch.targets[0] != IGNORED]
    curve = right.mean(axis=0)
    off = np.abs((right - np.array([document.labels["bayes"] for document in documents])).mean(axis=0)).max()
    return {"first": curve[0], "ninth": curve[8], "last": curve[-1], "off the curve": off}


def told(document):
    """Return True if the encyclopaedia tells what a question asks for, and no other fact gives it away.

    A birthplace is given away: brothers and sisters share it, and many people live where they were born.
    """
    return document.labels["relation"] in ("works_as", "likes", "enjoys", "best_friend", "owns")


def speed(seed, count=5000):
    """Write documents of prose -> megabytes per second of one core."""
    found = {}
    for name in ("stories", "encyclopaedia", "letters", "dialogues"):
        stream = Stream(WORLD, KINDS[name], seed=seed, split="all")
        stream[0]
        began = time.process_time()
        size = sum(len(stream[i].text) for i in range(count))
        found[name] = size / 1e6 / (time.process_time() - began)
    return found


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
FLAT = {"pieces": SPACED, "batch": 24, "width": 128, "heads": 4, "embed_std": 1.0, "muon": True, "decay": 0.1}
SHORT = ("stories", {"length": "short"})
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
    "stories-parse": Written((SHORT,), 2000, **FLAT),
    "stories-parse-shallow": Written((SHORT,), 1500, layers=1, lr=6e-3, **FLAT),
    "speed": speed,
}
