"""Settings for every test: the same cases each time, and nothing left in the user's cache."""

import pytest
from hypothesis import HealthCheck, settings

from tinyllm.course.workers import Launcher, best_level

settings.register_profile(
    "tinyllm", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tinyllm")


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory):
    """Keep token caches, in this process and in commands that tests start, in a temporary folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYLLM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def launcher():
    """A process that forks workers for students' code, at the strongest level that works here."""
    with Launcher(best_level()) as launcher:
        yield launcher
