"""Check files of weights: nothing is lost, and files that are cut, changed or foreign are refused."""

import json

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from tinyllm.errors import UserError
from tinyllm.models import load_weights, save_weights
from tinyllm.models.weights import DTYPES

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
    for name, a in state.items():
        assert loaded[name].shape == a.shape and loaded[name].dtype == a.dtype.newbyteorder("=")
        assert np.array_equal(loaded[name], a)
    theirs = safetensors.numpy.load_file(path)  # the format's own library reads the same
    assert all(np.array_equal(theirs[name], a) for name, a in state.items())


def test_what_the_format_cannot_hold_is_refused_before_writing(tmp_path):
    with pytest.raises(TypeError, match="z holds complex128"):
        save_weights({"z": np.zeros(2, complex)}, tmp_path / "w")
    with pytest.raises(TypeError, match="metadata"):
        save_weights({}, tmp_path / "w", {"step": 3})
    with pytest.raises(UserError, match="cannot write"):
        save_weights({}, tmp_path / "missing" / "w")
    assert list(tmp_path.iterdir()) == []


def small_file(path):
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(3, np.int32)}
    save_weights(arrays, path, {"k": "v"})
    return path.read_bytes()


def test_a_file_cut_anywhere_or_with_a_tail_is_refused(tmp_path):
    path = tmp_path / "w"
    data = small_file(path)
    for damaged in [data[:n] for n in range(len(data))] + [data + b"\0"]:
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="is cut short or too long, or is not a safetensors"):
            load_weights(path)


@given(st.data())
def test_flipped_bytes_never_crash_the_reader(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("w") / "w"
    good = bytearray(small_file(path))
    for _ in range(data.draw(st.integers(1, 3))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(good)
    try:
        state, _ = load_weights(path)
    except UserError:
        return
    assert sum(a.nbytes for a in state.values()) <= len(good)


def write(path, header, data):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def test_bfloat16_becomes_float32(tmp_path):
    bits = np.array([0x3F80, 0xC000, 0x3DCD, 0], np.uint16)  # 1, -2, 0.10009765625, 0
    write(tmp_path / "w", {"w": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}}, bits.tobytes())
    array = load_weights(tmp_path / "w")[0]["w"]
    assert array.dtype == np.float32 and array.tolist() == [[1, -2], [0.10009765625, 0]]


def test_an_array_that_is_named_twice_is_refused(tmp_path):
    entry = b'"w": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}'
    write(tmp_path / "w", b"{" + entry + b", " + entry + b"}", bytes(2))
    with pytest.raises(UserError, match=r"key 'w' twice|cut short"):
        load_weights(tmp_path / "w")


@pytest.mark.parametrize("name, message", [
    ("none", "there are no weights at"), (".", "a folder"), ("pickle", "foreign"),
    ("fp8", "w in .* is F8_E4M3: convert"),
])
def test_missing_foreign_and_unreadable_files_are_user_errors(tmp_path, name, message):
    (tmp_path / "pickle").write_bytes(b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00}\x94.")
    write(tmp_path / "fp8", {"w": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}, bytes(4))
    with pytest.raises(UserError, match=message):
        load_weights(tmp_path / name)
