"""Check federated learning: what a round computes, liars, clients that fail, privacy and messages."""

import importlib
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from helpers import refuses
from tiny_run import SETTINGS, same

import tinyllm as tl
from tinyllm.errors import UserError
from tinyllm.parallel.federated import ELSEWHERE, Reply, combined, distance, pack, trained_arrays, unpack
from tinyllm.runs.config import resumed
from tinyllm.runs.private import PrivateConfig
from tinyllm.train import AdamW, events
from tinyllm.train.loop import forward_backward

RIGHT = {"tokens": 1, "loss": 1.0, "digests": {}, "epsilon": 0.0}
KINDS = {"tokens": int, "loss": float, "digests": {str: str}, "epsilon": float}


@cache
def corpus(name):
    return tl.load_corpus(name)


def federation(data="world:facts,n=300", **settings):
    """Return a loop of three rounds among five clients; arguments are settings with __ for the dot."""
    usual = {"data": data, "recipe": "federated", "federated.clients": 5, "federated.local_steps": 2,
             "model.dropout": 0.0, "train.steps": 3, "train.lr": 0.01, "train.warmup": 0, "tokenizer": "byte"}
    usual |= {name.replace("__", "."): value for name, value in settings.items()}
    return tl.prepare(tl.make_config(SETTINGS | usual), corpus(data)).train()


class Changed:
    """A client that passes what another one sends through a function."""

    def __init__(self, client, change):
        self.client, self.change = client, change

    def train(self, weights, number):
        return self.change(self.client.train(weights, number), weights)


def outcome(loop, change=None, *numbers):
    """Train, with a function that changes what some clients send -> (steps, refusals, last evaluation)."""
    for number in numbers:
        loop.clients[number] = Changed(loop.client(number), change)
    happened = list(loop)
    return [[event for event in happened if isinstance(event, kind)]
            for kind in (events.Stepped, events.Refused, events.Evaluated)]


def moved(factor=1.0, by=0.0):
    """Return a function that multiplies what a client has learnt by a factor, and adds a number."""
    return lambda reply, sent: reply._replace(
        weights={k: sent[k] + np.float32(factor) * (x - sent[k]) + np.float32(by)
                 for k, x in reply.weights.items()})


def with_dtype(dtype):
    return lambda reply, sent: reply._replace(weights={k: x.astype(dtype) for k, x in reply.weights.items()})


def dies(reply, sent):
    raise UserError("it died\n" * 999)


def test_one_step_of_each_client_is_one_step_of_all_with_gradients_weighted_by_tokens(monkeypatch):
    class SGD(AdamW):
        def update(self, i, p, grad_scale):
            p.data -= np.float32(self.lr * grad_scale) * p.grad

    monkeypatch.setattr(importlib.import_module("tinyllm.train.fit"), "AdamW", SGD)
    loop = federation(federated__local_steps=1, train__steps=1, train__clip=0.0, train__lr=0.1,
                      train__batch=300)  # so that a round reads more than a client has
    model, clients = loop.model, [loop.client(i) for i in range(5)]
    tokens = np.array([client.plan.train_tokens for client in clients])
    expected = trained_arrays(model)
    for client, share in zip(clients, tokens / tokens.sum(), strict=True):
        forward_backward(model.train(), client.plan.batches(0), client.plan.loss)
        for name, p in model.named_parameters():
            expected[name] -= np.float32(0.1 * share) * p.grad
            p.grad = None
    outcome(loop)
    assert len({*tokens}) > 1 and distance(trained_arrays(model), expected) < 1e-6


@pytest.mark.parametrize("data", ["world:facts,n=300", "world:mix,n=200,clients=5,difference=1", __file__])
def test_clients_divide_the_text_and_nobody_learns_from_what_is_held_out(data):
    loop = federation(data)
    whole, fraction = loop.parts.corpus, loop.parts.config.train.val_fraction
    learnt, held_out = whole.split(fraction)
    shares, rests = zip(*(loop.client(i).parts.corpus.split(0.1) for i in range(5)), strict=True)
    assert all(shares) and {*rests} == {held_out}
    if not whole.separator:
        assert b"".join(shares) == learnt
        return
    assert sorted(b"".join(shares).split(whole.separator)) == sorted(learnt.split(whole.separator))
    if "mix" in data:  # each client has the texts of one author of the world
        author = tl.load_corpus(data + ",n=40,client=3").data
        assert author.startswith(shares[3]) and len(author) > len(shares[3])


def test_too_little_text_for_so_many_clients_is_said_in_one_line():
    refuses("of client 299 has 0 tokens, and a context of 8 .* or fewer federated.clients", federation,
            federated__clients=300, federated__share=0.01)  # before there is a run
    refuses("private training needs train.precision=float32: rounded, gradients may be longer$", federation,
            private__epsilon=8.0, train__precision="bf16")
    refuses("nothing says where the documents of [^ ]*py end$", federation, __file__, private__epsilon=8.0)


def test_the_proximal_term_pulls_each_weight_back():
    far, close = (outcome(federation(federated__proximal=x, train__clip=0.0))[0][0] for x in (0.0, 100.0))
    assert close.grad_norm < 0.6 * far.grad_norm


@pytest.mark.parametrize("clients", [2, 5])
def test_clients_that_change_nothing_get_no_other_refused(clients):
    lazy, far = (federation(federated__clients=clients) for _ in range(2))
    assert not outcome(lazy, moved(0.0), *range(clients - 1))[1]
    refused = outcome(far, moved(by=1e3), 0)[1]
    assert [event.text[:8] for event in refused] == ["client 0"] * 3


def test_the_log_says_how_much_of_epsilon_the_clients_have_spent():
    loop = federation(private__epsilon=8.0, train__batch=4, federated__share=0.4)
    spent = [event.record["epsilon"] for event in loop if isinstance(event, events.Logged)]
    assert spent == sorted(spent) and spent[0] == 0 and 7.5 < spent[-1] <= 8
    assert not any("epsilon" in event.record for event in federation() if isinstance(event, events.Logged))


def test_liars_are_outvoted_by_trimmed_means_only():
    def losses(trim=0.0, *liars):
        loop = federation(federated__trim=trim, federated__local_steps=10)
        return [event.val_loss for event in outcome(loop, moved(-5.0), *liars)[2]]

    first, *_, last = losses()
    assert losses(0.0, 1, 3)[-1] > first  # worse than before training
    assert max(losses(0.4, 1, 3)[-1], losses(0.5, 1, 3)[-1]) < last + 0.3 * (first - last)
    replies = [Reply({"w": np.float32([[x, -x]])}, 10, 1.0, {}) for x in (1, 2, 3, 99, -99)]
    assert combined(replies, 0.2)["w"].tolist() == combined(replies, 0.5)["w"].tolist() == [[2.0, -2.0]]
    assert combined(replies[:4], 0.1)["w"].tolist() == [[2.5, -2.5]]  # of four, one at each end


@pytest.mark.parametrize("change, why", [
    (moved(by=np.nan), "weights are not finite"),
    (moved(by=1e30), "more than federated.largest=10 times the median"),
    (lambda reply, sent: reply._replace(weights={}), "other names, shapes"),
    (lambda reply, sent: reply._replace(tokens=0), "claims 0 tokens"),
    (lambda reply, sent: reply._replace(tokens=10**400), "claims 100000000000000 tokens"),
    (lambda reply, sent: reply._replace(tokens=65), "claims 65 tokens in a round, which reads 64"),
    (lambda reply, sent: reply._replace(loss=1e308), "its loss or its epsilon cannot be: 1e+308"),
    (lambda reply, sent: reply._replace(epsilon=0.1), "epsilon cannot be"),  # training is not private
    (with_dtype(int), "types of numbers"), (with_dtype(complex), "types of numbers"),
    (lambda reply, sent: reply._replace(digests=reply.digests | {"tokenizer": "x"}), "another tokenizer"),
    (lambda reply, sent: federation(model__width=16).client(2).train(sent, 0), "another model (SHA-256"),
    (lambda reply, sent: Reply(**unpack(b"x", KINDS)), "its message is cut short"),
    (lambda reply, sent: Reply(**unpack(pack(sent, **RIGHT | {"loss": np.inf}), KINDS)), "not a finite"),
    (dies, "it died")])
def test_what_cannot_be_right_is_refused_by_name_and_costs_only_its_share(change, why):
    loop, other = federation(), federation()
    steps, refused, _ = outcome(loop, change, 2)
    assert [step.numbers for step in steps] == [{"clients": 4, "refused": 1}] * 3
    assert {event.text.isprintable() and event.text[:21] for event in refused} == {"client 2 is refused: "}
    assert len(refused) == 3 and why in refused[0].text[:400] == refused[0].text
    outcome(other, dies, 2)
    assert same(loop.model, other.model)


def test_a_round_without_clients_changes_nothing_and_without_all_it_is_an_error():
    loop = federation(federated__share=0.2, federated__clients=2, train__steps=8)
    steps, refused, _ = outcome(loop, dies, 0)
    lost = [step for step in steps if not step.numbers["clients"]]
    assert 0 < len(lost) == len(refused) < 8 and not any(step.grad_norm for step in lost)
    loop = federation()
    refuses("no client can be used in round 1: client 4 is refused: it died", outcome, loop, dies, *range(5))


def test_clients_elsewhere_compute_the_same_bits_from_messages():
    here, there, other = (federation(model__dropout=0.1, federated__share=0.6) for _ in range(3))

    def elsewhere(config, sent, step, drawn):
        got = unpack(pack(sent, round=step), {"round": int})
        replies = [pack(**other.client(n).train(got["weights"], got["round"])._asdict()) for n in drawn]
        return {n: Reply(**unpack(reply, KINDS)) for n, reply in zip(drawn, replies, strict=True)}

    expected = outcome(here)
    token = ELSEWHERE.set(elsewhere)
    found = outcome(there)
    ELSEWHERE.reset(token)
    assert same(here.model, there.model) and [x.loss for x in expected[0]] == [x.loss for x in found[0]]
    assert {step.numbers["clients"] for step in expected[0]} == {3}


def test_only_adapters_travel_and_private_clients_stay_within_epsilon(tmp_path):
    setup = tl.prepare(tl.make_config(SETTINGS | {"data": "world:facts,n=300", "tokenizer": "byte"}))
    run = tl.Run(tmp_path)
    run.create(setup.record(), setup.tokenizer)
    list(setup.train(run))
    loop = federation(start=str(tmp_path), lora__rank=2)
    assert {name.split(".")[-2] for name in trained_arrays(loop.model)} == {"lora_A", "lora_B"}
    before = trained_arrays(loop.model)
    outcome(loop)
    assert distance(trained_arrays(loop.model), before) > 0
    loop = federation(private__epsilon=8.0, train__batch=4)
    steps, _, _ = outcome(loop)
    private = loop.client(0).private
    assert loop.private is None and private.settings.noise > 0.4 and len(steps) == 3
    config = loop.parts.config
    refuses("train.steps: 3 -> 4", resumed, config, {"train.steps": 4})  # its noise was planned for three
    assert resumed(replace(config, private=PrivateConfig()), {"train.steps": 4}).train.steps == 4
    assert 7.9 < private.spent(3 * 2) <= 8 and private.settings.delta < 1 / loop.client(0).plan.examples


def test_private_clients_have_no_proximal_term_and_seeds_of_their_own_that_the_run_keeps():
    refuses("private clients have no federated.proximal", federation, private__epsilon=8.0,
            federated__proximal=1.0)
    loops = [federation(private__epsilon=8.0, **more) for more in ({}, {}, *2 * [{"private__seed": 3}])]

    def draws():
        """Return the first noise of three clients of each federation."""
        return [[loop.client(i).private.secret.draw(0).bits(1)[0] for i in range(3)] for loop in loops]

    first, other, third, same_seed = draws()
    assert len({*first, *other, *third}) == 9 and third == same_seed
    loops[1].stateful()["private"].load_state_dict(loops[0].states()["private"])  # as a resumed run does
    assert draws()[1] == first
