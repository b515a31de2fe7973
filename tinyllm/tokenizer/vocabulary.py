"""What a byte-level BPE tokenizer knows: its tokens, and which pairs of them merge, in what order.

A vocabulary that was learnt here numbers the bytes 0 to 255 and the merges from 256 on. Others have their
own order: GPT-2's file puts the printable bytes first, tiktoken's leave gaps for special tokens.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from tinyllm.errors import UserError
from tinyllm.ops.bpe import BYTES, bpe_encode
from tinyllm.tokenizer import incremental
from tinyllm.tokenizer.ranks import pairs_of

_BYTE_IDS = list(range(BYTES))
LARGEST_ID = 2**22  # a file that asks for token number 2**40 must not fill the memory
MAX_BYTES = 2**26  # of all tokens together: forty merges in a file can ask for a token of 2**40 bytes


@dataclass(frozen=True)
class Vocabulary:
    """The ordinary tokens of a byte-level BPE tokenizer.

    tokens: the bytes of each id, None where an id is free or belongs to a special token. byte_ids: the ids
    of the 256 single bytes. merges: {(left, right): new token}. order: {(left, right): rank} says which pair
    goes first; None means the pair with the smallest new token. whole_first: whether a piece that is a token
    as it stands becomes that token, even where its merges lead elsewhere (tiktoken; `ignore_merges` in
    Hugging Face's files). ranked: whether the merges are those of `from_ranks`.
    """

    tokens: list[bytes | None]
    byte_ids: list[int]
    merges: dict[tuple[int, int], int]
    order: dict[tuple[int, int], int] | None = None
    whole_first: bool = False
    ranked: bool = False

    @classmethod
    def from_merges(cls, pairs):
        """Number the bytes 0 to 255, and what pair i makes 256 + i.

        Raises UserError for a pair that is there twice or that uses a token which does not exist yet.
        """
        pairs = _check_pairs(pairs)
        tokens = [bytes([i]) for i in range(BYTES)]
        for left, right in pairs:
            tokens.append(tokens[left] + tokens[right])
        return cls(tokens, list(_BYTE_IDS), {pair: BYTES + i for i, pair in enumerate(pairs)})

    @classmethod
    def from_ranks(cls, ranks):
        """Take tokens in tiktoken's way: neighbours merge if they make a token, lowest rank first.

        ranks: {bytes: rank}, where the ranks are the ids and every single byte is there. Raises UserError.
        """
        tokens = _check_ranks(ranks)
        byte_ids = [ranks[bytes([byte])] for byte in range(BYTES)]
        return cls(tokens, byte_ids, pairs_of(ranks), whole_first=True, ranked=True)

    @property
    def learnt_here(self):
        """Whether `from_merges` makes the same vocabulary of the pairs alone."""
        return (
            self.order is None
            and not self.whole_first
            and self.byte_ids == _BYTE_IDS
            and list(self.merges.values()) == list(range(BYTES, len(self.tokens)))
        )

    @cached_property
    def ids(self):
        """{bytes: id} of the ordinary tokens."""
        return {token: i for i, token in enumerate(self.tokens) if token is not None}

    def in_order(self):
        """The merges as a list of pairs, the first to go first."""
        order = self.merges if self.order is None else self.order
        return sorted(self.merges, key=order.__getitem__)

    def encode(self, piece):
        """Write a piece in tokens: bytes -> list of ids.

        A `bpe_encode` that is plugged in runs instead. Raises UserError where it cannot know the order.
        """
        if incremental.plugged_in(bpe_encode):
            return self._run_yours(piece)
        if self.whole_first and (whole := self.ids.get(piece)) is not None:
            return [whole]
        return incremental.encode(self.first_ids(piece), self.merges, self.order)

    def _run_yours(self, piece):
        """The user's own `bpe_encode`, which knows no order but that of the new tokens."""
        if self.order is not None or self.whole_first:
            raise UserError("your bpe_encode cannot run this vocabulary: its merges have their own order")
        return bpe_encode(self.first_ids(piece), self.merges)

    def first_ids(self, piece):
        """The ids of a piece's single bytes; bytes are that already where they are numbered 0 to 255."""
        return piece if self.byte_ids == _BYTE_IDS else [self.byte_ids[byte] for byte in piece]


def _check_ranks(ranks):
    """The tokens in the order of their ranks, None where there is none."""
    if not isinstance(ranks, dict):
        raise TypeError(f"ranks are a dict of bytes and numbers, not {type(ranks).__name__}")
    if sum(map(len, ranks)) > MAX_BYTES:
        raise UserError(f"the tokens take more than {MAX_BYTES >> 20} MB")
    for token, rank in ranks.items():
        if not isinstance(token, bytes) or not token:
            raise UserError(f"a token is at least one byte, not {str(token)[:40]!r}")
        if type(rank) is not int or not 0 <= rank < LARGEST_ID:
            number = f"a number from 0 to {LARGEST_ID - 1}, not {str(rank)[:20]}"
            raise UserError(f"the rank of the token {str(token)[1:40]} must be {number}")
    tokens = [None] * (max(ranks.values(), default=-1) + 1)
    for token, rank in ranks.items():
        if tokens[rank] is not None:
            both = f"{str(tokens[rank])[1:40]} and {str(token)[1:40]}"
            raise UserError(f"the tokens {both} have the same rank {rank}")
        tokens[rank] = token
    for byte in range(BYTES):
        if bytes([byte]) not in ranks:
            raise UserError(f"there is no token for the byte 0x{byte:02x}, so not every text can be written")
    return tokens


def _check_pairs(merges):
    """The merges as a list of pairs, each made of tokens that are there before it, none of them twice."""
    pairs, lengths, total = [], [1] * BYTES, BYTES
    for i, pair in enumerate(merges):
        if not isinstance(pair, (list, tuple)) or [type(side) for side in pair] != [int, int]:
            raise UserError(f"merges[{i}] is not a pair of token ids")
        if min(pair) < 0 or max(pair) >= BYTES + i:
            raise UserError(f"merges[{i}] may only use the tokens before it, 0 to {BYTES + i - 1}")
        lengths.append(lengths[pair[0]] + lengths[pair[1]])
        total += lengths[-1]
        if total > MAX_BYTES:
            limit = f"{MAX_BYTES >> 20} MB"
            raise UserError(f"the tokens up to merges[{i}] take more than {limit}; split the text finer")
        pairs.append(tuple(pair))
    if len(set(pairs)) < len(pairs):
        twice = next(pair for pair, times in Counter(pairs).items() if times > 1)
        raise UserError(f"the merge {list(twice)} is there twice")
    return pairs
