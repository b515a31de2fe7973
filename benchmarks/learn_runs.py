"""Measure what trainings of `tinyllm train` learn, and what the models then write.

An experiment is a function of a seed and settings -> {figure: value}.
"""

import time
from itertools import islice

import numpy as np

import tinyllm as tl
from tinyllm.eval import Gaps, answers
from tinyllm.eval.gaps import anywhere, body, line
from tinyllm.ops import pass_at_k
from tinyllm.train import events
from tinyllm.train.fit import loop_of
from tinyllm.world import KINDS, World, stories
from tinyllm.world.corpus import SEPARATOR, read_name

TRIAL = {"data": "stories", "train.steps": 200, "train.batch": 8, "model.context": 128,
         "train.eval_windows": 240}


class Trial:
    """A training as `tinyllm train` does it, without a folder."""

    def __init__(self, settings, setup=None):
        self.setup = setup or tl.prepare(tl.make_config(settings))
        self.model = self.setup.model

    def run(self):
        """Train -> {loss on held-out text at half of the steps and at the end, milliseconds a step}."""
        c, plan = self.setup.config.train, self.setup.plan
        found, seconds, began = [], 0.0, time.process_time()
        for event in loop_of(c, self.model, plan.batches, plan.loss, self.setup.config.seed):
            if isinstance(event, events.Stepped) and event.step in (c.steps // 2, c.steps):
                seconds += time.process_time() - began
                found.append(plan.evaluate(self.model)["val_loss_per_char"])
                began = time.process_time()
        return {"half": found[0], "loss": found[-1], "ms a step": 1000 * seconds / c.steps}

    def ask(self, task, items, **options):
        """Let the trained model answer items of a task -> their scores."""
        opened = tl.Opened(self.model.eval(), self.setup.tokenizer, self.setup.frame)
        return [answer.score for answer in answers(opened, task, items, **options)]


def recipe(seed, **settings):
    """Train with some settings, by default 200 steps on the stories."""
    return Trial(TRIAL | {"seed": seed} | settings).run()


def prose(kind: str):
    """Return the default training on one kind of prose: the loss above the exact floor, per character."""

    def experiment(seed, **settings):
        settings = {"data": f"world:{kind},n=20000", "seed": seed, "train.eval_windows": 480} | settings
        return {"above floor": Trial(settings).run()["loss"] - read_name(settings["data"]).entropy_per_char()}

    return experiment


def middle(seed, rate=0.5, asked=100, samples=10, **settings):
    """Fill gaps in functions whose combinations of operations are in no training text.

    A model learns the programs of the world, one a row, a share of them (`rate`) with the middle moved to the
    end; nine in ten of these are whole lines. The interpreter of the world runs the tests of what it writes:
    pass@1 and pass@10 are estimated from some samples at temperature 0.8. With rate 0 a model gets what is
    before the gap, and writes to the end of the function.
    """
    kind = "world:program,parts=1,examples=0"
    trial = Trial({
        "data": f"{kind},n=8000,seed={seed}", "seed": seed, "tokenizer": "bpe:512",
        "model.layers": 3, "model.width": 64, "model.hidden": 176, "model.heads": 2, "model.kv_heads": 2,
        "model.init_std": 64**-0.5, "model.context": 256, "pretrain.middle": rate, "pretrain.lines": 0.9,
        "pretrain.documents": True, "train.steps": 1200, "train.batch": 32} | settings)
    figures = {"loss": trial.run()["loss"]}
    drawn = {"sampling": tl.Sampling(0.8), "max_tokens": 64, "n": samples}
    for cut in (body, line, anywhere):
        task = Gaps(f"{kind},seed={seed}", cut, ahead=rate > 0)
        scores = np.array(trial.ask(task, islice(task.items("test"), asked), **drawn))
        passed = scores.reshape(-1, samples).sum(axis=1).astype(int).tolist()
        for k in {1, min(10, samples)}:
            figures[f"{cut.__name__} pass@{k}"] = pass_at_k(passed, samples, k)
    return figures


def written(seed, run="shipped", count=20):
    """Count the stories of a run, or of the shipped model, that the grammar parses from end to end.

    It writes a story after each of `count` stories of held-out text, at temperature 1, and as `tinyllm
    generate` draws: after a separator alone it would not know what follows one without a story before.
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


EXPERIMENTS = {
    "recipe": recipe, **{kind: prose(kind) for kind in ("stories", "encyclopaedia", "letters", "dialogues")},
    "middle": middle, "written": written,
}
