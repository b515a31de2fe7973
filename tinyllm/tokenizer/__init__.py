"""Define tokenizers, which turn text into token ids and back, without loss."""

from tinyllm.tokenizer.base import Tokenizer
from tinyllm.tokenizer.bpe import BPETokenizer
from tinyllm.tokenizer.byte import ByteTokenizer
from tinyllm.tokenizer.char import CharTokenizer
from tinyllm.tokenizer.chat import CHAT_TEMPLATES, ChatTemplate, Special
from tinyllm.tokenizer.files import load_tokenizer, make_tokenizer, save_tokenizer
from tinyllm.tokenizer.patterns import PATTERNS

__all__ = [
    "CHAT_TEMPLATES",
    "PATTERNS",
    "BPETokenizer",
    "ByteTokenizer",
    "CharTokenizer",
    "ChatTemplate",
    "Special",
    "Tokenizer",
    "load_tokenizer",
    "make_tokenizer",
    "save_tokenizer",
]
