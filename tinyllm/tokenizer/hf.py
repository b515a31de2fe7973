"""Run tokenizers with the `tokenizers` library: WordPiece, Unigram, SentencePiece and other pipelines.

    pip install tokenizers

A pipeline that may turn one byte into more than 256 bytes (GROWTH) is refused: eight steps that each replace
a letter by fifty would fill any memory. The library's Rust code panics at some files, and when a regex cannot
cut a text; this becomes a UserError, but of a text the library also writes the panic to standard error.
"""

import base64
import json
import math
import os
import secrets
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from itertools import chain

import numpy as np

from tinyllm.errors import UserError
from tinyllm.tokenizer.base import Allowed, Ids, Tokenizer
from tinyllm.tokenizer.strings import Text, bytes_from_text, cut_at_names
from tinyllm.tokenizer.text import WholeStream
from tinyllm.tokenizer.vocabulary import check_id, split_merges

GROWTH = 256  # the most bytes that a pipeline may make of one; nmt_nfkc with ByteLevel, in wide use, makes 66
OPTIONS = ("unk_token", "fuse_unk", "byte_fallback", "ignore_merges",  # of BPE
           "continuing_subword_prefix", "end_of_word_suffix")
_MUTING = threading.Lock()  # one thread at a time exchanges standard error


class LibraryTokenizer(Tokenizer):
    """A tokenizer that runs in Hugging Face's library `tokenizers`. It is *not* lossless.

    The normalizer may drop capitals, accents and white space, and text outside the vocabulary becomes the
    unknown token. `decode` uses the library's decoder and writes special tokens by name. A text must be
    UTF-8. Names of special tokens in a text are ordinary text, unless they are allowed.
    """

    kind = "huggingface"

    def __init__(self, document: dict, feature: str = "its pipeline", data: bytes = b""):
        """Load the content of a `tokenizer.json`, or raise UserError.

        feature: what needs the library. data: the bytes of the file, if there is one.
        """
        self._content = document
        self._library = _load(document, feature, data)
        before = growth(document.get("normalizer")) * growth(document.get("pre_tokenizer"))
        if (most := max(before, growth(document.get("decoder")))) > GROWTH:
            raise UserError(f"its pipeline makes up to {most:,.0f} bytes of one, more than {GROWTH}")
        added = self._library.get_added_tokens_decoder()
        special = {token.content: i for i, token in added.items() if token.special}
        vocab = document["model"]["vocab"]
        ids = {*(vocab.values() if isinstance(vocab, dict) else range(len(vocab))), *added}
        check_id(max(ids, default=0), "a token of the file")
        super().__init__(dict.fromkeys(ids.difference(special.values()), b""), special)
        self._hidden = {name.encode(): i for name, i in special.items()}
        self._restricted = lru_cache(maxsize=8)(lambda allowed: self._run(self._restrict, allowed))

    def __reduce__(self):
        return LibraryTokenizer, (self._content,), {"chat": self.chat}

    def encode_to_numpy(self, text: Text, allowed_special: Allowed = ()) -> np.ndarray:
        """Encode a text, and return the ids as an int32 array. Raises UserError for a text not in UTF-8."""
        allowed, data = frozenset(self._names(allowed_special)), bytes_from_text(text)
        try:
            text = data.decode()
        except UnicodeDecodeError as e:
            raise UserError(f"byte {e.start} of the text is not UTF-8, which this tokenizer needs") from None
        if not allowed and self._telling and [*cut_at_names(data, self._hidden)] == [data]:
            ids = self._run(self._library.encode, text, add_special_tokens=False).ids
            if self._telling.isdisjoint(ids):
                return np.array(ids, np.int32)
        library = self._restricted(allowed)
        return np.array(self._run(library.encode, text, add_special_tokens=False).ids, np.int32)

    @cached_property
    def _telling(self):
        """Return the ids without which no special token has changed a text's ids, or none if no ids tell.

        A special token is in the result if a model has used it, unless BPE has merged it with another token,
        or a word with it has become the unknown token.
        """
        model, added = self._content["model"], self._library.get_added_tokens_decoder().values()
        merges, special = model.get("merges") or (), self.special_tokens.keys()
        clear = self._content.get("normalizer") in (None, {"type": "Sequence", "normalizers": []})
        clear |= len(special) == len(added) or not any(token.special and token.normalized for token in added)
        if not clear or not special.isdisjoint(chain.from_iterable(split_merges(merges))):
            return frozenset()
        return frozenset([*self.special_tokens.values(), self.id_of(model.get("unk_token") or "")])

    def decode(self, ids: Ids, errors: str = "replace") -> str:
        """Turn ids into text with the library's decoder, special tokens included.

        ids: a sequence or one-dimensional array of ints. Bytes that are not UTF-8 become U+FFFD, and
        `errors` has no effect. Raises UserError for an id outside the vocabulary.
        """
        ids = [int(i) for i in ids]
        self._check(ids)
        return self._run(self._library.decode, ids, skip_special_tokens=False)

    def decode_bytes(self, ids: Ids) -> bytes:
        """Return the decoded text as UTF-8 bytes; see `decode`."""
        return self.decode(ids).encode()

    def bytes_of_tokens(self) -> dict[int, bytes]:
        """Return {id: bytes} of what each token writes behind an ordinary one, without special ones."""
        anchor, special = self.encode("a")[-1:], {*self.special_tokens.values()}
        before, single = self.decode(anchor), [(self.id_of(f"<0x{b:02X}>"), bytes([b])) for b in range(256)]
        found = {i: data for i, data in single if i is not None}
        for i in self._tokens.keys() - special - found.keys():
            text = self.decode([*anchor, i])
            if text.startswith(before) and "\ufffd" not in text:  # otherwise it changes what came before
                found[i] = text[len(before) :].encode()
        return found

    def decode_stream(self) -> WholeStream:
        """Return an incremental decoder. The text of a token may depend on the tokens before it."""
        return WholeStream(self, {self._library.token_to_id(f"<0x{byte:02X}>") for byte in range(256)})

    def add_special_tokens(self, names: Iterable[str]) -> None:
        """Raise UserError unless the file has these special tokens, because this class cannot add any."""
        if missing := [name for name in names if name not in self.special_tokens]:
            raise UserError(f"this tokenizer has no special token {missing[0]!r}, which is needed here")

    def id_of(self, word: str) -> int | None:
        """Return the id of a token, or None if there is none with this name."""
        return self._library.token_to_id(word)

    def to_dict(self) -> dict:
        """Return the content of the file that this tokenizer was read from, with the chat template."""
        extra = {"tinyllm": {"chat": self.chat.to_dict()}} if self.chat else {}
        return self._content | {"model": self._content["model"] | extra}

    def _restrict(self, allowed):
        """Load a copy of the tokenizer that finds only the allowed special tokens.

        `encode_special_tokens` alone is not enough: a model may find such a name in its vocabulary, as
        Unigram finds "</s>". So special tokens that are not allowed get random names.
        """
        content = json.loads(json.dumps(self._content))
        model, secret = content["model"], secrets.token_hex(16)
        hidden = {name: f"{secret}{i}" for name, i in self.special_tokens.items()
                  if name.encode() not in allowed}
        if isinstance(model["vocab"], dict):
            model["vocab"] = {hidden.get(word, word): i for word, i in model["vocab"].items()}
        else:
            model["vocab"] = [[hidden.get(word, word), score] for word, score in model["vocab"]]
        if model.get("merges"):
            prefix = model.get("continuing_subword_prefix") or ""
            model["merges"] = [
                (left, right) for left, right in split_merges(model["merges"])
                if hidden.keys().isdisjoint((left, right, left + right.removeprefix(prefix)))
            ]
        if model.get("unk_token") in hidden:
            model["unk_token"] = hidden[model["unk_token"]]
        for token in content.get("added_tokens") or ():
            token["special"] = token["content"] in hidden
            token["content"] = hidden.get(token["content"], token["content"])
        content["post_processor"] = None
        return _load(content)

    @staticmethod
    def _run(function, *args, **options):
        """Call the library. Raises UserError, also if its Rust code panics."""
        try:
            return function(*args, **options)
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except BaseException as e:
            raise UserError(f"the tokenizers library: {' '.join(str(e).split())[:200]}") from None


@contextmanager
def muted() -> Iterator[None]:
    """Drop what is written to standard error, also by other threads: Rust code describes its panics there."""
    with _MUTING, open(os.devnull, "wb") as nowhere:
        kept = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def growth(part: dict | None) -> float:
    """Return how many bytes one byte can become in a normalizer, pre-tokenizer or decoder."""
    part = {"type": None} if part is None else part
    if "type" not in part:  # the library guesses it
        raise UserError(f"a part of its pipeline lacks its type: {str(part)[:60]}")
    members = part.get("normalizers") or part.get("pretokenizers") or part.get("decoders") or ()
    grown = math.prod(map(growth, members), start=2.0 if part["type"] == "ByteLevel" else 1.0)
    if part["type"] == "Replace":
        found, content = part["pattern"].get("String"), len(part["content"].encode())
        grown = max(1.0, content / len(found.encode()) if found else 1.0 + content)  # a regex may match ""
    if part["type"] == "Precompiled":
        data = base64.b64decode(part["precompiled_charsmap"])
        grown = max(map(len, [b" ", *data[4 + int.from_bytes(data[:4], "little") :].split(b"\0")]))
    return grown


def _load(document, feature="its pipeline", data=b""):
    """Load the content of a tokenizer.json with the library. Raises UserError if that fails."""
    try:
        import tokenizers
    except ImportError:
        raise UserError(f"{feature} needs the tokenizers library: pip install tokenizers") from None
    with muted():
        try:
            library = LibraryTokenizer._run(_bpe, tokenizers, document)
        except UserError:  # then the library reads the file, or says what is wrong
            data = data or json.dumps(document).encode()
            library = LibraryTokenizer._run(tokenizers.Tokenizer.from_buffer, data)
    library.encode_special_tokens = True
    library.no_truncation()
    library.no_padding()
    if getattr(library.model, "dropout", None):
        library.model.dropout = None
    return library


def _bpe(tokenizers, document):
    """Make a BPE tokenizer of the library from dicts and lists, which takes less time than from JSON.

    Raises an error for anything else. The library reads the small parts as JSON; added tokens come last,
    because they take their ids from the vocabulary.
    """
    model = document["model"]
    vocab, merges = model["vocab"], model["merges"]
    kinds = {*map(type, vocab.values())}, *{*map(type, merges)}
    if model["type"] != "BPE" or kinds not in (({int}, str), ({int}, list)):
        raise ValueError("the library reads other types otherwise from JSON")
    if str in kinds and "#version" in " ".join(merges):
        raise ValueError("the library takes this for a comment")
    options = {name: model[name] for name in OPTIONS if model.get(name) is not None}
    bpe = tokenizers.models.BPE(vocab=vocab, merges=[*map(tuple, split_merges(merges))], **options)
    small = document | {"model": model | {"vocab": {}, "merges": []}}
    read, made = (tokenizers.Tokenizer.from_buffer(json.dumps(content).encode())
                  for content in (small, small | {"added_tokens": []}))
    made.model = bpe
    made.add_tokens([token for _, token in sorted(read.get_added_tokens_decoder().items())])
    return made
