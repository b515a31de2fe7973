"""Try ideas on the default training: `python benchmarks/ideas.py [IDEA ...] [--data FILE] [--set KEY=VALUE]`.

Every idea trains alone, from the same first weights and on the same batches; `relu2+zero-init` trains two
together, and `recipe` none. Each line has the validation loss in nats per character at half of the steps and
at the end, and the processor time of a step on one thread, evaluations left out. docs/speedrun.md says what
was found.
"""

import argparse
import time

import numpy as np

import tinyllm as tl
import tinyllm.functional as F
from tinyllm.config import parse_assignments
from tinyllm.nn import Linear, Module, init_normal
from tinyllm.train import events
from tinyllm.train.fit import loop_of


class CautiousAdamW(tl.AdamW):
    """Decay a weight only where the update moves it towards zero too (Chen et al., 2025)."""

    def update(self, i, p, lr, grad_scale):
        decay, self.weight_decays[i], before = self.weight_decays[i], 0.0, p.data.copy()
        super().update(i, p, lr, grad_scale)
        p.data -= lr * decay * before * ((before - p.data) * before > 0)
        self.weight_decays[i] = decay


class SquaredMLP(Module):
    """Feed-forward layers without a gate: y = relu(x @ up)^2 @ down (So et al., "Primer", 2021)."""

    def __init__(self, gated, seed):
        width, hidden = gated.gate_proj.weight.shape
        self.up, self.down = Linear(width, 3 * hidden // 2, False), Linear(3 * hidden // 2, width, False)
        init_normal(self, seed)
        self.down.weight.data /= np.float32(8**0.5)  # as the recipe's layers that write to the stream

    def forward(self, x):
        y = F.relu(self.up(x))
        return self.down(y * y)


class Trial:
    """A training that ideas may change before it begins: model, optimizer, batches."""

    def __init__(self, settings):
        self.setup = tl.prepare(tl.make_config(settings))
        self.model, self.optimizer, self.batches = self.setup.model, None, self.setup.plan.batches

    def run(self):
        """Train -> (losses per character at half of the steps and at the end, processor seconds)."""
        c, plan = self.setup.config.train, self.setup.plan
        loop = loop_of(c, self.model, self.batches, plan.loss, self.setup.config.seed, self.optimizer)
        losses, seconds, began = [], 0.0, time.process_time()
        for event in loop:
            if isinstance(event, events.Stepped) and event.step in (c.steps // 2, c.steps):
                seconds += time.process_time() - began
                losses.append(plan.evaluate(self.model)["val_loss_per_char"])
                began = time.process_time()
        return losses, seconds / c.steps


def cautious_decay(trial):
    c = trial.setup.config.train
    groups = tl.decay_groups(trial.model.parameters(), c.weight_decay)
    trial.optimizer = CautiousAdamW(groups, c.lr, (c.beta1, c.beta2), c.eps)


def zero_init(trial):
    for name, p in trial.model.named_parameters():
        if name.endswith(trial.model.residual_outputs):
            p.data = np.zeros_like(p.data)


def relu2(trial):
    for seed, layer in enumerate(trial.model.model.layers):
        layer.mlp = SquaredMLP(layer.mlp, seed)


def batch_ramp(trial):
    """Begin with half of the rows and end with one and a half times as many: the same tokens in all."""
    c, context = trial.setup.config, trial.model.config.context
    learnt = tl.token_array(tl.load_corpus(c.data).split(c.train.val_fraction)[0], trial.setup.tokenizer)

    def batches(step):
        rows = c.train.batch // 2 if step < c.train.steps // 2 else c.train.batch * 3 // 2
        return tl.Batch(*tl.get_batch(learnt, c.seed, step, rows, context))

    trial.batches = batches


IDEAS = {"recipe": lambda trial: None, "cautious-decay": cautious_decay,
         "zero-init": zero_init, "relu2": relu2, "batch-ramp": batch_ramp}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition(": ")[0])
    parser.add_argument("ideas", nargs="*", default=["recipe"], metavar="IDEA", help=", ".join(IDEAS))
    parser.add_argument("--data", default="stories")
    parser.add_argument("--tokenizer")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    tl.threads(1)
    settings = {
        "data": args.data, "train.steps": args.steps, "seed": args.seed, "train.batch": 8,
        "model.context": 128, "train.eval_windows": 240,
    } | parse_assignments(args.set)
    settings |= {"tokenizer": args.tokenizer} if args.tokenizer else {}
    for names in args.ideas:
        trial = Trial(settings)
        for name in names.split("+"):
            IDEAS[name](trial)
        (half, end), seconds = trial.run()
        print(f"{names:24} {half:.4f} {end:.4f} {1000 * seconds:8.1f} ms a step", flush=True)


if __name__ == "__main__":
    main()
