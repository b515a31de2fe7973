"""List the metrics of evaluations: how a model is asked, and which number its answers give."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.decode.sampling import Sampling
from tinyllm.errors import UserError, unknown
from tinyllm.eval.agent import with_tools
from tinyllm.eval.ask import Answer, answers, likeliest
from tinyllm.eval.statistics import by_accident, resampled
from tinyllm.world.kinds.refusal import refuses
from tinyllm.world.mix import IS_RUDE

DRAWN = Sampling(temperature=0.8)  # how several answers to the same question are drawn


def _guessed(guessed, found):
    return guessed


@dataclass(frozen=True)
class Metric:
    """A number that says how good answers are: the mean of `each`, unless there is a `whole`."""

    help: str
    # Answers -> scores of items, from 0 to 1:
    each: Callable[[Sequence[Answer]], list[float]] = lambda found: [x.score for x in found]
    whole: Callable[[np.ndarray, np.ndarray], float] | None = None  # confidence, right (n,) -> may be NaN
    ask: Callable[..., list[Answer]] = answers  # or `likeliest`
    options: dict[str, Any] = field(default_factory=dict)  # of `ask`
    # Share of right guesses, answers -> what guessing reaches, or None if nobody knows:
    chance: Callable[[float, Sequence[Answer]], float | None] = lambda guessed, found: None
    error: bool = False  # `whole` is above 0 by accident even if a model's confidence is right
    compared: bool = False  # an answer is right if it is that to the unchanged question
    spread: bool = False  # scores lie anywhere, so that the interval is a bootstrap
    ceiling: Callable[[Sequence[Answer]], float] | None = None  # what the best reaches; None: the row says it

    def measure(self, found: Sequence[Answer], seed: int = 0) -> tuple[dict[str, Any], list[float]]:
        """Return {"score", "low", "high", "n"}, and the scores of the items, if it is a mean of them."""
        if whole := self.whole:
            scores, sure, right = [], *np.array([(x.confidence, x.score) for x in found]).T
            score = whole(sure, right)
            low, high = resampled(lambda at: whole(sure[at], right[at]), len(found), seed)
            if self.error:
                low = max(0.0, score - by_accident(whole, sure, seed))
        else:
            scores = self.each(found)
            score = math.fsum(scores) / len(scores)
            low, high = ops.wilson_interval(math.fsum(scores), len(scores)) if not self.spread else resampled(
                lambda at: np.array(scores)[at].mean(), len(scores), seed)
        numbers: dict[str, Any] = {"score": score, "low": low, "high": high}
        numbers = {name: None if math.isnan(x) else x for name, x in numbers.items()}
        return numbers | {"n": len(found) // self.options.get("n", 1)}, scores


def _f1_of_others(guessed, found):
    """Return the mean f1 of giving the right answer to the next question of the list."""
    truths = [x.item.truth for x in found]
    pairs = zip(truths[1:] + truths[:1], truths, strict=True)
    return math.fsum(ops.token_f1(*pair) for pair in pairs) / len(truths) if len(truths) > 1 else None


def _exposure(found):
    rows = [(-np.array(x.logprobs), x.item.choices.index(x.item.truth)) for x in found]
    return [float(ops.exposure(np.delete(losses, at), losses[[at]])[0]) for losses, at in rows]


def _unexposed(guessed, found):
    """Return the mean exposure over all ranks that the right choice can have."""
    n = len(found[0].logprobs)
    return float(ops.exposure(np.arange(1.0, n), np.arange(n) + 0.5).mean())


def _passing(n, k):
    """Return the metric pass@k, estimated from n answers to each item."""
    def each(found):
        rows = [found[i : i + n] for i in range(0, len(found), n)]
        return [ops.pass_at_k([sum(x.score == 1 for x in row)], n, k) for row in rows]

    return Metric(f"probability that one of {k} drawn answers is right", each,
                  options={"n": n, "sampling": DRAWN}, chance=lambda guessed, found: 1 - (1 - guessed) ** k)


METRICS = {
    "right": Metric("share of right answers", chance=_guessed),
    "f1": Metric("words that an answer shares with the right one (SQuAD)",
                 lambda found: [ops.token_f1(x.text, x.item.truth) for x in found], chance=_f1_of_others),
    "tools": Metric("share of right answers with tools to call", ask=with_tools, chance=_guessed),
    "choice": Metric("share of right choices, by their log-probability", ask=likeliest, chance=_guessed),
    **{f"choice_{per}": Metric(f"the same, for each {words}", ask=likeliest, options={"per": per},
                               chance=_guessed)
       for per, words in (("token", "token"), ("char", "character (acc_norm of lm-eval)"),
                          ("byte", "byte (acc_bytes of lm-eval)"))},
    "agreement": Metric("share of answers that stay the same when the question is changed", compared=True,
                        chance=lambda guessed, found: guessed if found[0].logprobs else None),
    "habit": Metric("probability of the usual one of two choices; the best is its share in the texts",
                    lambda found: [x.confidence if x.score else 1 - x.confidence for x in found],
                    ask=likeliest, chance=_guessed, spread=True,
                    ceiling=lambda found: sum(x.item.source for x in found) / len(found)),
    "exposure": Metric("bits that a model gives away about the right choice", _exposure, ask=likeliest,
                       chance=_unexposed, spread=True, ceiling=lambda found: _unexposed(0, found)),
    "rude": Metric("share of drawn answers with a rude word",
                   lambda found: [float(bool(IS_RUDE.search(x.text))) for x in found],
                   options={"sampling": Sampling()}, chance=lambda guessed, found: 0.0,
                   ceiling=lambda found: 0.0),
    "refused": Metric("share of requests that the model refuses, for any reason",
                      lambda found: [float(refuses(x.text)) for x in found]),
    "ended": Metric("share of answers that end by themselves", lambda found: [float(x.ended) for x in found]),
    "ece": Metric("how far confidence is from the share that is right", error=True, ceiling=lambda found: 0.0,
                  whole=lambda sure, right: ops.expected_calibration_error(sure, right, 10)),
    "brier": Metric("squared distance of confidence from 1 or 0", ceiling=lambda found: 0.0,
                    whole=lambda sure, right: ops.brier_score(sure, right)),
    "auroc": Metric("probability that a right answer is surer than a wrong one",
                    chance=lambda guessed, found: 0.5, whole=lambda sure, right: ops.auroc(sure, right)),
}


def find_metric(name: str) -> Metric:
    """Return a metric by its name; pass@K is one for any K, and NAME:choice measures choices by NAME.

    Raises UserError when there is none.
    """
    plain, colon, asked = name.partition(":")
    if match := re.fullmatch(r"pass@([1-9]\d?)", name):
        k = int(match[1])
        return _passing(max(10, 2 * k), k)
    if plain not in METRICS:
        raise unknown("metric", plain, [*METRICS, "pass@K"])
    found = METRICS[plain]
    if colon and (asked != "choice" or found.ask is likeliest):
        raise UserError(f"there is no metric {name!r}: write NAME:choice, such as ece:choice")
    return replace(found, ask=likeliest) if asked else found
