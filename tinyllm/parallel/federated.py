"""Train one model on the texts of many clients, who send weights but no text: federated learning.

In each round a server sends its weights to some clients. Each of them trains the weights for some steps on
its own text, and sends them back; the mean of all is what the server sends next (McMahan et al.,
"Communication-efficient learning of deep networks from decentralized data", 2017).

    loop = prepare(make_config({"recipe": "federated", "data": ..., "train.steps": 20})).train()
    loop.clients[3] = Liar(loop.client(3))  # any object with `train(weights, round)`, which returns a Reply
    for event in loop:  # a Stepped for each round, among others
        ...
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median_low
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from tinyllm import ops
from tinyllm.config import conform
from tinyllm.data import Corpus
from tinyllm.data.corpus import boundary
from tinyllm.data.middle import documents
from tinyllm.errors import UserError, worded
from tinyllm.files import atomic_write_bytes, parse_json, read_bytes
from tinyllm.models.weights import load_weights, save_weights
from tinyllm.rng import Random
from tinyllm.runs.plan import Plan
from tinyllm.runs.recipe import Parts
from tinyllm.runs.recipes.pretrain import PretrainConfig, pretrain
from tinyllm.runs.setup import make_private
from tinyllm.train import events
from tinyllm.train.config import learning_rate
from tinyllm.train.fit import loop_of
from tinyllm.train.loop import Loop, Progress

MOST = 1e6  # nats that a client's loss may have
ELSEWHERE: ContextVar[Any] = ContextVar("ELSEWHERE", default=None)  # asks clients in other processes


class Reply(NamedTuple):
    """Hold what a client sends back."""

    weights: dict[str, np.ndarray]  # that it has trained
    tokens: int  # that it has, but at most those that a round reads
    loss: float
    digests: dict[str, str]
    epsilon: float = 0.0  # that it has spent, if it trains privately


@dataclass
class Client:
    """Train a server's weights on the text of one client, which remembers nothing from earlier rounds."""

    parts: Parts
    number: int

    def __post_init__(self):
        seed = Random(self.parts.config.seed, "client", self.number).integers(2**31)
        if secret := self.parts.secret:
            secret = copy(secret)
            secret.prefix = ("client", self.number)
        self.parts = replace(self.parts, config=replace(self.parts.config, seed=seed), secret=secret)
        with worded("", ", or fewer federated.clients"):
            self.plan, self.private = text_plan(self.parts), None
        if secret:
            config = self.parts.config
            steps = replace(config.train, steps=config.train.steps * config.options.local_steps)
            self.private = make_private(replace(self.parts, config=replace(config, train=steps)), self.plan)

    def train(self, weights: dict[str, np.ndarray], number: int) -> Reply:
        """Train weights in round `number`; if they are another model's, only the digests are sent back."""
        config, model = self.parts.config, self.parts.model
        steps, first = config.options.local_steps, config.options.local_steps * number
        try:
            model.load_state_dict(model.state_dict() | weights)
        except UserError:
            return Reply({}, 0, 0.0, digests(self.parts))
        loop = loop_of(replace(config.train, steps=first + steps), model, self.plan.batches,
                       near(self.plan.loss, weights, config.options.proximal), config.seed,
                       schedule=lambda step: learning_rate(number, config.train), progress=Progress(first),
                       private=self.private)
        loss = float(np.mean([event.loss for event in loop if isinstance(event, events.Stepped)]))
        tokens = min(self.plan.train_tokens, tokens_of_round(self.parts))
        spent = self.private.spent(first + steps) if self.private else 0.0
        return Reply(trained_arrays(model), tokens, loss, digests(self.parts), spent)


@dataclass
class Rounds(Loop):
    """Train as the server of a federation: each step of this loop is a round."""

    parts: Any = None
    clients: dict[int, Any] = field(default_factory=dict)  # number -> Client; made when first asked
    spent: float = 0.0  # most of a client's epsilon

    def __post_init__(self):
        super().__post_init__()
        self.parts, self.notes = replace(self.parts, model=self.model), []

    def __iter__(self) -> Iterator[Any]:
        for event in super().__iter__():
            yield from self.notes
            self.notes.clear()
            yield event

    def train_step(self) -> events.Stepped:
        """Do a round: ask some clients, refuse what cannot be right, and combine the rest."""
        began, step, options = time.perf_counter(), self.progress.step, self.parts.config.options
        self.optimizer.lr = learning_rate(step, self.parts.config.train)  # of the clients
        sent, drawn = trained_arrays(self.model), Random(self.seed, "drawn", step)
        numbers = drawn.shuffle(range(options.clients))[: math.ceil(options.share * options.clients)]
        replies = self.ask(sent, step, sorted(numbers))
        refused = faults(replies, sent, self.parts, self.optimizer.lr)
        for number, why in refused.items():
            self.notes.append(events.Refused(step + 1, f"client {number} is refused: {why}"))
            self.append({"kind": "refused", "step": step + 1, "text": self.notes[-1].text})
        if len(refused) == options.clients:
            raise UserError(f"no client can be used in round {step + 1}: {self.notes[-1].text}")
        good = [reply for number, reply in replies.items() if number not in refused]
        new = combined(good, options.trim) if good else sent
        self.model.load_state_dict(self.model.state_dict() | new)
        loss = np.average([r.loss for r in good], weights=[r.tokens for r in good]) if good else math.nan
        self.spent = max([self.spent, *(reply.epsilon for reply in good)])
        tokens = len(good) * tokens_of_round(self.parts)
        done = events.Stepped(step + 1, float(loss), self.optimizer.lr, distance(new, sent), tokens,
                              time.perf_counter() - began, {"clients": len(good), "refused": len(refused)})
        self.progress.add(done)
        return done

    def epsilon(self) -> float | None:
        """Return what the clients have spent, if they train privately."""
        return self.spent if self.parts.secret else None

    def ask(self, sent: dict[str, np.ndarray], step: int, drawn: list[int]) -> dict[int, Any]:
        """Let clients train, here one after the other -> {number: Reply, or in a text why there is none}."""
        if elsewhere := ELSEWHERE.get():
            return elsewhere(self.parts.config, sent, step, drawn)
        replies: dict[int, Any] = {}
        for number in drawn:
            client = self.client(number)
            try:
                replies[number] = client.train(sent, step)
            except UserError as error:
                replies[number] = str(error)
        return replies

    def client(self, number: int) -> Any:
        """Return a client, which has its share of the corpus. Raises UserError if that is too little."""
        if number not in self.clients:
            self.clients[number] = Client(dealt(self.parts, number), number)
        return self.clients[number]


def dealt(parts: Parts, number: int) -> Parts:
    """Return parts with a client's share of the corpus: every N-th document, or else one of N equal parts.

    The client learns from all of its share; what is held out is that of the whole corpus.
    """
    corpus, clients = parts.corpus, parts.config.options.clients
    learnt, held_out = corpus.split(parts.config.train.val_fraction)
    if corpus.separator:
        own = "".join(documents(learnt.decode(), corpus.separator.decode())[number::clients]).encode()
    else:
        first, last = (boundary(learnt, len(learnt) * i // clients) for i in (number, number + 1))
        own = learnt[first:last]
    data = own if corpus.tokens is None else b""
    share = Corpus(f"{corpus.name} of client {number}", data, separator=corpus.separator)
    vars(share)["split"] = lambda fraction: (own, held_out)
    return replace(parts, corpus=share)


def text_plan(parts: Parts) -> Plan:
    """Return the plan with which the recipe pretrain would learn a corpus; if privately, its documents."""
    options = PretrainConfig(documents=parts.config.private.epsilon > 0)
    return pretrain(replace(parts, config=replace(parts.config, recipe="pretrain", options=options)))


def tokens_of_round(parts: Parts) -> int:
    """Return how many tokens a client reads in a round."""
    return parts.config.options.local_steps * parts.config.train.batch * parts.model.config.context


def near(loss: Callable, weights: dict[str, np.ndarray], strength: float) -> Callable:
    """Return loss + strength / 2 |model - weights|^2, which pulls back (FedProx: Li et al., 2020)."""

    def pulled(model: Any, batch: Any) -> Any:
        trained = ((name, p) for name, p in model.named_parameters() if p.requires_grad)
        away = sum(((p - weights[name]) ** 2).sum() for name, p in trained)
        return loss(model, batch) + strength / 2 * away

    return pulled if strength else loss


def digests(parts: Parts) -> dict[str, str]:
    """Return the SHA-256 of what server and clients must share."""
    model = parts.model
    shapes = [(name, array.shape) for name, array in model.state_dict().items()]
    said = repr((type(model).__name__, model.config, parts.start and parts.start.sha256, shapes))
    return {"tokenizer": parts.tokenizer.fingerprint(), "model": hashlib.sha256(said.encode()).hexdigest()}


def trained_arrays(model: Any) -> dict[str, np.ndarray]:
    """Return copies of the arrays that training changes, which are what travels."""
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    return {name: array.copy() for name, array in model.state_dict().items() if name not in frozen}


def distance(weights: dict[str, np.ndarray], others: dict[str, np.ndarray]) -> float:
    """Return the length of the difference of two models, taken as vectors."""
    changes = (np.subtract(array, others[name], dtype=np.float64) for name, array in weights.items())
    with np.errstate(over="ignore"):
        return math.sqrt(sum((change**2).sum() for change in changes))


def forms(weights: dict[str, np.ndarray]) -> dict[str, tuple]:
    """Return {name: (shape, dtype)}."""
    return {name: (array.shape, array.dtype) for name, array in weights.items()}


def faults(replies: dict[int, Any], sent: dict[str, np.ndarray], parts: Parts, lr: float) -> dict[int, str]:
    """Find out which replies cannot be used, and why: they are no weights of this model, or far too large.

    Too large is a change of more than federated.largest times the median change of the round, and of more
    than steps of AdamW or Muon can make: others that change nothing make no change too large.
    """
    found, changes = {}, {}
    own, most, options = digests(parts), tokens_of_round(parts), parts.config.options
    for number, reply in replies.items():
        if isinstance(reply, str):
            found[number] = " ".join(reply[:300].split())  # which a stranger may have written
        elif other := [name for name in own if reply.digests.get(name) != own[name]]:
            theirs = str(reply.digests.get(other[0]))
            found[number] = f"it has another {other[0]} (SHA-256 {theirs[:12]} and {own[other[0]][:12]})"
        elif forms(reply.weights) != forms(sent):
            found[number] = "its weights have other names, shapes or types of numbers"
        elif not 0 < reply.tokens <= most:
            found[number] = f"it claims {str(reply.tokens)[:15]} tokens in a round, which reads {most}"
        elif not (abs(reply.loss) < MOST and 0 <= reply.epsilon <= parts.config.private.epsilon):
            found[number] = f"its loss or its epsilon cannot be: {reply.loss:g} and {reply.epsilon:g}"
        elif not math.isfinite(distance(reply.weights, sent)):
            found[number] = "its weights are not finite"
        else:
            changes[number] = distance(reply.weights, sent)
    usual = median_low(changes.values()) if changes else 0.0
    possible = options.local_steps * lr * math.sqrt(sum(array.size for array in sent.values()))
    far = {number: f"it changed the weights by {change:.3g}, more than federated.largest={options.largest:g} "
                   f"times the median, {usual:.3g}, and than its steps can, {possible:.3g}"
           for number, change in changes.items() if change > max(options.largest * usual, possible)}
    return found | far


def combined(replies: list[Reply], trim: float) -> dict[str, np.ndarray]:
    """Return the mean of the clients' weights: by tokens, or without the extremes if `trim` is above 0."""
    found, tokens = {}, np.array([reply.tokens for reply in replies])
    left_out = min(math.ceil(trim * len(replies) - 1e-6), (len(replies) - 1) // 2)
    for name, first in replies[0].weights.items():
        values = np.stack([reply.weights[name].reshape(-1) for reply in replies])
        mean = ops.trimmed_mean(values, left_out) if trim else ops.federated_mean(values, tokens)
        found[name] = mean.reshape(first.shape).astype(first.dtype)
    return found


def pack(weights: dict[str, np.ndarray], **fields: Any) -> bytes:
    """Return weights and other fields as the bytes of a safetensors file, which cannot contain code."""
    with TemporaryDirectory() as folder:
        save_weights(weights, path := Path(folder, "weights"), {"fields": json.dumps(fields)})
        return read_bytes(path, path.stat().st_size)


def unpack(data: bytes, kinds: dict[str, Any]) -> dict[str, Any]:
    """Return weights and fields of these kinds. Raises UserError, in one line, if the bytes hold others."""
    with TemporaryDirectory() as folder:
        atomic_write_bytes(path := Path(folder, "weights"), data)
        try:
            weights, metadata = load_weights(path)
            conform(fields := parse_json(metadata.get("fields", "null")), kinds)
        except UserError as error:
            raise UserError(f"its message {error}".replace(f"{path} ", "")) from None
    return {name: fields[name] for name in kinds} | {"weights": weights}
