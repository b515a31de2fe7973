"""Check that blocks of results are counted, reused, and returned to the pool with the last view."""

import ctypes
import gc
import tracemalloc

import numpy as np
import pytest
from busy import services
from hypothesis import given
from hypothesis import strategies as st

import tinyllm as tl
from tinyllm.errors import UserError
from tinyllm.models import GPT, GPTConfig
from tinyllm.ops import use
from tinyllm.ops.registry import _compiled
from tinyllm.rng import Random
from tinyllm.train.optimizer import AdamW, clipped_step, decay_groups, gradient_norm

pytestmark = pytest.mark.skipif(_compiled is None, reason="the kernels are not built")
GIGABYTE = 1 << 30


@pytest.fixture(autouse=True)
def memory():
    """Return the function that reads the pool's numbers; begin and end with nothing idle."""
    gc.collect()
    _compiled.empty_pool(GIGABYTE)
    yield _compiled.memory
    _compiled.empty_pool(GIGABYTE)


def fresh(n, value=1.0):
    """Return an array of n floats on a block of the pool; bfloat16 must have the value."""
    return _compiled.round_bf16(np.full(n, value, np.float32))


def test_bytes_are_counted_while_an_array_lives_and_until_its_last_view_dies(memory):
    start = memory()["used"]
    y = fresh(5000, 3.0)
    held = memory()["used"] - start
    assert 5000 * 4 <= held <= 5000 * 5 + 256
    view = y.reshape(50, 100)[::2, 1:]
    del y
    assert memory()["used"] == start + held
    others = [fresh(5000, float(i)) for i in range(4)]  # would land on the block if it had been let go
    assert np.all(view == 3.0)
    del others, view
    assert memory()["used"] == start
    assert memory()["idle"] >= held


def test_a_buffer_of_a_result_keeps_its_block(memory):
    start = memory()["used"]
    window = memoryview(fresh(100, 2.0))
    assert memory()["used"] > start and window[99] == 2.0
    del window
    assert memory()["used"] == start


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_training_step_allocates_nothing_after_the_second(memory, dropout):
    """The pool asks the system for nothing, and NumPy makes no array as large as an activation (384 KiB).

    On one thread, because each one that takes part in attention borrows a workspace, and on a busy machine a
    second one may come to do so in any step.
    """
    model = GPT(GPTConfig(vocab_size=65, dropout=dropout, **GPT.PRESETS["nano"]))
    optimizer = AdamW(decay_groups(model.parameters(), 0.1))
    tokens = Random("tokens").integers(65, (12, 65))

    def step(number):
        model.dropout_stream(0, number)
        loss = model.loss(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        clipped_step(optimizer, gradient_norm(optimizer.parameters), 1.0)
        optimizer.zero_grad()

    def most_traced(work):
        """Return the most bytes that Python and NumPy held at once, without the pool."""
        tracemalloc.start()
        work()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    threads = _compiled.threads()
    _compiled.threads(1)
    with use("compiled"):
        step(0)
        step(1)
        before = memory()
        assert most_traced(lambda: step(2)) < 200_000
        after = memory()
    _compiled.threads(threads)
    assert after["misses"] == before["misses"] and after["hits"] > before["hits"] + 100
    assert most_traced(lambda: np.zeros((12, 64, 128), np.float32)) > 200_000


def test_the_pool_is_public_and_gives_back_what_lies_idle(memory):
    fresh(100_000)
    assert tl.memory() == memory() and tl.memory()["idle"] >= 400_000
    tl.empty_pool()
    assert (tl.memory()["idle"], tl.memory()["capacity"]) == (0, GIGABYTE)
    for capacity in (0, 300_000):
        tl.empty_pool(capacity=capacity)
        del (arrays := [fresh(25_000) for _ in range(10)])[:]
        assert not arrays and tl.memory()["capacity"] == capacity
        assert tl.memory()["idle"] <= capacity and (tl.memory()["idle"] > 0) == (capacity > 0)


def test_a_negative_cap_is_refused(memory):
    with pytest.raises(UserError, match="0 or more"):
        _compiled.empty_pool(-1)
    assert memory()["capacity"] == GIGABYTE


@pytest.mark.parametrize("rows", (2**45, 2**61, 2**63 - 1))
def test_an_absurd_size_is_a_memory_error_and_changes_nothing(memory, rows):
    dy, ids = np.zeros((1, 64), np.float32), np.zeros(1, np.int64)
    before = memory()
    with pytest.raises(MemoryError, match="no memory"):
        _compiled.embedding_backward(dy, ids, rows)
    assert memory() == before
    assert np.all(fresh(10) == 1.0)


steps = st.lists(st.tuples(st.sampled_from((0, 1, 15, 16, 63, 64, 65, 100, 1023, 1025, 5000)), st.booleans()))


@given(steps)
def test_blocks_never_overlap_and_the_account_is_right(steps):
    """Take an array of every size, and free the oldest one where a step says so."""
    start = _compiled.memory()["used"]
    held = []
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
    assert state["used"] == start
    assert state["peak"] >= state["used"] + state["idle"]


@pytest.fixture
def pool(memory):
    """Return a library with the functions of pool.c."""
    library = services()
    library.pool_take.restype, library.pool_take.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.pool_give.argtypes, library.pool_cap.argtypes = [ctypes.c_void_p], [ctypes.c_size_t]
    return library


def test_the_cap_is_kept_by_letting_go_of_the_size_that_was_used_longest_ago(pool, memory):
    pool.pool_cap(4096)
    assert memory()["idle"] == 0
    for block in [pool.pool_take(1000) for _ in range(8)]:
        pool.pool_give(block)
    assert 0 < memory()["idle"] <= 4096
    large, misses = pool.pool_take(3000), memory()["misses"]  # as many bytes as all small ones together
    pool.pool_give(large)
    assert pool.pool_take(3000) == large and memory()["misses"] == misses
    pool.pool_give(large)
    pool.pool_give(pool.pool_take(10_000))  # beyond the cap: it pushes out nothing
    assert pool.pool_take(3000) == large and memory()["idle"] <= 4096
    pool.pool_give(large)
    pool.pool_empty()
    blocks = stale, recent, large = [pool.pool_take(size) for size in (1000, 500, 3000)]
    assert stale
    for block in blocks:
        pool.pool_give(block)  # there is room for the large one and one of them
    assert pool.pool_take(500) == recent
    pool.pool_give(recent)


def test_absurd_sizes_are_refused_and_nothing_can_be_given_back(pool, memory):
    before = memory()["used"]
    assert not pool.pool_take(2**64 - 1) and not pool.pool_take(2**46 + 1)
    pool.pool_give(None)
    assert memory()["used"] == before
