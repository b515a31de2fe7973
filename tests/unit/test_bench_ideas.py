"""The ideas of benchmarks/ideas.py train, change what they say, and leave the recipe as it is."""

import numpy as np
import pytest

import tinyllm as tl
from tinyllm.bench import peers

ideas = peers.load("ideas")
SMALL = {"tokenizer": "byte", "train.steps": 2, "train.batch": 4, "train.eval_windows": 2,
         "model.context": 8, "model.width": 16, "model.layers": 1, "model.heads": 2, "model.kv_heads": 1,
         "model.hidden": 16, "train.weight_decay": 0.5, "train.warmup": 0}


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("the cat sat on the mat. " * 30)
    return SMALL | {"data": str(path)}


def trained(settings, idea):
    trial = ideas.Trial(settings)
    ideas.IDEAS[idea](trial)
    return trial.run()[0]


def test_the_recipe_is_that_of_the_library(settings):
    setup = tl.prepare(tl.make_config(settings))
    list(setup.train())
    assert trained(settings, "recipe")[-1] == setup.plan.evaluate(setup.model)["val_loss_per_char"]


@pytest.mark.parametrize("idea", [name for name in ideas.IDEAS if name != "recipe"])
def test_every_idea_changes_the_training(settings, idea):
    losses = trained(settings, idea)
    assert len(losses) == 2 and np.isfinite(losses).all() and losses != trained(settings, "recipe")


def test_cautious_decay_never_pulls_a_weight_against_its_update():
    p = tl.nn.Parameter(np.float32([1, 1, -1, -1]))
    p.grad = np.float32([1, -1, 1, -1])
    ideas.CautiousAdamW([p], lr=0.1, weight_decay=0.5).step()
    np.testing.assert_allclose(p.data, [1 - 0.1 - 0.05, 1.1, -1.1, -1 + 0.1 + 0.05], rtol=1e-5)
