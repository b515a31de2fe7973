"""Every kernel at guard pages, at every level and with 1 and 3 threads: a short form of verify_kernels.py.

The levels are those of this CPU; the proof has two more, with NEON's and AVX-512's arithmetic on AVX2.
"""

import re

import numpy as np
import pytest
from native import CSRC, compiler, have, run_installed
from verify_kernels import hashes

from tinyllm import ops
from tinyllm.ops.registry import _compiled

pytestmark = pytest.mark.skipif(
    _compiled is None or not have(compiler()), reason="there is no C compiler, or the kernels are not built"
)
FLAGS = ("-O1", "-DINSTALLED")  # the same for all tests, so that the driver is compiled once
TABLE = re.findall(r"^    X\(\w+, \w+, (\w+),", (CSRC / "tinyllm.h").read_text(), re.MULTILINE)


def test_no_kernel_leaves_its_operands_and_all_levels_agree():
    code, text = run_installed("csrc_kernels.c", "guard", timeout=600, flags=FLAGS)
    assert code == 0, text  # 1 also for a kernel that nobody calls
    assert set(hashes(text)) == set(TABLE) and len(TABLE) > 40


@pytest.mark.parametrize("offence, said", [
    ("reads_behind", r"add at level \w+ touches byte (\d+) of array \d+, an input of \1 bytes"),
    ("reads_before", r"add at level \w+ touches byte -4 of array \d+, an input"),
    ("writes_behind", r"add at level \w+ touches byte (\d+) of array \d+, an output of \1 bytes"),
    ("writes_before", r"add at level \w+ touches byte -4 of array \d+, an output"),
    ("writes_input", r"add at level \w+ touches byte 0 of array \d+, an input of .* that is read-only"),
    ("other_bits", r"add: other bits at level \w+ with 1 threads"),
    ("thread_bits", r"add: other bits at level \w+ with 3 threads"),
])
def test_the_driver_notices(offence, said):
    levels = _compiled.levels()[: 1 + (offence == "other_bits")]
    if offence == "other_bits" and len(levels) == 1:
        pytest.skip("this CPU has one level")
    code, text = run_installed("csrc_kernels.c", "guard", *levels, timeout=600, flags=FLAGS, OFFENCE=offence)
    assert code == 1
    assert re.search(said, text), text


def test_the_lanes_behind_a_row_do_not_reach_it():
    """Filled with 0 instead of the mean, (0 - mean) rstd was infinite there, and times dy = 0 NaN."""
    x, ones = np.full((2, 5), 2.0**120, np.float32), np.ones(5, np.float32)
    dy = np.arange(10, dtype=np.float32).reshape(2, 5)
    _, mean, rstd = ops.layernorm.compiled(x, ones, ones, 1e-12)
    dx, *_ = ops.layernorm_backward.compiled(dy, x, ones, mean, rstd)
    assert np.array_equal(dx, rstd[:, None] * (dy - dy.mean(axis=-1, keepdims=True)))
