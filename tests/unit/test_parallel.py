"""The kernels' threads: the same bits for any number of them, after forks, and called from many at once."""

import concurrent.futures
import multiprocessing
import threading

import pytest
from busy import EXITS, in_child, leave, work

from tinyllm.errors import UserError
from tinyllm.ops.registry import _compiled

pytestmark = [
    pytest.mark.skipif(_compiled is None, reason="the kernels are not built"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),  # that is what is tested
]
THREADS = (1, 2, 3, 8)


@pytest.fixture(autouse=True)
def threads():
    """Sets the number of threads, and puts the old one back."""
    before = _compiled.threads()
    yield _compiled.threads
    _compiled.threads(before)


def test_results_do_not_depend_on_the_number_of_threads(threads):
    results = []
    for n in THREADS:
        assert threads(n) == n == threads()
        results.append(work())
    assert len(set(results)) == 1


@pytest.mark.parametrize("n", (0, -1, 257))
def test_an_impossible_number_of_threads_is_refused(threads, n):
    before = threads()
    with pytest.raises(UserError, match="between 1 and 256"):
        threads(n)
    assert threads() == before


def test_the_pool_is_resized_while_idle(threads):
    expected = work()
    for n in (3, 1, 8, 2, 2, 5, 1, 3):
        threads(n)
        assert work() == expected


@pytest.mark.parametrize("n", (1, 3))
def test_a_child_of_a_fork_computes(threads, n):
    threads(n)
    expected = work()
    for _ in range(5):
        in_child(lambda: work() == expected)
        assert work() == expected  # and so does the parent, still


def test_a_child_of_a_fork_resizes_its_own_pool(threads):
    threads(3)
    expected = work()
    in_child(lambda: threads(2) == 2 and work() == expected and threads(4) == 4 and work() == expected)
    assert threads() == 3


def test_a_child_may_fork_again(threads):
    threads(2)
    expected = work()

    def child():
        in_child(lambda: work() == expected)
        return work() == expected

    in_child(child)


def test_multiprocessing_with_fork(threads):
    threads(2)
    expected = work()
    with multiprocessing.get_context("fork").Pool(2) as processes:
        pending = [processes.apply_async(work) for _ in range(4)]
        assert [result.get(timeout=30) for result in pending] == [expected] * 4


def test_a_fork_while_other_threads_compute(threads):
    threads(2)
    expected = work()
    stop = threading.Event()
    wrong = []

    def keep_busy():
        while not stop.is_set():
            if work() != expected:
                wrong.append("other bits")

    others = [threading.Thread(target=keep_busy) for _ in range(2)]
    for other in others:
        other.start()
    try:
        for _ in range(10):
            in_child(lambda: work() == expected)
    finally:
        stop.set()
        for other in others:
            other.join()
    assert not wrong


@pytest.mark.parametrize("n", THREADS)
def test_several_python_threads_call_kernels_at_once(threads, n):
    threads(n)
    expected = work()
    with concurrent.futures.ThreadPoolExecutor(4) as callers:
        assert set(callers.map(lambda _: work(), range(16))) == {expected}


def test_threads_are_resized_while_others_compute(threads):
    expected = work()
    with concurrent.futures.ThreadPoolExecutor(2) as callers:
        pending = [callers.submit(work) for _ in range(12)]
        for n in (1, 3, 2, 8) * 3:
            threads(n)
        assert {result.result(timeout=30) for result in pending} == {expected}


@pytest.mark.parametrize("way", EXITS)
def test_an_interpreter_ends_though_workers_live(way):
    code, text = leave(way)
    assert (code, text) == (0, "")


def test_an_interpreter_that_hangs_is_noticed():
    code, text = leave("hang", timeout=3)
    assert code == 124 and "still running after 3 seconds" in text
