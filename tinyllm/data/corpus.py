"""Define a corpus: bytes with a name, a fingerprint, and a split into training and validation parts."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tinyllm.errors import UserError
from tinyllm.world.document import Document
from tinyllm.world.pictures import shown


@dataclass(frozen=True, repr=False)
class Corpus:
    """A text for training.

    data: the text as bytes, so that a byte tokenizer can take any file.
    entropy: for a generated text, a function that returns the generator's entropy in nats per character.
    separator: the bytes that stand after every document.
    documents: what is known about each document of a generated text, or () unless all of them ask something.
    """

    name: str
    data: bytes
    description: str = ""
    entropy: Callable[[], float | None] | None = None
    separator: bytes = b""
    documents: tuple[Document, ...] = ()

    def __repr__(self):
        return f"{type(self).__name__}({self.name!r}, {self.size:,} bytes)"

    @cached_property
    def sha256(self) -> str:
        """Return the SHA-256 of the data in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def shown(self) -> tuple[tuple[np.ndarray, str, str], ...]:
        """Return (picture, prompt, answer) of each document about a picture; a picture is bytes (H, W, 3)."""
        seen = ((shown(document), document.answer.lstrip()) for document in self.documents)
        return tuple((*about, answer) for about, answer in seen if about)

    @property
    def size(self) -> int:
        """Return the number of bytes in the corpus."""
        return len(self.data)

    @property
    def entropy_per_char(self) -> float | None:
        """Return the entropy of a generated text in nats per character, or None for other texts."""
        return self.entropy() if self.entropy else None

    def check_tokenizer(self, tokenizer: Any) -> None:
        """Accept every tokenizer. (`EncodedCorpus` overrides this method and accepts only its own.)"""

    def text(self) -> str:
        """Return the data as text. Raises UserError if it is not UTF-8 or contains a NUL byte."""
        try:
            text = self.data.decode("utf-8")
        except UnicodeDecodeError as error:
            what = f"byte {error.start:,} is not UTF-8"
        else:
            if "\0" not in text:
                return text
            what = f"byte {self.data.index(0):,} is NUL"
        raise UserError(f"{self.name} is not text ({what}); convert it to UTF-8, or use --tokenizer byte")

    def split(self, fraction: float = 0.1) -> tuple:
        """Split off the last part, about `fraction`, for validation -> (training bytes, validation bytes).

        The cut is between documents if the corpus has a separator, and never inside a character.
        Raises UserError if a part would be empty.
        """
        cut = _cut(self.data, _training(len(self.data), fraction), self.separator)
        if not 0 < cut < len(self.data):
            raise UserError(
                f"{self.name} is too short: {len(self.data)} bytes cannot be split into two parts, "
                f"one of them {fraction:g} of the whole; take more text"
            )
        return self.data[:cut], self.data[cut:]


@dataclass(frozen=True, repr=False)
class EncodedCorpus(Corpus):
    """Hold tokens that `tinyllm tokenizer encode --out` wrote, mapped from the disk, without their text.

    `made_by` is the fingerprint of the tokenizer that wrote the tokens.
    """

    tokens: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint16))
    made_by: str = ""

    @cached_property
    def sha256(self) -> str:
        """Return the SHA-256 of the tokens as they stand in the file."""
        digest = hashlib.sha256()
        for start in range(0, len(self.tokens), CHUNK):
            digest.update(self.tokens[start : start + CHUNK].data)
        return digest.hexdigest()

    @property
    def size(self) -> int:
        """Return the size of all tokens in bytes."""
        return self.tokens.nbytes

    def check_tokenizer(self, tokenizer: Any) -> None:
        """Raise UserError if the tokens were made by another tokenizer."""
        if tokenizer.fingerprint() != self.made_by:
            raise UserError(
                f"{self.name} was made by another tokenizer: give --tokenizer the file that made it"
            )

    def text(self) -> str:
        """Raise UserError, because only the tokens of the corpus are known, not its text."""
        raise UserError(f"{self.name} holds tokens, not text: give --tokenizer the file that made them")

    def split(self, fraction: float = 0.1) -> tuple:
        """Split off the last part of the tokens -> (training tokens, validation tokens)."""
        cut = _training(len(self.tokens), fraction)
        return self.tokens[:cut], self.tokens[cut:]


CHUNK = 2**24  # tokens


def _training(n, fraction):
    """Return how many of n items are for training. Raises UserError unless 0 < fraction < 1."""
    if not 0 < fraction < 1:
        raise UserError(f"the validation part must be between 0 and 1, got {fraction}")
    return n - round(n * fraction)


def _cut(data, at, separator):
    """Move a cut back to the end of the last whole document, else to a boundary of a UTF-8 character."""
    if separator:
        document = data.rfind(separator, 0, at)
        if document >= 0:
            return document + len(separator)
    edge = at
    while 0 < edge < len(data) and data[edge] & 0xC0 == 0x80 and at - edge < 4:
        edge -= 1  # a byte 10xxxxxx continues a character
    return edge if at - edge < 4 else at  # four in a row are not UTF-8, so any cut will do
