"""The kernels' threads: the same bits for any number of them, after forks, and called from many at once."""

import concurrent.futures
import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest

from tinyllm.errors import UserError
from tinyllm.ops.registry import _compiled
from tinyllm.rng import Random

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


def work():
    """The bytes of some results that are large enough to be divided among threads, in different ways."""
    x = Random(0, "work").normal(700 * 130).reshape(700, 130)
    w = Random(1, "work").normal(130 * 90).reshape(130, 90)
    q = Random(2, "work").normal(2 * 65 * 4 * 16).reshape(2, 65, 4, 16)
    ids = Random(3, "work").integers(50, 700)
    y = _compiled.matmul(x, w)
    results = [y, _compiled.softmax(x), *_compiled.attention(q, q, q), _compiled.top_k(x, 7),
               _compiled.embedding_backward(x, ids, 50), np.float64(_compiled.grad_norm([x, w, y]))]
    return b"".join(result.tobytes() for result in results)


def in_child(body):
    """Fork, run the body in the child, and require that it returns True there within 30 seconds."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if body() else 2
        finally:
            os._exit(status)
    deadline = time.monotonic() + 30
    while (done := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError("the child of a fork hangs")
        time.sleep(0.001)
    assert os.waitstatus_to_exitcode(done[1]) == 0


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
