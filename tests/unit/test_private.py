"""Test differential privacy: per-example gradients, noise and draws, the accountant, and private runs."""

import dataclasses
import functools
import shutil

import numpy as np
import pytest
from helpers import refuses, together, train_in
from hypothesis import given, settings, strategies as st
from tiny_models import V, each_family, lively
from tiny_run import SETTINGS, new_training, outcome, resumed_training, same

import tinyllm as tl
import tinyllm.cli
from tinyllm import nn, ops
from tinyllm.data import Batch
from tinyllm.models import build
from tinyllm.rng import Random
from tinyllm.runs import Run, private as privacy
from tinyllm.runs.private import Private, PrivateConfig, private_plan
from tinyllm.train import next_token
from tinyllm.train.loop import forward_backward, piece_gradients
from tinyllm.train.objectives import masked_token

SIZES = {"model.layers": 2, "model.width": 16, "model.heads": 2, "model.context": 24, "preset": "nano"}


def tiny(kind, seed=1):
    grouped = {} if kind in ("gpt", "falcon", "t5") else {"model.kv_heads": 1}
    config = tl.make_config(SIZES | {"model.type": kind} | grouped).model
    return build(dataclasses.replace(config, vocab_size=30), seed=seed)


def random_batch(rows, length, seed=0):
    """Return rows of which the first count few targets."""
    x, y = Random(seed, "rows").integers(V, (2, rows, length)).astype(np.int32)
    for i in range(rows):
        y[i, : length - 1 - (i * length) // rows] = -100
    return Batch(x, y)


def alone(model, batch):
    """Return the gradients of each row's own mean loss, one after the other: [{parameter: gradient}]."""
    found = []
    for i in range(len(batch.tokens)):
        piece_gradients(model, batch.rows(slice(i, i + 1)), next_token, 1.0)
        found.append({p: p.grad for p in model.parameters() if p.grad is not None})
        for p in model.parameters():
            p.grad = None
    return found


@pytest.mark.parametrize("kind, T", [("gpt", 20), ("gpt", 2), ("llama", 20), ("qwen3", 3), ("falcon", 9)])
@pytest.mark.parametrize("adapted", [False, True])
def test_lengths_and_clipped_sums_are_those_of_a_loop_over_examples(kind, T, adapted):
    model, batch = tiny(kind), random_batch(5, T)
    if adapted:
        nn.adapt(model, rank=3)
        for layer in nn.adapters(model).values():
            layer.lora_B.weight.data += 0.1 * Random(2).normal(layer.lora_B.weight.shape)
    each = alone(model, batch)
    norms = [np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in grads.values())) for grads in each]
    found, scale, (loss, _) = privacy.example_gradients(model, batch, next_token, 0.5)
    own = scale * np.sqrt(sum(privacy.squared_norms(*factors) for factors in found.values()))
    np.testing.assert_allclose(own, norms, rtol=1e-5)
    assert loss == pytest.approx(0.5 * next_token(model, batch).item()) and found.keys() == each[0].keys()
    limit = float(np.median(norms))
    private = private_plan(PrivateConfig(8.0, clip=limit, noise=1.0), 100, 5, 10)
    private.piece_gradients(model, batch, next_token, 1.0)
    for p in each[0]:
        total = sum(g[p] * min(1, limit / norm) for g, norm in zip(each, norms, strict=True))
        np.testing.assert_allclose(p.grad, total, atol=1e-5 * np.abs(total).max() + 1e-9)
    assert not any(layer.hooks for layer in model.of_kind(nn.Linear).values())


REFUSED = {"mixtral": "experts", "qwen3_moe": "experts", "deepseek_v3": "kv_b_proj", "bert": "tokens",
           "t5": "relative_attention_bias"}


@each_family
def test_a_family_has_the_gradients_of_a_loop_or_is_refused_by_the_name_of_a_weight(name):
    """Each uses a weight in another way than a layer does for each row; BERT guesses words of all rows."""
    lengths = np.array([8, 7]) if name in ("bert", "t5") else None
    batch = dataclasses.replace(random_batch(2, 8), lengths=lengths)
    examine = functools.partial(Private(None, 0.1, 4).examine, lively(name), batch,
                                masked_token if name == "bert" else next_token)
    if name in REFUSED:
        refuses(f"private training has no gradient of .*{REFUSED[name]}.* for each example", examine)
    else:
        examine()


def test_a_weight_that_is_used_outside_of_its_layer_is_refused():
    model = tiny("gpt")
    refuses("no gradient of wpe.weight", Private(None, 0.1, 4).examine, model, random_batch(2, 9),
            lambda model, batch: next_token(model, batch) + (model.wpe.weight**2).sum())


def test_noise_comes_once_for_a_batch_and_pieces_and_processes_change_no_bit():
    batch, private = random_batch(7, 12), private_plan(PrivateConfig(8.0, noise=1.5, clip=0.1), 50, 6, 100)
    private.examine(tiny("gpt"), batch.rows(slice(0, 2)), next_token)

    def gradients(group=None, pieces=4, noise=True):
        model = tiny("gpt")
        silent = dataclasses.replace(private.settings, noise=None)
        chosen = private if noise else dataclasses.replace(private, settings=silent)
        more = (group,) if group else ()
        forward_backward(model.train(), batch, next_token, pieces, *more, key=(3, 5), private=chosen)
        return {name: p.grad for name, p in model.named_parameters()}

    first, clean = gradients(), gradients(noise=False)
    for size in (2, 3):
        for grads in together(size, gradients):
            assert all(np.array_equal(grads[name], first[name]) for name in first)
    for pieces in (1, 7):
        whole = gradients(pieces=pieces)
        assert all(np.allclose(whole[name], first[name], atol=1e-6) for name in first)
    noise = np.concatenate([6 * (first[name] - clean[name]).ravel() for name in first])
    assert np.std(noise) == pytest.approx(1.5 * 0.1, rel=0.05) and abs(np.mean(noise)) < 0.01
    drawn = []
    for step in (6, 5):
        empty, none = tiny("gpt"), batch.rows(slice(0))
        assert forward_backward(empty, none, next_token, 4, key=(3, step), private=private)[0] == 0
        drawn += [p.grad.tobytes() for p in empty.parameters()]
    assert len({*drawn}) == len(drawn), "each step and each weight has noise of its own"
    for name, p in empty.named_parameters():
        assert np.allclose(p.grad, first[name] - clean[name], atol=1e-5)
    private.used = frozenset()  # a gradient gets noise also if the loss seemed not to depend on the weight
    assert all(np.array_equal(grad, first[name]) for name, grad in gradients().items())
    assert private_plan(PrivateConfig(8.0), 50, 60, 100).batch == 50


@pytest.mark.parametrize("stream", [Random(0), privacy.Hidden(0)])
def test_noise_is_normal_far_into_the_tails(stream):
    numbers = privacy.gaussian(stream, (2_000_001,))
    assert numbers.shape == (2_000_001,) and abs(numbers.mean()) < 0.003 and abs(numbers.std() - 1) < 0.002
    for limit, share in ((1, 0.317311), (3, 0.0026998), (4.5, 6.795e-6)):
        expected = share * numbers.size
        assert abs((np.abs(numbers) > limit).sum() - expected) < 5 * expected**0.5


@settings(max_examples=8)
@given(st.floats(0.001, 0.9), st.floats(0.5, 20.0), st.integers(1, 5000), st.floats(1e-7, 0.01))
def test_the_accountant_agrees_with_dp_accounting(share, noise, steps, delta):
    """At fractional orders, dp-accounting has an upper bound, as it adds terms of a series that alternate.

    So it is a little above, also with its default orders, which are these.
    """
    dp, rdp = pytest.importorskip("dp_accounting"), pytest.importorskip("dp_accounting.rdp")
    event, epsilons = dp.PoissonSampledDpEvent(share, dp.GaussianDpEvent(noise)), []
    for orders in (privacy.ORDERS[privacy.ORDERS % 1 == 0], privacy.ORDERS):
        accountant = rdp.RdpAccountant(orders.tolist()).compose(event, steps)
        own = np.array([steps * ops.sampled_gaussian_rdp(a, share, noise) for a in orders.tolist()])
        epsilons.append((ops.rdp_epsilon(own, orders, delta), accountant.get_epsilon(delta)))
    (own, theirs), (finer, looser) = epsilons
    assert own == pytest.approx(theirs, rel=1e-6, abs=1e-3 if theirs else 0.5)  # 0 by a bound of its own
    assert not looser or finer <= looser + 1e-6
    assert looser > 10 or finer > 0.95 * looser


@given(st.floats(0.1, 50.0), st.integers(20, 10**6), st.integers(1, 10**4))
def test_the_noise_for_an_epsilon_spends_it_and_no_more(epsilon, examples, steps):
    batch = max(1, examples // 50)
    private = private_plan(PrivateConfig(epsilon), examples, batch, steps)
    spent = private.spent(steps)
    assert spent <= epsilon and (spent > 0.99 * epsilon or private.settings.noise < 0.201)
    assert private_plan(private.settings, examples, batch, 2 * steps).settings == private.settings
    assert private.settings.delta * examples == pytest.approx(0.1)


def test_impossible_wishes_are_refused():
    for wish in ({"noise": 1.0}, {"delta": 1e-6}):
        refuses("private.epsilon=0 trains without privacy", PrivateConfig, **wish)
    refuses("private.delta=0.5 allows", private_plan, PrivateConfig(8.0, delta=0.5), 100, 10, 10)
    refuses("private.epsilon=1e-09 is spent", private_plan, PrivateConfig(1e-9, delta=1e-9), 100, 10, 10)


def test_a_run_says_its_guarantee_logs_epsilon_and_ends_when_it_is_spent(tmp_path):
    (tmp_path / "pairs.tsv").write_text("".join(f"{i} + {i}\tis {2 * i}\n" for i in range(60)))
    given = {"recipe": "sft", "model__context": 12, "private__epsilon": 8.0, "train__checkpoint_every": 100}
    training = new_training(tmp_path / "run", tmp_path / "pairs.tsv", **given)
    promise = training.run.read().notes["guarantee"]
    assert promise.startswith("the weights are (8, 0.00185185)-differentially private for each example")
    assert "for those who have private.safetensors of a checkpoint, which decides the noise" in promise
    spent = [event.record["epsilon"] for event in training if hasattr(event, "record")]
    assert spent == sorted(spent) and spent[0] == 0 and 7.99 < spent[-1] <= 8
    longer = resumed_training(tmp_path / "run", train__steps=20)
    assert longer.setup.config.private == training.setup.config.private
    before = outcome(tmp_path / "run")
    refuses("private.epsilon=8 is spent after 12 steps: more steps need", list, longer)
    assert outcome(tmp_path / "run") == before
    given |= {"private__seed": 3}
    early = new_training(tmp_path / "early", tmp_path / "pairs.tsv", private__noise=0.4, **given)
    assert "for those who know private.seed, which" in early.run.read().notes["guarantee"]
    refuses("private.epsilon=8 is spent after [1-9] steps: more steps need", list, early)
    refuses("private.epsilon=8 is spent after [1-9] steps", list, resumed_training(tmp_path / "early"))
    assert early.run.last_checkpoint()
    start = functools.partial(new_training, tmp_path / "other", tmp_path / "pairs.tsv")
    for context in (12, 60):  # also if no two of these pairs fit into a row
        refuses("private training clips rows, of which each must be one example: give sft.packed=false",
                start, sft__packed=True, **given | {"model__context": context})
    refuses("pretrain has none here: train on whole documents", start, private__epsilon=8.0)
    refuses("private training needs train.precision=float32", start, **given, train__precision="bf16")
    assert not (tmp_path / "other").exists()


def test_a_private_run_promises_on_the_screen_and_proposes_no_steps_that_would_be_refused(tmp_path, capsys):
    (tmp_path / "pairs.tsv").write_text("".join(f"{i} + {i}\tis {2 * i}\n" for i in range(60)))
    assert tl.cli.main(["train", "sft", "--data", f"{tmp_path}/pairs.tsv", "--preset", "nano", "--steps", "2",
                        "--out", f"{tmp_path}/run", "--set", "private.epsilon=8"]) == 0
    said = capsys.readouterr().out
    assert "(8, 0.00185185)-differentially private" in said
    assert "tinyllm generate" in said and "--resume" not in said
    assert tl.cli.main(["train", "federated", "--data", "world:facts,n=200", "--preset", "nano",
                        "--steps", "1", "--tokenizer", "byte", "--set", "federated.clients=2",
                        "--set", "private.epsilon=8", "--set", "federated.local_steps=1",
                        "--out", f"{tmp_path}/clients"]) == 0
    assert "DP     client 1: the weights are (8, 0.0011" in capsys.readouterr().out


def test_examples_are_drawn_each_on_its_own(tmp_path):
    (tmp_path / "pairs.tsv").write_text("".join(f"{i} + {i}\tis {2 * i}\n" for i in range(60)))
    given = {"recipe": "sft", "model__context": 12, "private__epsilon": 8.0, "train__batch": 4}
    plan = new_training(tmp_path / "run", tmp_path / "pairs.tsv", **given).setup.plan
    sizes = np.array([len(plan.batches(step).tokens) for step in range(1000)])
    share = 4 / plan.examples
    assert sizes.mean() == pytest.approx(4, abs=0.25) and sizes.min() == 0
    assert sizes.var() == pytest.approx(4 * (1 - share), rel=0.15)
    assert all(len({*map(bytes, plan.batches(step).tokens)}) == sizes[step] for step in range(20))


def test_the_seed_of_noise_and_draws_is_secret_and_a_resumed_run_goes_on_with_it(tmp_path):
    (tmp_path / "pairs.tsv").write_text("".join(f"{i} + {i}\tis {2 * i}\n" for i in range(60)))
    given = {"recipe": "sft", "model.context": 12, "private.epsilon": 8.0, "data": f"{tmp_path}/pairs.tsv",
             "train.accumulate": 2}

    def trained(name, size, stops=99):
        loops = together(size, lambda group: train_in(group, tmp_path / name, SETTINGS | given, stops))
        return [loop.model for loop in loops]

    first, second = trained("run", 2, stops=6)
    assert same(first, second), "all processes add the same noise"
    assert not same(first, *trained("again", 1, stops=6)), "no other run has it"
    for name in "12":
        shutil.copytree(tmp_path / "run", tmp_path / name)
    assert same(trained("1", 1)[0], trained("2", 2)[1])
    assert outcome(tmp_path / "1") == outcome(tmp_path / "2")
    run = Run(tmp_path / "1")
    last = run.last_checkpoint()
    secret = (last / "private.safetensors").read_bytes()[-16:]
    told = b"".join(path.read_bytes() for path in (run.file, run.log.path, last / "state.json"))
    assert secret not in told and str(int.from_bytes(secret, "little")).encode() not in told
    (last / "private.safetensors").unlink()
    assert tl.open_model(run.folder)  # as it may be given away
