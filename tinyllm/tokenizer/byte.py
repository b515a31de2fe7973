"""Define the byte tokenizer: a token is a byte, and nothing is learnt."""

import numpy as np

from tinyllm.ops.bpe import BYTES
from tinyllm.tokenizer.base import Tokenizer
from tinyllm.tokenizer.bpe import byte_level_document
from tinyllm.tokenizer.vocabulary import Vocabulary


class ByteTokenizer(Tokenizer):
    """A tokenizer with one token per byte: 256 ids suffice for any text, but an emoji takes four tokens."""

    kind = "byte"

    def __init__(self, special_tokens=()):
        super().__init__([bytes([i]) for i in range(BYTES)], special_tokens)

    def _encode_ordinary(self, text):
        return np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8).astype(np.int32)

    def _last_cut(self, data):
        return len(data)

    def _document(self):
        return byte_level_document(Vocabulary.from_merges(()), None)
