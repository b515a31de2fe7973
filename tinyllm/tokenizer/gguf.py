"""Describe a tokenizer as settings of a GGUF file; models/gguf.py writes the file."""

from typing import Any

from tinyllm.errors import UserError
from tinyllm.tokenizer.base import Tokenizer
from tinyllm.tokenizer.bpe import BPETokenizer
from tinyllm.tokenizer.vocabulary import characters

CUTS = {"gpt2": "gpt-2", "gpt4": "dbrx", "o200k": "gpt-4o", "qwen2": "qwen2"}  # llama.cpp's names of patterns
NORMAL, CONTROL = 1, 3  # llama.cpp's types of tokens


def vocabulary(tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the settings of a byte-level BPE tokenizer for llama.cpp.

    A text ends at the special token with the lowest id. Without special tokens it ends at the byte 0, because
    llama.cpp would choose another token. Raises UserError for a tokenizer that GGUF cannot describe.
    """
    if not isinstance(tokenizer, BPETokenizer):
        raise UserError(f"GGUF holds byte-level BPE, not a {tokenizer.kind} tokenizer")
    for name in ("chat", "normalizer", "post_processor", "added_tokens"):
        if getattr(tokenizer, name):
            raise UserError(f"GGUF has no place for the {name} of this tokenizer: save one without")
    words, merges = tokenizer.vocabulary.words()
    names = {number: word for word, number in (words | tokenizer.special_tokens).items()}
    end = min(tokenizer.special_tokens.values(), default=words[characters(b"\0")])
    control = {end, *tokenizer.special_tokens.values()}
    ids = range(tokenizer.vocab_size)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": CUTS[tokenizer.pattern],
        "tokenizer.ggml.tokens": [names.get(i, f"[unused {i}]") for i in ids],
        "tokenizer.ggml.token_type": [CONTROL if i in control or i not in names else NORMAL for i in ids],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in merges],
        "tokenizer.ggml.bos_token_id": end,
        "tokenizer.ggml.eos_token_id": end,
        "tokenizer.ggml.add_bos_token": False,
    }
