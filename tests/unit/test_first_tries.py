"""Try what people try first: PyTorch's names, misspelt names, one prompt, an optimizer of their own."""

import inspect
import re

import numpy as np
import pytest
from helpers import MLP, refuses

import tinyllm as tl
import tinyllm.functional as F
from tinyllm import nn
from tinyllm.decode.beams import beam_search
from tinyllm.errors import PYTORCH
from tinyllm.models import family
from tinyllm.runs import setup
from tinyllm.train.evaluate import evaluate
from tinyllm.train.loop import forward_backward
from tinyllm.train.objectives import next_token

BYTES = tl.ByteTokenizer()
MODEL = tl.GPT(tl.GPTConfig(vocab_size=256, context=8, layers=1, heads=1, width=8))


class Bare(nn.Module):
    """Try a plain Tensor as a weight."""

    def __init__(self):
        self.w = tl.Tensor([1.0], requires_grad=True)


@pytest.mark.parametrize("owner, name, words", [
    (tl.Tensor([1.0]), "view", "Tensor has no view; use reshape"),
    (tl.Tensor([1.0]), "std", r"use \(\(x - x\.mean"),
    (MLP(), "zero_grad", r"MLP has no zero_grad; use optimizer\.zero_grad\(\)"),
    (tl, "manual_seed", "tinyllm has no manual_seed; use the seed= of models"),
    (MLP(), "save_pretrained", r"use tl\.save_weights"),
    (tl.GPT, "from_pretrained", r"GPT has no from_pretrained; use tl\.from_pretrained\(folder\)"),
    (BYTES, "eos_token_id", "ByteTokenizer has no eos_token_id; use special_tokens"),
    (tl, "nonsense", "tinyllm has no nonsense$"), (MLP(), "nonsense", "MLP has no nonsense$"),
    (nn, "Liner", "did you mean Linear"), (F, "sofmax", "did you mean softmax"),
])
def test_names_of_pytorch_are_known_and_misspelt_ones_are_guessed(owner, name, words):
    with pytest.raises(AttributeError, match=words) as caught:
        getattr(owner, name)
    assert "\n" not in str(caught.value)
    if not inspect.ismodule(owner):  # Python uses both to suggest a name
        assert caught.value.name == name and caught.value.obj is owner


def test_the_table_names_nothing_that_exists_everywhere_and_only_what_exists():
    owners = (tl.Tensor([1.0]), nn.Module(), tl, nn, F)
    assert [name for name in PYTORCH if all(hasattr(owner, name) for owner in owners)] == []
    for space, name in re.findall(r"\b(F|tl|nn|np)\.(\w+)", " ".join(PYTORCH.values())):
        assert hasattr({"F": F, "tl": tl, "nn": nn, "np": np}[space], name), name


@pytest.mark.parametrize("call, words", [
    (lambda: tl.Tensor([1.0]).sum(dim=0), r"Tensor.sum has no argument dim; use axis="),
    (lambda: F.softmax([1.0], dim=-1), "the last axis"),
    (lambda: nn.Linear(in_features=3, out_features=4), "Linear has no argument in_features; use n_in="),
    (lambda: tl.generate(None, ["a"], max_tokens=3, temperature=1), r"tl\.Sampling\(temperature="),
    (lambda: tl.generate(None, ["a"], max_tokens=3, beams=4), "no argument beams; use beam_search"),
    (lambda: tl.stream(None, "a", max_tokens=3, prefil=4), "prefil; did you mean prefill_budget"),
    (lambda: tl.fit(None, [1], 2, epochs=2), "fit has no argument epochs; use steps="),
    (lambda: tl.Sampling(temperatur=0), "^Sampling has no argument temperatur; did you mean temperature"),
    (lambda: tl.AdamW(MLP()), r"AdamW takes model\.parameters\(\)"),
    (lambda: MLP().load_state_dict(({}, {})), r"the weights are tl\.load_weights\(file\)\[0\]"),
    (lambda: Bare(), r"Bare\.w would be neither trained nor saved: wrap it in nn\.Parameter"),
    (lambda: tl.GPTConfig(65, n_layer=2), "GPTConfig has no argument n_layer; use layers="),
    (lambda: tl.GPT(vocab_size=65), r"GPT has no argument vocab_size; use GPT\(GPTConfig\(vocab_size="),
])
def test_arguments_of_pytorch_are_known(call, words):
    refuses(words, call, error=TypeError)


def test_tokenizers_are_called_and_one_prompt_gives_one_list():
    assert BYTES("ab") == BYTES.encode("ab") == [97, 98] and BYTES(["ab", b"c"]) == [[97, 98], [99]]
    assert len(BYTES) == 256 and tl.token_array("ab", BYTES).tolist() == [97, 98]
    options = {"max_tokens": 3, "tokenizer": BYTES, "seed": 1}
    (expected,), (logprobs,) = tl.generate(MODEL, ["a"], logprobs=True, **options)
    for one in ("a", [97], np.array([97])):
        assert tl.generate(MODEL, one, **options) == expected
        assert [step.token for step in tl.stream(MODEL, one, **options)] == expected
    assert tl.generate(MODEL, "a", logprobs=True, **options) == (expected, logprobs)
    assert tl.generate(MODEL, "a", n=2, **options)[0] == expected


def test_a_mask_may_be_a_set_and_the_log_prob_of_what_does_not_count_is_zero():
    assert tl.generate(MODEL, [1], max_tokens=3, mask=lambda ids: {4}) == [4, 4, 4]
    found = MODEL.log_probs(np.array([[1, 2, 3]]), np.array([[2, 3, -100]])).data
    assert (found[0, :2] < 0).all() and not np.signbit(found[0, 2])


NOTHING, BATCH = np.full((1, 2), -100), np.array([[1, 2]])


@pytest.mark.parametrize("call, words", [
    (lambda: tl.generate(MODEL, [1], max_tokens=2.5), r"whole number, at least 0, got 2\.5"),
    (lambda: MODEL.loss(BATCH, BATCH, weights=np.array([[1, np.nan]])), "at least 0, got nan"),
    (lambda: nn.tap(MLP(), "fcx", print).__enter__(), "MLP has no module 'fcx'; did you mean fc"),
    (lambda: tl.Tensor(np.zeros((2, 3, 4))).transpose(1, 2), "of all 3 axes, got .*swapaxes exchanges two"),
    (lambda: tl.generate(MLP(), [1], max_tokens=2), r"a MLP writes no text: .*nn\.DecoderLM"),
    (lambda: beam_search(MLP(), [1], max_tokens=2), r"a MLP writes no text"),
    (lambda: tl.fit(MLP(), BATCH[0], 1), "say context=64"),
    (lambda: tl.fit(MODEL, np.ones(99), 1), r"a row of token ids, got float64 of shape \(99,\)"),
    (lambda: tl.fit(MODEL, "a text", 1), r"got a text; tl\.token_array"),
    (lambda: tl.fit(MODEL, [[1, 2]], 1), r"got int64 of shape \(1, 2\)"),
    (lambda: tl.fit(MLP(), BATCH[0], steps=0), r"train\.steps must be"),
    (lambda: evaluate(MLP(), [], None), "nothing to evaluate"),
    (lambda: forward_backward(MODEL, tl.Batch(BATCH, NOTHING), next_token), "no target of a batch counts"),
    (lambda: evaluate(MLP(), [tl.Batch(BATCH, NOTHING)], lambda *_: tl.Tensor(0.0)), "nothing to evaluate"),
])
def test_what_cannot_work_is_refused_in_one_line(call, words):
    refuses(words, call, error=ValueError)


def test_fit_keeps_the_learning_rate_of_an_optimizer():
    """A past bug: `fit` trained at 3e-3 and ignored the learning rate of the optimizer."""
    def rates(**options):
        model, seen = MLP(), []
        optimizer = tl.AdamW(model.parameters(), lr=1e-4)

        def loss(model, batch):
            seen.append(optimizer.lr)
            return (model(np.ones((1, 2), np.float32)) ** 2).mean()

        batch = tl.Batch(np.zeros((1, 2), int), np.zeros((1, 2), int))
        tl.fit(model, lambda step: batch, 3, loss=loss, optimizer=optimizer, warmup=0, **options)
        return [*seen[1:], optimizer.lr]

    assert rates()[0] == 1e-4 and max(rates()) == 1e-4 and rates(lr=0.01)[0] == 0.01
    bars = []
    rates(progress=lambda losses, total: bars.append(total) or losses)
    assert bars == [3]  # `fit` must report its progress


def test_fit_trains_a_self_built_model_that_returns_logits():
    """Past bugs: `fit` needed a `config` and a `loss` of the model, and refused a tokenizer's list of ids."""
    ids = BYTES("a cat sat. " * 9)
    model = nn.Sequential(nn.Embedding(256, 16), nn.Linear(16, 256))
    losses = tl.fit(model, ids, 60, lr=0.05, context=8)
    assert losses[0] > 5 and losses[-1] < 2
    assert tl.fit(model, lambda step: tl.get_batch(ids, 0, step, 4, 8), 1)[0] < 2


def test_a_model_that_is_too_large_for_the_memory_is_refused_before_any_is_taken(tmp_path, monkeypatch):
    """A past bug: a width of a million filled the memory without a message."""
    (tmp_path / "text.txt").write_text("a text to learn " * 100)
    settings = {"data": str(tmp_path / "text.txt"), "preset": "nano", "tokenizer": "char"}
    with pytest.raises(tl.UserError, match="GiB are free: choose a smaller model"):
        tl.prepare(tl.make_config(settings | {"model.width": 1_000_000}))
    sizes = {"model_type": "llama", "vocab_size": 9} | family("llama").PRESETS["nano"]
    monkeypatch.setattr(setup, "free_memory", lambda: 14 * tl.build(sizes, seed=None).num_parameters())
    setup.check_memory(sizes, "muon")
    refuses("GiB are free", setup.check_memory, sizes, "adamw")
