"""Define a corpus: bytes with a name, a fingerprint, and a split into training and validation parts."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tinyllm.data.tokens import TokenFile
from tinyllm.errors import UserError
from tinyllm.world.document import Document
from tinyllm.world.pictures import shown


@dataclass(frozen=True, repr=False)
class Corpus:
    """A text for training.

    data: the text as bytes, so that a byte tokenizer can take any file.
    entropy: for a generated text, a function that returns the generator's entropy in nats per character.
    separator: the bytes that stand after every document.
    documents: the documents of a generated text, with prompts and answers; () if one has no prompt.
    tokens: in place of `data`, the tokens that `tinyllm tokenizer encode --out` wrote, read when needed.
    """

    name: str
    data: bytes
    entropy: Callable[[], float | None] | None = None
    separator: bytes = b""
    documents: tuple[Document, ...] = ()
    tokens: TokenFile | None = None

    def __repr__(self):
        return f"{type(self).__name__}({self.name!r}, {self.size:,} bytes)"

    @cached_property
    def sha256(self) -> str:
        """Return the SHA-256 of the text, or of the tokens as they stand in the file, in hexadecimal."""
        digest = hashlib.sha256(self.data)
        for part in self.tokens.chunks() if self.tokens else ():
            digest.update(part.tobytes())
        return digest.hexdigest()

    @cached_property
    def shown(self) -> tuple[tuple[np.ndarray, str, str], ...]:
        """Return (picture, prompt, answer) of each document about a picture; a picture is bytes (H, W, 3)."""
        seen = ((shown(document), document.answer.lstrip()) for document in self.documents)
        return tuple((*about, answer) for about, answer in seen if about)

    @property
    def size(self) -> int:
        """Return the number of bytes of the text, or of the tokens."""
        return len(self.data) if self.tokens is None else self.tokens.nbytes

    @property
    def entropy_per_char(self) -> float | None:
        """Return the entropy of a generated text in nats per character, or None for other texts."""
        return self.entropy() if self.entropy else None

    def check_tokenizer(self, tokenizer: Any) -> None:
        """Raise UserError if the corpus holds tokens that another tokenizer has made."""
        if self.tokens is not None and tokenizer.fingerprint() != self.tokens.made_by:
            raise UserError(f"{self.name} was made by another tokenizer: give --tokenizer its file")

    def text(self) -> str:
        """Return the data as text. Raises UserError if it is not UTF-8, has a NUL byte, or is tokens."""
        if self.tokens is not None:
            raise UserError(f"{self.name} holds tokens, not text: give --tokenizer the file that made them")
        try:
            if "\0" not in (text := self.data.decode("utf-8")):
                return text
            what = f"byte {self.data.index(0):,} is NUL"
        except UnicodeDecodeError as error:
            what = f"byte {error.start:,} is not UTF-8"
        raise UserError(f"{self.name} is not text ({what}); convert it to UTF-8, or use --tokenizer byte")

    def split(self, fraction: float = 0.1) -> tuple:
        """Split off the last part, about `fraction`, for validation -> (training part, validation part).

        Both parts are bytes, or tokens if the corpus holds tokens. The cut is between documents if the corpus
        has a separator, and never inside a character. Raises UserError if a part would be empty.
        """
        if not 0 < fraction < 1:
            raise UserError(f"the validation part must be between 0 and 1, got {fraction}")
        content: Any = self.data if self.tokens is None else self.tokens
        n = len(content)
        cut = n - round(n * fraction)
        if self.tokens is None:
            cut = boundary(self.data, cut, self.separator)
        if not 0 < cut < n:
            raise UserError(f"{self.name} is too short: {self.size} bytes cannot be split into two parts, "
                            f"one of them {fraction:g} of the whole; take more text")
        return content[:cut], content[cut:]


def boundary(data: bytes, at: int, separator: bytes = b"") -> int:
    """Move a cut back to the end of the last whole document, else to a boundary of a UTF-8 character."""
    if separator:
        document = data.rfind(separator, 0, at)
        if document >= 0:
            return document + len(separator)
    edge = at
    while 0 < edge < len(data) and data[edge] & 0xC0 == 0x80 and at - edge < 4:
        edge -= 1  # a byte 10xxxxxx does not begin a character
    return edge if at - edge < 4 else at  # four in a row are not UTF-8, so any cut will do
