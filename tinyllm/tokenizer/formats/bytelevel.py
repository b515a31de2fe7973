"""GPT-2's way to write bytes as characters, and the vocabularies that are written so.

A vocabulary in JSON has strings for tokens, and a token may be half a character. So each byte gets a
character that can be seen: the printable ones of Latin-1 stand for themselves, the others for U+0100,
U+0101... in order (`bytes_to_unicode` in GPT-2's encoder.py, 2019). The space is "\u0120".
"""

from itertools import pairwise

from tinyllm.errors import UserError
from tinyllm.tokenizer.base import LARGEST_ID
from tinyllm.tokenizer.vocabulary import Vocabulary

_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
CHARACTERS = {byte: chr(byte) for byte in _PRINTABLE} | {b: chr(256 + i) for i, b in enumerate(_OTHERS)}
GPT2_BYTES = [*_PRINTABLE, *_OTHERS]  # the order of the first 256 tokens of GPT-2

_TO_CHARACTERS = {byte: ord(character) for byte, character in CHARACTERS.items()}
_TO_BYTES: dict[int, str | None] = dict.fromkeys(range(256))  # taken out, so that the length shows it
_TO_BYTES |= {ord(character): chr(byte) for byte, character in CHARACTERS.items()}


def characters(token):
    """Write bytes as GPT-2's characters: b" a" -> "\u0120a"."""
    return token.decode("latin-1").translate(_TO_CHARACTERS)


def token_bytes(word):
    """Read GPT-2's characters as bytes, or None if some character is none of them."""
    try:
        token = word.translate(_TO_BYTES).encode("latin-1")
    except UnicodeEncodeError:
        return None
    return token if len(token) == len(word) else None


def read_vocabulary(vocab, merges, whole_first, names=()):
    """Make a `Vocabulary` of strings in GPT-2's characters.

    vocab: {token: id}. merges: [(left, right)], the first to go first. names: the contents of added tokens,
    which are no bytes; where a merge makes one it stays an ordinary token. Raises UserError.
    """
    _check_ids(vocab)
    pairs, order = {}, {}
    for rank, (left, right) in enumerate(merges):
        pair, new = _merge(vocab, left, right, rank)
        if pair in pairs:
            raise UserError(f"merges[{rank}], {left[:40]!r} and {right[:40]!r}, is there twice")
        pairs[pair], order[pair] = new, rank
    made = {*pairs.values(), *(vocab.get(character) for character in CHARACTERS.values())}
    tokens = [None] * (max(vocab.values(), default=-1) + 1)
    for word, i in vocab.items():
        if word in names and i not in made:
            continue
        tokens[i] = token_bytes(word)
        if not tokens[i]:
            raise UserError(f"the token {word[:40]!r} (id {i}) is not in GPT-2's byte characters")
    while tokens and tokens[-1] is None:
        tokens.pop()
    byte_ids = [_byte_id(vocab, byte) for byte in range(256)]
    ascending = all(a < b for a, b in pairwise(pairs.values()))
    return Vocabulary(tokens, byte_ids, pairs, None if ascending else order, whole_first)


def _check_ids(vocab):
    taken = {}
    for word, i in vocab.items():
        if type(i) is not int or not 0 <= i < LARGEST_ID:
            limit = f"a number from 0 to {LARGEST_ID - 1}, not {str(i)[:20]}"
            raise UserError(f"the id of the token {word[:40]!r} must be {limit}")
        if taken.setdefault(i, word) is not word:
            raise UserError(f"the tokens {taken[i][:40]!r} and {word[:40]!r} have the same id {i}")


def _merge(vocab, left, right, rank):
    """The ids of a merge's two sides, and that of the token it makes."""
    ids = []
    for word in (left, right, left + right):
        if word not in vocab:
            raise UserError(f"merges[{rank}] needs the token {word[:40]!r}, which is not in the vocabulary")
        ids.append(vocab[word])
    if not left or not right:
        raise UserError(f"merges[{rank}] has an empty side")
    return (ids[0], ids[1]), ids[2]


def _byte_id(vocab, byte):
    if CHARACTERS[byte] not in vocab:
        raise UserError(
            f"the vocabulary has no token for the byte 0x{byte:02x}, so it cannot write every text"
        )
    return vocab[CHARACTERS[byte]]
