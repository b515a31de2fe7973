"""Check files of weights: nothing is lost; files that are cut, changed or of other formats are refused."""

import hashlib
import json
import math
import os
import tracemalloc

import numpy as np
import pytest
import safetensors.numpy
from helpers import refuses
from hypothesis import given, strategies as st
from readers import Reader, check_all
from tiny_models import change, logits, made

from tinyllm import nn
from tinyllm.models import from_pretrained, load_weights, save_weights
from tinyllm.models.weights import DTYPES, read_header
from tinyllm.runs import make_config, open_model, prepare
from tinyllm.tokenizer import CharTokenizer, save_tokenizer

names = st.text(min_size=1, max_size=8).filter(lambda s: s != "__metadata__" and s.isprintable())
shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
layouts = st.sampled_from([np.array, lambda a: a.T, lambda a: a[..., ::-1] if a.ndim else a,
                           lambda a: a.astype(a.dtype.newbyteorder(">"))])


def array(shape, dtype, layout, seed=0):
    bits = np.random.default_rng(seed).integers(0, 2 if dtype == "bool" else 100, shape)
    return layout(np.asarray(bits).astype(dtype))


@given(st.dictionaries(names, st.builds(array, shapes, st.sampled_from(list(DTYPES)), layouts), max_size=5),
       st.dictionaries(names, names, max_size=2))
def test_round_trip(tmp_path_factory, state, metadata):
    path = tmp_path_factory.mktemp("w") / "w.safetensors"
    save_weights(state, path, metadata)
    loaded, loaded_metadata = load_weights(path)
    assert loaded_metadata == metadata and loaded.keys() == state.keys()
    theirs = safetensors.numpy.load_file(path)  # safetensors' own library
    for name, a in state.items():
        assert loaded[name].shape == a.shape and loaded[name].dtype == a.dtype.newbyteorder("=")
        assert np.array_equal(loaded[name], a) and np.array_equal(theirs[name], a)


def test_what_the_format_cannot_hold_is_refused_before_writing(tmp_path):
    refuses("z holds complex128", save_weights, {"z": np.zeros(2, complex)}, tmp_path / "w", error=TypeError)
    refuses("cannot write", save_weights, {}, tmp_path / "missing" / "w")
    assert list(tmp_path.iterdir()) == []


def write(path, header, data):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def test_bfloat16_becomes_float32(tmp_path):
    bits = np.array([0x3F80, 0xC000, 0x3DCD, 0], np.uint16)  # 1, -2, 0.10009765625, 0
    write(tmp_path / "w", {"w": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}}, bits.tobytes())
    found = load_weights(tmp_path / "w")[0]["w"]
    assert found.dtype == np.float32 and found.tolist() == [[1, -2], [0.10009765625, 0]]


@pytest.mark.parametrize("edit", [
    lambda path, data: os.truncate(path, len(data) - 4), lambda path, data: os.truncate(path, 0),
    lambda path, data: path.write_bytes(data + b"x"),
    lambda path, data: (path.unlink(), path.write_bytes(data)),
    lambda path, data: (path.write_bytes(data), os.utime(path, ns=(5, 5))),
])
def test_a_file_that_is_changed_while_it_is_read_is_refused(tmp_path, edit):
    path = tmp_path / "w"
    save_weights({"a": np.ones(9, np.float32)}, path)
    stored, _ = read_header(path)
    edit(path, path.read_bytes())
    refuses("w has changed since it was opened", np.asarray, stored["a"])


GOOD = {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}


@pytest.mark.parametrize("header, message", [
    *[({"w": GOOD | entry}, message) for entry, message in (
        ({"data_offsets": [0, 3]}, "another place for w"), ({"data_offsets": [1, 2]}, "another place for w"),
        *(({"shape": shape, "data_offsets": [0, math.prod(shape)]}, "another place for w")
          for shape in ([2**62, 2**62], [0, 2**63], [1] * 33)),
        *(({"shape": [n], "data_offsets": [0, n]}, "cut short or too long") for n in (1, 3)),
        ({"shape": [-2]}, "header holds -2"), ({"shape": [True]}, "header holds true"),
        ({"data_offsets": None}, "header holds null"), ({"dtype": 1}, "header holds a whole number"),
        ({"dtype": "F8_E4M3"}, "w in .* is F8_E4M3: convert"))],
    (json.dumps([{"w": GOOD}] * 2)[1:-1].replace("}, {", ", ", 1).encode(), "key 'w' twice"),
    ([], "header holds a list"), (b"\x80\x04\x95}\x94.", "is not a safetensors file"),
])
def test_a_header_that_does_not_fit_its_numbers_a_pickle_and_no_file_are_refused(tmp_path, header, message):
    write(tmp_path / "w", header, bytes(2))
    refuses(message, load_weights, tmp_path / "w")
    (tmp_path / "w").write_bytes(b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00}\x94.")
    for name, other in (("none", "there are no weights at"), ("w", "is not a safetensors file")):
        refuses(other, load_weights, tmp_path / name)


def whole(folder):
    made("gpt2").save_pretrained(folder)
    return [folder / "config.json", folder / "generation_config.json", folder / "model.safetensors"]


def shards(folder):
    state = safetensors.numpy.load_file(whole(folder).pop())
    (folder / "model.safetensors").unlink()
    files = {name: "b.safetensors" if ".1." in name else "a.safetensors" for name in state}
    for file in {*files.values()}:
        safetensors.numpy.save_file({n: a for n, a in state.items() if files[n] == file}, folder / file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": files}))
    return [index, folder / "a.safetensors", folder / "b.safetensors"]


def adapter(folder):
    if not (folder / "base").exists():
        whole(folder / "base")
    model = nn.adapt(from_pretrained(folder / "base"), rank=2)
    model.save_pretrained(folder)
    return [folder / "adapter_config.json", folder / "adapter_model.safetensors"]


@pytest.mark.parametrize("changes, message", [
    ({"weight_map": {"x": "../a.safetensors"}}, "which is no safetensors file in the same folder"),
    ({"weight_map": {"x": "c.safetensors"}}, r"no weights at .*c\.safetensors"),
    ({"weight_map": {"wte.weight": "a.safetensors"}}, "2 layers, the weights 1 arrays"),
    ({"weight_map": {"wte.weight": "b.safetensors"}}, r"index\.json says that wte\.weight is in b"),
])
def test_an_index_that_does_not_fit_its_files_is_refused(tmp_path, changes, message):
    shards(tmp_path)
    change(tmp_path, "model.safetensors.index.json", **changes)
    refuses(message, from_pretrained, tmp_path)


@pytest.mark.parametrize("file, name", [
    ("base/model.safetensors", "wte.weight"),
    ("adapter_model.safetensors", "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"),
])
def test_huge_weights_are_refused_before_they_are_read_or_hashed(tmp_path, monkeypatch, file, name):
    """The header is right, and the disk holds none of the numbers."""
    adapter(tmp_path)
    save_tokenizer(CharTokenizer("abc"), tmp_path / "base/tokenizer.json")
    (tmp_path / "text").write_text("abc" * 99)
    write(tmp_path / file, {name: GOOD | {"shape": [2**27], "data_offsets": [0, 2**27]}}, b"")
    os.truncate(tmp_path / file, (tmp_path / file).stat().st_size + 2**27)
    actions = [lambda: from_pretrained(tmp_path)]
    if "base" in file:
        monkeypatch.setattr(hashlib, "file_digest", None)
        config = make_config({"data": str(tmp_path / "text"), "start": str(tmp_path / "base")})
        actions += [lambda: open_model(tmp_path / "base"), lambda: prepare(config)]
    tracemalloc.start()
    for action in actions:
        refuses(r"adapter_model\.safetensors: |2 layers, the weights 1 arrays", action)
    assert tracemalloc.get_traced_memory()[1] < 1 << 23
    tracemalloc.stop()


def test_an_adapter_beside_a_model_is_not_left_out_silently(tmp_path):
    whole(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    for opened in (from_pretrained, open_model):
        refuses(r"adapter_config\.json lacks peft_type", opened, tmp_path)
        (tmp_path / "config.json").unlink(missing_ok=True)  # as in most folders of adapters


@pytest.mark.parametrize("kind", [whole, shards, adapter])
def test_damaged_folders_are_read_or_refused_in_one_line_that_names_the_file(tmp_path, kind):
    """Files are cut or changed anywhere, or replaced by a pipe or a device."""
    kind(tmp_path)
    assert np.array_equal(logits(from_pretrained(tmp_path)), logits(made("gpt2")))
    check_all(Reader(kind, from_pretrained, lambda model: logits(model)), tmp_path, times=60, longest=1 << 18)
