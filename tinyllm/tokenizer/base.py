"""Define the base class of tokenizers, which handles special tokens, decoding and the content of files.

A subclass defines its vocabulary; `_encode_ordinary`, which turns text without special tokens into ids; and
`_document`, its part of the file.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from tinyllm.errors import UserError, instead, missing
from tinyllm.files import LARGEST, MOST, count_values
from tinyllm.ops import unicode
from tinyllm.tokenizer.chat import ChatTemplate
from tinyllm.tokenizer.strings import Text, blocks, bytes_from_text, check_names, cut_at_names
from tinyllm.tokenizer.text import ByteStream, WholeStream
from tinyllm.tokenizer.vocabulary import check_id

Allowed = Iterable[str]  # names of special tokens, or "all"
Ids = Iterable[int] | np.ndarray


class Tokenizer:
    """Base of all tokenizers, which turn text into ids and back: `decode(encode(text)) == text`.

    Ids 0 to n - 1 are the ordinary tokens; special tokens follow, in the order of `special_tokens`. A name of
    a special token in a text is encoded as ordinary text, unless `encode(text, allowed_special={name})`
    allows it. So a user's text cannot end a document, or open another turn in a chat.
    """

    kind = ""  # the name of this kind in the command line
    normalizer: str | None = None  # "NFC": text is normalized before it is encoded, as in Qwen's files
    post_processor: dict | None = None  # from a file, for saving it again; `encode` does not apply it
    chat: ChatTemplate | None = None  # how conversations are written

    def __init__(self, tokens: dict[int, bytes], special_tokens=()):
        """Number the special tokens after the ordinary ones, unless they have ids.

        tokens: {id: bytes} of the ordinary tokens. special_tokens: names, or {name: id} with free ids.
        Raises UserError for an id that is taken or out of range.
        """
        self._tokens = dict(tokens)
        self.vocab_size = max(tokens, default=-1) + 1  # includes unused ids; special tokens raise it
        self.special_tokens: dict[str, int] = {}
        self.added_tokens: dict[str, int] = {}  # {name: id}: encoded in every text, not special
        self._place(special_tokens)

    def add_special_tokens(self, names: Iterable[str]) -> None:
        """Give the next ids to names that are not special tokens yet. Raises UserError for a bad name."""
        self._place([name for name in check_names(names) if name not in self.special_tokens])

    def _place(self, names):
        """Add special tokens, names or {name: id}. Raises UserError for a bad name, a bad or a taken id."""
        numbered = zip(check_names(names), count(self.vocab_size), strict=False)
        ids = names if isinstance(names, dict) else dict(numbered)
        for name, i in ids.items():
            check_id(i, f"the special token {name[:40]!r}")
            if i in self._tokens:
                raise UserError(f"the special token {name[:40]!r} cannot have the id {i}, which is taken")
            self._write(self.special_tokens, name, i)

    def add_tokens(self, names: dict[str, int]) -> None:
        """Add tokens {name: id} that are not special: their names are always encoded as these ids."""
        for name, i in names.items():
            self._write(self.added_tokens, name, i)

    def _write(self, ids, name, i):
        ids[name] = i
        self._tokens[i] = name.encode()
        self.vocab_size = max(self.vocab_size, i + 1)

    def __len__(self):
        return self.vocab_size

    if not TYPE_CHECKING:
        __getattr__ = missing

    def __repr__(self):
        return f"<{type(self).__name__} with {self.vocab_size:,} tokens>"

    def __call__(self, text: Text | Iterable[Text], allowed_special: Allowed = ()) -> list[Any]:
        """Encode a text like `encode`, or each text of a list: `tokenizer(["a", "b"])`."""
        if isinstance(text, (str, bytes, bytearray, memoryview)):
            return self.encode(text, allowed_special)
        return self.encode_batch(text, allowed_special)

    def encode(self, text: Text, allowed_special: Allowed = ()) -> list[int]:
        """Encode a text as a list of token ids.

        text: str or bytes. allowed_special: names of special tokens to look for in the text, or "all"; by
        default none. All other text is ordinary. (tiktoken raises an error for names that are not allowed;
        then a user could stop a program by typing one.) A str is encoded as its UTF-8 bytes. Bytes need not
        be UTF-8, except for a char tokenizer, which raises UserError.
        """
        return self.encode_to_numpy(text, allowed_special).tolist()

    def encode_to_numpy(self, text: Text, allowed_special: Allowed = ()) -> np.ndarray:
        """Encode a text, and return the ids as an int32 array."""
        parts = cut_at_names(bytes_from_text(text), self._names(allowed_special))
        return np.concatenate([np.array([part], np.int32) if isinstance(part, int)
                               else self._encode_ordinary(part) for part in parts])

    def encode_batch(self, texts: Iterable[Text], allowed_special: Allowed = ()) -> list[list[int]]:
        """Encode several texts -> a list with a list of ids for each text."""
        return [self.encode(text, allowed_special) for text in texts]

    def encode_file(self, file: BinaryIO) -> Iterator[np.ndarray]:
        """Encode a binary file of any size as ordinary text -> iterator of int32 arrays of ids."""
        return map(self.encode_to_numpy, blocks(file, self._last_cut))

    def _names(self, allowed):
        """Return {bytes: id} of added and allowed special tokens. Raises UserError for an unknown name."""
        ids = self.added_tokens.copy()
        for name in self.special_tokens if allowed == "all" else allowed:
            if name not in self.special_tokens:
                have = ", ".join(self.special_tokens) or "none"
                raise UserError(f"there is no special token {name!r} in this tokenizer; it has {have}")
            ids[name] = self.special_tokens[name]
        return {name.encode(): i for name, i in ids.items()}

    def _encode_ordinary(self, data):
        """Encode the bytes of a text without special tokens -> int32 array."""
        raise NotImplementedError

    def _last_cut(self, data):
        """Return the last position at which bytes can be cut and each side encoded alone; 0 if none."""
        return 0

    def decode_bytes(self, ids: Ids) -> bytes:
        """Concatenate the bytes of the tokens; a special token gives its name.

        ids: a sequence or an array (n,) of ints -> bytes. Raises UserError if one is no token's id.
        """
        ids = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
        try:
            return b"".join(map(self._tokens.__getitem__, ids))
        except (KeyError, TypeError):
            self._check(ids)
            raise

    def bytes_of_tokens(self) -> dict[int, bytes]:
        """Return {id: bytes} of the tokens that write text, without the special ones."""
        special = {*self.special_tokens.values()}
        return {i: data for i, data in self._tokens.items() if i not in special}

    def _check(self, ids):
        """Raise UserError unless each of the ids belongs to a token."""
        for i in ids:
            if not isinstance(i, (int, np.integer)) or i not in self._tokens:
                raise UserError(f"there is no token {str(i)[:40]}: decode takes one sequence of ids, which "
                                f"are 0 to {self.vocab_size - 1} here, without those that are free")

    @instead(skip_special_tokens="ids without those of special_tokens")
    def decode(self, ids: Ids, errors: str = "replace") -> str:
        """Turn ids back into text.

        `decode(encode(text))` is the text. A model may write bytes that are not UTF-8; then `errors` decides,
        as in `bytes.decode`: the default writes U+FFFD, and "strict" raises UnicodeDecodeError.
        """
        return self.decode_bytes(ids).decode("utf-8", errors)

    def decode_stream(self) -> ByteStream | WholeStream:
        """Return an incremental decoder: `push(ids)` and `finish()` return the new text."""
        return ByteStream(self)

    def __getstate__(self):
        """Return the state for a copy or a pickle: all attributes but `_kernel`, a compiled object."""
        return {name: value for name, value in vars(self).items() if name != "_kernel"}

    def to_dict(self) -> dict:
        """Return the tokenizer as the content of a `tokenizer.json`, version 1.0.

        The `tokenizers` library reads all of it except model["tinyllm"], which holds a chat template. Raises
        UserError for tokens that no such file can hold: two with the same bytes, and a special token with the
        name of an ordinary one.
        """
        document = self._document()
        model = document["model"]
        added = dict(sorted((self.special_tokens | self.added_tokens).items(), key=lambda item: item[1]))
        model["vocab"] = _with_names(model["vocab"], added)
        extra = {"tinyllm": {"chat": self.chat.to_dict()}} if self.chat else {}
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        return {
            "version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [
                {"id": i, "content": name, **flags, "special": name in self.special_tokens}
                for name, i in added.items()
            ],
            "normalizer": {"type": self.normalizer} if self.normalizer else None,
            "pre_tokenizer": document["pre_tokenizer"], "post_processor": self.post_processor,
            "decoder": document["decoder"], "model": model | extra,
        }

    def to_json(self) -> bytes:
        """Return the content of the file, one field per line; equal tokenizers give equal bytes.

        Raises UserError where no file can hold the tokenizer, or tinyllm would not read it again.
        """
        fields = self.to_dict().items()
        lines = (f'"{key}": {json.dumps(value, separators=(",", ":"))}' for key, value in fields)
        data = ("{\n" + ",\n".join(lines) + "\n}\n").encode("ascii")
        if len(data) > LARGEST or count_values(data) > MOST:
            raise UserError(f"a file has at most {LARGEST >> 20} MB and {MOST} values: take fewer tokens")
        return data

    def fingerprint(self) -> str:
        """Return the SHA-256 of the file and of Unicode's version: if equal, every text has equal ids."""
        return hashlib.sha256(self.to_json() + f"Unicode {unicode.VERSION}".encode()).hexdigest()

    def _document(self):
        """Return pre_tokenizer, decoder and model of the file."""
        raise NotImplementedError


def _with_names(vocab, added):
    """Add the added tokens {name: id} to a vocabulary if `tokenizers` would give them other ids."""
    for name, i in added.items():
        if vocab.get(name, i) != i:
            raise UserError(f"a file cannot hold the special token {name[:40]!r}, because an ordinary token "
                            "has this name; choose a name with a space, such as '<| end |>'")
    if list(added.values()) == list(range(len(vocab), len(vocab) + len(added))):
        return vocab
    return dict(sorted((vocab | added).items(), key=lambda item: item[1]))
