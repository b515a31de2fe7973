"""Values over a socket or two pipes: a JSON header and raw `.npy` arrays, nothing that could run.

A frame is four letters, the length of the header (uint32, little-endian), the header, and the arrays. The
header is {"value": ..., "npy": [length of each array in bytes]}. Plain values stand in it as JSON; what JSON
lacks is an object with one key: {"t": tuple}, {"d": dict as pairs}, {"a": array number}, {"v": [array number,
layout in memory]}, {"s": scalar of NumPy}, {"b": bytes}, {"f": float that is not finite}.

Both sides read with the same care, because either may be lied to: sizes are checked before memory is asked
for, types are few, and pickle is out of reach. This file is read by the worker too, which cannot import
tinyllm: it may import the standard library and numpy only.
"""

import io
import json
import queue
import re
import struct
import threading
import time

import numpy as np

MAGIC = b"TLW1"
PREFIX = struct.Struct("<4sI")
MAX_HEADER = 2**22  # bytes
MAX_ARRAYS = 256
MAX_PAYLOAD = 2**26  # bytes of all arrays of a frame
MAX_DEPTH = 16
MAX_NDIM = 16
LOOK = 0.25  # seconds between two looks at whoever does not answer
MAX_PAIRS = 1024  # of one dict: whoever chooses the keys can have each collide with all before it
NPY = re.compile(  # the head of an array as numpy writes it; nothing of it is ever evaluated
    rb"\x93NUMPY\x01\x00(..)\{'descr': '([<>|][biuf]\d\d?)', 'fortran_order': False, "
    rb"'shape': \((\d{1,9}(?:, \d{1,9}){0,%d},?|)\), \} *\n" % (MAX_NDIM - 1),
    re.DOTALL,
)


class WireError(ValueError):
    """The other side sent what is no frame, or a value cannot be sent."""


class Closed(EOFError):
    """The other side has gone."""


def dump(value):
    """Write a value as a frame: any of the types above -> bytes. Raises WireError for other types."""
    arrays = []
    header = {"value": _plain(value, arrays, 0), "npy": [len(a) for a in arrays]}
    data = json.dumps(header, separators=(",", ":"), allow_nan=False).encode("ascii")
    if len(data) > MAX_HEADER or len(arrays) > MAX_ARRAYS or sum(map(len, arrays)) > MAX_PAYLOAD:
        raise WireError("the value is too large to send")
    return b"".join([PREFIX.pack(MAGIC, len(data)), data, *arrays])


def _plain(value, arrays, depth):
    if depth > MAX_DEPTH:
        raise WireError(f"the value is nested more than {MAX_DEPTH} deep")
    if value is None or isinstance(value, (bool, str)):
        return value if value is None or isinstance(value, bool) else _text(value)
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
    if isinstance(value, (list, tuple)):
        items = [_plain(item, arrays, depth + 1) for item in value]
        return items if isinstance(value, list) else {"t": items}
    if isinstance(value, dict):
        pairs = value.items()
        if len(pairs) > MAX_PAIRS:
            raise WireError(f"a dict has more than {MAX_PAIRS:,} entries")
        return {"d": [[_plain(k, arrays, depth + 1), _plain(v, arrays, depth + 1)] for k, v in pairs]}
    raise WireError(f"a {type(value).__name__} is neither an array nor a plain value")


def layout_of(a):
    """How an array lies in memory: a view with other strides must arrive as one, for a function may care."""
    if not a.flags.c_contiguous:
        return "fortran" if a.flags.f_contiguous else "gaps"
    return "plain" if a.flags.writeable else "read-only"


def _lay(a, layout):
    """Lay an array out in memory: gaps between its elements, the first axis fastest, or not to be written."""
    if layout == "gaps" and a.ndim:
        wide = np.full((*a.shape[:-1], 2 * a.shape[-1]), np.nan if a.dtype.kind == "f" else 0, a.dtype)
        wide[..., ::2] = a
        return wide[..., ::2]
    if layout == "fortran":
        return np.asfortranarray(a)
    a.flags.writeable = layout != "read-only"
    return a


def _text(value):
    value = str(value)
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise WireError("a text holds half a character (a lone surrogate)")
    return value


def _array(a, arrays):
    if a.dtype.kind not in "biuf":
        raise WireError(f"an array of {a.dtype} cannot be sent: numbers and booleans can")
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.array(a, order="C"), version=(1, 0), allow_pickle=False)
    arrays.append(buffer.getvalue())
    return len(arrays) - 1


def load(header, payloads):
    """Read a value: the header's bytes and the bytes of each array -> value. Raises WireError."""
    try:
        fields = json.loads(header.decode("ascii"), parse_constant=_refuse)
        return _value(fields["value"], list(payloads), 0)
    except WireError:
        raise
    except Exception as error:  # whatever a liar thinks of
        raise WireError(f"not a frame: {type(error).__name__}") from None


def _refuse(name):
    raise WireError(f"{name} is no number in JSON")


def _value(x, payloads, depth):
    if depth > MAX_DEPTH:
        raise WireError("not a frame: nested too deeply")
    if x is None or isinstance(x, (bool, int, float, str)):
        return x
    if isinstance(x, list):
        return [_value(item, payloads, depth + 1) for item in x]
    ((key, content),) = x.items()
    if key == "t":
        return tuple(_value(item, payloads, depth + 1) for item in content)
    if key == "d" and len(content) <= MAX_PAIRS:
        return {_value(k, payloads, depth + 1): _value(v, payloads, depth + 1) for k, v in content}
    if key == "f":
        return {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}[content]
    if key == "v":
        number, layout = content
        return _lay(_value({"a": number}, payloads, depth + 1), layout)
    if key in ("a", "s", "b") and type(content) is int and 0 <= content < len(payloads):
        data, payloads[content] = payloads[content], None  # each but once, so that none can be multiplied
        array = _read_array(data)
        return array if key == "a" else array.tobytes() if key == "b" else array[()]
    raise WireError("not a frame: an object of no known kind")


def _read_array(data):
    """Read one `.npy`, version 1.0: the length that its header promises must be the length that is there."""
    head = NPY.match(data or b"")
    if not head:
        raise WireError("not an array, or one that is used twice")
    shape = tuple(int(n) for n in re.findall(rb"\d+", head[3]))
    dtype, length = np.dtype(head[2].decode("ascii")), int.from_bytes(head[1], "little")
    size = dtype.itemsize
    for n in shape:
        size *= n
    fits = length == head.end() - 10 and size == len(data) - head.end()
    if not fits:
        raise WireError("not an array: its header does not fit its bytes")
    return np.frombuffer(data, dtype, offset=head.end()).reshape(shape).copy()


def lengths(header):
    """The lengths of the arrays that follow a header -> list of ints. Raises WireError."""
    try:
        found = json.loads(header.decode("ascii"))["npy"]
    except Exception as error:
        raise WireError(f"not a frame: {type(error).__name__}") from None
    if not isinstance(found, list) or len(found) > MAX_ARRAYS:
        raise WireError("not a frame: its list of arrays is none")
    if any(type(n) is not int or n < 0 for n in found) or sum(found) > MAX_PAYLOAD:
        raise WireError("not a frame: its arrays are too large")
    return found


def send(sock, value, seconds=None):
    """Send a value. Raises WireError, Closed, or TimeoutError after so many seconds."""
    sock.settimeout(seconds)
    try:
        sock.sendall(dump(value))
    except (BrokenPipeError, ConnectionResetError):
        raise Closed("the other side has gone") from None


def receive(sock, seconds=None, idle=None):
    """Wait for a value. Raises WireError, Closed, or TimeoutError after so many seconds in all.

    idle: called whenever nothing came for a quarter of a second; where it is true, that is a TimeoutError.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    magic, length = PREFIX.unpack(_exactly(sock, PREFIX.size, deadline, idle))
    if magic != MAGIC or length > MAX_HEADER:
        raise WireError("not a frame: it starts with something else")
    header = _exactly(sock, length, deadline, idle)
    return load(header, [_exactly(sock, n, deadline, idle) for n in lengths(header)])


def _exactly(sock, n, deadline, idle):
    data = bytearray()
    while len(data) < n:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("no answer in time")
            sock.settimeout(left)
        else:
            sock.settimeout(None)
        try:
            part = _recv(sock, min(n - len(data), 2**20), idle)
        except ConnectionResetError:
            part = b""
        if not part:
            raise Closed("the other side has gone")
        data += part
    return bytes(data)


def _recv(sock, n, idle):
    if isinstance(sock, Pipes):
        return sock.recv(n, idle)

    def get(seconds):
        sock.settimeout(seconds)
        return sock.recv(n)

    return _looking(get, sock.gettimeout(), idle) if idle else sock.recv(n)


def _looking(get, seconds, idle):
    """Call get(seconds to wait) again and again, and idle between -> what it gets. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while True:
        left = max(end - time.monotonic(), 0.001)
        try:
            return get(min(left, LOOK))
        except (TimeoutError, queue.Empty):
            if left <= LOOK or idle():
                raise TimeoutError("no answer in time") from None


class Pipes:
    """Two pipes with the manners of a socket: `settimeout`, `recv`, `sendall`, `close`.

    reading, writing: unbuffered files. Where there is a deadline, a thread does the reading or writing and is
    waited for, because Windows can wait for no pipe.
    """

    def __init__(self, reading, writing):
        self.files, self.hands = (reading, writing), {}
        self.timeout, self.late = None, False

    def settimeout(self, seconds):
        """Wait at most so long for each `recv` and `sendall`; None for ever."""
        self.timeout = seconds

    def recv(self, n, idle=None):
        """Up to n bytes, as soon as there are any; none at the end. Raises TimeoutError; idle as above."""
        result = self._do(self.files[0], lambda reading: reading.read(n), idle)
        return b"" if isinstance(result, Exception) else result

    def sendall(self, data):
        """Write all of it. Raises TimeoutError, or BrokenPipeError where nobody reads any more."""
        if isinstance(self._do(self.files[1], lambda writing: _write(writing, data)), Exception):
            raise BrokenPipeError("nobody reads")

    def _do(self, file, what, idle=None):
        if self.timeout is None:
            return _attempt(what, file)
        if file not in self.hands:
            todo, done = self.hands[file] = queue.SimpleQueue(), queue.SimpleQueue()
            threading.Thread(target=_work, args=(file, todo, done), daemon=True).start()
        todo, done = self.hands[file]
        try:
            if self.late:  # what is still at work would answer in the place of this
                raise queue.Empty
            todo.put(what)
            return _looking(lambda seconds: done.get(timeout=seconds), self.timeout, idle or bool)
        except (queue.Empty, TimeoutError):
            self.late = True
            raise TimeoutError("no answer in time") from None

    def close(self):
        """Give both back; a thread that still waits does so at its end."""
        for file in self.files:
            if file in self.hands:
                self.hands[file][0].put(None)
            else:
                file.close()


def _work(file, todo, done):
    while (what := todo.get()) is not None:
        done.put(_attempt(what, file))
    file.close()


def _attempt(what, file):
    try:
        return what(file)
    except (OSError, ValueError) as error:  # a ValueError: it is closed
        return error


def _write(file, data):
    data = memoryview(data)
    while data:
        data = data[file.write(data) :]
