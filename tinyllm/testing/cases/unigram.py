"""Cases of the unigram model: few letters, and scores that often make two ways equally good."""

from hypothesis import strategies as st

tokens = st.text("ab", min_size=1, max_size=4)
scores = st.sampled_from((-1.0, -2.0, -3.0, -4.0, -6.0, -0.5, 0.0))

CASES = {
    "unigram_encode": st.tuples(
        st.text("aabbc", max_size=9), st.dictionaries(tokens, scores, max_size=8),
        st.sampled_from((-10.0, -2.0)),
    ),
}  # fmt: skip
BOUNDS: dict = {}
