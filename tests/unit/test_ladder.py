"""Check that all versions of matmul in the lesson on kernels compute matrix products."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tinyllm.ops.registry import _compiled
from tinyllm.rng import Random

pytestmark = pytest.mark.skipif(_compiled is None, reason="the ladder is made of kernels")
RUNGS = _compiled.RUNGS if _compiled else ()
sizes = st.sampled_from((0, 1, 2, 13, 33, 257))  # 257 exceeds a tile
depths = st.sampled_from((0, 1, 7, 129, 400))


@pytest.mark.parametrize("rung", RUNGS)
@given(rows=sizes, depth=depths, columns=sizes, layout=st.sampled_from("CF"))
def test_every_rung_multiplies(rung, rows, depth, columns, layout):
    random = Random("ladder", rows, depth, columns)
    a, b = (np.asarray(random.normal(shape), order=layout) for shape in ((rows, depth), (depth, columns)))
    exact = a.astype(np.float64) @ b.astype(np.float64)
    size = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
    c = _compiled.matmul_ladder(rung, a, b)
    assert c.dtype == np.float32 and c.shape == exact.shape
    assert (np.abs(c - exact) <= (depth + 2) * 2.0**-24 * size).all()
    if rung in ("registers", "threaded"):
        assert c.tobytes() == _compiled.matmul(a, b).tobytes()


def test_the_ladder_refuses_unknown_rungs_and_wrong_shapes():
    a = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match="no rung 'fast': the ladder has cython"):
        _compiled.matmul_ladder("fast", a, a.T)
    with pytest.raises(ValueError, match="the ladder needs"):
        _compiled.matmul_ladder("naive", a, a)
