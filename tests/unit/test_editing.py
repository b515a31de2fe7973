"""Check rank-one edits: the formula, that weights come back, and what is measured before and after."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from helpers import refuses
from test_eval import BYTES, opened as random_model

import tinyllm as tl
from tinyllm.eval.ask import log_probs
from tinyllm.eval.editing import Edit, Editor, recalled

TEXTS = ["Mia Reed is a baker.", "Tom Lock is a fisher.", "The job of Ida Hill is miller."]
EDIT = Edit("Mia", ["Mia", "The job of Mia"], "x", ["By trade, Mia"], [("Mia lives in", " R")],
            [("Tom is", " a"), ("Ida is", " b")])
LLAMA = {"model_type": "llama", "hidden": 48, "kv_heads": 2}
small = partial(random_model, context=64, width=16, layers=2)


@pytest.mark.parametrize("sizes, layer", [({}, "h.0.mlp.c_proj"), (LLAMA, "model.layers.0.mlp.down_proj")])
def test_a_change_has_rank_one_gives_the_key_its_value_and_is_taken_back(sizes, layer):
    opened = small(**sizes)
    editor, before = Editor(opened, TEXTS), opened.model.state_dict()
    assert editor.layer == layer
    change = editor.find(EDIT, steps=100, lr=0.3, decay=0.0)
    assert np.linalg.matrix_rank(change, tol=1e-4 * np.abs(change).max()) == 1
    ends = {prompt: prompt.index("Mia") + 2 for prompt in EDIT.prompts}
    keys = []
    for prompt, end in ends.items():
        with tl.no_grad(), tl.nn.tap(opened.model, layer, lambda x, y, end=end: keys.append(x.data[0, end])):
            opened.model(np.array([BYTES.encode(prompt)]))
    key = np.mean(keys, axis=0)
    delta = key @ change
    along = np.linalg.solve(editor.moment, key)
    np.testing.assert_allclose(change, np.outer(along, delta) / (key @ along), rtol=1e-3, atol=1e-4)
    other = np.random.default_rng(0).normal(size=len(key))
    other -= (other @ along) / (along @ along) * along  # unlike the key, as the texts' keys measure it
    assert np.abs(other @ change).max() < 1e-3 * np.abs(delta).max()
    wanted = [(BYTES.encode("Mia"), BYTES.encode(EDIT.answer))]
    (unlikely,) = log_probs(opened.model, wanted)
    with editor.changed(editor.find(replace(EDIT, prompts=["Mia"]), steps=100, lr=0.3, decay=0.0)):
        assert log_probs(opened.model, wanted)[0] > unlikely + 3
    after = opened.model.state_dict()
    assert all((after[name] == before[name]).all() for name in before)
    assert all(p.requires_grad and p.grad is None for p in opened.model.parameters())


def test_recalled_is_what_greedy_generation_writes():
    opened = small()
    prompts = [f"{name} is" for name in ("Mia", "Tom", "Ida Hill", "Leo")] * 12  # more than a batch
    found = tl.generate(opened.model, prompts, max_tokens=3, sampling=tl.Sampling(temperature=0),
                        tokenizer=BYTES)
    texts = [(ids, BYTES.decode(ids)) for ids in found]
    asked = [(prompt, text) for prompt, (ids, text) in zip(prompts, texts, strict=True)
             if BYTES.encode(text) == ids]
    assert len(asked) > 40 and recalled(opened, asked).all()
    assert not recalled(opened, [(prompt, text[:2] + "~") for prompt, text in asked]).any()
    assert recalled(opened, []).shape == (0,)


def test_measures_count_only_what_the_model_knew():
    opened = small(**LLAMA)
    editor = Editor(opened, TEXTS, block=1)
    assert editor.layer == "model.layers.1.mlp.down_proj"
    asked = [(f"Tom {a}", chr(b)) for a in "abcdefgh" for b in range(32, 127)]
    said = next(pair for pair, knew in zip(asked, recalled(opened, asked), strict=True) if knew)
    known = Edit(EDIT.subject, EDIT.prompts, EDIT.answer, (), EDIT.own, [said, (said[0], "~~")])
    found = editor.measure([known, EDIT], steps=5)
    assert [len(found[name]) for name in ("efficacy", "unseen", "own", "others")] == [2, 1, 0, 1]
    with editor.changed(0 * editor.linear.weight.data):
        assert editor.measure([known], steps=0)["others"] == [1.0]  # a change by nothing
    refuses("have no end of the subject 'Ann'", editor.find, Edit("Ann", ["Mia is"], " x"))
    refuses("has 2 feed-forward layers that can be edited", Editor, opened, TEXTS, block=2)
    refuses("has 0 feed-forward", Editor, tl.Opened(tl.quantize(opened.model, 8), BYTES), TEXTS)
