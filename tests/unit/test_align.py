"""Check rollouts, advantages and losses of post-training, against laws and against PyTorch."""

import dataclasses

import numpy as np
import pytest
from helpers import refuses
from tiny_gpt import shaken, tiny, tiny_gpt
from tiny_models import DECODERS, MODELS

import tinyllm as tl
from tinyllm.align.advantages import by_group, by_value, weighted
from tinyllm.align.losses import policy_loss, preference_loss
from tinyllm.align.policy import report, rewards
from tinyllm.align.questions import OWN, Question, read_questions, with_end
from tinyllm.align.rollout import Drawn, Rollouts, draw, frozen, lay_out
from tinyllm.ops.loss import IGNORED
from tinyllm.runs.recipe import NO_FRAME, Frame, Parts
from tinyllm.world.kinds import KINDS

ASKS = "".join(f'{{"prompt": "to be {i}", "answer": "b"}}\n' for i in range(40))
PROMPTS = [[1, 2, 3], [4], [1, 2, 3], [5, 6, 7, 8], [2, 2], [9, 3, 1]]


def drawn_by(model, most=5, stop=(0,), seed=0, fresh=1.0):
    """Return a rollout of a model; advantages and other numbers are not learnt from yet."""
    rollout = lay_out(draw(tl.Opened(model, None), PROMPTS, most, stop, seed), model.config.context)
    rewards = np.float32([1, 0, 3, 2, 2, 5])
    more = {"rewards": rewards, "truths": rewards * 2, "fresh": np.full(6, fresh)}
    return weighted(dataclasses.replace(rollout, reference=rollout.old - 0.1, **more), "token", most)


def gradients(model, loss):
    """Return the gradients of a loss for all parameters, as one list."""
    for p in model.parameters():
        p.grad = None
    loss.backward()
    return [np.zeros_like(p.data) if p.grad is None else p.grad.copy() for p in model.parameters()]


@pytest.mark.parametrize("name", DECODERS)
def test_drawing_and_training_find_the_same_bits(name):
    model = shaken(tl.build(MODELS[name])).eval()
    rollout = drawn_by(model)
    assert np.array_equal(frozen(model, rollout), rollout.old)
    answers = [rollout.targets[i][rollout.targets[i] != IGNORED].tolist() for i in range(6)]
    assert answers[0] != answers[2]  # equal prompts, other random numbers
    for ids, ended in zip(answers, rollout.ended, strict=True):
        assert (ids[-1] == 0) == ended and 0 not in ids[:-1] and (ended or len(ids) == 5)


def test_a_model_that_is_not_the_one_that_drew_is_refused():
    model = tiny()
    rollout = drawn_by(model)
    rollout = dataclasses.replace(rollout, advantages=np.ones_like(rollout.old))
    for aggregation in ("sequence", "token", "constant"):  # the last once said that the ratio was 0.27
        _, numbers = policy_loss(model, weighted(rollout, aggregation, 9), 0.2)
        assert numbers == pytest.approx({"policy/approxkl_avg": 0, "policy/clipfrac_avg": 0, "val/ratio": 1})
    model.parameters()[0].data += np.float32(0.01)
    refuses("the ratio of both must begin at 1", policy_loss, model, rollout, 0.2)
    policy_loss(model, dataclasses.replace(rollout, fresh=np.zeros(6)), 0.2)  # it has learnt since


def test_ppo_without_clip_and_value_is_reinforce_with_the_mean_as_baseline():
    model = tiny()
    rollout = drawn_by(model)
    given = {"price": 0.0, "gamma": 1.0, "lam": 0.5}
    rollout = by_value(rollout, None, whiten=False, **given)
    counted = rollout.targets != IGNORED
    returns = np.repeat(rollout.rewards, counted.sum(axis=1))
    np.testing.assert_allclose(rollout.advantages[counted], returns - returns.mean(), rtol=1e-5)
    found = gradients(model, policy_loss(model, rollout, 0.0)[0])
    by_hand = (model.log_probs(rollout.tokens, rollout.targets) * rollout.advantages).sum() / -counted.sum()
    for x, y in zip(found, gradients(model, by_hand), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)
    white = by_value(rollout, None, whiten=True, **given).advantages[counted]
    assert abs(white.mean()) < 1e-6 and white.std() == pytest.approx(1, rel=1e-5)


def test_the_price_of_leaving_the_start_and_of_no_end_are_part_of_the_reward():
    rollout = drawn_by(tiny())
    given = {"gamma": 1.0, "lam": 1.0, "whiten": False}
    plain = by_value(rollout, None, price=0.0, **given).returns
    paid = by_value(rollout, None, price=2.0, **given).returns
    for i, counted in enumerate(rollout.targets != IGNORED):
        left_to_pay = 2 * 0.1 * np.arange(counted.sum(), 0, -1)
        np.testing.assert_allclose(plain[i][counted] - paid[i][counted], left_to_pay, rtol=1e-5)

    asked = [Question("a", lambda answer: 5.0 if answer == "b" else 1.0, lambda answer: 3.0)] * 3
    drawn = [Drawn([1], [2], [0.0], text, ended) for text, ended in (("b", True), ("b", False), ("c", False))]
    found = rewards(asked, drawn, None, 7.0)
    assert found["rewards"].tolist() == [5, -2, -6] and found["truths"].tolist() == [3, 3, 3]


def test_groups_of_equal_rewards_teach_nothing_and_say_so():
    rollout = dataclasses.replace(drawn_by(tiny()), rewards=np.full(6, 0.3, np.float32))
    rollout = by_group(rollout, 3, divide=True, leave_one_out=False)
    assert not rollout.advantages.any()
    assert report(rollout).items() >= {"frac_reward_zero_std": 1, "true_reward": 26 / 6}.items()


def test_steps_share_answers():
    model, asked = tiny(), []
    batches = Rollouts(lambda phase: asked.append(phase) or drawn_by(model, seed=phase), 3)
    parts = [batches(step) for step in range(6)]
    assert asked == [0, 1] and [int(part.fresh.all()) for part in parts] == [1, 0, 0] * 2
    again = Rollouts(None, epochs=3)
    again.load_state_dict(batches.state_dict())
    assert all(np.array_equal(again(4).old, x) for x in (parts[4].old, batches(4).old))
    refuses("are not drawn answers", again.load_state_dict, {"phase": np.zeros(()), "weight": np.zeros(3)})


def test_every_kind_that_asks_has_rewards_for_its_answers():
    for name in [*OWN, "checkable", "refusal", "arithmetic"]:
        corpus = tl.load_corpus(f"world:{name},n=20")
        settings = tl.make_config({"data": corpus.name, "train.val_fraction": 0.25})
        found = read_questions(Parts(settings, corpus, tl.ByteTokenizer(), None, frame=Frame("=")))
        (learnt, held_out), asked = ({each.prompt for each in part} for part in found[:2]), list(found.ids)
        assert not learnt & held_out and learnt | held_out == set(asked)
        assert with_end(settings, NO_FRAME).end == KINDS[name].end
        assert len(held_out) == round(len(asked) / 4) and held_out != set(asked[-len(held_out):])
        assert [*found.tokens] == [sum(len(f"{x.prompt}=".encode()) for x in part) for part in found[:2]]
        prompts = [document.labels.get("question", document.prompt) for document in corpus.documents]
        assert sorted(x.prompt for x in found.learnt + found.held_out) == sorted(prompts)
        for question in found.learnt:
            document = corpus.documents[prompts.index(question.prompt)]
            right = document.labels.get("answer") if name == "hacked_reward" else document.truth
            assert question.truth(right) >= question.truth("XYZ!")
    assert found.learnt[0].check("xyz") == 0


def test_what_cannot_be_learnt_from_is_one_line(here, refused):
    (here / "same.jsonl").write_text('{"prompt": "to be", "answer": "b"}\n' * 40)
    (here / "asks.jsonl").write_text(ASKS + '{"prompt": "to be"}\n')
    (here / "long.jsonl").write_text(ASKS.replace("to be", "a" * 60))
    start = ("--preset", "nano", "--out", "run", "--set", "model.context=64")
    for recipe, data, setting, message in (
        ("grpo", "same.jsonl", "train.batch=8", "same.jsonl has 1 different prompts: give enough"),
        ("ppo", "asks.jsonl", "ppo.kl=0", "asks.jsonl has no checker of answers: name a reward model"),
        ("grpo", "long.jsonl", "train.batch=8", "with max_tokens=32 it exceeds the context of 64"),
        ("grpo", "long.jsonl", "train.batch=9", "train.batch 9 is no multiple of 8"),
        ("ppo", "world:stories", "ppo.kl=0", "asks nothing"),
        ("ppo", "asks.jsonl", "ppo.reward=run2", "run2 holds no run"),
        ("constitutional", "world:constitution,n=60", "constitutional.max_tokens=33",
         "exceed the context of 64"),
    ):
        assert message in refused("train", recipe, "--data", data, *start, "--set", setting)
        assert not (here / "run").exists()


def test_steps_that_draw_are_not_timed_and_replaced_ops_may_round(here, refused):
    """A fresh model was once timed on answers of another one, and a replaced op was called a bug."""
    (here / "asks.jsonl").write_text(ASKS)
    start = ("--data", "asks.jsonl", "--preset", "nano", "--batch", "8", "--out", "run")
    assert "draws answers, which cannot be timed" in refused("train", "grpo", *start, "--minutes", "0.1")
    model = tiny_gpt(11)
    rollout = drawn_by(model)
    moved = {"old": rollout.old + np.float32(1e-6), "advantages": np.ones_like(rollout.old)}
    near = dataclasses.replace(rollout, **moved)
    refuses("must begin at 1", policy_loss, model, near, 0.2)
    with tl.ops.override(softmax=tl.ops.softmax.reference):
        policy_loss(model, near, 0.2)


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """Yield PyTorch, a tiny GPT, and the same model in PyTorch, both in float64."""
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("twin")
    model = tiny_gpt(11, context=16)
    model.save_pretrained(folder)
    for p in model.parameters():
        p.data = p.data.astype(np.float64)
    with tl.ops.use("numpy"):
        yield torch, model, transformers.GPT2LMHeadModel.from_pretrained(folder).eval().double()


def in_torch(torch, theirs, batch):
    """Return the log-probabilities of targets, 0 where none counts, as a PyTorch transcription has them."""
    tokens, targets = (torch.tensor(x.reshape(-1, x.shape[-1]), dtype=torch.long)
                       for x in (batch.tokens, batch.targets))
    logp = theirs(tokens).logits.log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return torch.where(targets == IGNORED, 0.0, logp)


def assert_same_slopes(model, theirs, loss, expected):
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    theirs.zero_grad()
    expected.backward()
    gradients(model, loss)
    named = dict(theirs.named_parameters())
    for name, p in model.named_parameters():
        found = named[model.module_name(name)].grad.numpy()
        np.testing.assert_allclose(p.grad, found, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ["sigmoid", "ipo"])
def test_dpo_is_that_of_a_pytorch_transcription(twin, kind):
    torch, model, theirs = twin
    reference = tiny_gpt(11, context=16, seed=4)
    rollout = drawn_by(model)
    batch = tl.Batch(*(x.reshape(3, 2, -1) for x in (rollout.tokens, rollout.targets)), weights=np.ones(3))
    loss, numbers = preference_loss(model, batch, reference, 0.3, kind)
    logp = in_torch(torch, theirs, batch).sum(-1).reshape(-1, 2)
    before = torch.tensor(frozen(reference, rollout).sum(-1).reshape(-1, 2))
    h = (logp[:, 0] - logp[:, 1]) - (before[:, 0] - before[:, 1])
    expected = -torch.nn.functional.logsigmoid(0.3 * h) if kind == "sigmoid" else (h - 1 / 0.6) ** 2
    assert numbers["rewards/margins"] == pytest.approx(0.3 * h.mean().item(), abs=1e-4)
    assert_same_slopes(model, theirs, loss, expected.mean())


@pytest.mark.parametrize("aggregation", ["sequence", "token", "constant"])
def test_grpo_is_that_of_a_pytorch_transcription(twin, aggregation):
    torch, model, theirs = twin
    drawn = weighted(drawn_by(tiny_gpt(11, context=16, seed=5), fresh=0.0), aggregation, 5)
    rollout = by_group(drawn, 3, True, False)
    loss, _ = policy_loss(model, rollout, 0.2, 0.05)
    rewards = torch.tensor(rollout.rewards).reshape(2, 3)
    each = ((rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)).reshape(6, 1)
    new, old, start = (in_torch(torch, theirs, rollout), *map(torch.tensor, (rollout.old, rollout.reference)))
    ratio = (new - old).exp()
    losses = -torch.min(ratio * each, ratio.clamp(0.8, 1.2) * each)
    losses = losses + 0.05 * ((start - new).exp() - (start - new) - 1)
    mask = torch.tensor(rollout.targets != IGNORED)
    lengths = mask.sum(1)
    expected = {"sequence": ((losses * mask).sum(1) / lengths).mean(),
                "token": (losses * mask).sum() / mask.sum(),
                "constant": (losses * mask).sum() / (6 * 5)}[aggregation]
    assert_same_slopes(model, theirs, loss, expected)


def test_ppo_is_that_of_a_pytorch_transcription(twin):
    torch, model, theirs = twin
    drawn = drawn_by(tiny_gpt(11, context=16, seed=5), fresh=0.0)  # another model, as after some steps
    rollout = by_value(drawn, None, price=0.1, gamma=0.9, lam=1.0, whiten=True)
    loss, numbers = policy_loss(model, rollout, 0.2)
    mask = torch.tensor(rollout.targets != IGNORED)
    rows = []  # advantages, token by token
    for i in range(6):
        count, value = int(mask[i].sum()), 0.0
        reward = [-0.1 * 0.1] * count
        reward[-1] += drawn.rewards[i]
        for t in reversed(range(count)):
            value = reward[t] + 0.9 * value
            reward[t] = value
        rows += reward
    each = torch.zeros(mask.shape)
    each[mask] = (torch.tensor(rows) - np.mean(rows)).float() / (np.std(rows) + 1e-8)
    new, old = in_torch(torch, theirs, rollout), torch.tensor(rollout.old)
    ratio = (new - old).exp()
    losses = -torch.min(ratio * each, ratio.clamp(0.8, 1.2) * each)
    outside = ((ratio - 1).abs() > 0.2) & ((ratio > 1) == (each > 0)) & mask
    assert numbers["policy/clipfrac_avg"] == pytest.approx(outside.sum().item() / mask.sum().item(), abs=1e-6)
    assert_same_slopes(model, theirs, loss, (losses * mask).sum() / mask.sum())
