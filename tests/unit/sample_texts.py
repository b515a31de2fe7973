"""Collect texts that tokenizers must not lose: a short one, and strategies for any."""

from hypothesis import strategies as st

TEXT = "It's a café: the cat's 12345 naïve “quotes” \n\n\t and   spaces\r\n, 你好 мир 😀😀 <|end|> aaaaaaa. "
TEXT *= 3
SPECIAL = ["<|end|>", "<|end|>>", "<|user|>", "é"]

parts = st.sampled_from([*SPECIAL, "<|", "|>", "cat", " ", "😀", "'s", "'S", "\u017f"])
any_text = st.one_of(
    st.text(),
    st.text(st.characters(categories=["Cs", "Ll", "Zs"])),  # lone surrogates among letters
    st.text("\ud83d\ude00\udc80\udcffaé\r\n "),
    st.text("ab <|end>é\n"),
    st.lists(parts).map("".join),
)
scraps = st.sampled_from([b"\xc3", b"\xa9", b"\xed\xa0\x80", b"a ", b"\xff"])
any_bytes = st.one_of(st.binary(), st.lists(scraps).map(b"".join))
