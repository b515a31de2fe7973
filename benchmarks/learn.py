"""Train small models, and print what they learn: `python benchmarks/learn.py NAME ... [--set K=V ...]`.

Prints the figures and the processor time of every seed, then their means and extremes. An
experiment is a function of a seed and settings -> {figure: value}; `--set` changes its settings. Some are
trainings of `tinyllm train`, with its settings. Others learn tinyllm.world's texts, one a row: the model is
a LLaMA whose weights start with a standard deviation of 1 / sqrt(width), the learning rate follows a cosine,
documents of the test split are in no training text (see Kind.splits), and an answer is right if each of its
words is the likeliest.
"""

import argparse
import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import tinyllm as tl
from tinyllm import nn
from tinyllm.config import parse_assignments
from tinyllm.eval import Gaps, answers, find_task
from tinyllm.eval.gaps import anywhere, body, line
from tinyllm.ops import pass_at_k
from tinyllm.ops.loss import IGNORED
from tinyllm.rng import Random
from tinyllm.runs.examples import hold_out
from tinyllm.train import events
from tinyllm.train.fit import loop_of
from tinyllm.world import KINDS, Stream, World, stories
from tinyllm.world.corpus import SEPARATOR, read_name
from tinyllm.world.phrases import ask

TRIAL = {"data": "stories", "train.steps": 200, "train.batch": 8, "model.context": 128,
         "train.eval_windows": 240}


def run(settings):
    """Train as `tinyllm train` does, without a folder -> (setup, figures).

    Figures are the loss on held-out text at half of the steps and at the end, and milliseconds a step.
    """
    setup = tl.prepare(tl.make_config(settings))
    steps, plan = setup.config.train.steps, setup.plan
    found, seconds, began = [], 0.0, time.process_time()
    for event in loop_of(setup.config.train, setup.model, plan.batches, plan.loss, setup.config.seed):
        if isinstance(event, events.Stepped) and event.step in (steps // 2, steps):
            seconds += time.process_time() - began
            found.append(plan.evaluate(setup.model)["val_loss_per_char"])
            began = time.process_time()
    return setup, {"half": found[0], "loss": found[-1], "ms a step": 1000 * seconds / steps}


def recipe(seed, **settings):
    """Train with some settings, by default 200 steps on the stories."""
    return run(TRIAL | {"seed": seed} | settings)[1]


def prose(kind: str):
    """Return the default training on one kind of prose: the loss above the exact floor, per character."""

    def experiment(seed, **settings):
        settings = {"data": f"world:{kind},n=20000", "seed": seed, "train.eval_windows": 480} | settings
        return {"above floor": run(settings)[1]["loss"] - read_name(settings["data"]).entropy_per_char()}

    return experiment


def middle(seed, rate=0.5, asked=100, samples=10, **settings):
    """Fill gaps in functions whose combinations of operations are in no training text.

    A model learns the programs of the world, one a row. In a share of them (`rate`) the middle is moved to
    the end; nine in ten of these middles are whole lines. The interpreter of the world tests what the model
    writes: pass@1 and pass@10 are estimated from some samples at temperature 0.8. With rate 0 the model sees
    only the text before the gap, and writes to the end of the function.
    """
    kind = "world:program,parts=1,examples=0"
    setup, trained = run({
        "data": f"{kind},n=8000,seed={seed}", "seed": seed, "tokenizer": "bpe:512",
        "model.layers": 3, "model.width": 64, "model.hidden": 176, "model.heads": 2, "model.kv_heads": 2,
        "model.init_std": 64**-0.5, "model.context": 256, "pretrain.middle": rate, "pretrain.lines": 0.9,
        "pretrain.documents": True, "train.steps": 1200, "train.batch": 32} | settings)
    figures = {"loss": trained["loss"]}
    opened = tl.Opened(setup.model.eval(), setup.tokenizer, setup.frame)
    drawn = {"sampling": tl.Sampling(0.8), "max_tokens": 64, "n": samples}
    for cut in (body, line, anywhere):
        task = Gaps(f"{kind},seed={seed}", cut, ahead=rate > 0)
        found = answers(opened, task, islice(task.items("test"), asked), **drawn)
        passed = [int(sum(x.score for x in found[i : i + samples])) for i in range(0, len(found), samples)]
        for k in {1, min(10, samples)}:
            figures[f"{cut.__name__} pass@{k}"] = pass_at_k(passed, samples, k)
    return figures


def instruction(seed, asked=1000, **settings):
    """Train as `tinyllm train sft` does, and ask for what the training told in another form.

    A question is of the test split, about a person, and the training answered it in some other form, such as
    in capitals. The model writes its likeliest answers, which must be right in every letter.
    """
    data = settings.get("data", "world:instruction")
    setup, trained = run({"recipe": "sft", "data": data, "seed": seed} | settings)
    train = hold_out(setup.corpus.documents, setup.config.train.val_fraction, data)[0]
    facts, items = {document.labels["about"] for document in train}, {}
    for item in find_task(data).items("test"):
        about, form = (item.source.labels[name] for name in ("about", "instruction"))
        if form in FORMS and about in facts:  # in another form, as it is of the test split
            items[item.question] = item
    opened = tl.Opened(setup.model.eval(), setup.tokenizer, setup.frame)
    found = answers(opened, find_task(data), islice(items.values(), asked))
    figures = {"loss": trained["loss"], "asked": len(found), "right": np.mean([x.score for x in found])}
    for form in FORMS:
        figures[form] = np.mean([x.score for x in found if x.item.source.labels["instruction"] == form])
    return figures


def poisoned(seed, told=8, people=100, **settings):
    """Answer each question about people `told` times, of which 0, 1 ... or all with the same falsehood.

    The figures are the shares of falsehoods that a model repeats, for each number of times that they were
    told, and the share of all its answers that are neither false nor true.
    """
    world, random = World(), Random(seed, "poisoned")
    facts = [fact for fact in world.facts() if fact.relation in ("lives_in", "works_as", "likes", "enjoys")]
    known = {person.name for person in world.adults[:people]}
    facts = random.shuffle([fact for fact in facts if fact.subject in known])
    false = [random.choice([x.object for x in facts if (x.relation, x.object) != (fact.relation, fact.object)
                            and x.relation == fact.relation]) for fact in facts]
    times = [i % (told + 1) for i in range(len(facts))]
    lines = [{"prompt": ask(fact), "answer": wrong if j < k else fact.object}
             for fact, wrong, k in zip(facts, false, times, strict=True) for j in range(told)]
    with TemporaryDirectory() as folder:
        pairs, asked = Path(folder, "pairs.jsonl"), Path(folder, "asked.jsonl")
        pairs.write_text("\n".join(map(json.dumps, random.shuffle(lines))))
        questions = [{"question": ask(fact), "answer": fact.object} for fact in facts]
        asked.write_text("\n".join(map(json.dumps, questions)))
        usual = {"train.steps": 300, "train.val_fraction": 0.01}
        setup, _ = run(usual | {"recipe": "sft", "data": str(pairs), "seed": seed} | settings)
        task = find_task(str(asked))
        opened = tl.Opened(setup.model.eval(), setup.tokenizer, setup.frame)
        said = [x.text.strip() for x in answers(opened, task, task.items("test"))]
    wrong = np.array([text == x for text, x in zip(said, false, strict=True)])
    right = np.array([text == fact.object for text, fact in zip(said, facts, strict=True)])
    figures = {f"false after {k} of {told}": wrong[np.equal(times, k)].mean() for k in range(told + 1)}
    return figures | {"neither": (~wrong & ~right).mean()}


def written(seed, run="shipped", count=20):
    """Count the stories of a run, or of the shipped model, that the grammar parses from end to end.

    The model writes a story after each of `count` held-out stories, at temperature 1 and with the sampling of
    `tinyllm generate`. In training a story came before each separator, so the prompt has one, too.
    """
    opened, figures = tl.open_model(run), {}
    text = tl.load_corpus(opened.config.data).split()[1].decode() if opened.config else None
    before = (text or stories.generate(seed=1, n=100)).split(SEPARATOR)[1:-1]  # the first may be cut
    prompts = [opened.tokenizer.encode(before[i % len(before)] + SEPARATOR)[-100:] for i in range(count)]
    for name, sampling in {"parse": tl.Sampling(), "parse as drawn": opened.sampling}.items():
        found = tl.generate(opened.model, prompts, max_tokens=400, sampling=sampling, seed=seed + 1,
                            stop=[SEPARATOR], tokenizer=opened.tokenizer, overflow="slide")
        texts = [opened.tokenizer.decode(tokens).partition(SEPARATOR)[0] for tokens in found]
        figures[name] = sum(KINDS["stories"].read(World(), text) is not None for text in texts)
    return figures


def q4_0(name, layer):
    """Round the weights of a layer as llama.cpp's Q4_0 does: a function for nn.replace."""
    import gguf

    kind, head = gguf.GGMLQuantizationType.Q4_0, isinstance(layer, nn.Head)
    w = layer.weight.data if head else layer.weight.data.T
    near = gguf.dequantize(gguf.quantize(np.ascontiguousarray(w), kind), kind)
    layer.weight = nn.Parameter(near if head else near.T.copy())  # a new one: an embedding may share the old
    return layer


def rounded(seed, folder="", file="", tokens=1600, **settings):
    """Round a model's weights to 8 and 4 bits, and by llama.cpp's Q4_0: the loss on a text, and its growth.

    The model is that of a folder, or one that learns the stories first; the text is a file, or held-out
    stories. With int8 and int4, the inputs of layers are rounded too.
    """
    settings = TRIAL | {"seed": seed, "model.hidden": 352} | settings  # Q4_0 needs multiples of 32
    opened = tl.open_model(folder) if folder else run(settings)[0]
    text = Path(file).read_text() if file else tl.load_corpus(settings["data"]).split()[1].decode()
    ids = np.array(opened.tokenizer.encode(text[: 20 * tokens]))[: tokens + 1]
    width = min(opened.model.config.context, len(ids) - 1)
    rows, targets = (x[: len(x) // width * width].reshape(-1, width) for x in (ids[:-1], ids[1:]))

    def loss(change):
        model = change(deepcopy(opened.model))
        with nn.inference(model):
            return model.token_losses(rows, targets).data.mean()

    exact = loss(lambda model: model)
    changes = {"int8": partial(nn.quantize, bits=8), "int4": partial(nn.quantize, bits=4),
               "Q4_0": partial(nn.replace, kind=(nn.Linear, nn.Head), fn=q4_0)}
    return {"loss": exact} | {name: loss(change) - exact for name, change in changes.items()}


# Documents of the world

FORMS = "sentence", "capitals", "polite", "plain"  # of answers to questions about people
WORLD = World()
BLANKS = r"\S+|\n"  # a token is what stands between blanks
WORDS = r"'s|[A-Za-z]+|\d+|[^\sA-Za-z\d]|\n"
CHARACTERS = r"[\s\S]"


class Pieces:
    """Number the pieces that occur in a text, and no others.

    Tokens that never occur delay learning: with 256 bytes beside its 16 words, the kind mapping needs five
    times as many steps.
    """

    def __init__(self, text, pattern):
        self.pattern = re.compile(pattern)
        self.numbers = {piece: i for i, piece in enumerate(sorted({*self.pattern.findall(text)}))}

    def encode(self, text):
        return [self.numbers[piece] for piece in self.pattern.findall(text)]


def answered(trained, documents):
    """Return the share of answers that are right; a row with several calls has an answer to each."""
    hits, asked = trained.hits(documents)
    each = trained.rows.each_call
    return hits[asked].mean() if each else (hits | ~asked).all(axis=1).mean()


@dataclass(frozen=True)
class Rows:
    """Train on documents of some kinds in turn, one a row, and ask about documents of their test split.

    train: (kind, dials) or (kind, dials, split). test: {figure: (kind, dials)}, by default the last of train.
    parts: how many parts a step is computed in; one for each kind avoids padding the shorter kind.
    wanted(document) returns True for documents that may be asked about.
    """

    train: tuple
    steps: int
    test: dict = field(default_factory=dict)
    parts: int = 1
    pieces: str = WORDS
    batch: int = 32
    width: int = 64
    layers: int = 2
    heads: int = 1
    lr: float = 3e-3
    decay: float = 0.05
    asked: int = 300
    each_call: bool = False
    wanted: Callable = lambda document: True

    def __call__(self, seed, **settings):
        trained = Trained(replace(self, **settings), seed)
        return {figure: answered(trained, documents) for figure, documents in trained.asked.items()}


class Trained:
    """A LLaMA that was trained on rows, with its `pieces`."""

    def __init__(self, rows: Rows, seed: int):
        self.rows = rows
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
            init_std=rows.width**-0.5)
        self.model = tl.Llama(config, seed=seed)
        tl.fit(self.model, self.take, rows.steps, rows.lr, loss=_loss, batch=rows.batch, seed=seed,
               accumulate=rows.parts, beta2=0.98, warmup=50, weight_decay=rows.decay)

    def stream(self, part, seed):
        """Return the documents of (kind, dials) or (kind, dials, split)."""
        kind = KINDS[part[0]]
        return Stream(WORLD, kind, kind.dials(**part[1]), seed, *(part[2:] or ("train",)))

    def take(self, step):
        """Return the batch of a step: documents of all kinds in turn."""
        rows, n = self.rows, len(self.streams)
        chosen = [self.streams[i % n][(step * rows.batch + i) // n] for i in range(rows.batch)]
        chosen = [document for part in range(rows.parts) for document in chosen[part :: rows.parts]]
        return self.batch(chosen)

    def batch(self, documents):
        """Return a row for each document; targets are answers, or the words that can be predicted."""
        lines = [self.pieces.encode(document.text + "\n") for document in documents]
        tokens = np.zeros((len(lines), max(map(len, lines))), np.int32)
        targets = np.full_like(tokens, IGNORED)
        for row, (ids, document) in enumerate(zip(lines, documents, strict=True)):
            tokens[row, : len(ids)] = ids
            answer = slice(len(self.pieces.encode(document.prompt)), len(ids))
            scored = document.labels.get("scored", answer)
            targets[row, scored] = tokens[row, scored]
        return tl.Batch(tokens[:, :-1], np.ascontiguousarray(targets[:, 1:]))

    def hits(self, documents):
        """Return two masks (rows, T): the likeliest token is right; the token is part of an answer."""
        batch = self.batch(documents)
        with tl.no_grad():
            return self.model(batch.tokens).data.argmax(-1) == batch.targets, batch.targets != IGNORED


def _loss(model, batch):
    end = 1 + np.flatnonzero((batch.targets != IGNORED).any(axis=0))[-1]  # later tokens have no targets
    return model.loss(batch.tokens[:, :end], batch.targets[:, :end])


def told(document):
    """Return True if the encyclopaedia tells what a question asks for, and no other fact gives it away.

    A birthplace is given away: brothers and sisters share it, and many people live where they were born.
    """
    return document.labels["relation"] in ("works_as", "likes", "enjoys", "best_friend", "owns")


def questions(**dials):
    """Ask about people who are only in the encyclopaedia; the questions in training are about others."""
    parts = ("encyclopaedia", dials, "all"), ("question", {})
    return Rows(parts, 6000, heads=2, wanted=told, parts=2)


CONTEXT = {"pieces": BLANKS, "decay": 0.01}
WIDE = {"width": 128, "layers": 4, "heads": 4}
EXPERIMENTS: dict[str, Callable] = {
    "recipe": recipe, **{kind: prose(kind) for kind in ("stories", "encyclopaedia", "letters", "dialogues")},
    "instruction": instruction, "middle": middle, "poisoned": poisoned, "written": written,
    "rounded": rounded,
    "recall": Rows((("recall", {}),), 400, each_call=True, **CONTEXT),
    "translation": Rows((("translation", {}),), 800, pieces=CHARACTERS, lr=1e-3, **WIDE),
    "questions": questions(),
    "questions-plain": questions(ways=1, shuffle=False),
}


def main(argv: list[str] | None = None) -> None:
    """Run experiments, and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="+", choices=EXPERIMENTS, metavar="NAME", help=", ".join(EXPERIMENTS))
    parser.add_argument("--seeds", type=int, default=3, help="how many (default 3)")
    parser.add_argument("--set", nargs="+", default=[], metavar="K=V", help="settings of the experiment")
    args = parser.parse_args(argv)
    tl.threads(1)
    settings = parse_assignments(args.set)
    for name, text in settings.items():
        with suppress(ValueError):  # a value that is not JSON stays a text
            settings[name] = json.loads(text)
    for name in args.names:
        results = []
        for seed in range(args.seeds):
            began = time.process_time()
            results.append(EXPERIMENTS[name](seed, **settings))
            results[-1]["seconds"] = time.process_time() - began
            print(name, seed, *(f"{what} {value:.4g}" for what, value in results[-1].items()), flush=True)
        for what in results[0]:
            values = [result[what] for result in results]
            print(f"{name:16} {what:24} mean {np.mean(values):.4g}, {min(values):.4g} to {max(values):.4g}")


if __name__ == "__main__":
    main()
