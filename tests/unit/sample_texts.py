"""Collect texts that tokenizers must not lose; draw random texts and vocabularies."""

from hypothesis import strategies as st

TEXT = "It's a café: the cat's 12345 naïve “quotes” \n\n\t and   spaces\r\n, 你好 мир 😀😀 <|end|> aaaaaaa. "
TEXT *= 3
SPECIAL = ["<|end|>", "<|end|>>", "<|user|>", "é"]

parts = st.sampled_from([*SPECIAL, "<|", "|>", "cat", " ", "😀", "'s", "'S", "\u017f"])
any_text = st.one_of(st.text(), st.text("ab <|end>é\n"), st.lists(parts).map("".join))
scraps = st.sampled_from([b"\xc3", b"\xa9", b"\xed\xa0\x80", b"a ", b"\xff"])
any_bytes = st.one_of(st.binary(), st.lists(scraps).map(b"".join))
short = st.binary(min_size=2, max_size=5).map(lambda data: bytes(97 + byte % 3 for byte in data))
BYTES = {bytes([byte]): byte for byte in range(256)}


@st.composite
def drawn_ranks(draw):
    """Draw ranks for all bytes and some strings of a, b, c, in any order and with gaps."""
    tokens = [*BYTES, *draw(st.lists(short, max_size=12, unique=True))]
    tail = draw(st.permutations(tokens[250:]))
    step = draw(st.integers(1, 2))
    return {token: i * step for i, token in enumerate([*tokens[:250], *tail])}
