"""Check the learning rate: laws of every schedule, then those of each."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm.train.schedule import SCHEDULES, learning_rate


@pytest.mark.parametrize("name", SCHEDULES)
@given(steps=st.integers(1, 3000), warmup=st.integers(0, 3005), lr=st.floats(1e-6, 10), low=st.floats(0, 1))
def test_the_rate_climbs_in_the_warmup_and_then_falls_to_its_end(name, steps, warmup, lr, low):
    warmup = min(warmup, steps + 5)
    config = SimpleNamespace(steps=steps, warmup=warmup, lr=lr, min_lr_ratio=low, schedule=name)
    found = [learning_rate(step, config) for step in range(steps)]
    climbing, falling = found[:warmup], found[warmup:]
    assert climbing == sorted(climbing) and falling == sorted(falling, reverse=True)
    assert all(0 <= rate <= lr * (1 + 1e-8) for rate in found)
    if climbing:
        assert found[0] == pytest.approx(lr / (warmup + 1))
    if falling:
        assert falling[0] == pytest.approx(lr)
        end = lr * (1 if name == "constant" else low)
        assert learning_rate(steps, config) == pytest.approx(end, rel=1e-8)
    if name == "constant":
        assert set(falling) <= {float(f"{lr:.9g}")}


def test_nanogpts_cosine():
    """The numbers of nanoGPT's get_lr with lr 1e-3, min_lr 1e-4, 100 warm-up steps of 2000."""
    config = SimpleNamespace(steps=2000, warmup=100, lr=1e-3, min_lr_ratio=0.1, schedule="cosine")
    expected = {0: 1e-3 / 101, 100: 1e-3, 575: 1e-4 + 9e-4 * (0.5 + 0.5 * 0.5**0.5), 1050: 5.5e-4}
    assert [learning_rate(step, config) for step in expected] == pytest.approx([*expected.values()])
