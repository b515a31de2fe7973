"""Settings for every test: Hypothesis draws the same cases each time, and no case fails for being slow."""

from hypothesis import HealthCheck, settings

settings.register_profile("tinyllm", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tinyllm")
