"""Read and write weights as safetensors files, which contain arrays and cannot contain code.

A file contains eight bytes with the length of the header, the header in JSON ({name: {dtype, shape,
data_offsets}}), and the numbers, little-endian, one array after the other
(https://github.com/huggingface/safetensors#format).
"""

import hashlib
import json
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tinyllm.config import bounded, check, conform
from tinyllm.errors import UserError, worded
from tinyllm.files import LARGEST, atomic_write, open_regular, open_unchanged, parse_json, state_of
from tinyllm.ops.quant import from_bfloat16

DTYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "int16": "I16",
    "int8": "I8", "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}
BLOCK = 1 << 20  # bytes that are read at a time
SIZE = bounded(int, min=0)
ENTRY: dict[str, Any] = {"dtype": str, "shape": [SIZE], "data_offsets": [SIZE]}
NUMPY = {code: np.dtype(name).newbyteorder("<") for name, code in DTYPES.items()} | {"BF16": np.dtype("<u2")}


def save_weights(model_or_state: Any, path: Path | str, metadata: dict[str, str] | None = None) -> None:
    """Write a model, or {name: array}, to a safetensors file. If writing fails, an old file stays unchanged.

    Arrays are written one by one, so saving needs no second copy of them in memory. `metadata` maps strings
    to strings. Raises UserError when the file cannot be written, TypeError for dtypes that the format lacks.
    """
    state = model_or_state if isinstance(model_or_state, dict) else model_or_state.state_dict()
    state = {name: np.asarray(array) for name, array in state.items()}
    entries: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, array in state.items():
        if array.dtype.name not in DTYPES:
            raise TypeError(f"{name} holds {array.dtype}; a safetensors file holds {', '.join(DTYPES)}")
        dtype, start, end = DTYPES[array.dtype.name], end, end + array.nbytes
        entries[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": (start, end)}
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the numbers start at a multiple of eight
    with atomic_write(path) as f:
        f.write(len(header).to_bytes(8, "little") + header)
        for array in state.values():
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            f.write(little.reshape(-1).view(np.uint8).data)


@dataclass(frozen=True)
class Stored:
    """An array in a safetensors file, which `np.asarray` reads."""

    path: Path
    dtype: str  # its name in the format, such as F32
    shape: tuple[int, ...]
    offset: int  # the index of its first byte in the file
    state: tuple[int, ...]  # of the file when its header was read: see `state_of`
    transposed: bool = False  # True if the file has its transpose

    def turned(self) -> "Stored":
        """Return the transpose of this array, to be read."""
        return replace(self, shape=self.shape[::-1], transposed=not self.transposed)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        """Read the array, converted to `dtype` if given; BF16 becomes float32.

        The file is read in blocks of rows, so there is never a second copy of the array in memory.
        """
        kind = NUMPY[self.dtype]
        own = np.dtype(np.float32) if self.dtype == "BF16" else kind.newbyteorder("=")
        own = np.dtype(dtype or own)
        memory = np.empty(math.prod(self.shape) * own.itemsize + 64, np.uint8)
        start = -memory.ctypes.data % 64  # kernels for 8 and 4 bits read aligned arrays faster
        array = memory[start : len(memory) - 64 + start].view(own).reshape(self.shape)
        rows = np.atleast_1d(array.T if self.transposed else array)
        width = max(math.prod(rows.shape[1:]), 1)
        step = max(BLOCK // (width * kind.itemsize), 1)
        with open_unchanged(self.path, self.state) as f:
            f.seek(self.offset)
            for part in (rows[i : i + step] for i in range(0, len(rows), step) if rows.size):
                block = np.fromfile(f, kind, part.size)
                if len(block) < part.size:
                    break
                if self.dtype == "BF16":
                    block = from_bfloat16(block)
                part[...] = block.reshape(part.shape)
        return array


def read_header(path: Path | str) -> tuple[dict[str, Stored], dict[str, str]]:
    """Read the header of a safetensors file -> ({name: Stored}, metadata {str: str}).

    Raises UserError when the file is missing, cut short or of another format, names an array twice, or
    holds a dtype that NumPy lacks.
    """
    path = Path(path)
    if not os.path.lexists(path):
        raise UserError(f"there are no weights at {path}; pickles (.bin) are not read: they run code")
    with open_regular(path) as f:
        state, size = state_of(f), os.fstat(f.fileno()).st_size
        length = int.from_bytes(f.read(8), "little")
        header = f.read(length) if length <= LARGEST else b""
    with worded(f"{path} is cut short, or is not a safetensors file: its header "):
        entries = parse_json(header)
        metadata = entries.pop("__metadata__", None) or {} if isinstance(entries, dict) else {}
        conform(entries, {str: ENTRY})
        conform(metadata, {str: str}, "__metadata__")
    begin = end = 8 + length
    found = {}
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        if (kind := NUMPY.get(entry["dtype"])) is None:
            raise UserError(f"{name} in {path} is {entry['dtype']}: convert the file to F32 first")
        shape = tuple(entry["shape"][:33])  # NumPy 1 has at most 32 axes
        found[name] = Stored(path, entry["dtype"], shape, end, state)
        start, end = end, end + math.prod(shape) * kind.itemsize
        possible = len(shape) < 33 and math.prod(filter(None, shape)) < 2**59  # NumPy leaves out zeros here
        if not possible or entry["data_offsets"] != [start - begin, end - begin]:
            raise UserError(f"{path} has another place for {name} than its shape and the arrays before need")
    if end != size:
        raise UserError(f"{path} is cut short or too long: it has {size:,} bytes, its header {end:,}")
    return {name: found[name] for name in entries}, metadata


@dataclass(frozen=True)
class Origin:
    """A folder of weights, and the SHA-256 of the weights, or "" if it is unknown."""

    folder: str
    sha256: str = ""

    def __post_init__(self):
        check(self, "origin.")


def hash_file(path: Path) -> str:
    """Return a safetensors file's SHA-256. Raises UserError if its size differs from that in its header."""
    read_header(path)  # checks the size: hashing a file that is far too large could take minutes
    with open_regular(path) as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def hash_weights(folder: Path) -> str:
    """Return the SHA-256 of the weights in a folder of a whole model or an adapter.

    If they are in several files, it is the SHA-256 of the list of the files' digests. Raises UserError when
    there are none, or a file is broken.
    """
    kind = "adapter_model" if os.path.lexists(folder / "adapter_config.json") else "model"
    single = folder / f"{kind}.safetensors"
    parts = sorted(folder.glob("*.safetensors"))
    if os.path.lexists(single) or not parts:
        return hash_file(single)
    digests = "".join(f"{hash_file(part)}  {part.name}\n" for part in parts)
    return hashlib.sha256(digests.encode()).hexdigest()


def load_weights(path: Path | str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays and the metadata of a safetensors file: ({name: array}, {name: text})."""
    stored, metadata = read_header(path)
    return {name: np.asarray(array) for name, array in stored.items()}, metadata
