"""Cases of WordPiece: vocabularies of few letters, in which the longest token may be the wrong one."""

from hypothesis import strategies as st

letters = st.text("ab", min_size=1, max_size=3)
tokens = st.lists(st.tuples(st.sampled_from(("", "##")), letters).map("".join), max_size=12)


def numbered(names):
    """The tokens with ids, every second one, from 3 on."""
    return {name: 3 + 2 * i for i, name in enumerate(names)}


CASES = {
    "wordpiece_encode": st.tuples(
        st.text("ab", max_size=9),
        tokens.map(lambda more: numbered(dict.fromkeys(["a", "##a", "ab", *more]))),
        st.just("##"), st.just(1), st.sampled_from((5, 100, 100)),
    ),
}  # fmt: skip
BOUNDS: dict = {}
