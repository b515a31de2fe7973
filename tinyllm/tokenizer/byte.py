"""The tokenizer with nothing to learn: a token is a byte."""

import numpy as np

from tinyllm.ops.bpe import BYTES
from tinyllm.tokenizer.base import Tokenizer


class ByteTokenizer(Tokenizer):
    """One token per byte: 256 ids for any text in any language, and four of them for one emoji."""

    kind = "byte"

    def __init__(self, special_tokens=()):
        super().__init__([bytes([i]) for i in range(BYTES)], special_tokens)

    def _encode_ordinary(self, text):
        return np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8).astype(np.int32)

    def _last_cut(self, data):
        return len(data)

    def _fields(self):
        return {}

    @classmethod
    def _from_fields(cls, fields, special_tokens):
        return cls(special_tokens)
