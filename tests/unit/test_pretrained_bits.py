"""Weights that are rounded to 8 or 4 bits while a folder is read."""

import tracemalloc

import numpy as np
import pytest
from tiny_models import each, logits, made, rewrite

import tinyllm as tl
from tinyllm.errors import UserError
from tinyllm.models import build, from_pretrained


@each
def test_weights_rounded_as_they_are_read_are_those_of_quantize(tmp_path, name):
    model = made(name)
    model.save_pretrained(tmp_path)
    for bits in (8, 4):
        loaded = from_pretrained(tmp_path, bits=bits)
        expected = tl.quantize(from_pretrained(tmp_path), bits)
        assert np.array_equal(logits(loaded), logits(expected))
        state, wanted = loaded.state_dict(), expected.state_dict()
        assert state.keys() == wanted.keys() and all(np.array_equal(state[n], wanted[n]) for n in wanted)
        loaded.save_pretrained(tmp_path / str(bits))
        again = from_pretrained(tmp_path / str(bits)).state_dict()
        assert all(np.array_equal(again[n], wanted[n]) for n in wanted)
        assert not any(array.ctypes.data % 64 for array in again.values()), "aligned, for kernels"


def test_bits_that_are_not_possible_are_refused(tmp_path):
    made("llama").save_pretrained(tmp_path)
    with pytest.raises(UserError, match="8 or 4 bits, not 3"):
        from_pretrained(tmp_path, bits=3)
    from_pretrained(tmp_path, bits=4).save_pretrained(tmp_path)
    assert from_pretrained(tmp_path, bits=4).config
    with pytest.raises(UserError, match="weights of 4 bits already: they cannot become 8"):
        from_pretrained(tmp_path, bits=8)
    made("llama").save_pretrained(tmp_path / "nan")
    name = "model.norm.weight"
    rewrite(tmp_path / "nan", lambda state: state | {name: state[name] * np.nan})
    with pytest.raises(UserError, match="not finite"):
        from_pretrained(tmp_path / "nan", bits=8)


def test_rounding_while_reading_never_takes_the_memory_of_all_weights(tmp_path):
    sizes = {"vocab_size": 50, "context": 8, "layers": 8, "heads": 4, "width": 128}
    model = build({"model_type": "llama", "kv_heads": 4, "hidden": 512, **sizes}, seed=None)
    model.save_pretrained(tmp_path)
    full = sum(array.nbytes for array in model.state_dict().values())
    del model
    tracemalloc.start()
    loaded = from_pretrained(tmp_path, bits=8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * full, "of float32; weights of 8 bits are a quarter"
    assert sum(array.nbytes for array in loaded.state_dict().values()) < 0.3 * full
