"""Set up every test: the same cases each time, and nothing left in the user's cache."""

import os

# Before NumPy is imported. The cases are small: a second thread of OpenBLAS would only wait, at full speed.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

from tinyllm.cli import main
from tinyllm.course import processes, workers
from tinyllm.course.workers import Launcher, best_level
from tinyllm.ops.runtime import threads

threads(1)  # unless a test asks for more: a second one spins for a millisecond after every product

EXAMPLES = int(os.environ.get("TINYLLM_EXAMPLES", 15))  # of every property; CI and `make verify` try more
settings.register_profile("tinyllm", max_examples=EXAMPLES, derandomize=True, deadline=None,
                          suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tinyllm")


LONG = ["checker", "diagnose", "cli_train", "sanitizers", "bench", "lessons", "kernels"]


def pytest_collection_modifyitems(items):
    """Run files with few, long tests first, so that no process ends with one while others have nothing."""
    items.sort(key=lambda item: item.path.stem.removeprefix("test_") not in LONG)  # stable otherwise


@pytest.fixture(scope="session", autouse=True)
def one_fork_server():
    """Let every launcher of this process have the same fork server: each start costs an import of numpy."""
    servers, real = {}, workers.ForkServer

    def shared():
        server = servers.get(os.getpid())  # a process that grades was forked, and needs its own
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
    """Start new fork servers for a test, and forget which isolation was tried before."""
    monkeypatch.setattr(workers, "ForkServer", processes.ForkServer)
    workers.why_not.cache_clear()
    yield
    workers.why_not.cache_clear()


@pytest.fixture(scope="session")
def launcher():
    """A process that forks workers for students' code, at the strongest level that works here."""
    with Launcher(best_level()) as launcher:
        yield launcher


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder as the folder at hand."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(capsys):
    """A function that runs a command line that is refused -> its one line; nothing else is printed."""

    def run(*words):
        capsys.readouterr()
        assert main([*map(str, words)]) == 2
        out, line = capsys.readouterr()
        assert not out and line.startswith("tinyllm: error: ") and line.count("\n") == 1
        return line

    return run


@pytest.fixture
def printed(capsys):
    """A function that runs a command line that succeeds -> what was printed since the test last looked."""

    def run(*words):
        assert main([*map(str, words)]) == 0
        return capsys.readouterr().out

    return run
