"""Compare `tinyllm eval` with lm-eval: the same model, the same items, the same numbers.

    python benchmarks/harness.py [RUN] [--tasks world:sentiment world:acceptability] [--limit 100]

lm-eval (EleutherAI's harness) makes the prompts, chooses and counts; tinyllm computes log-probabilities for
it. Nothing is downloaded. `pip install --editable '.[peers]'` installs lm-eval. What it calls acc, acc_norm
and acc_bytes are tinyllm's metrics choice, choice_char and choice_byte.
"""

import argparse
from itertools import islice
from typing import Any

import datasets
from lm_eval import simple_evaluate
from lm_eval.api.model import LM

import tinyllm as tl
from tinyllm.eval import Evaluation, Row, find_task
from tinyllm.eval.ask import log_probs

METRICS = {"acc": "choice", "acc_norm": "choice_char", "acc_bytes": "choice_byte"}
LIMIT = 100


class Harnessed(LM):
    """A model of tinyllm in the form that lm-eval asks."""

    def __init__(self, opened: tl.Opened):
        super().__init__()
        self.opened = opened

    def loglikelihood(self, requests: list) -> list[tuple[float, bool]]:
        """Return for each (text, continuation) its log-probability; False: it may not be the likeliest."""
        encode = self.opened.tokenizer.encode
        pairs = [tuple(map(encode, request.args)) for request in requests]
        return [(float(x), False) for x in log_probs(self.opened.model, pairs)]

    def loglikelihood_rolling(self, requests: list) -> list[float]:
        """Refuse: tasks of another form than multiple choice are not compared."""
        raise NotImplementedError

    generate_until = loglikelihood_rolling


def described(name: str, limit: int) -> dict[str, Any]:
    """Describe the first test items of a task with choices as a task of lm-eval."""
    rows = [{"question": x.question, "choices": [*x.choices], "gold": x.choices.index(x.truth)}
            for x in islice(find_task(name).items("test"), limit)]
    return {"task": name.replace(":", "_"), "output_type": "multiple_choice", "test_split": "test",
            "custom_dataset": lambda **_: {"test": datasets.Dataset.from_list(rows)},
            "doc_to_text": "{{question}}", "doc_to_choice": "choices", "doc_to_target": "gold",
            "metric_list": [{"metric": name} for name in METRICS]}


def both(opened: tl.Opened, names: list[str], limit: int) -> dict[str, dict[str, tuple[float, float]]]:
    """Return {task: {metric of lm-eval: (lm-eval's number, tinyllm's number)}}."""
    theirs = simple_evaluate(Harnessed(opened), tasks=[described(name, limit) for name in names],
                             bootstrap_iters=0)["results"]
    ours = {name: {metric: Evaluation(opened, limit=limit).measure(Row(name, own))["score"]
                   for metric, own in METRICS.items()} for name in names}
    return {name: {metric: (theirs[name.replace(":", "_")][f"{metric},none"], score)
                   for metric, score in scores.items()} for name, scores in ours.items()}


def main(arguments: list[str] | None = None) -> None:
    """Print the numbers of both side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", nargs="?", default="shipped")
    parser.add_argument("--tasks", nargs="+", default=["world:sentiment", "world:acceptability"])
    parser.add_argument("--limit", type=int, default=LIMIT)
    given = parser.parse_args(arguments)
    for name, scores in both(tl.open_model(given.run), given.tasks, given.limit).items():
        for metric, (theirs, own) in scores.items():
            print(f"{name:<24} {metric:<10} lm-eval {theirs:.4f}   tinyllm {own:.4f}   {METRICS[metric]}")


if __name__ == "__main__":
    main()
