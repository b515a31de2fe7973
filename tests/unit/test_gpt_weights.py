"""Weights in and out: nothing is lost, and no file that is cut, flipped or foreign gets in."""

import json

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from tinyllm.errors import UserError
from tinyllm.models import GPT, GPTConfig, load_weights, save_weights

DTYPES = [
    "float64",
    "float32",
    "float16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint64",
    "uint32",
    "uint16",
    "uint8",
    "bool",
]
SIZES = {"vocab_size": 7, "context": 6, "layers": 2, "heads": 2, "width": 4}

names = st.text(min_size=1, max_size=8).filter(lambda s: s != "__metadata__" and s.isprintable())
shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
layouts = st.sampled_from(
    [
        np.array,
        lambda a: a.T,
        lambda a: a[..., ::-1] if a.ndim else a,
        lambda a: a.astype(a.dtype.newbyteorder(">")),
    ]
)


def array(shape, dtype, layout, seed=0):
    bits = np.random.default_rng(seed).integers(0, 2 if dtype == "bool" else 100, shape)
    return layout(np.asarray(bits).astype(dtype))


@given(
    st.dictionaries(names, st.builds(array, shapes, st.sampled_from(DTYPES), layouts), max_size=5),
    st.dictionaries(names, names, max_size=2),
)
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


def test_a_model_comes_back_and_reads_what_others_write(tmp_path):
    model, other = GPT(GPTConfig(**SIZES), seed=1), GPT(GPTConfig(**SIZES), seed=2)
    save_weights(model, tmp_path / "ours.safetensors", {"step": "3"})
    safetensors.numpy.save_file(model.state_dict(), tmp_path / "theirs.safetensors")
    for file in ("ours.safetensors", "theirs.safetensors"):
        state, _ = load_weights(tmp_path / file)
        other.load_state_dict(state)
        assert np.array_equal(other([1, 2, 3]).data, model([1, 2, 3]).data)


def test_the_same_weights_give_the_same_bytes(tmp_path):
    for name in "ab":
        save_weights(GPT(GPTConfig(**SIZES), seed=1), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_the_format_cannot_hold_is_refused_before_writing(tmp_path):
    with pytest.raises(TypeError, match="z holds complex128"):
        save_weights({"z": np.zeros(2, complex)}, tmp_path / "w")
    with pytest.raises(TypeError, match="metadata"):
        save_weights({}, tmp_path / "w", {"step": 3})
    with pytest.raises(UserError, match="cannot write"):
        save_weights({}, tmp_path / "missing" / "w")
    assert list(tmp_path.iterdir()) == []


def small_file(path):
    save_weights(
        {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(3, np.int32)}, path, {"k": "v"}
    )
    return path.read_bytes()


def test_a_file_cut_anywhere_or_with_a_tail_is_refused(tmp_path):
    path = tmp_path / "w"
    data = small_file(path)
    for damaged in [data[:n] for n in range(len(data))] + [data + b"\0"]:
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="is cut short, or is not a safetensors file"):
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


def test_missing_foreign_and_unreadable_files_are_user_errors(tmp_path):
    (tmp_path / "pickle").write_bytes(b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00}\x94.")
    header = json.dumps({"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "bf16").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    for name, message in [
        ("none", "there are no weights at"),
        (".", "there are no weights"),
        ("pickle", "foreign"),
        ("bf16", "w in .* is BF16: convert"),
    ]:
        with pytest.raises(UserError, match=message):
            load_weights(tmp_path / name)


CONFIG = {"model_type": "gpt2", "vocab_size": 7, "n_positions": 6, "n_layer": 2, "n_head": 2, "n_embd": 4}
CONFIG |= {"layer_norm_epsilon": 1e-4, "activation_function": "gelu_new", "n_inner": None, "attn_pdrop": 0.1}


def folder(tmp_path, config=None, state=None, prefix=""):
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    if state is not None:
        safetensors.numpy.save_file(
            {prefix + name: a for name, a in state.items()}, tmp_path / "model.safetensors"
        )
    return tmp_path


def pretrained():
    model = GPT(GPTConfig(**SIZES, eps=1e-4), seed=3)
    for p in model.parameters():
        p.data += 0.3 * np.random.default_rng(p.data.size).normal(size=p.shape).astype(np.float32)
    return model


@pytest.mark.parametrize("prefix", ["", "transformer."])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_from_pretrained_reads_hugging_faces_folders(tmp_path, prefix, dtype):
    model = pretrained()
    state = {name: a.astype(dtype) for name, a in model.state_dict().items()}
    masks = {f"h.{i}.attn.bias": np.tril(np.ones((1, 1, 6, 6), np.float32)) for i in range(2)}
    masks |= {"h.0.attn.masked_bias": np.array(-1e4, np.float32)}
    head = {"lm_head.weight": state["wte.weight"]}
    folder(tmp_path, CONFIG, state | masks, prefix)
    if not prefix:
        folder(tmp_path, None, state | masks | head)
    loaded = GPT.from_pretrained(tmp_path)
    assert loaded.config == model.config
    np.testing.assert_allclose(
        loaded([1, 2, 3]).data, model([1, 2, 3]).data, rtol=1e-2, atol=1e-2 if dtype == "float16" else 0
    )


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model_type": "llama"}, "model_type = 'llama'"),
        ({"activation_function": "relu"}, "activation_function = 'relu'"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ({"n_inner": 8}, "n_inner = 8"),
        ({"n_head": 3}, "3 heads cannot share a width of 4"),
        ({"n_embd": "4"}, "no whole number as n_embd"),
        ({"n_embd": None}, "no whole number as n_embd"),
        ({"n_layer": 2**24}, "the weights have 2"),
        ({"layer_norm_epsilon": "x"}, "eps must be a number"),
        ({"n_layer": 3}, "the weights have 2"),
        ({"n_layer": 1}, "the weights have 2"),
        ({"vocab_size": 8}, r"wte\.weight has shape \(7, 4\)"),
    ],
)
def test_from_pretrained_refuses_other_models(tmp_path, change, message):
    folder(tmp_path, CONFIG | change, pretrained().state_dict())
    with pytest.raises(UserError, match=message):
        GPT.from_pretrained(tmp_path)


def test_from_pretrained_refuses_broken_folders(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*config\.json"):
        GPT.from_pretrained(tmp_path)
    for text, message in [
        ("{", "is not JSON"),
        ("[]", "no JSON object"),
        ("[" * 100_000, "is not JSON"),
        (" " * 2**21, "larger"),
        ("{}", "no whole number as vocab_size"),
    ]:
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(UserError, match=message):
            GPT.from_pretrained(tmp_path)
    folder(tmp_path, CONFIG)
    with pytest.raises(UserError, match="no weights"):
        GPT.from_pretrained(tmp_path)
    state = pretrained().state_dict()
    folder(tmp_path, CONFIG, state | {"lm_head.weight": state["wte.weight"] + 1})
    with pytest.raises(UserError, match=r"lm_head\.weight differs"):
        GPT.from_pretrained(tmp_path)
