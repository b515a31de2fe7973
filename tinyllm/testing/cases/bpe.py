"""Cases of byte pair encoding: few different bytes, so that pairs repeat, overlap and tie."""

from hypothesis import strategies as st

from tinyllm.testing.relations import run_spec

tokens = st.sampled_from((97, 98, 97, 98, 97, 99, 0, 255))
syllables = st.sampled_from((b"a", b"ab", b"aaa", b"b", b"bab", b"aab", b"abc", b"\xff\0"))  # run together


def texts_of(pieces, min_size=0):
    """Pieces, and how often each of them occurs."""
    return st.lists(st.tuples(pieces, st.integers(1, 4)), min_size=min_size, max_size=5).map(
        lambda pairs: ([piece for piece, _ in pairs], [count for _, count in pairs]))


pieces = st.lists(syllables, max_size=6).map(b"".join)
texts = texts_of(pieces)
long_pieces = st.lists(syllables, min_size=3, max_size=8).map(b"".join)


@st.composite
def bpe_encode(draw, pieces, texts):
    """A piece, and merges learnt from other pieces of the same syllables."""
    return draw(pieces), run_spec("bpe_train", (*draw(texts), draw(st.integers(0, 20))))


CASES = {
    "bpe_pair_counts": texts,
    "bpe_merge": st.tuples(pieces.map(list), st.tuples(tokens, tokens), st.just(256)),
    "bpe_train": st.tuples(texts, st.integers(0, 8)).map(lambda args: (*args[0], args[1])),
    "bpe_encode": st.one_of(bpe_encode(pieces, texts), bpe_encode(long_pieces, texts_of(long_pieces, 2))),
}
BOUNDS: dict = {}
