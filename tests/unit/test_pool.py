"""Check that blocks of results are counted, reused, and returned to the pool with the last view."""

import gc
import tracemalloc

import numpy as np
import pytest
from helpers import refuses
from hypothesis import given, strategies as st

from tinyllm import GPT, GPTConfig, Random, use
from tinyllm.ops.registry import _compiled
from tinyllm.train.optimizer import AdamW, clipped_step, decay_groups, gradient_norm

pytestmark = pytest.mark.skipif(_compiled is None, reason="the kernels are not built")
GIGABYTE = 1 << 30


@pytest.fixture(autouse=True)
def memory():
    """Return the function that reads the pool's counts; begin and end with no idle block."""
    gc.collect()
    _compiled.empty_pool(GIGABYTE)
    yield _compiled.memory
    _compiled.empty_pool(GIGABYTE)


def fresh(n, value=1.0):
    """Return an array of n equal floats in a block of the pool; bfloat16 must hold the value exactly."""
    return _compiled.round_bf16(np.full(n, value, np.float32))


def test_a_block_is_used_until_the_last_view_of_it_dies(memory):
    start = memory()["used"]
    y = fresh(5000, 3.0)
    held = memory()["used"] - start
    view, window = y.reshape(50, 100)[::2, 1:], memoryview(y)
    del y
    others = [fresh(5000, float(i)) for i in range(4)]  # would reuse the block if it were free
    assert np.all(view == 3.0) and window[4999] == 3.0
    del others, view
    assert memory()["used"] == start + held
    del window
    assert memory()["used"] == start and memory()["idle"] >= held


steps = st.lists(st.tuples(st.sampled_from((0, 1, 15, 16, 63, 64, 65, 100, 1023, 1025, 5000)), st.booleans()))


@given(steps)
def test_blocks_never_overlap_and_the_account_is_right(steps):
    """Take an array of each size in `steps`; where a step says so, free the oldest array."""
    start, held = _compiled.memory()["used"], []
    for number, (size, let_go) in enumerate(steps):
        held.append((float(number % 100), size, fresh(size, float(number % 100))))
        assert held[-1][2].ctypes.data % 64 == 0
        if let_go:
            held.pop(0)
        wanted = sum(4 * size for _, size, _ in held)
        assert wanted <= _compiled.memory()["used"] - start <= wanted * 1.25 + 256 * len(held)
        assert all(np.all(y == value) and y.size == size for value, size, y in held)
    held.clear()
    state = _compiled.memory()
    assert state["used"] == start and state["peak"] >= state["used"] + state["idle"]


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_training_step_allocates_nothing_after_the_second(memory, dropout):
    """The pool asks the system for nothing, and NumPy makes no array as large as an activation (384 KiB).

    Tests run on one thread: each that takes part in attention borrows a workspace, and on a busy machine
    a second thread may do so for the first time in any step.
    """
    model = GPT(GPTConfig(vocab_size=65, dropout=dropout, **GPT.PRESETS["nano"]))
    optimizer = AdamW(decay_groups(model.parameters(), 0.1))
    tokens = Random("tokens").integers(65, (12, 65))

    def step(number):
        model.dropout_stream(0, number)
        model.loss(tokens[:, :-1], tokens[:, 1:]).backward()
        clipped_step(optimizer, gradient_norm(optimizer.parameters), 1.0)
        optimizer.zero_grad()

    with use("compiled"):
        step(0)
        step(1)
        before = memory()
        tracemalloc.start()
        step(2)
        most = tracemalloc.get_traced_memory()[1]  # Python and NumPy only
        tracemalloc.stop()
    assert memory()["misses"] == before["misses"] and memory()["hits"] > before["hits"] + 100
    assert most < 200_000


def test_what_lies_idle_goes_back_to_the_system_when_asked_and_the_oldest_above_a_cap(memory):
    for capacity in (None, 300_000, 0):
        fresh(100_000)
        _compiled.empty_pool(capacity)
        most = GIGABYTE if capacity is None else capacity
        assert (memory()["idle"], memory()["capacity"]) == (0, most)
        del (arrays := [fresh(25_000) for _ in range(10)])[:]
        assert not arrays and memory()["idle"] <= most and (memory()["idle"] > 0) == (most > 0)
    refuses("0 or more", _compiled.empty_pool, -1)
    _compiled.empty_pool(4096)  # the size that was used longest ago goes first
    del (arrays := [fresh(n) for n in (250, 125, 750)])[0]  # the cap fits 750 and one other
    recent, large = (y.ctypes.data for y in arrays)
    while arrays:
        del arrays[0]
    assert memory()["idle"] <= 4096 and fresh(125).ctypes.data == recent
    misses = memory()["misses"]
    assert fresh(750).ctypes.data == large and memory()["misses"] == misses
    fresh(2500)  # exceeds the cap: frees no other
    assert fresh(750).ctypes.data == large and memory()["idle"] <= 4096


@pytest.mark.parametrize("rows", (2**40, 2**45, 2**61, 2**63 - 1))
def test_an_absurd_size_is_a_memory_error_and_changes_nothing(memory, rows):
    dy, ids = np.zeros((1, 64), np.float32), np.zeros(1, np.int64)
    before = memory()
    refuses("no memory", _compiled.embedding_backward, dy, ids, rows, error=MemoryError)
    assert memory() == before
    assert np.all(fresh(10) == 1.0)
