"""Weights in and out: safetensors files, the format of the field, with nothing in them that could run.

A file is eight bytes that give the length of the header, the header in JSON ({name: {dtype, shape,
data_offsets}}), and the numbers, little-endian, one array after the other
(https://github.com/huggingface/safetensors#format).
"""

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from tinyllm.errors import UserError
from tinyllm.files import atomic_write

DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}


def save_weights(model_or_state, path, metadata=None):
    """Write a model, or {name: array}, to a safetensors file: whole, or the old file stays.

    `metadata` is {str: str}. Arrays are written one by one, so that saving needs no second copy of them
    in memory. Raises UserError when the system refuses to write.
    """
    state = model_or_state if isinstance(model_or_state, dict) else model_or_state.state_dict()
    state = {name: np.asarray(array) for name, array in state.items()}
    header = _header(state, metadata or {})
    with atomic_write(path, "wb") as f:
        f.write(len(header).to_bytes(8, "little"))
        f.write(header)
        for array in state.values():
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            f.write(little.reshape(-1).view(np.uint8).data)


def _header(state, metadata):
    if not all(isinstance(text, str) for item in metadata.items() for text in item):
        raise TypeError("metadata maps strings to strings; write numbers as text")
    entries = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, array in state.items():
        if array.dtype.name not in DTYPES:
            raise TypeError(f"{name} holds {array.dtype}; a safetensors file holds {', '.join(DTYPES)}")
        dtype, start, end = DTYPES[array.dtype.name], end, end + array.nbytes
        entries[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": (start, end)}
    header = json.dumps(entries, separators=(",", ":")).encode()
    return header + b" " * (-len(header) % 8)  # the numbers start at a multiple of eight


def load_weights(path):
    """Read a safetensors file -> ({name: array}, metadata {str: str}).

    Raises UserError when the file is missing, cut short, something else, or holds numbers that NumPy has
    no type for.
    """
    if not Path(path).is_file():
        raise UserError(f"there are no weights at {path}")
    try:
        with safe_open(path, framework="numpy") as f:  # checks all sizes against the file's before reading
            names = list(f.keys())
            for name in names:
                dtype = f.get_slice(name).get_dtype()
                if dtype not in DTYPES.values():
                    raise UserError(f"{name} in {path} is {dtype}: convert the file to F32 first")
            return {name: f.get_tensor(name) for name in names}, f.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is cut short, or is not a safetensors file: {error}") from error
