"""Train a model on the texts of many clients, who send weights but no text."""

from dataclasses import dataclass, replace
from functools import partial

from tinyllm.config import setting
from tinyllm.errors import UserError
from tinyllm.parallel.federated import ELSEWHERE, Client, Rounds, dealt, text_plan
from tinyllm.runs.plan import Plan
from tinyllm.runs.recipe import Parts, recipe


@dataclass(frozen=True)
class FederatedConfig:
    """The settings of federated learning; a step of the training is a round."""

    clients: int = setting(10, help="clients, who divide the text", min=1, max=100_000)
    local_steps: int = setting(20, help="steps of a client in a round", min=1, max=100_000)
    share: float = setting(1.0, help="share of the clients that take part in a round", above=0, max=1)
    trim: float = setting(0.0, help="share of the highest and lowest left out of means; 0.5: median",
                          min=0, max=0.5)
    proximal: float = setting(0.0, help="pull of clients to the weights that they got (FedProx)", min=0)
    timeout: float = setting(600.0, help="seconds for a client's round, by Flower", min=1, max=1e6)
    largest: float = setting(10.0, help="refuse changes of more than this times the median", min=1)


@recipe("federated", "learn from clients who keep their texts", FederatedConfig, defaults={
    "train.steps": 40, "train.eval_every": 5, "train.log_every": 1, "train.checkpoint_every": 10,
    "train.sample_every": 20})
def federated(parts: Parts) -> Plan:
    """Return a plan whose loop is a server's, and which validates on what no client learns from."""
    if parts.config.private.epsilon and parts.config.options.proximal:
        raise UserError("private clients have no federated.proximal: leave out one of the two")
    plan, last, promise = text_plan(parts), parts.config.options.clients - 1, ""
    if not ELSEWHERE.get():  # so that mistakes are found before there is a run
        private = Client(dealt(parts, last), last).private
        promise = f"client {last}: {private.guarantee()}" if private else ""
    return replace(plan, loop=partial(Rounds, parts=parts), promise=promise, healthy={
        "refused": (0.0, 0.0, "log.jsonl says why")})
