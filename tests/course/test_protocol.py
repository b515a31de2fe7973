"""Check that values arrive over a socket as they were sent, and that corrupt frames are refused."""

import collections
import itertools
import json
import math
import random
import socket
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, strategies as st
from readers import SCRAPS, spliced

from tinyllm.course import protocol
from tinyllm.course.checker import complaint
from tinyllm.course.drawing import draw_cases
from tinyllm.course.workers import LIMITS, Failure, Launcher, Worker
from tinyllm.ops import OPS
from tinyllm.testing import CASES
from tinyllm.testing.check import bits
from tinyllm.testing.properties import FORM, PURE, STEADY
from tinyllm.testing.relations import specs_only

REFUSALS = (protocol.ProtocolError, protocol.Closed, TimeoutError)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.binary(max_size=20)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple)
    | st.dictionaries(st.integers() | st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3),
    max_leaves=12,
)


@given(PLAIN)
def test_plain_values_arrive_as_they_left(value):
    back = protocol.copy(value)
    assert back == value and type(back) is type(value)


@pytest.mark.parametrize("name", CASES)
def test_the_cases_of_every_op_arrive_as_they_left(name):
    for args in draw_cases(name, 3):
        back = protocol.copy(list(args))
        assert bits(back) == bits(list(args))
        for got, sent in zip(back, args, strict=True):
            if isinstance(sent, np.ndarray):
                assert protocol.layout_of(got) == protocol.layout_of(sent) or sent.ndim == 0 or sent.size == 0


@pytest.mark.parametrize("value", [
    np.array([object()]), np.array(["x"]), 1j, np.complex64(1), {1, 2}, object(), lambda: 1, "\ud800",
    [[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]],
])
def test_other_values_are_refused(value):
    with pytest.raises(protocol.ProtocolError):
        protocol.dump(value)


def test_two_thousand_corruptions_are_a_verdict_each():
    """Answer with corrupt bytes: the checker must accept them or return what is wrong, and never raise."""
    told = collections.Counter()
    tracemalloc.start()
    with specs_only():
        for i, (name, args, data) in enumerate(corruptions(2000)):
            worker = Worker.__new__(Worker)  # without a process: only its bytes matter
            worker.failure, worker.child, worker.deadline = None, None, math.inf
            worker.limits, worker.launcher = LIMITS, Launcher("plain")
            worker.sock = Bytes(data)
            why = complaint(name, (FORM, PURE, STEADY, "")[i % 4], worker, name, args)
            assert why is None or isinstance(why, Failure | str)
            if i == 500:
                assert tracemalloc.get_traced_memory()[1] < 2**25
                tracemalloc.stop()
            told["nothing" if why is None else type(why).__name__] += 1
    assert told["Failure"] > 1400 and told["str"] > 10 and told["nothing"] > 10


def corruptions(count):
    """Yield an op, arguments, and the frame with its right results, of which some bytes were changed."""
    rng, frames = random.Random(0), []
    for name in ("softmax", "attention", "bpe_train", "adamw_step"):
        for args in draw_cases(name, 5):
            after = protocol.copy(list(args))
            with specs_only(), np.errstate(all="ignore"):
                frames.append((name, args, protocol.dump({"value": OPS[name](*after), "args": after})))
    frames = [found for found in frames if len(found[2]) < 5000]
    for _ in range(count):
        name, args, data = rng.choice(frames)
        for _ in range(rng.randint(1, 4)):
            flipped = bytes([data[rng.randrange(len(data))] ^ 1 << rng.randrange(8)])
            scraps = [flipped, rng.randbytes(rng.randint(1, 8)), *SCRAPS]
            data = spliced(rng, data, scraps, rng.randint(1, 40))
        yield name, args, data


class Bytes:
    """Imitate a socket that delivers some bytes, `most` at once, and then is closed."""

    most = 2**30

    def __init__(self, data):
        self.data = data

    def settimeout(self, seconds):
        pass

    def send(self, data):
        return len(data)

    def recv(self, n):
        n = min(n, self.most)
        part, self.data = self.data[:n], self.data[n:]
        return part


def frame(value, *forms, data=b"1234"):
    """Make a frame, which may be invalid."""
    header = json.dumps({"value": value, "arrays": forms}).encode()
    return protocol.PREFIX.pack(protocol.MAGIC, len(header)) + header + data


ONE = ["<f4", [1]]


@pytest.mark.parametrize("data", [
    frame({"a": 1}, ONE), frame({"a": -1}, ONE), frame({"a": True}, ONE), frame({"a": 0}, ["|O", [1]]),
    frame({"a": 0}, ["<f4", [2]]), frame({"a": 0}, ["<f4", [-1]]), frame({"a": 0}, ["<f7", [1]]),
    frame({"a": 0}, ["<f1", [4]]), frame({"a": 0}, ["<f4", [True]]), frame({"a": 0}, ["<f4", "1"]),
    frame({"a": 0}, ["<f4", [999999999, 999999999]]), frame({"a": 0}, [4, [1]]), frame({"a": 0}, ["<f4"]),
    frame({"a": 0}, ["<f4", [1] * 40]), frame({"a": 0}, ["__import__('os').abort()", [1]]),
    frame({"a": 0}, *[ONE] * 300), frame({"a": 0}, ["|u1", [2**26]], ["|u1", [2**26]]),
    frame([{"a": 0}, {"a": 0}], ONE), frame([{"v": [0, "gaps"]}] * 100, ONE), frame({"f": "1e999"}),
    frame({"x": 1}), frame({}), frame({"a": 0, "b": 0}, ONE), frame({"d": [[[1], 2]]}), frame({"d": [1]}),
    frame({"d": [[i * (2**61 - 1), 0] for i in range(50_000)]}),
    frame([0] * 20_000), frame([[]] * 200_000), frame({"a": 0}, ["|u1", [2**23]], data=bytes(2**23)),
    frame({"d": [[{"t": [0] * 9}, 1]]}), frame({"d": [[{"t": [{"t": [0]}]}, 1]]}),
    frame("x" * 2**20), frame([{"a": i} for i in range(257)], *[ONE] * 257, data=bytes(4 * 257)),
    frame({"v": [0]}, ONE), b"", b"TLW1", b"PK\x03\x04" + bytes(8),
    protocol.PREFIX.pack(protocol.MAGIC, 2**32 - 1) + bytes(100),
    protocol.PREFIX.pack(protocol.MAGIC, 5) + b"12345",
    protocol.PREFIX.pack(protocol.MAGIC, 200_000) + b"[" * 100_000 + b"]" * 100_000,
    protocol.PREFIX.pack(protocol.MAGIC, 25) + b'{"value":NaN,"arrays":[]}',
])
def test_liars_are_refused(data):
    """Bad frames must be refused quickly, even dicts whose keys have equal hashes, which take O(n^2) time."""
    assert protocol.receive(Bytes(frame({"a": 0}, ONE)), 5).tobytes() == b"1234"  # a valid frame
    began = time.process_time()
    with pytest.raises(REFUSALS):
        protocol.receive(Bytes(data), 5)
    assert time.process_time() - began < 2


def test_a_slow_answer_is_late_as_a_whole(monkeypatch):
    """The deadline is for the whole answer: it does not begin again with each byte."""
    monkeypatch.setattr(time, "monotonic", itertools.count().__next__)
    monkeypatch.setattr(Bytes, "most", 1)
    with pytest.raises(TimeoutError):
        protocol.receive(Bytes(frame({"a": 0}, ONE)), 20)


def test_one_that_does_not_read_or_is_gone_is_not_waited_for():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                protocol.send(ours, bytes(2**22), 0.1)
        theirs.close()
        with pytest.raises(protocol.Closed):
            protocol.receive(ours, 5)
        with pytest.raises(protocol.Closed):
            for _ in range(2):  # a socket may take the first
                protocol.send(ours, bytes(2**20), 5)
