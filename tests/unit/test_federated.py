"""Check federated learning: what rounds compute, liars, clients that fail, and messages."""

from functools import cache

import numpy as np
import pytest
from helpers import refuses
from tiny_run import SETTINGS

import tinyllm as tl
from tinyllm.errors import UserError
from tinyllm.nn import adapter_state
from tinyllm.parallel import federated
from tinyllm.parallel.federated import Client, combined, dealt, distance, pack, trained_arrays, unpack
from tinyllm.train import events, fit
from tinyllm.train.optimizer import AdamW

CLIENTS = 5
KINDS = {"tokens": int, "loss": float, "digests": {str: str}}


@cache
def corpus(name="world:facts,n=300"):
    return tl.load_corpus(name)


def federation(data="world:facts,n=300", **settings):
    """Return a loop of three rounds among five clients; keyword arguments are settings with __ for the dot."""
    settings = {name.replace("__", "."): value for name, value in settings.items()}
    usual = SETTINGS | {"data": data, "recipe": "federated", "federated.clients": CLIENTS, "model.dropout": 0.0,
                        "train.steps": 3, "federated.local_steps": 2, "train.lr": 0.01, "train.warmup": 0}
    return tl.prepare(tl.make_config(usual | settings), corpus(data)).train()


def steps(loop):
    """Train -> (what happened in each round, what was refused)."""
    happened = list(loop)
    return ([event for event in happened if isinstance(event, events.Stepped)],
            [event for event in happened if isinstance(event, events.Refused)])


class Changed:
    """A client that changes what another one would send."""

    def __init__(self, loop, number, change):
        self.client = Client(tl.train.__class__ and loop_parts(loop, number), number)
        self.change = change

    def train(self, weights, number):
        return self.change(self.client.train(weights, number), weights, number)


def loop_parts(loop, number):
    return federated.replace(loop.parts, corpus=dealt(loop.parts, number))


def with_liar(change, liars=(1,), **settings):
    loop = federation(**settings)
    loop.clients |= {number: Changed(loop, number, change) for number in liars}
    return loop
