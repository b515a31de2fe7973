"""Provide test cases for rounding to bfloat16."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.testing.arrays import CASES
from tinyllm.testing.elementwise import shapes
from tinyllm.testing.relations import declared_cases

# Halves of a unit (ties), the largest numbers (which round to infinity), subnormals, infinities and NaN.
BITS = (
    *(0x3F808000, 0x3F818000, 0x3F808001, 0x3F807FFF),
    *(0x7F7F7FFF, 0x7F7F8000, 0x7F7FFFFF, 0xFF7FFFFF),
    *(0x00008000, 0x00018000, 0x00000001, 0x80000000),
    *(0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001, 0xFFFFFFFF),
)
bits = st.lists(st.sampled_from(BITS), max_size=20)
corners = bits.map(lambda words: np.array(words, np.uint32).view(np.float32))
CASES["round_bf16"] = st.one_of(declared_cases("round_bf16", shapes), st.tuples(corners))
