"""Read weights in several files with their index, and adapters beside them, whole or not at all."""

import json

import numpy as np
import pytest
import safetensors.numpy
from tiny_models import logits, made, rewrite

from tinyllm.errors import UserError
from tinyllm.models import from_pretrained
from tinyllm.runs import open_model


def shard(folder, split, weight_map=None):
    """Replace the weights by two files and their index: `split(name)` tells which names go to the second."""
    state = safetensors.numpy.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    for file, part in (("a.safetensors", False), ("b.safetensors", True)):
        chosen = {name: a for name, a in state.items() if split(name) == part}
        safetensors.numpy.save_file(chosen, folder / file)
    files = {name: "b.safetensors" if split(name) else "a.safetensors" for name in state}
    index = {"metadata": {}, "weight_map": files if weight_map is None else weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_shards_are_read(tmp_path):
    model = made("llama")
    model.save_pretrained(tmp_path)
    shard(tmp_path, lambda name: ".1." in name)
    assert np.array_equal(logits(from_pretrained(tmp_path)), logits(model))


@pytest.mark.parametrize("split, weight_map, message", [
    (lambda name: False, {"x": "../a.safetensors"}, "no safetensors file in the same folder"),
    (lambda name: False, {"x": 3}, r"index\.json holds a whole number as weight_map"),
    (lambda name: False, ["a.safetensors"], r"index\.json holds a list as weight_map"),
    (lambda name: False, {"x": "c.safetensors"}, r"no weights at .*c\.safetensors"),
    (lambda name: ".1." in name, {"model.norm.weight": "a.safetensors"}, "2 layers, the weights 1 arrays"),
    (lambda name: False, {"x": "a.safetensors"}, r"index\.json says that x is in a\.saf.*, and it is not"),
    (lambda name: ".1." in name, {"model.norm.weight": "b.safetensors", "lm_head.weight": "a.safetensors"},
     r"model\.norm\.weight is in b"),
])
def test_broken_shards_are_refused(tmp_path, split, weight_map, message):
    made("llama").save_pretrained(tmp_path)
    shard(tmp_path, split, weight_map)
    with pytest.raises(UserError, match=message):
        from_pretrained(tmp_path)


def test_a_name_with_and_without_prefix_in_two_shards_is_refused(tmp_path):
    made("gpt2").save_pretrained(tmp_path)
    rewrite(tmp_path, lambda state: state | {"transformer.ln_f.bias": state["ln_f.bias"]})
    shard(tmp_path, lambda name: name.startswith("transformer."))
    with pytest.raises(UserError, match=r"holds ln_f\.bias twice, once as transformer\.ln_f\.bias"):
        from_pretrained(tmp_path)


def test_an_adapter_is_not_left_out_silently(tmp_path):
    made("llama").save_pretrained(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    for opened in (from_pretrained, open_model):
        with pytest.raises(UserError, match=r"adapter_config\.json lacks peft_type"):
            opened(tmp_path)
        (tmp_path / "config.json").unlink(missing_ok=True)  # as in most folders of adapters
