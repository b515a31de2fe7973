"""Define the character tokenizer: a token is a character that occurs in the training text."""

from collections.abc import Iterable

import numpy as np

from tinyllm.errors import UserError
from tinyllm.tokenizer.base import Tokenizer
from tinyllm.tokenizer.strings import Text, bytes_from_text

EVERY_CHARACTER = {
    "type": "Split",
    "pattern": {"Regex": r"[\s\S]"},
    "behavior": "Isolated",
    "invert": False,
}


class CharTokenizer(Tokenizer):
    """A tokenizer with one token per character, in the order of Unicode. Other characters raise UserError."""

    kind = "char"

    def __init__(self, characters, special_tokens=()):
        """Make a tokenizer of single characters, in ascending order. Raises UserError for any other list."""
        for i, character in enumerate(characters):
            if not isinstance(character, str) or len(character) != 1:
                raise UserError(f"characters[{i}] is {str(character)[:20]!r}, which is not one character")
            if i and characters[i - 1] >= character:
                raise UserError(f"characters[{i}], {character!r}, is out of order or there twice; sort them")
        if not characters:
            raise UserError("a char tokenizer needs at least one character; is the training text empty?")
        super().__init__([bytes_from_text(c) for c in characters], special_tokens)
        self._characters = list(characters)
        self._codes = np.array([ord(c) for c in characters], np.uint32)

    @classmethod
    def train(cls, text: Text, special_tokens: Iterable[str] = ()) -> "CharTokenizer":
        """Make a tokenizer of the characters in a text (str or UTF-8), or raise UserError for empty text."""
        return cls(sorted(set(_characters(text))), special_tokens)

    def _readable(self, text):
        return _characters(text)

    def _encode_ordinary(self, text):
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        ids = np.searchsorted(self._codes, codes)
        found = self._codes[np.minimum(ids, len(self._codes) - 1)] == codes
        if not found.all():
            unknown = chr(codes[np.argmin(found)])
            raise UserError(
                f"the character {unknown!r} (U+{ord(unknown):04X}) is unknown to this char tokenizer; "
                "leave it out, or use a byte or bpe tokenizer"
            )
        return ids.astype(np.int32)

    def _last_cut(self, data):
        return data.rfind(b"\n") + 1

    def _document(self):
        vocab = {character: i for i, character in enumerate(self._characters)}
        model = {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"}  # not in it: unknown is an error
        return {"pre_tokenizer": EVERY_CHARACTER, "decoder": {"type": "Fuse"}, "model": model}, {}


def _characters(text):
    """Return a str unchanged, and bytes decoded from UTF-8. Raises UserError if they are not UTF-8."""
    if isinstance(text, str):
        return text
    try:
        return bytes_from_text(text).decode("utf-8")
    except UnicodeDecodeError as e:
        raise UserError(
            f"the text is not UTF-8 (byte {e.start} is 0x{text[e.start]:02x}), so it has no characters; "
            "use a byte or bpe tokenizer"
        ) from None
