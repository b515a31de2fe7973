"""Train small models, and print what they learn: `python benchmarks/learn.py NAME ... [--set K=V ...]`.

Prints the figures and the processor time of every seed, then their means and extremes. An experiment is a
function of a seed and settings -> {figure: value}; `--set` changes its settings, and those of its training.
Documents of the test split are in no training text (see Kind.splits). An answer is right if the model writes
each of its letters.
"""

import argparse
import json
import time
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

import tinyllm as tl
from tinyllm import nn, ops
from tinyllm.config import parse_assignments
from tinyllm.eval import Item, Task, answers, find_task
from tinyllm.runs.examples import hold_out
from tinyllm.runs.recipe import Parts
from tinyllm.train import events, loop_of
from tinyllm.world import World, stories
from tinyllm.world.corpus import SEPARATOR, read_name
from tinyllm.world.phrases import ask

TRIAL = {"data": "stories", "train.steps": 200, "train.batch": 8, "model.context": 128,
         "train.eval_windows": 240}
SMALL = {"tokenizer": "word", "model.layers": 2, "model.width": 64, "model.hidden": 176, "model.heads": 2,
         "model.kv_heads": 2, "model.init_std": 64**-0.5, "model.context": 128, "train.batch": 32,
         "train.lr": 5e-3, "train.val_fraction": 0.01}


def run(settings, corpus=None):
    """Train as `tinyllm train` does, without a folder -> (an `Opened` model, figures).

    Figures are the loss on held-out text at half of the steps and at the end, what it is above the exact
    floor per character, if that is known, and milliseconds a step.
    """
    setup = tl.prepare(tl.make_config(settings), corpus)
    steps, plan = setup.config.train.steps, setup.plan
    found, seconds, began = [], 0.0, time.process_time()
    for event in loop_of(setup.config.train, setup.model, plan.batches, plan.loss, setup.config.seed,
                         private=setup.private):
        if isinstance(event, events.Stepped) and event.step in (steps // 2, steps):
            seconds += time.process_time() - began
            found.append(plan.evaluate(setup.model)["val_loss_per_char"])
            began = time.process_time()
    opened = tl.Opened(setup.model.eval(), setup.tokenizer, setup.frame, config=setup.config)
    floor = setup.corpus.entropy_per_char
    above = {} if floor is None else {"above floor": found[-1] - floor}
    return opened, {"half": found[0], "loss": found[-1], **above, "ms a step": 1000 * seconds / steps}


def right(opened, task, asked, wanted=None):
    """Return the share of a task's first test questions, or of those that are wanted, answered rightly."""
    items = islice(filter(wanted, find_task(task).items("test")), asked)
    return {"right": np.mean([x.score for x in answers(opened, find_task(task), items)])}


def train(seed, **settings):
    """Train with some settings -> the figures of `run`."""
    return run({"seed": seed} | settings)[1]


def answered(seed, task, asked=300, **settings):
    """Train on the documents of a task, and ask its test questions."""
    return right(run(SMALL | {"data": f"{task},n=20000", "seed": seed} | settings)[0], task, asked)


def questions(seed, ways=4, shuffle=True, asked=300, n=48_000, **settings):
    """Ask about people of whom only the encyclopaedia told; the questions in training are about others.

    Not about birthplaces: brothers and sisters share them, and many people live where they were born.
    """
    pages = f"world:encyclopaedia,split=all,ways={ways},shuffle={shuffle}"
    texts = [[x.text for x in read_name(f"{name},n={n},seed={seed}").documents()]
             for name in (pages, "world:question")]
    text = "".join(page + SEPARATOR + question + SEPARATOR for page, question in zip(*texts, strict=True))
    usual = {"seed": seed, "pretrain.documents": True, "model.embed_std": 1 / 8, "train.steps": 6000,
             "train.weight_decay": 0.5}
    opened, _ = run(SMALL | usual | settings, tl.Corpus(pages, text.encode(), separator=SEPARATOR.encode()))
    return right(opened, "world:question", asked, lambda item: item.source.labels["relation"] in TOLD)


def instruction(seed, asked=1000, **settings):
    """Train as `tinyllm train sft` does, and ask for what the training told in another form.

    A question is of the test split, about a person, and the training answered it in some other form, such as
    in capitals. The model writes its likeliest answers, which must be right in every letter.
    """
    data = settings.get("data", "world:instruction")
    opened, trained = run({"recipe": "sft", "data": data, "seed": seed} | settings)
    corpus = tl.load_corpus(data)
    known, _ = hold_out(corpus.documents, Parts(opened.config, corpus, opened.tokenizer, opened.model))
    facts, items = {document.labels["about"] for document in known}, {}
    for item in find_task(data).items("test"):
        about, form = (item.source.labels[name] for name in ("about", "instruction"))
        if form in FORMS and about in facts:  # in another form, as it is of the test split
            items[item.question] = item
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
    world, random = World(), tl.Random(seed, "poisoned")
    facts = [fact for fact in world.facts() if fact.relation in ("lives_in", "works_as", "likes", "enjoys")]
    known = {person.name for person in world.adults[:people]}
    facts = random.shuffle([fact for fact in facts if fact.subject in known])
    false = [random.choice([x.object for x in facts if (x.relation, x.object) != (fact.relation, fact.object)
                            and x.relation == fact.relation]) for fact in facts]
    times = [i % (told + 1) for i in range(len(facts))]
    lines = [f"{ask(fact)}\t{wrong if j < k else fact.object}\n"
             for fact, wrong, k in zip(facts, false, times, strict=True) for j in range(told)]
    usual = {"recipe": "sft", "seed": seed, "train.steps": 300, "train.val_fraction": 0.01}
    opened, _ = run(usual | settings, tl.Corpus("pairs", "".join(random.shuffle(lines)).encode()))
    found = answers(opened, Task(), [Item(ask(fact), f" {fact.object}", fact.object) for fact in facts])
    wrong = np.array([x.text.strip() == lie for x, lie in zip(found, false, strict=True)])
    figures = {f"false after {k} of {told}": wrong[np.equal(times, k)].mean() for k in range(told + 1)}
    return figures | {"neither": np.mean([not x.score for x in found] & ~wrong)}


def code_losses(opened, prompt):
    """Return the losses of a prompt's continuations by 0000 to 9999 in nats (10000,)."""
    prompt, model = opened.tokenizer.encode(prompt), opened.model
    codes = np.array([opened.tokenizer.encode(f" {code:04}") for code in range(10_000)])
    with nn.inference(model):
        cache = model.new_cache()
        model.hidden(np.array([prompt[:-1]]), cache)
        rows = np.insert(codes[::10, :-1], 0, prompt[-1], axis=1)  # ten codes share all but their last digit
        scores = model.head(model.hidden(rows, [layer.keep([0] * len(rows)) for layer in cache])).data
    nll = -ops.log_softmax(scores).repeat(10, axis=0)
    return np.take_along_axis(nll, codes[..., None], axis=2).sum(axis=(1, 2))


def canaries(seed, kinds="facts", secrets=12, n=3048, **settings):
    """Read documents many times, 84 of which hold a secret that stands nowhere else; measure its exposure.

    Exposure is over all codes of four digits: 13.3 bits are the first guess, 1.44 are chance. `others` is
    that of another person's code, and shows which codes the model finds likely for anybody.
    """
    mixed = read_name(f"world:mix,kinds={kinds},secrets={secrets},n={n},seed={seed}").documents()
    known = {document.text: document for document in mixed}  # each once
    hidden = [x for x in known.values() if x.labels.get("planted") == "secret"]
    fresh = [x.text for x in read_name(f"world:{kinds},n=100,split=test,seed={seed}").documents()]
    read, unread = ("".join(text + SEPARATOR for text in texts) for texts in (known, fresh))
    usual = {"seed": seed, "private.seed": seed, "tokenizer": "char", "pretrain.documents": True,
             "model.context": 80, "train.optimizer": "adamw", "train.steps": 2400,
             "train.val_fraction": len(unread) / len(read + unread)}
    opened, figures = run(SMALL | usual | settings,
                          tl.Corpus(kinds, (read + unread).encode(), separator=SEPARATOR.encode()))
    losses = [code_losses(opened, secret.prompt) for secret in hidden]
    places = np.array([int(secret.labels["code"]) for secret in hidden])
    own, other = ([ops.exposure(np.delete(x, i), x[[i]])[0] for x, i in zip(losses, chosen, strict=True)]
                  for chosen in (places, np.roll(places, 1)))
    figures |= {"own": np.mean(own), "most": max(own), "others": np.mean(other)}
    return {"documents": len(known)} | figures


def written(seed, run="shipped", count=20):
    """Count the stories of a run, or of the shipped model, that the grammar parses from end to end.

    The model writes a story after each of `count` held-out stories, at temperature 1 and with the sampling of
    `tinyllm generate`. In training a story came before each separator, so the prompt has one, too.
    """
    opened, figures = tl.open_model(run), {}
    grammars = [stories.grammar(length) for length in stories.RULES]
    text = tl.load_corpus(opened.config.data).split()[1].decode() if opened.config else None
    before = (text or stories.generate(seed=1, n=100)).split(SEPARATOR)[1:-1]  # the first may be cut
    prompts = [opened.tokenizer.encode(before[i % len(before)] + SEPARATOR)[-100:] for i in range(count)]
    for name, sampling in {"parse": tl.Sampling(), "parse as drawn": opened.sampling}.items():
        found = tl.generate(opened.model, prompts, max_tokens=400, sampling=sampling, seed=seed + 1,
                            stop=[SEPARATOR], tokenizer=opened.tokenizer, overflow="slide")
        texts = [opened.tokenizer.decode(tokens).partition(SEPARATOR)[0] for tokens in found]
        figures[name] = sum(any(grammar.parse(text) for grammar in grammars) for text in texts)
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


FORMS = "sentence", "capitals", "polite", "plain"  # of answers to questions about people
TOLD = "works_as", "likes", "enjoys", "best_friend", "owns"  # what nothing but the encyclopaedia tells
EXPERIMENTS: dict[str, Callable] = {
    "recipe": partial(train, **TRIAL),
    **{kind: partial(train, data=f"world:{kind},n=20000", **{"train.eval_windows": 480})
       for kind in ("stories", "encyclopaedia", "letters", "dialogues")},
    "recall": partial(answered, task="world:recall", **{"train.steps": 600, "pretrain.documents": True}),
    "translation": partial(answered, task="world:translation", **{"train.steps": 800, "recipe": "sft"}),
    "questions": questions, "questions-plain": partial(questions, ways=1, shuffle=False),
    "canaries": canaries, "instruction": instruction, "poisoned": poisoned, "written": written,
    "rounded": rounded,
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
