"""Test the kernels' threads: equal bits for any number of threads, after forks, and for concurrent callers.

TINYLLM_EXAMPLES=500 tries many more cases; verify_sanitizers.py looks for data races.
"""

import concurrent.futures
import ctypes
import functools

import pytest
from busy import EXITS, in_child, leave, services, work
from helpers import refuses
from hypothesis import example, given, settings, strategies as st

from tinyllm.ops.registry import _compiled

pytestmark = [
    pytest.mark.skipif(_compiled is None, reason="the kernels are not built"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),  # forks are tested here
]
counts = st.sampled_from((1, 2, 3, 8))
few = settings(max_examples=max(settings.default.max_examples // 3, 5))  # for slow tests
expected = functools.cache(work)  # computed once, at the first call
BODY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


@pytest.fixture(autouse=True)
def threads():
    """Return the function that sets the number of threads; restore the old number after the test."""
    before = _compiled.threads()
    yield _compiled.threads
    _compiled.threads(before)


def test_results_do_not_depend_on_the_number_of_threads_and_impossible_ones_are_refused(threads):
    for n in (1, 2, 3, 8):
        assert threads(n) == n == threads() and work() == expected()
    for n in (0, 257):
        refuses("between 1 and 256", threads, n)
    assert threads() == 8


def pieces_of(n, grain, inside=lambda: None):
    """Run a loop of parallel.c that calls `inside` in each piece; return its pieces (begin, end) in order."""
    library, pieces = services(), []
    library.parallel_for.argtypes = [BODY, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]

    def body(_, begin, end):
        inside()
        pieces.append((begin, end))

    library.parallel_for(BODY(body), None, n, grain)
    return sorted(pieces)


def covers(pieces, n, grain):
    """Return True if the pieces are [0, n) without gaps, and none but the last is shorter than the grain."""
    edges = [0, *(end for _, end in pieces)]
    joined = [begin for begin, _ in pieces] == edges[:-1] and edges[-1] == n
    return joined and all(a + grain <= b for a, b in pieces[:-1]) and all(a < b for a, b in pieces)


@pytest.mark.parametrize("n_threads", (1, 2, 3, 8))
def test_a_loop_runs_every_index_once_nested_ones_too(threads, n_threads):
    threads(n_threads)
    for n in (0, 1, 2, 3, 7, 100, 1001):
        for grain in (1, 2, 3):
            assert covers(pieces_of(n, grain), n, grain)
    nested = []
    assert covers(pieces_of(8, 1, lambda: nested.append(pieces_of(100, 1))), 8, 1)
    assert nested and all(covers(pieces, 100, 1) for pieces in nested)


@few
@example(3, 2)
@given(counts, counts)
def test_a_child_of_a_fork_computes_resizes_its_own_threads_and_forks(n, other):
    """The fork happens while another thread of the parent computes."""
    _compiled.threads(n)

    def child():
        assert in_child(lambda: work() == expected()) == 0 and work() == expected()
        return _compiled.threads(other) == other and work() == expected()

    with concurrent.futures.ThreadPoolExecutor(1) as caller:
        pending = caller.submit(lambda: {work() for _ in range(3)})
        assert in_child(child) == 0
        assert work() == expected() and _compiled.threads() == n  # the parent still works
        assert pending.result(timeout=300) == {expected()}


@few
@given(st.lists(counts, min_size=1, max_size=3))
def test_several_python_threads_call_kernels_at_once_and_while_threads_are_resized(resized):
    with concurrent.futures.ThreadPoolExecutor(4) as callers:
        pending = [callers.submit(work) for _ in range(6)]
        for n in resized:
            _compiled.threads(n)
            assert work() == expected()
        assert {result.result(timeout=300) for result in pending} == {expected()}


@pytest.mark.parametrize("way", EXITS)
def test_an_interpreter_ends_though_workers_live(way):
    assert leave(way) == (0, "")
