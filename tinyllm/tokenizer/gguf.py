"""Describe a tokenizer as settings of a GGUF file; models/gguf.py writes the file."""

from typing import Any

from tinyllm.errors import UserError
from tinyllm.tokenizer.base import Tokenizer
from tinyllm.tokenizer.bpe import BPETokenizer
from tinyllm.tokenizer.huggingface import from_dict
from tinyllm.tokenizer.vocabulary import characters

# {(pattern, True if pieces that are tokens are not merged, True if digits are cut first): llama.cpp's name}.
# Its gpt-4o cuts accents and marks in another way than o200k.
CUTS = {("gpt2", False, False): "gpt-2", ("gpt2", False, True): "smollm", ("gpt4", False, False): "dbrx",
        ("gpt4", True, False): "llama-bpe", ("qwen2", False, False): "qwen2"}
DIGITS = {"type": "Digits", "individual_digits": True}  # in SmolLM2, cuts before GPT-2's pattern does
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4  # llama.cpp's types of tokens


def vocabulary(tokenizer: Tokenizer, size: int = 0) -> dict[str, Any]:
    """Return the settings of a byte-level BPE tokenizer for llama.cpp, with unused tokens up to `size`.

    A text ends at the special token with the lowest id. Without special tokens it ends at the byte 0, because
    llama.cpp would choose another token. Raises UserError for a tokenizer that GGUF cannot describe.
    """
    bpe, cut = _known(tokenizer)
    words, merges = bpe.vocabulary.words()
    added, special, begin = bpe.added_tokens, bpe.special_tokens, _begin(bpe)
    names = {number: word for word, number in (words | added | special).items()}
    end = min(special.values(), default=words.get(characters(b"\0")))
    if end is None:
        raise UserError("llama.cpp needs a token that ends a text: add a special token to this tokenizer")
    kinds = dict.fromkeys(names, NORMAL) | dict.fromkeys(added.values(), USER_DEFINED)
    kinds |= dict.fromkeys({end, *special.values()}, CONTROL)
    ids = range(max(bpe.vocab_size, size))
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": cut,
        "tokenizer.ggml.tokens": [names.get(i, f"[unused {i}]") for i in ids],
        "tokenizer.ggml.token_type": [kinds.get(i, CONTROL) for i in ids],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in merges],
        "tokenizer.ggml.bos_token_id": end if begin is None else begin,
        "tokenizer.ggml.eos_token_id": end,
        "tokenizer.ggml.add_bos_token": begin is not None,
    }


def _known(tokenizer):
    """Return a tokenizer as a BPETokenizer, and llama.cpp's name for the way in which it cuts texts."""
    document = {"pre_tokenizer": None} if isinstance(tokenizer, BPETokenizer) else tokenizer.to_dict()
    first, *parts = (document["pre_tokenizer"] or {}).get("pretokenizers") or [None]
    if first == DIGITS and len(parts) == 1:
        tokenizer = from_dict(document | {"pre_tokenizer": parts[0]})
    if not isinstance(tokenizer, BPETokenizer):
        raise UserError(f"GGUF holds byte-level BPE, not a {tokenizer.kind} tokenizer")
    if tokenizer.chat:
        raise UserError("GGUF has no place for the chat of this tokenizer: save one without")
    way = tokenizer.pattern, tokenizer.vocabulary.ignore_merges, first == DIGITS
    if way not in CUTS:
        raise UserError(f"llama.cpp has no name for the way in which this tokenizer cuts texts, {way[0]}")
    return tokenizer, CUTS[way]


def _begin(tokenizer):
    """Return the id of the token that a post_processor puts before each text, or None."""
    post, text = tokenizer.post_processor or {}, {"Sequence": {"id": "A", "type_id": 0}}
    known = {None: [text]} | {i: [{"SpecialToken": {"id": name, "type_id": 0}}, text]
                              for name, i in tokenizer.special_tokens.items()}
    parts = [part for part in post.get("processors", [post]) if part.get("type") != "ByteLevel"]
    adding = [part.get("single", part) for part in parts]
    found = [i for i, single in known.items() if adding in ([], [{}], [single])]
    if not found:
        raise UserError("GGUF has no place for the post_processor of this tokenizer, which adds more than a "
                        "token before a text: save one without")
    return found[0]
