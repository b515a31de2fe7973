"""Measure what small models learn from the world: `python benchmarks/world.py [NAME ...] [--seeds N]`.

Each experiment prints its figures for every seed, their mean with its standard error, and the seconds of
training. The model is a LLaMA whose weights start with a standard deviation of 1 / sqrt(width); the learning
rate is 3e-3 with a cosine. Documents of the test split are in no training text (see Kind.splits).
"""

import argparse
import math
import time

import numpy as np

import tinyllm as tl
from tinyllm.data import rows
from tinyllm.ops.loss import IGNORED
from tinyllm.tokenizer import make_tokenizer
from tinyllm.world import KINDS, Stream, World
from tinyllm.world.corpus import SEPARATOR
from tinyllm.world.kinds.in_context import mapping_curve

WORLD = World()
GREEDY = tl.Sampling(temperature=0)
WORDS = r" ?[^\s]+|\s"  # a word is what stands between blanks


def model_of(vocab_size, seed, context, width, layers, heads):
    """Return a LLaMA with the first weights of the experiments."""
    hidden = round(width / 6) * 16
    config = tl.LlamaConfig(vocab_size, context, layers, heads, heads, width, hidden, init_std=width**-0.5)
    return tl.Llama(config, seed=seed)


def learn(model, batches, steps, seed, lr=3e-3, decay=0.05, **settings):
    """Train a model -> seconds."""
    began = time.perf_counter()
    tl.fit(model, batches, steps, lr, seed=seed, beta2=0.98, warmup=50, weight_decay=decay, **settings)
    return time.perf_counter() - began


class Course:
    """Rows of prompts and answers of some kinds, in turn, and a tokenizer made from the first of them."""

    def __init__(self, parts, seed, tokenizer="word", split="train"):
        self.streams = [Stream(WORLD, KINDS[name], KINDS[name].dials(**dials), seed, how)
                        for name, dials, how in ((*part, split)[:3] for part in parts)]  # fmt: skip
        documents = [stream[i] for stream in self.streams for i in range(3000)]
        text = "".join(document.text + "\n" for document in documents)
        if tokenizer is WORDS:
            self.tokenizer = tl.BPETokenizer.whole_words(text, pattern=WORDS)
        else:
            self.tokenizer = make_tokenizer(tokenizer, text.encode())

    def batch(self, step, size, context):
        """Return a batch; the loss counts answers, or the whole document where nothing is asked."""
        n = len(self.streams)
        chosen = [self.streams[i % n][step * size + i] for i in range(size)]
        prompts = [self.tokenizer.encode(d.prompt or "\n") for d in chosen]
        found = [self.tokenizer.encode((d.answer if d.prompt else d.text) + "\n") for d in chosen]
        return rows(prompts, found, context)

    def score(self, model, name, dials, seed, n=300, split="test"):
        """Return the share of right answers to documents of a split."""
        kind = KINDS[name]
        stream = Stream(WORLD, kind, kind.dials(**dials), seed + 1000, split)
        asked = [stream[i] for i in range(n)]
        longest = max(len(self.tokenizer.encode(d.answer)) for d in asked) + 4
        prompts = [self.tokenizer.encode(d.prompt) for d in asked]
        written = tl.generate(model, prompts, max_tokens=longest, sampling=GREEDY, stop=["\n"],
                              tokenizer=self.tokenizer)  # fmt: skip
        said = [self.tokenizer.decode(ids).partition("\n")[0] for ids in written]
        return sum(kind.score_answer(s, kind.entry(d)) for s, d in zip(said, asked, strict=True)) / n


def answer(seed, kind, steps, batch, sizes, tokenizer="word", lr=3e-3, **dials):
    """Train on one kind -> share right on its test split, seconds."""
    course = Course([(kind, dials)], seed, tokenizer)
    model = model_of(course.tokenizer.vocab_size, seed, **sizes)
    seconds = learn(model, lambda step: course.batch(step, batch, sizes["context"]), steps, seed, lr)
    return {"right": course.score(model, kind, dials, seed)}, seconds


def prose(seed, steps=3000, kind="stories"):
    """Train on stories, and return the loss above the floor and how many stories of its own parse."""
    stream = Stream(WORLD, KINDS[kind], seed=seed, split="all")
    text = "".join(stream[i].text + SEPARATOR for i in range(20_000)).encode()
    tokenizer = make_tokenizer("bpe:1024", text[:2_000_000])
    tokens = tokenizer.encode_to_numpy(text)
    model = model_of(1024, seed, context=128, width=128, layers=4, heads=4)
    seconds = learn(model, tokens, steps, seed, batch=16)
    held = "".join(stream[i].text + SEPARATOR for i in range(10**6, 10**6 + 400))
    nats = chars = 0
    for x, y in tl.data.eval_batches(tokenizer.encode_to_numpy(held), 128, 32, 10**6):
        nats += model.loss(x, y).item() * y.size
        chars += len(tokenizer.decode(y.reshape(-1)))
    end = tokenizer.encode(SEPARATOR)
    found = tl.generate(model, [end] * 100, max_tokens=300, seed=seed, stop=[SEPARATOR], tokenizer=tokenizer,
                        overflow="slide")  # fmt: skip
    texts = [tokenizer.decode(ids).partition(SEPARATOR)[0] for ids in found]
    floor = KINDS[kind].expectation(WORLD)
    return {"above floor": nats / chars - floor[0] / (floor[1] + len(SEPARATOR)),
            "parse": sum(KINDS[kind].read(WORLD, t) is not None for t in texts) / 100}, seconds  # fmt: skip


def knowledge(seed, augmented=True, steps=3000):
    """Ask about people of whom only an encyclopaedia told -> share right; others were asked about."""
    told = {} if augmented else {"ways": 1, "shuffle": False, "pronouns": False}
    course = Course([("encyclopaedia", told, "all"), ("question", {})], seed)
    model = model_of(course.tokenizer.vocab_size, seed, context=96, width=128, layers=4, heads=4)
    seconds = learn(model, lambda step: course.batch(step, 64, 96), steps, seed)
    return {"right": course.score(model, "question", {}, seed)}, seconds


def mapping(seed, steps=1600):
    """Learn random mappings, and return the accuracy and its largest distance to the Bayes curve."""
    kind = KINDS["mapping"]
    stream, held = (Stream(WORLD, kind, seed=seed, split=split) for split in ("train", "test"))
    tokenizer = make_tokenizer("word", "".join(stream[i].text + "\n" for i in range(500)).encode())

    def batch(documents):
        ids = np.array([tokenizer.encode(document.text) for document in documents], np.int32)
        targets = np.full_like(ids, IGNORED)
        scored = documents[0].labels["scored"]
        targets[:, scored] = ids[:, scored]
        return tl.Batch(ids[:, :-1], np.ascontiguousarray(targets[:, 1:]))

    model = model_of(tokenizer.vocab_size, seed, context=64, width=64, layers=2, heads=1)
    take = lambda step: batch([stream[64 * step + i] for i in range(64)])  # noqa: E731
    seconds = learn(model, take, steps, seed, decay=0.01)
    test = batch([held[i] for i in range(1000)])
    with tl.no_grad():
        right = model(test.tokens).data.argmax(-1) == test.targets
    curve = right[:, test.targets[0] != IGNORED].mean(axis=0)
    off = np.abs(curve - mapping_curve()).max()
    return {"first": curve[0], "ninth": curve[8], "last": curve[-1], "off the curve": off}, seconds


def shell(seed, stepwise, steps):
    """Follow 1 to 12 swaps, with the pea's place said after each or without -> share right by swaps."""
    course = Course([("shell_game", {"moves": m, "steps": stepwise}) for m in range(1, 13)], seed, WORDS)
    model = model_of(course.tokenizer.vocab_size, seed, context=64, width=64, layers=3, heads=2)
    seconds = learn(model, lambda step: course.batch(step, 64, 64), steps, seed, 2e-3)
    scores = {f"{m} swaps": course.score(model, "shell_game", {"moves": m, "steps": stepwise}, seed)
              for m in (1, 2, 4, 8, 12)}  # fmt: skip
    return scores, seconds


def speed(seed):
    """Write documents of prose -> megabytes per second of one core."""
    found = {}
    for name in ("stories", "encyclopaedia", "letters", "dialogues"):
        stream = Stream(WORLD, KINDS[name], seed=seed, split="all")
        stream[0]
        began = time.process_time()
        size = sum(len(stream[i].text) for i in range(5000))
        found[name] = size / 1e6 / (time.process_time() - began)
    return found, 0.0


SMALL = {"context": 128, "width": 128, "layers": 4, "heads": 4}
EXPERIMENTS = {
    "prose": prose,
    "questions": knowledge,
    "questions-plain": lambda seed: knowledge(seed, augmented=False),
    "mapping": mapping,
    "shell-steps": lambda seed: shell(seed, True, 400),
    "shell-direct": lambda seed: shell(seed, False, 2000),
    "speed": speed,
    "translation": lambda seed: answer(seed, "translation", 800, 32, SMALL, "char", 1e-3),
}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(EXPERIMENTS)}; default: all")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    args = parser.parse_args(argv)
    for name in args.names or EXPERIMENTS:
        results = []
        for seed in range(args.seeds):
            figures, seconds = EXPERIMENTS[name](seed)
            results.append(figures | {"seconds": seconds})
            print(name, seed, *(f"{what} {value:.4g}" for what, value in results[-1].items()), flush=True)
        for what in results[0]:
            values = np.array([result[what] for result in results])
            error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else 0.0
            print(f"=> {name}: {what} {values.mean():.4g} +- {error:.2g} over {len(values)} seeds")


if __name__ == "__main__":
    main()
