"""Compare logits, loss, all gradients and ten steps of AdamW with PyTorch's, as llm.c's test_gpt2 does.

Andrej Karpathy, github.com/karpathy/llm.c. There a file made by PyTorch is the truth; here it is
transformers' GPT-2 itself, on its own weights, at the same B = 4 and T = 64. The model is smaller, so that
this takes seconds; the tolerances are tighter than there (1e-2 for logits and losses).
"""

import numpy as np
import pytest

import tinyllm as tl
from tinyllm.models import from_pretrained
from tinyllm.train.optimizer import AdamW

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
B, T, V = 4, 64, 601


@pytest.fixture
def models(tmp_path):
    """A GPT-2 of transformers, and the same weights in tinyllm."""
    torch.manual_seed(1337)
    drops = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    config = transformers.GPT2Config(vocab_size=V, n_positions=2 * T, n_embd=96, n_layer=3, n_head=4, **drops)
    theirs = transformers.GPT2LMHeadModel(config)
    theirs.save_pretrained(tmp_path)
    return from_pretrained(tmp_path), theirs


def test_logits_gradients_and_ten_steps(models):
    model, theirs = models
    tokens = np.random.default_rng(0).integers(0, V, (B, T + 1))
    x, y = tokens[:, :-1], tokens[:, 1:]
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y).reshape(-1)
    optimizers = (AdamW(model.parameters(), lr=1e-4, weight_decay=0.01),
                  torch.optim.AdamW(theirs.parameters(), lr=1e-4, eps=1e-8, weight_decay=0.01))
    np.testing.assert_allclose(model(x).data, theirs(inputs).logits.detach().numpy(), atol=1e-5)
    losses = []
    for step in range(10):
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss = tl.functional.cross_entropy(model(x), y)
        expected = torch.nn.functional.cross_entropy(theirs(inputs).logits.reshape(-1, V), targets)
        loss.backward()
        expected.backward()
        losses.append((loss.item(), expected.item()))
        if step == 0:
            grads = {n.removeprefix("transformer."): p.grad.numpy() for n, p in theirs.named_parameters()}
            assert grads.keys() == dict(model.named_parameters()).keys()
            for name, p in model.named_parameters():
                assert np.abs(p.grad - grads[name]).max() <= 1e-5 * np.abs(grads[name]).max(), name
        for optimizer in optimizers:
            optimizer.step()
    ours, theirs_losses = np.array(losses).T
    np.testing.assert_allclose(ours, theirs_losses, atol=2e-5)
    assert ours[-1] < ours[0] - 0.1
