"""Check the learning rate: laws of every schedule, then those of each."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm.train.schedule import SCHEDULES, learning_rate


@st.composite
def configs(draw, schedules=tuple(SCHEDULES)):
    steps = draw(st.integers(1, 3000))
    return SimpleNamespace(
        steps=steps,
        warmup=draw(st.integers(0, steps + 5)),
        lr=draw(st.floats(1e-6, 10)),
        min_lr_ratio=draw(st.floats(0, 1)),
        schedule=draw(st.sampled_from(schedules)),
    )


def rates(config):
    return [learning_rate(step, config) for step in range(config.steps)]


@given(configs())
def test_the_rate_climbs_in_the_warmup_and_never_after(config):
    found = rates(config)
    assert all(0 <= rate <= config.lr * (1 + 1e-8) for rate in found)
    climbing, falling = found[: config.warmup], found[config.warmup :]
    assert climbing == sorted(climbing)
    assert falling == sorted(falling, reverse=True)
    if config.warmup:
        assert found[0] == pytest.approx(config.lr / (config.warmup + 1))
    if falling:
        assert falling[0] == pytest.approx(config.lr)


@given(configs(("linear", "cosine", "wsd")))
def test_the_rate_ends_at_min_lr_ratio(config):
    after_the_last = learning_rate(config.steps, config)
    if config.warmup < config.steps:
        assert after_the_last == pytest.approx(config.lr * config.min_lr_ratio, rel=1e-8)


@given(configs(("wsd", "constant")))
def test_the_rate_is_flat_until_the_last_part_of_wsd(config):
    after_warmup = config.steps - config.warmup
    for step in range(config.warmup, config.steps):
        left = (config.steps - step) / max(1, after_warmup)
        if config.schedule == "constant" or left >= 0.1 + 1e-9:
            assert learning_rate(step, config) == float(f"{config.lr:.9g}")
        elif config.min_lr_ratio < 0.99 and left < 0.099:
            assert learning_rate(step, config) < config.lr


def test_nanogpts_cosine():
    """The numbers of nanoGPT's get_lr with lr 1e-3, min_lr 1e-4, 100 warm-up steps of 2000."""
    config = SimpleNamespace(steps=2000, warmup=100, lr=1e-3, min_lr_ratio=0.1, schedule="cosine")
    expected = {0: 1e-3 / 101, 100: 1e-3, 575: 1e-4 + 9e-4 * (0.5 + 0.5 * 0.5**0.5), 1050: 5.5e-4}
    assert [learning_rate(step, config) for step in expected] == pytest.approx([*expected.values()])
