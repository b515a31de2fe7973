"""Send values over a socket, as a JSON header and the bytes of arrays. Nothing that is sent can be executed.

A frame is four letters, the length of the header (uint32, little-endian), the header, and the arrays. The
header is {"value": ..., "arrays": [[dtype, shape] of each]}. Plain values are written as JSON; types that
JSON lacks are objects with one key: {"t": tuple}, {"d": dict as pairs}, {"a": array number}, {"v": [array
number, layout in memory]}, {"s": scalar of NumPy}, {"b": bytes}, {"f": float that is not finite}.

Neither side trusts the other: sizes are checked before memory is allocated; "hostile:" names an attack in
tests/course/hostile. Workers cannot import tinyllm, so this file uses only NumPy and the standard library.
"""

import io
import json
import math
import re
import struct
import time
from typing import Any

import numpy as np

MAGIC = b"TLW1"
PREFIX = struct.Struct("<4sI")
MAX_HEADER = 2**20  # bytes (hostile: a huge header)
MAX_VALUES = 2**14  # plain values of a frame: their Python objects are far larger (hostile: small bombs)
MAX_ARRAYS = 256
MAX_PAYLOAD = 2**22  # bytes of all arrays of a frame
MAX_DEPTH = 16  # (hostile: a nested header)
MAX_NDIM = 16
MAX_PAIRS = 1024  # of one dict: a hostile sender can choose keys whose hashes are equal
MAX_KEY = 8  # values in a tuple that is the key of a dict
HALF = re.compile("[\ud800-\udfff]")  # a lone surrogate, half of a character, cannot be encoded
DTYPE = re.compile(r"[<>|][biuf](?:1|2|4|8|16)")  # never evaluated (hostile: a header with a program in it)


class ProtocolError(ValueError):
    """The other side sent an invalid frame, or a value cannot be sent."""


class Closed(EOFError):
    """The other side has closed the connection."""


def dump(value: object) -> bytes:
    """Encode a value as a frame. Raises ProtocolError for types that the protocol cannot send."""
    arrays = _Arrays()
    plain = _plain(value, arrays, 0)
    header = {"value": plain, "arrays": [[a.dtype.str, a.shape] for a in arrays]}
    data = TO_JSON.encode(header).encode("ascii")
    if len(data) > MAX_HEADER or len(arrays) > MAX_ARRAYS or sum(a.nbytes for a in arrays) > MAX_PAYLOAD:
        raise ProtocolError("the value is too large to send")
    return b"".join([PREFIX.pack(MAGIC, len(data)), data, *(a.tobytes() for a in arrays)])


class _Arrays(list):
    """The arrays of a frame, and the number of its plain values so far."""

    values = 0

    def count_value(self):
        self.values += 1
        if self.values > MAX_VALUES:
            raise ProtocolError(f"it holds more than {MAX_VALUES:,} values")


def _plain(value, arrays, depth):
    arrays.count_value()
    if depth > MAX_DEPTH:
        raise ProtocolError(f"the value is nested more than {MAX_DEPTH} deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if HALF.search(value):
            raise ProtocolError("a text holds half a character (a lone surrogate)")
        return str(value)
    if isinstance(value, np.generic):
        return {"s": _array(np.asarray(value), arrays)}
    if isinstance(value, np.ndarray):
        number, layout = _array(np.asarray(value), arrays), layout_of(value)
        return {"a": number} if layout == "plain" else {"v": [number, layout]}
    if isinstance(value, (bytes, bytearray)):
        return {"b": _array(np.frombuffer(bytes(value), np.uint8), arrays)}
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        value = float(value)
        return value if value - value == 0 else {"f": repr(value)}
    return _plain_items(value, arrays, depth)


def _plain_items(value, arrays, depth):
    if isinstance(value, (list, tuple)):
        items = [_plain(item, arrays, depth + 1) for item in value]
        return items if isinstance(value, list) else {"t": items}
    if isinstance(value, dict):
        pairs = value.items()
        if len(pairs) > MAX_PAIRS:
            raise ProtocolError(f"a dict has more than {MAX_PAIRS:,} entries")
        return {"d": [[_plain(k, arrays, depth + 1), _plain(v, arrays, depth + 1)] for k, v in pairs]}
    raise ProtocolError(f"a {type(value).__name__} is neither an array nor a plain value")


def layout_of(a: np.ndarray) -> str:
    """Name the memory layout of an array, so that a view is still a view on the other side."""
    if not a.flags.c_contiguous:
        return "fortran" if a.flags.f_contiguous else "gaps"
    return "plain" if a.flags.writeable else "read-only"


def _lay(a, layout):
    """Give an array a memory layout: gaps between elements, the first axis fastest, or read-only."""
    if layout == "gaps" and a.ndim:
        wide = np.full((*a.shape[:-1], 2 * a.shape[-1]), np.nan if a.dtype.kind == "f" else 0, a.dtype)
        wide[..., ::2] = a
        return wide[..., ::2]
    if layout == "fortran":
        return np.asfortranarray(a)
    a.flags.writeable = layout != "read-only"
    return a


def _array(a, arrays):
    if a.dtype.kind not in "biuf":
        raise ProtocolError(f"an array of {a.dtype} cannot be sent: numbers and booleans can")
    arrays.append(a)
    return len(arrays) - 1


def _read_form(dtype, shape):
    """Check an array's entry in a header -> (dtype, shape, bytes). Raises ProtocolError or TypeError."""
    if not DTYPE.fullmatch(dtype) or len(shape) > MAX_NDIM:
        raise ProtocolError("not a frame: an array of no known type")
    if any(type(n) is not int or not 0 <= n <= MAX_PAYLOAD for n in shape):
        raise ProtocolError("not a frame: an array of no possible shape")
    dtype = np.dtype(dtype)
    return dtype, tuple(shape), dtype.itemsize * math.prod(shape)


def _refuse(name):
    raise ProtocolError(f"{name} is no number in JSON")


TO_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False)  # made once: many small frames are sent
FROM_JSON = json.JSONDecoder(parse_constant=_refuse)


def _value(x, arrays, depth):
    arrays.count_value()
    if depth > MAX_DEPTH:
        raise ProtocolError("not a frame: nested too deeply")
    if x is None or isinstance(x, (bool, int, float, str)):
        return x
    if isinstance(x, list):
        return [_value(item, arrays, depth + 1) for item in x]
    ((key, content),) = x.items()
    if key == "t":
        return tuple(_value(item, arrays, depth + 1) for item in content)
    if key == "d" and len(content) <= MAX_PAIRS:
        return {_key(_value(k, arrays, depth + 1)): _value(v, arrays, depth + 1) for k, v in content}
    if key == "f":
        return {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}[content]
    if key == "v":
        number, layout = content
        return _lay(_value({"a": number}, arrays, depth + 1), layout)
    if key in ("a", "s", "b") and type(content) is int and 0 <= content < len(arrays):
        array, arrays[content] = arrays[content], None  # used only once (hostile: one array, many times)
        if array is None:
            raise ProtocolError("not a frame: an array that is used twice")
        return array if key == "a" else array.tobytes() if key == "b" else array[()]
    raise ProtocolError("not a frame: an object of no known kind")


def _key(key):
    parts = key if isinstance(key, tuple) else (key,)
    if len(parts) > MAX_KEY or any(isinstance(part, tuple) for part in parts):
        raise ProtocolError("not a frame: a key that is too long")
    return key


def send(sock: Any, value: object, seconds: float | None = None) -> None:
    """Send a value. Raises ProtocolError, Closed, or TimeoutError after `seconds`."""
    deadline = None if seconds is None else time.monotonic() + seconds
    left = memoryview(dump(value))
    while left:
        left = left[_in_time(sock, sock.send, left, deadline) :]


def receive(sock: Any, seconds: float | None = None) -> Any:
    """Wait for a value. Raises ProtocolError, Closed, or TimeoutError after `seconds`."""
    deadline = None if seconds is None else time.monotonic() + seconds
    return _read(lambda n: _exactly(sock, n, deadline))


def copy(value: object) -> Any:
    """Return a copy of a value in the form in which the other side would receive it."""
    frame = io.BytesIO(dump(value))
    return _read(lambda n: bytearray(frame.read(n)))


def _read(exactly):
    """Read a frame -> value. exactly(n) must return the next n bytes. Raises ProtocolError for other data."""
    magic, length = PREFIX.unpack(exactly(PREFIX.size))
    if magic != MAGIC or length > MAX_HEADER:
        raise ProtocolError("not a frame: it starts with something else")
    try:
        text = exactly(length)
        if sum(map(text.count, (b",", b"[", b"{"))) > 8 * MAX_VALUES:  # counted before the text is parsed
            raise ProtocolError("not a frame: it holds too many values")
        fields = FROM_JSON.decode(text.decode("ascii"))
        forms = [_read_form(dtype, shape) for dtype, shape in fields["arrays"][: MAX_ARRAYS + 1]]
        if len(forms) > MAX_ARRAYS or sum(size for _, _, size in forms) > MAX_PAYLOAD:
            raise ProtocolError("not a frame: its arrays are too many or too large")
        arrays = _Arrays(np.frombuffer(exactly(size), dtype).reshape(shape) for dtype, shape, size in forms)
        return _value(fields["value"], arrays, 0)
    except (ProtocolError, Closed, TimeoutError, OSError):
        raise
    except Exception as error:  # a hostile frame may cause any error
        raise ProtocolError(f"not a frame: {type(error).__name__}") from None


def _exactly(sock, n, deadline):
    data = bytearray()
    while len(data) < n:
        part = _in_time(sock, sock.recv, min(n - len(data), 2**20), deadline)
        if not part:
            raise Closed("the other side has gone")
        data += part
    return data


def _in_time(sock, act, what, deadline):
    """Return act(what), which sends or receives; raise TimeoutError if the deadline passes before."""
    left = None if deadline is None else deadline - time.monotonic()  # (hostile: an answer a byte at a time)
    if left is not None and left <= 0:
        raise TimeoutError("no answer in time")
    sock.settimeout(left)
    try:
        return act(what)
    except ConnectionError:
        raise Closed("the other side has gone") from None
