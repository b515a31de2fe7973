"""Change single facts that a model knows, and measure what else changes with them.

The last layer of a block's feed-forward part turns keys, its inputs, into values. A rank-one change of its
weight gives the key of one name another value, and keys unlike it nearly their old ones. (ROME: Meng, Bau,
Andonian and Belinkov, "Locating and editing factual associations in GPT", 2022.)
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np

from tinyllm.data import rows
from tinyllm.errors import UserError
from tinyllm.eval.ask import BATCH
from tinyllm.nn import Linear, Module, Parameter, inference, tap
from tinyllm.ops.loss import IGNORED
from tinyllm.runs import Opened
from tinyllm.tape import gradients
from tinyllm.tensor import Tensor
from tinyllm.train import AdamW

OUTPUTS = ("mlp.c_proj", "mlp.down_proj", "mlp.dense_4h_to_h")  # the last layers of MLPs
Pairs = Sequence[tuple[str, str]]  # prompts, and the answers as they follow them, such as " fisher"


@dataclass(frozen=True)
class Edit:
    """A fact to change, and what to ask afterwards."""

    subject: str  # a name that all prompts contain
    prompts: Sequence[str]  # the texts before the answer that are used to find the change
    answer: str  # what the model should say, such as " fisher"
    unseen: Sequence[str] = ()  # other texts before the answer
    own: Pairs = ()  # facts about the subject that should stay
    others: Pairs = ()  # facts about other subjects that should stay


def recalled(opened: Opened, pairs: Pairs) -> np.ndarray:
    """Return for each pair if the answer is what the model finds likeliest, token by token: (n,) bool."""
    found, encode = [], opened.tokenizer.encode
    with inference(opened.model):
        for i in range(0, len(pairs), BATCH):
            prompts, answers = zip(*pairs[i : i + BATCH], strict=True)
            batch = rows([*map(encode, prompts)], [*map(encode, answers)], opened.model.config.context)
            same = opened.model(batch.tokens).data.argmax(axis=-1) == batch.targets
            found.append((same | (batch.targets == IGNORED)).all(axis=1))
    return np.concatenate(found) if found else np.zeros(0, bool)


class Editor:
    """Changes facts in the feed-forward layer of one block of a model.

    texts: some that the model has read; a change leaves the keys of their tokens alone, as far as it can.
    Raises UserError when the model has no such block with a feed-forward layer.
    """

    def __init__(self, opened: Opened, texts: Sequence[str], block: int = 0):
        self.opened, self.model = opened, opened.model
        layers = {name: module for name, module in self.model.named_modules()
                  if name.endswith(OUTPUTS) and isinstance(module, Linear)}
        if not 0 <= block < len(layers):
            raise UserError(f"{type(self.model).__name__} has {len(layers)} feed-forward layers that can be "
                            f"edited: there is no number {block}")
        self.layer, self.linear = list(layers.items())[block]
        found = [self._keys(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
        keys = np.concatenate([x for group in found for x in group]).astype(np.float64)
        self.moment = keys.T @ keys / len(keys)  # the mean of k k^T, called C in the paper
        self.moment += 1e-4 * np.trace(self.moment) / len(self.moment) * np.eye(len(self.moment))

    def _keys(self, texts):
        """Return the keys of all tokens of each text, a list of arrays (T, hidden)."""
        encoded, seen = [self.opened.tokenizer.encode(text) for text in texts], []
        tokens = rows([ids[:1] for ids in encoded], [[*ids[1:], 0] for ids in encoded],
                      self.model.config.context).tokens
        with inference(self.model), tap(self.model, self.layer, lambda x, y: seen.append(x.data)):
            self.model(tokens)
        return [x[: len(ids)] for x, ids in zip(seen[0], encoded, strict=True)]

    def find(self, edit: Edit, steps: int = 30, lr: float = 0.1, decay: float = 0.2) -> np.ndarray:
        """Compute the change of the layer's weight that makes a model give the edit's answer.

        For k, the mean key at the subject's last token, the change is C^-1 k delta / (k C^-1 k), so that k
        gets delta. Gradient steps on delta make the answer likely, and `decay` keeps it small. Raises
        UserError when a prompt lacks the subject.
        """
        encode, ends = self.opened.tokenizer.encode, []
        prompts = [encode(prompt) for prompt in edit.prompts]
        for prompt, ids in zip(edit.prompts, prompts, strict=True):
            begin = encode("".join(prompt.partition(edit.subject)[:2]))
            if edit.subject not in prompt or ids[: len(begin)] != begin:
                raise UserError(f"the tokens of {prompt!r} have no end of the subject {edit.subject!r}")
            ends.append(len(begin) - 1)
        key = np.mean([x[end] for x, end in zip(self._keys(edit.prompts), ends, strict=True)], axis=0)
        along = np.linalg.solve(self.moment, key)
        along = (along / (key @ along)).astype(np.float32)
        batch = rows(prompts, [encode(edit.answer)] * len(prompts), self.model.config.context)
        delta = Parameter(np.zeros(self.linear.weight.shape[1], np.float32))
        optimizer = AdamW([delta], lr, weight_decay=decay)

        def changed(x, y):
            return y + Tensor((x.data @ along)[..., None]) * delta

        with tap(self.model, self.layer, changed):
            for _ in range(steps):
                loss = self.model.loss(batch.tokens, batch.targets)
                delta.grad = gradients(loss, np.ones_like(loss.data))[delta]  # the weights get none
                optimizer.step()
        return np.outer(along, delta.data)

    def changed(self, change: np.ndarray) -> AbstractContextManager[Module]:
        """Let the layer compute as with a changed weight, x (W + change), inside a `with` block."""
        return tap(self.model, self.layer, lambda x, y: y + Tensor(x.data @ change))

    def measure(self, edits: Sequence[Edit], **settings: Any) -> dict[str, list[float]]:
        """Make each edit alone -> for each the share of its questions that get the wanted answer.

        "efficacy" counts the edit's prompts; "own" and "others" the share of what the model knew that it
        still knows. Edits without such questions are left out. settings: those of `find`.
        """
        found: dict[str, list[float]] = {"efficacy": [], "unseen": [], "own": [], "others": []}
        for edit in edits:
            wanted, unseen = ([(x, edit.answer) for x in asked] for asked in (edit.prompts, edit.unseen))
            own, others = ([*compress(pairs, recalled(self.opened, pairs))]
                           for pairs in (edit.own, edit.others))
            with self.changed(self.find(edit, **settings)):
                for name, pairs in zip(found, (wanted, unseen, own, others), strict=True):
                    if pairs:
                        found[name].append(float(recalled(self.opened, pairs).mean()))
        return found
