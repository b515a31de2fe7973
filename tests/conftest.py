"""Set up every test: the same cases each time, one thread, and one fork server for a process."""

import os

# Before NumPy is imported. The cases are small: a second thread of OpenBLAS would only spin while it waits.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

from tinyllm.cli import main
from tinyllm.course import processes, workers
from tinyllm.course.workers import Launcher, best_level
from tinyllm.ops.runtime import threads

threads(1)  # unless a test asks for more: a second thread spins for a millisecond after every product

EXAMPLES = int(os.environ.get("TINYLLM_EXAMPLES", 15))  # of a property; .ci/run and `make verify` try more
settings.register_profile("tinyllm", max_examples=EXAMPLES, derandomize=True, deadline=None,
                          suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tinyllm")


LONG = ["naming", "recipes", "checker", "diagnose", "cli_train", "sanitizers", "bench", "lessons", "kernels"]


def pytest_collection_modifyitems(items):
    """Run files with few, long tests first, so that none still runs when the other processes are done."""
    items.sort(key=lambda item: item.path.stem.removeprefix("test_") not in LONG)  # the sort is stable


@pytest.fixture(autouse=True)
def one_thread():
    """Return to one thread after a test that has asked for more."""
    yield
    threads(1)


@pytest.fixture(scope="session", autouse=True)
def one_fork_server():
    """Share one fork server among all launchers of a process, because each server imports NumPy."""
    servers, real = {}, workers.ForkServer

    def shared():
        server = servers.get(os.getpid())  # a forked process that grades needs its own server
        if server is None or server.process.poll() is not None:
            server = servers[os.getpid()] = real()
            server.stop, server.close = server.close, lambda: None
        return server

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "ForkServer", shared)
        yield
    if os.getpid() in servers:
        servers[os.getpid()].stop()


@pytest.fixture
def own_fork_server(monkeypatch):
    """Start new fork servers for a test, and clear the cache of isolation levels that were tested."""
    monkeypatch.setattr(workers, "ForkServer", processes.ForkServer)
    workers.why_not.cache_clear()
    yield
    workers.why_not.cache_clear()


@pytest.fixture(scope="session")
def launcher():
    """Return a launcher of workers for students' code, with the best isolation that works."""
    with Launcher(best_level()) as launcher:
        yield launcher


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Make an empty folder the current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(capsys):
    """Return a function that runs a command line, requires that it is refused, and returns the error line."""

    def run(*words):
        capsys.readouterr()
        assert main([*map(str, words)]) == 2
        out, line = capsys.readouterr()
        assert not out and line.startswith("tinyllm: error: ") and line.count("\n") == 1
        return line

    return run


@pytest.fixture
def printed(capsys):
    """Return a function that runs a command line, requires success, and returns all new output."""

    def run(*words):
        assert main([*map(str, words)]) == 0
        return capsys.readouterr().out

    return run
