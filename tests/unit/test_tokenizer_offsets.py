"""Every token knows its place: in bytes they are side by side, in a str they cover whole characters."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_tokenizer import LOSSLESS, SPECIAL, TEXT, any_bytes, any_text, byte, gpt2

from tinyllm.errors import UserError
from tinyllm.tokenizer import ByteTokenizer, CharTokenizer


def utf8(text):
    return text.encode("utf-8", "surrogatepass")


@LOSSLESS
@given(any_bytes, st.sets(st.sampled_from(SPECIAL)))
def test_places_in_bytes_hold_their_tokens(tokenizer, data, allowed):
    ids, places = tokenizer.encode(data, allowed), tokenizer.offsets(data, allowed)
    assert [data[start:end] for start, end in places] == [tokenizer.decode_bytes([i]) for i in ids]
    assert [0, *(end for _, end in places)] == [*(start for start, _ in places), len(data)]  # side by side


@LOSSLESS
@given(any_text, st.sets(st.sampled_from(SPECIAL)))
def test_places_in_a_str_are_the_smallest_that_hold_their_tokens(tokenizer, text, allowed):
    """Against a slow definition: characters whose bytes meet the token's bytes."""
    ids, places = tokenizer.encode(text, allowed), tokenizer.offsets(text, allowed)
    owner = [i for i, character in enumerate(text) for _ in utf8(character)]
    at = 0
    for i, (start, end) in zip(ids, places, strict=True):
        token = tokenizer.decode_bytes([i])
        mine = owner[at : at + len(token)]
        assert (start, end) == (mine[0], mine[-1] + 1)
        assert token in utf8(text[start:end])
        at += len(token)
    assert all(b[0] in (a[1], a[1] - 1) for a, b in pairwise(places))  # overlap by one split character


@given(any_text.filter(bool))
def test_places_of_characters(text):
    assert CharTokenizer.train(text).offsets(text) == [(i, i + 1) for i in range(len(text))]


def test_places_by_example():
    assert byte.offsets("aé!") == [(0, 1), (1, 2), (1, 2), (2, 3)]
    assert byte.offsets("aé!".encode()) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert byte.offsets("a<|end|>", "all") == [(0, 1), (1, 8)]
    assert byte.offsets("") == byte.offsets(b"") == []
    assert [TEXT[start:end] for start, end in gpt2.offsets(TEXT)][-2:] == [".", " "]


def test_a_tokenizer_that_changes_text_says_so():
    class Lower(ByteTokenizer):
        def _readable(self, text):
            return super()._readable(text).lower()

    assert Lower().offsets("abc") == byte.offsets("abc")
    with pytest.raises(UserError, match="no places"):
        Lower().offsets("ABC")
