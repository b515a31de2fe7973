"""Vocabularies that were not learnt here: bytes in any order, free ids, merges with an order of their own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm.errors import UserError
from tinyllm.ops.registry import override
from tinyllm.tokenizer import BPETokenizer
from tinyllm.tokenizer.vocabulary import Vocabulary

SHIFTED = [(i + 7) % 256 for i in range(256)]  # the id of each byte
A, B, C = (SHIFTED[ord(letter)] for letter in "abc")


def foreign(merges, order=None, ignore_merges=False, n_tokens=310):
    """A vocabulary with shifted bytes and these merges; ids that no merge makes are free."""
    tokens = [None] * n_tokens
    for byte, i in enumerate(SHIFTED):
        tokens[i] = bytes([byte])
    for (left, right), made in merges.items():
        tokens[made] = tokens[left] + tokens[right]
    return Vocabulary(tokens, SHIFTED, merges, order, ignore_merges)


def slowly(piece, vocabulary):
    """Look at everything again for every merge: the smallest rank first, of equals the leftmost."""
    ids = [vocabulary.byte_ids[byte] for byte in piece]
    order = vocabulary.order or vocabulary.merges
    while True:
        ranks = [(order[pair], i) for i in range(len(ids) - 1) if (pair := (ids[i], ids[i + 1])) in order]
        if not ranks:
            return ids
        _, i = min(ranks)
        ids[i : i + 2] = [vocabulary.merges[ids[i], ids[i + 1]]]


MERGES = {(A, B): 305, (B, C): 303, (305, C): 300, (A, 303): 300, (300, 300): 309, (A, A): 301}


@given(st.text("abcd").map(str.encode), st.permutations(range(len(MERGES))))
def test_the_order_decides_which_pair_goes_first(piece, ranks):
    order = dict(zip(MERGES, ranks, strict=True))
    for vocabulary in (foreign(MERGES, order), foreign(MERGES)):
        assert vocabulary.encode(piece) == slowly(piece, vocabulary)
        assert b"".join(vocabulary.tokens[i] for i in vocabulary.encode(piece)) == piece


def test_a_whole_piece_can_go_first():
    order = {pair: rank for rank, pair in enumerate([(A, B), (B, C)])}
    merges = {(A, B): 305, (B, C): 303}
    unreachable = foreign(merges, order)
    unreachable.tokens[302] = b"abc"  # no merge leads here
    assert unreachable.encode(b"abc") == [305, C]
    whole = Vocabulary(unreachable.tokens, SHIFTED, merges, order, ignore_merges=True)
    assert whole.encode(b"abc") == [302] and whole.encode(b"abca") == [305, C, A]


def test_a_tokenizer_of_a_foreign_vocabulary():
    tokenizer = BPETokenizer.from_vocabulary(foreign(MERGES), "gpt2", {"<|end|>": 306, "<|pad|>": 400})
    assert tokenizer.vocab_size == 401
    assert tokenizer.encode("abc abc<|end|>", "all") == [300, SHIFTED[32], 300, 306]
    text = "déjà vu, abcabc 😀"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode([300, 306, 400]) == "abc<|end|><|pad|>"
    with pytest.raises(UserError, match="token 302: this vocabulary leaves that id free"):
        tokenizer.decode([300, 302])
    for wrong in (300, -1, 2**40, True, "x"):
        with pytest.raises(UserError, match="special token '<e>'"):
            BPETokenizer.from_vocabulary(foreign(MERGES), "gpt2", {"<e>": wrong})


def test_a_replaced_bpe_encode_runs_where_it_can_know_the_order():
    with override(bpe_encode=lambda ids, merges: list(ids)):
        assert foreign(MERGES).encode(b"ab") == [A, B]
        with pytest.raises(UserError, match="order"):
            foreign(MERGES, dict.fromkeys(MERGES, 0)).encode(b"ab")
