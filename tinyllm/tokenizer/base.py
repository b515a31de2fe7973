"""What every tokenizer does: special tokens, bytes and text, decoding, and a file to live in.

A subclass brings its vocabulary and `_encode_ordinary`, which turns text without special tokens into ids.
"""

import hashlib
from collections import Counter
from functools import cached_property, lru_cache
from itertools import count

import numpy as np

from tinyllm.errors import UserError
from tinyllm.files import atomic_write_bytes
from tinyllm.ops.bpe import bpe_encode
from tinyllm.tokenizer import files, incremental
from tinyllm.tokenizer.names import check_sizes, finder
from tinyllm.tokenizer.stream import blocks
from tinyllm.tokenizer.vocabulary import LARGEST_ID


class Tokenizer:
    """Text to token ids and back, without loss: `decode(encode(text)) == text`.

    Ids 0 to n - 1 are the ordinary tokens; the special ones follow, in the order of `special_tokens`. A
    text never becomes a special token by spelling its name: that takes `encode(text,
    allowed_special={name})`, so that what a user types cannot end a document or open somebody else's turn
    in a chat.
    """

    kind = ""  # how the file and the command line call it
    pipeline = None  # what a file of Hugging Face's says beside the vocabulary, see `Pipeline`
    chat = None  # how conversations are written: a `ChatTemplate`, for a tokenizer that has one

    def __init__(self, tokens, special_tokens=()):
        """Number the special tokens after the ordinary ones, or as they say themselves.

        tokens: the bytes of each ordinary id, None where an id is free. special_tokens: names, or {name: id}
        with ids that are free.
        """
        names = _check_special(special_tokens)
        given = isinstance(special_tokens, dict)
        self.special_tokens = dict(special_tokens) if given else dict(zip(names, count(len(tokens))))
        self._tokens = _with_special(list(tokens), self.special_tokens)

    @property
    def vocab_size(self):
        """The largest id plus one: how many ids there are, special tokens included, unless some are free."""
        return len(self._tokens)

    def __repr__(self):
        return f"<{type(self).__name__} with {self.vocab_size:,} tokens>"

    def encode(self, text, allowed_special=()):
        """Write a text as a list of token ids.

        text: str or bytes. allowed_special: names of special tokens to look for in the text, or "all"; by
        default none. Whatever else spells one is ordinary text: there is no `disallowed_special`, with which
        tiktoken by default raises, because then a user could stop a program by typing a name. A str counts
        as its UTF-8 bytes; bytes need not be UTF-8 (a char tokenizer wants it, and raises UserError).
        """
        return self.encode_to_numpy(text, allowed_special).tolist()

    def encode_to_numpy(self, text, allowed_special=()):
        """The same ids as `encode`, in an int32 array."""
        allowed = self._allowed(allowed_special)
        text = self._readable(text)
        parts = [
            np.array([part], np.int32) if isinstance(part, int) else self._encode_ordinary(part)
            for part in self._cut(text, allowed)
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.int32)

    def _cut(self, text, allowed):
        """The text in parts: the ids of added tokens, and the str between them."""
        if self.pipeline:
            yield from self.pipeline.cut(text, allowed)
            return
        yield from cut_at_names(text, {name: self.special_tokens[name] for name in allowed})

    def encode_batch(self, texts, allowed_special=()):
        """Encode each of several texts: a list of lists of ids."""
        return [self.encode(text, allowed_special) for text in texts]

    def offsets(self, text, allowed_special=()):
        """Say where in the text each token of `encode(text, allowed_special)` stands.

        text: n characters or n bytes -> list of (start, end), one per token, so that a token is
        text[start:end]: places in characters for a str, in bytes for bytes. In a str, a token that holds
        only a part of a character has the place of the whole one, so neighbours may overlap. Raises
        UserError if this tokenizer changes text, which then has no places.
        """
        tokens = [self._tokens[i] for i in self.encode_to_numpy(text, allowed_special).tolist()]
        data = bytes_from_text(text)
        if b"".join(tokens) != data:  # what `decode` makes of them may be the text, and they are not
            raise UserError("this tokenizer does not keep text as it is, so its tokens have no places in it")
        ends = np.cumsum(list(map(len, tokens)), dtype=np.int64)
        starts = np.concatenate([[0], ends])[: len(ends)]
        if isinstance(text, str) and len(ends):
            begins = (np.frombuffer(data, np.uint8) & 0xC0) != 0x80  # 10xxxxxx goes on with a character
            character = np.cumsum(begins) - 1
            starts, ends = character[starts], character[ends - 1] + 1
        return list(zip(starts.tolist(), ends.tolist(), strict=True))

    def encode_file(self, file):
        """Encode a text larger than memory -> iterator of int32 arrays, which together are its ids.

        file: opened in binary mode. Special tokens are not looked for.
        """
        return map(self.encode_to_numpy, blocks(file, self._last_cut))

    def _last_cut(self, data):
        """The last place where bytes can be cut and both sides be encoded alone; 0 if there is none."""
        return 0

    def decode_bytes(self, ids):
        """Put the bytes of the tokens one after the other; a special token gives its name.

        ids: a sequence or one-dimensional array of ints -> bytes. Raises UserError for an id outside the
        vocabulary.
        """
        if incremental.kernels(bpe_encode):
            data = self._decoder.decode(ids)
            if data is not None:
                return data
        return self._decode_with_care(ids)

    @cached_property
    def _decoder(self):
        """The bytes of the tokens as csrc/bpe_decode.c wants them."""
        return incremental.kernels(bpe_encode).Decoder(self._tokens)

    def __getstate__(self):
        """What a copy or a pickle keeps: not what C made of it."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_kernel", "_decoder")}

    def _decode_with_care(self, ids):
        """Decode whatever can be decoded, in Python, and say what is wrong with the rest."""
        ids = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids))
        if ids.ndim != 1:
            raise ValueError(f"decode takes one sequence of ids, not shape {ids.shape}: decode row by row")
        if ids.size == 0:
            return b""
        if ids.dtype.kind not in "iu":
            raise TypeError(f"token ids are whole numbers in the range of int64, not {ids.dtype}")
        wrong = ids[(ids < 0) | (ids >= self.vocab_size)]
        if wrong.size:
            raise UserError(f"there is no token {wrong[0]}: the ids here are 0 to {self.vocab_size - 1}")
        try:
            return b"".join(map(self._tokens.__getitem__, ids.tolist()))
        except TypeError:  # a None among the bytes
            free = next(i for i in ids.tolist() if self._tokens[i] is None)
            raise UserError(f"there is no token {free}: this vocabulary leaves that id free") from None

    def decode(self, ids, errors="replace"):
        """Turn ids back into text.

        What `encode` made of a str comes back exactly. Where a model's ids are not UTF-8, `errors` decides
        as in `bytes.decode`: U+FFFD by default, "strict" raises UnicodeDecodeError.
        """
        return text_from_bytes(self.decode_bytes(ids), errors)

    @property
    def template(self):
        """What the model wants around a text: a `Template` to call with ids, or None."""
        return self.pipeline.template if self.pipeline else None

    def save(self, path, format="tinyllm"):
        """Write the tokenizer to one JSON file, whole or not at all. Raises UserError where it cannot.

        format: "huggingface" writes a `tokenizer.json`, "tiktoken" a rank file, "gpt2" a folder with
        `vocab.json` and `merges.txt`; each refuses what it cannot express (see `tokenizer/formats`).
        """
        if format == "tinyllm":
            atomic_write_bytes(path, self._json())
        else:
            from tinyllm.tokenizer import formats  # here: formats know every kind of tokenizer

            formats.save(self, path, format)

    def fingerprint(self):
        """The SHA-256 of what `save` writes, in hexadecimal: equal fingerprints, equal tokenizers."""
        return hashlib.sha256(self._json()).hexdigest()

    def _json(self):
        if self.pipeline:
            from tinyllm.tokenizer.formats.huggingface import to_document

            return self._dump({"kind": "huggingface", "tokenizer": to_document(self)}, version=2)
        return self._dump({"kind": self.kind, **self._fields(), "special_tokens": self.special_tokens})

    def _dump(self, fields, version=1):
        return files.dump(fields | ({"chat": self.chat.fields()} if self.chat else {}), version)

    def _allowed(self, names):
        """Check the names of special tokens that may be parsed, and return them without repetition."""
        if isinstance(names, str):
            if names != "all":
                raise TypeError(f'allowed_special is "all" or a set of names: {{{names!r}}}, not {names!r}')
            return list(self.special_tokens)
        unknown = [name for name in names if name not in self.special_tokens]
        if unknown:
            have = ", ".join(self.special_tokens) or "none"
            raise UserError(f"there is no special token {unknown[0]!r} in this tokenizer; it has {have}")
        return list(dict.fromkeys(names))

    def _readable(self, text):
        """The text as a str in which every byte is still there (see `text_keeping_bytes`)."""
        return text_keeping_bytes(text)

    def _encode_ordinary(self, text):
        """Text without special tokens, from `_readable` -> int32 array."""
        raise NotImplementedError

    def _fields(self):
        """What the file holds for this kind of tokenizer."""
        raise NotImplementedError

    @classmethod
    def _from_fields(cls, fields, special_tokens):
        """Build the tokenizer from the unchecked fields of a file; UserError says what is wrong."""
        raise NotImplementedError


_finder = lru_cache(maxsize=64)(finder)


def cut_at_names(text, ids):
    """Cut a text at names, {name: id}: their ids, and what lies between them. All str, or all bytes."""
    done = 0
    for start, end in _finder(tuple(ids))(text) if ids else ():
        yield text[done:start]
        yield ids[text[start:end]]
        done = end
    yield text[done:]


def bytes_from_text(text):
    """The UTF-8 bytes of a str, or bytes as they are.

    A str of Python may hold lone surrogates (halves of a character, from broken JSON or file names), which
    UTF-8 forbids. They are written as UTF-8 would write them if it were allowed, so that nothing is lost.
    """
    if isinstance(text, str):
        return text.encode("utf-8", "surrogatepass")
    if isinstance(text, (bytes, bytearray, memoryview)):
        return bytes(text)
    raise TypeError(f"a text is str or bytes, not {type(text).__name__}")


def text_keeping_bytes(text):
    """A str to match patterns on: UTF-8 read as characters, and every other byte as one lone surrogate.

    `.encode("utf-8", "surrogateescape")` gives every byte back (PEP 383). A str goes to bytes first, so
    that a text and its UTF-8 bytes always get the same tokens.
    """
    return bytes_from_text(text).decode("utf-8", "surrogateescape")


def text_from_bytes(data, errors="replace"):
    """Read bytes as text, with the lone surrogates of `bytes_from_text` if the bytes are otherwise sound.

    If anything else is wrong with them they are not the work of `bytes_from_text`, and `errors` rules. So a
    model's broken output does not grow surrogates, on which `print` and files choke.
    """
    if errors == "replace":
        try:
            return data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            pass
    return data.decode("utf-8", errors)


def _check_special(names):
    """The names of special tokens as a list: distinct, not empty, and text that UTF-8 can write."""
    if isinstance(names, str):
        raise TypeError(f"special_tokens is a list of names: write [{names!r}], not {names!r}")
    names = list(names)
    for name in names:
        if not isinstance(name, str) or not name:
            raise UserError(f"a special token is a text of at least one character, not {repr(name)[:40]}")
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise UserError(f"the special token {name[:40]!r} holds half a character (a lone surrogate)")
    if len(set(names)) < len(names):
        twice = next(name for name, times in Counter(names).items() if times > 1)
        raise UserError(f"the special token {twice[:40]!r} is listed twice")
    check_sizes(names)
    return names


def _with_special(tokens, special_tokens):
    """The bytes of every id, those of special tokens put where they belong."""
    for name, i in special_tokens.items():
        if type(i) is not int or not 0 <= i < LARGEST_ID:
            number = f"a number from 0 to {LARGEST_ID - 1}, not {str(i)[:20]}"
            raise UserError(f"the id of the special token {name[:40]!r} must be {number}")
        tokens += [None] * (i + 1 - len(tokens))
        if tokens[i] is not None:
            raise UserError(f"the special token {name[:40]!r} cannot have the id {i}, which is taken")
        tokens[i] = name.encode()
    return tokens
