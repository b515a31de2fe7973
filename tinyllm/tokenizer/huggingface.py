"""Read a `tokenizer.json` natively: byte-level BPE of GPT-2, LLaMA 3 and Qwen, and tinyllm's own files.

A file with any other feature needs the `tokenizers` library (see hf.py), so that its ids are always exact.
A file may ask for truncation and padding. As in transformers, these are left to the caller: `encode` returns
all tokens of the text, and no others. A file's `dropout`, which leaves out merges at random, acts in training
only: it is taken as 0, so that equal texts get equal ids. A vocabulary may lack bytes, for example in
SmolLM2. A text with such a byte is refused, while the library drops the byte or writes the unknown token. So
`decode(encode(text))` is still the text.
"""

from collections import ChainMap
from typing import Any

from tinyllm.config import bounded, conform
from tinyllm.errors import UserError
from tinyllm.ops.pieces import PATTERNS
from tinyllm.tokenizer.base import Tokenizer
from tinyllm.tokenizer.bpe import BPETokenizer, split_at
from tinyllm.tokenizer.chat import ChatTemplate
from tinyllm.tokenizer.hf import LibraryTokenizer
from tinyllm.tokenizer.simple import EVERY_CHARACTER, ByteTokenizer, CharTokenizer
from tinyllm.tokenizer.strings import check_names
from tinyllm.tokenizer.vocabulary import LARGEST_ID, Vocabulary, token_bytes

MOST_ADDED = 2**16  # the most added tokens in a file; real files have some thousands
PARTS = dict.fromkeys(
    ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"), dict | None)
DOCUMENT: dict[str, Any] = {"version": bounded(str, choices=("1.0",)), "added_tokens": [{}], **PARTS}
FLAGS = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), bool)
TOKEN: dict[str, Any] = {"id": bounded(int, min=0, max=LARGEST_ID - 1), "content": str, **FLAGS}
EXTRA = {"chat": dict | None}  # in model["tinyllm"]
REFUSED = "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"
MODEL = {"vocab": dict, "merges": list, "dropout": bounded(float | None, min=0, max=1),
         **dict.fromkeys(("unk_token", *REFUSED[:2]), str | None),
         **dict.fromkeys(("ignore_merges", "fuse_unk", "byte_fallback"), bool | None)}
BYTE_LEVEL = "ByteLevel", False, "ByteLevel"  # the pre-tokenizer, no space before a text, and the decoder
LEVEL = {"add_prefix_space": bool, "trim_offsets": bool, "use_regex": bool}  # the fields of "ByteLevel"
PIECES = {"SpecialToken": {"id": str, "type_id": int},  # of a template: a token, or one of two texts
          "Sequence": {"id": bounded(str, choices=("A", "B")), "type_id": int}}
AROUND: dict[str, dict[str, Any]] = {  # {type of a post_processor: its fields}
    "ByteLevel": LEVEL, "Sequence": {"processors": [{}]}, "BertProcessing": {"sep": list, "cls": list},
    "RobertaProcessing": {"sep": list, "cls": list, **LEVEL},
    "TemplateProcessing": {"single": [{}], "pair": [{}],
                           "special_tokens": {str: {"id": str, "ids": [int], "tokens": [str]}}},
}


class NeedsLibrary(Exception):
    """Signal that a tokenizer.json has a feature that only the `tokenizers` library reproduces."""


def from_dict(document: dict, data: bytes = b"") -> Tokenizer:
    """Build a tokenizer from the content of a `tokenizer.json`. Raises UserError if the content is wrong.

    data: the bytes of the file, which the library reads faster.
    """
    model = document["model"]
    kind, extra = model.get("type", "BPE" if "merges" in model else None), model.get("tinyllm", {})
    conform(extra, {}, "model.tinyllm")
    if unknown := (document.keys() - DOCUMENT - {"model"}) | (extra.keys() - EXTRA):
        raise UserError(f"the file has a field {min(unknown)[:40]!r}, which is unknown")
    document = dict.fromkeys(PARTS) | {"added_tokens": []} | document
    conform(document, DOCUMENT)
    conform(dict.fromkeys(EXTRA) | extra, EXTRA, "model.tinyllm")
    document |= {"truncation": None, "padding": None}
    try:
        if kind not in ("BPE", "WordLevel"):
            raise NeedsLibrary(f"the model {str(kind)[:40]!r}")
        tokenizer = (_bpe if kind == "BPE" else _char)(document, model)
        if (document["post_processor"] or {}).get("type") != "ByteLevel":  # ByteLevel adds no tokens
            tokenizer.post_processor = document["post_processor"]
        known: Any = ChainMap(tokenizer.special_tokens, tokenizer.added_tokens, model["vocab"]).get
    except NeedsLibrary as feature:
        tokenizer = LibraryTokenizer(document, str(feature), data)
        known = tokenizer.id_of
    if document["post_processor"] is not None:
        _check_around(document["post_processor"], known)
    if extra.get("chat") is not None:
        tokenizer.chat = ChatTemplate.from_dict(extra["chat"])
        tokenizer.chat.check(tokenizer)
    return tokenizer


def _check_around(part, id_of, at="post_processor"):
    """Check the part that puts tokens around a text: `encode` leaves it out, but it is saved again."""
    conform(part, {"type": bounded(str, choices=tuple(AROUND))}, at)
    conform({"use_regex": True} | part, AROUND[part["type"]], at)
    for i, inner in enumerate(part.get("processors", ())):
        _check_around(inner, id_of, f"{at}.processors[{i}]")
    for piece in part.get("single", []) + part.get("pair", []):
        kind = "Sequence" if "Sequence" in piece else "SpecialToken"
        conform(piece, {kind: PIECES[kind]}, at)
        if kind == "SpecialToken":
            conform(part["special_tokens"], {piece["SpecialToken"]["id"]: {}}, f"{at}.special_tokens")
    named = [part[side] for side in ("sep", "cls") if side in part]
    for token in part.get("special_tokens", {}).values():
        named += map(list, zip(token["tokens"], token["ids"], strict=False))
    for pair in named:
        if [*map(type, pair)] != [str, int] or id_of(pair[0]) != pair[1]:
            raise UserError(f"{at} has {str(pair)[:60]}, which is no token of the vocabulary with its id")


def _char(document, model):
    """Build the char tokenizer that `CharTokenizer.to_dict` wrote."""
    conform(model, {"vocab": dict, "unk_token": str}, "model")
    added, special = _added(document, model["vocab"])
    shape = [document[part] for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder")]
    if added or shape != [None, EVERY_CHARACTER, None, {"type": "Fuse"}]:
        raise NeedsLibrary("a model of whole words")
    characters = {word: i for word, i in model["vocab"].items() if special.get(word) != i}
    if list(characters.values()) != list(range(len(characters))):
        raise UserError("the characters of a char tokenizer are numbered from 0 in ascending order")
    return CharTokenizer(list(characters), special)


def _bpe(document, model):
    """Build a byte-level BPE tokenizer, or the byte tokenizer."""
    conform(dict.fromkeys(MODEL) | model, MODEL, "model")
    wrong = sorted(model.keys() - {"type", "tinyllm", *MODEL})
    wrong += [name for name in REFUSED if model.get(name)]
    if wrong:
        raise NeedsLibrary(f"the field {wrong[0][:40]!r} of its model")
    if (normalizer := document["normalizer"]) not in (None, {"type": "NFC"}):
        raise NeedsLibrary(f"the normalizer {str(normalizer.get('type'))[:40]!r}")
    pattern = _pattern(document)
    whole = model.get("ignore_merges") or False
    added, special = _added(document, model["vocab"])
    names = {name for name in added if not whole or token_bytes(name) is None} | special.keys()
    vocabulary = Vocabulary.from_words(model["vocab"], model["merges"], whole, names)
    for name, i in (added | special).items():
        data = vocabulary.tokens.get(i)
        if data is not None and (name in special or data != name.encode()):
            raise UserError(f"the added token {name[:40]!r} is a token that ordinary text can give")
    if pattern is None:
        if vocabulary.words() != Vocabulary.from_merges(()).words() or whole or added or normalizer:
            raise NeedsLibrary("a text that is not split")
        return ByteTokenizer(special)
    tokenizer = BPETokenizer(vocabulary, pattern, special)
    tokenizer.normalizer = normalizer and "NFC"
    tokenizer.add_tokens(added)
    return tokenizer


def _pattern(document):
    """Return the name of the split pattern of a byte-level file, or None if text is not split."""
    part, decoder = document["pre_tokenizer"] or {}, document["decoder"] or {}
    parts = part.get("pretokenizers") if part.get("type") == "Sequence" else [part]
    conform(parts, [{}], "pre_tokenizer.pretokenizers")
    *splits, level = parts or [{}]
    if (level.get("type"), level.get("add_prefix_space"), decoder.get("type")) != BYTE_LEVEL:
        raise NeedsLibrary("BPE that is not byte-level, or a space before every text")
    conform({"use_regex": True} | level, LEVEL, "pre_tokenizer")
    conform({"use_regex": True} | decoder, LEVEL, "decoder")
    if not splits:
        return "gpt2" if level.get("use_regex", True) else None
    for name, source in PATTERNS.items():
        split = split_at(source)
        # These two settings split alike: the patterns match every character, so nothing is removed.
        ways = [split], [split | {"behavior": "Removed", "invert": True}]
        if level.get("use_regex") is False and splits in ways:
            return name
    raise NeedsLibrary("its pre_tokenizer")


def _added(document, vocab):
    """Return two dicts {name: id}: the added tokens found in every text, and the special tokens."""
    tokens = [dict.fromkeys(FLAGS, False) | token for token in document["added_tokens"]]
    if len(tokens) > MOST_ADDED:
        raise UserError(f"added_tokens has {len(tokens)} tokens; at most {MOST_ADDED} are read")
    conform(tokens, [TOKEN], "added_tokens")
    check_names([token["content"] for token in tokens])
    for token in tokens:
        normalized = token["normalized"] and document["normalizer"]
        if token["single_word"] or token["lstrip"] or token["rstrip"] or normalized:
            raise NeedsLibrary(f"the flags of the added token {token['content'][:40]!r}")
    # The library ignores these ids: a name has its id in the vocabulary, or the next id after the last.
    new = [token["id"] for token in tokens if token["content"] not in vocab]
    known = all(vocab.get(token["content"], token["id"]) == token["id"] for token in tokens)
    if not known or new != list(range(len(vocab), len(vocab) + len(new))):
        raise NeedsLibrary("the numbers of its added tokens")
    return tuple({token["content"]: token["id"] for token in tokens if token["special"] is special}
                 for special in (False, True))
