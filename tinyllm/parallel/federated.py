"""Train one model on the texts of many clients, who send weights but no text: federated learning.

In each round a server sends its weights to some clients. Each of them trains the weights for some steps on
its own text, and sends them back; the mean of all is what the server sends next (McMahan et al.,
"Communication-efficient learning of deep networks from decentralized data", 2017).

    loop = prepare(make_config({"recipe": "federated", "data": ..., "train.steps": 20})).train()
    loop.clients[3] = Liar()  # or any object with `train(sent)`, which returns a Reply
    for event in loop:  # a Stepped for each round, among others
        ...
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from tinyllm import ops
from tinyllm.data import Corpus
from tinyllm.data.corpus import boundary
from tinyllm.data.middle import documents
from tinyllm.errors import UserError
from tinyllm.rng import Random
from tinyllm.runs.plan import Plan
from tinyllm.runs.recipe import Parts
from tinyllm.runs.recipes.pretrain import PretrainConfig, pretrain
from tinyllm.train import events
from tinyllm.train.fit import loop_of
from tinyllm.train.loop import Loop, Progress

PATIENCE = 3  # rounds in a row without any client whose weights can be used


class Sent(NamedTuple):
    """Hold what a server sends to the clients of a round."""

    round: int
    lr: float
    weights: dict[str, np.ndarray]
    about: dict[str, str]  # SHA-256 of the model's settings, and of the tokenizer


class Reply(NamedTuple):
    """Hold what a client sends back: trained weights, its number of tokens, and its mean loss."""

    tokens: int
    loss: float
    about: dict[str, str]
    weights: dict[str, np.ndarray]


@dataclass
class Client:
    """Train a server's weights on the text of one client, which remembers nothing from earlier rounds."""

    parts: Parts
    number: int

    def __post_init__(self):
        seed = Random(self.parts.config.seed, "client", self.number).integers(2**31)
        self.parts = replace(self.parts, config=replace(self.parts.config, seed=seed))
        self.plan = text_plan(self.parts)

    def train(self, sent: Sent) -> Reply:
        """Train for `federated.local_steps` steps. Raises UserError if the server has another model."""
        if differs := other(sent.about, about(self.parts)):
            raise UserError(f"the server has {differs}")
        config, model = self.parts.config, self.parts.model
        steps, first = config.options.local_steps, config.options.local_steps * sent.round
        put(model, sent.weights)
        loop = loop_of(replace(config.train, steps=first + steps), model, self.plan.batches,
                       near(self.plan.loss, sent.weights, config.options.proximal), config.seed,
                       schedule=lambda step: sent.lr, progress=Progress(step=first))
        losses = [event.loss for event in loop if isinstance(event, events.Stepped)]
        return Reply(self.plan.train_tokens, float(np.mean(losses)), about(self.parts), trained_arrays(model))


@dataclass
class Rounds(Loop):
    """Train as the server of a federation: each step of this loop is a round."""

    parts: Any = None
    clients: dict[int, Any] = field(default_factory=dict)  # number -> Client; made when first asked
    lost: int = 0  # rounds in a row in which no client's weights could be used

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
        lr = self.optimizer.lr = self.schedule(step)  # type: ignore[misc]  # `loop_of` always gives one
        sent = Sent(step, lr, trained_arrays(self.model), about(self.parts))
        drawn = Random(self.seed, "drawn", step).shuffle(range(options.clients))
        replies = self.ask(sent, sorted(drawn[: math.ceil(options.share * options.clients)]))
        refused = refusals(replies, sent, options.largest)
        good = [reply for number, reply in replies.items() if number not in refused]
        for number, why in refused.items():
            self.notes.append(events.Refused(step + 1, f"client {number} is refused: {why}"))
            self.append({"kind": "refused", "step": step + 1, "text": self.notes[-1].text})
        self.lost = 0 if good else self.lost + 1
        if self.lost == PATIENCE:
            raise UserError(f"no client could be used in {PATIENCE} rounds; {self.notes[-1].text}")
        new = combined(good, options.trim) if good else sent.weights
        put(self.model, new)
        loss = np.average([r.loss for r in good], weights=[r.tokens for r in good]) if good else math.nan
        tokens = len(good) * options.local_steps * self.parts.config.train.batch * self.model.config.context
        done = events.Stepped(step + 1, float(loss), lr, distance(new, sent.weights), tokens,
                              time.perf_counter() - began, {"clients": len(good), "refused": len(refused)})
        self.progress.add(done)
        return done

    def ask(self, sent: Sent, drawn: list[int]) -> dict[int, Any]:
        """Let clients train, one after the other -> {number: Reply, or in a text why there is none}."""
        replies: dict[int, Any] = {}
        for number in drawn:
            try:
                replies[number] = self.client(number).train(sent)
            except UserError as error:
                replies[number] = str(error)
        return replies

    def client(self, number: int) -> Any:
        """Return a client, which has its share of the corpus."""
        if number not in self.clients:
            self.clients[number] = Client(replace(self.parts, corpus=dealt(self.parts, number)), number)
        return self.clients[number]


@dataclass(frozen=True, repr=False)
class Share(Corpus):
    """The text of one client, which learns from all of it."""

    halves: tuple = ()

    def split(self, fraction: float = 0.1) -> tuple:
        """Return the client's text, and what is held out of the whole corpus."""
        return self.halves


def dealt(parts: Parts, number: int) -> Share:
    """Return a client's share of a corpus: every N-th document, or without documents one of N equal parts."""
    corpus, clients = parts.corpus, parts.config.options.clients
    learnt, held_out = corpus.split(parts.config.train.val_fraction)
    if corpus.separator:
        texts = documents(learnt.decode(), corpus.separator.decode())
        own = "".join(texts[number::clients]).encode()
    else:
        edges = [len(learnt) * i // clients for i in (number, number + 1)]
        first, last = edges if corpus.tokens is not None else (boundary(learnt, at) for at in edges)
        own = learnt[first:last]
    name = f"{corpus.name} of client {number} of {clients}"
    return Share(name, own if corpus.tokens is None else b"", halves=(own, held_out))


def text_plan(parts: Parts) -> Plan:
    """Return the plan with which the recipe pretrain would learn a corpus."""
    return pretrain(replace(parts, config=replace(parts.config, recipe="pretrain", options=PretrainConfig())))


def near(loss: Callable, weights: dict[str, np.ndarray], strength: float) -> Callable:
    """Return a loss that also pulls a model back to `weights` (FedProx: Li et al., 2020):

        loss + strength / 2 |model - weights|^2
    """

    def pulled(model: Any, batch: Any) -> Any:
        trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        away = sum(((p - weights[name]) ** 2).sum() for name, p in trained)
        return loss(model, batch) + strength / 2 * away

    return pulled if strength else loss


def about(parts: Parts) -> dict[str, str]:
    """Return the SHA-256 of what server and clients must share."""
    model = parts.model
    shapes = [(name, array.shape, array.dtype.str) for name, array in model.state_dict().items()]
    said = repr((type(model).__name__, model.config, parts.start and parts.start.sha256, shapes))
    return {"model": hashlib.sha256(said.encode()).hexdigest(), "tokenizer": parts.tokenizer.fingerprint()}


def other(found: dict[str, str], own: dict[str, str]) -> str:
    """Return what is another one than one's own, with the beginnings of both digests, or ""."""
    names = [name for name in own if found.get(name) != own[name]]
    return " and ".join(f"another {name} (SHA-256 {str(found.get(name))[:12]} and {own[name][:12]})"
                        for name in names)


def trained_arrays(model: Any) -> dict[str, np.ndarray]:
    """Return copies of the arrays that training changes, which are what travels."""
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    return {name: array.copy() for name, array in model.state_dict().items() if name not in frozen}


def put(model: Any, weights: dict[str, np.ndarray]) -> None:
    """Copy arrays that travelled into a model. Raises UserError if they do not fit, or are not finite."""
    model.load_state_dict(model.state_dict() | weights)


def distance(weights: dict[str, np.ndarray], others: dict[str, np.ndarray]) -> float:
    """Return the length of the difference of two models, taken as vectors."""
    squares = (((array - others[name]) ** 2).sum(dtype=np.float64) for name, array in weights.items())
    return math.sqrt(sum(squares))


def refusals(replies: dict[int, Any], sent: Sent, largest: float) -> dict[int, str]:
    """Find the replies that cannot be used -> {number of the client: why}.

    Too large is a change of more than `largest` times the median of the round.
    """
    found: dict[int, str] = {}
    shapes, changes = {name: a.shape for name, a in sent.weights.items()}, {}
    for number, reply in replies.items():
        if isinstance(reply, str):
            found[number] = reply
        elif differs := other(reply.about, sent.about):
            found[number] = f"it has {differs}"
        elif {name: a.shape for name, a in reply.weights.items()} != shapes or not reply.tokens > 0:
            found[number] = f"it sent weights of other shapes, or has no tokens ({reply.tokens})"
        elif not math.isfinite(change := distance(reply.weights, sent.weights)):
            found[number] = "its weights are not finite"
        else:
            changes[number] = change
    usual = sorted(changes.values())[(len(changes) - 1) // 2] if changes else 0.0
    return found | {number: f"it changed the weights by {change:.3g}, the median is {usual:.3g}, and "
                            f"federated.largest={largest:g}"
                    for number, change in changes.items() if change > largest * usual}


def combined(replies: list[Reply], trim: float) -> dict[str, np.ndarray]:
    """Return the mean of the clients' weights: by tokens, or without the extremes if `trim` is above 0."""
    found, tokens = {}, np.array([reply.tokens for reply in replies])
    left_out = min(round(trim * len(replies)), (len(replies) - 1) // 2)
    for name, first in replies[0].weights.items():
        values = np.stack([reply.weights[name].reshape(-1) for reply in replies])
        mean = ops.trimmed_mean(values, left_out) if trim else ops.federated_mean(values, tokens)
        found[name] = mean.reshape(first.shape).astype(first.dtype)
    return found
