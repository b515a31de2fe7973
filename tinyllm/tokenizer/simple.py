"""Define two tokenizers that learn no merges: a token is a character of the training text, or a byte."""

from collections.abc import Iterable

import numpy as np

from tinyllm.errors import UserError
from tinyllm.ops.bpe import BYTES
from tinyllm.tokenizer.base import Tokenizer
from tinyllm.tokenizer.bpe import byte_level_document, split_at
from tinyllm.tokenizer.strings import Text, bytes_from_text, text_keeping_bytes
from tinyllm.tokenizer.vocabulary import Vocabulary

EVERY_CHARACTER = split_at(r"[\s\S]")


class ByteTokenizer(Tokenizer):
    """A tokenizer with one token per byte: 256 ids suffice for any text, but an emoji takes four tokens."""

    kind = "byte"

    def __init__(self, special_tokens=()):
        super().__init__({i: bytes([i]) for i in range(BYTES)}, special_tokens)

    def _encode_ordinary(self, data):
        return np.frombuffer(data, np.uint8).astype(np.int32)

    def _last_cut(self, data):
        return len(data)

    def _document(self):
        return byte_level_document(Vocabulary.from_merges(()), pattern=None)


class CharTokenizer(Tokenizer):
    """A tokenizer with one token per character, in the order of Unicode. Other characters raise UserError."""

    kind = "char"

    def __init__(self, characters, special_tokens=()):
        """Make a tokenizer of single characters, in ascending order. Raises UserError for any other list."""
        if not characters:
            raise UserError("a char tokenizer needs at least one character; is the training text empty?")
        if list(characters) != sorted({c for c in characters if isinstance(c, str) and len(c) == 1}):
            raise UserError("the characters of a char tokenizer are single, in ascending order, each once")
        super().__init__({i: bytes_from_text(c) for i, c in enumerate(characters)}, special_tokens)
        self._characters = list(characters)
        self._codes = np.array([ord(c) for c in characters], np.uint32)

    @classmethod
    def train(cls, text: Text, special_tokens: Iterable[str] = ()) -> "CharTokenizer":
        """Make a tokenizer of the characters in a text (str or UTF-8), or raise UserError for empty text."""
        return cls(sorted(set(text_keeping_bytes(text))), special_tokens)

    def _encode_ordinary(self, data):
        codes = np.frombuffer(text_keeping_bytes(data).encode("utf-32-le", "surrogatepass"), "<u4")
        ids = np.searchsorted(self._codes, codes)
        found = self._codes[np.minimum(ids, len(self._codes) - 1)] == codes
        if not found.all():
            code = int(codes[np.argmin(found)])
            what = f"the character {chr(code)!r} (U+{code:04X})"
            if 0xDC80 <= code <= 0xDCFF:  # a byte, see text_keeping_bytes
                what = f"the byte 0x{code - 0xDC00:02x}, which is not UTF-8,"
            raise UserError(f"{what} is unknown to this char tokenizer; leave it out, or use a byte or bpe "
                            "tokenizer")
        return ids.astype(np.int32)

    def _last_cut(self, data):
        return data.rfind(b"\n") + 1

    def _document(self):
        vocab = {character: i for i, character in enumerate(self._characters)}
        model = {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"}  # "<unk>" is no token
        return {"pre_tokenizer": EVERY_CHARACTER, "decoder": {"type": "Fuse"}, "model": model}
