"""Define tokenizers, which turn text into token ids and back, without loss."""

from tinyllm.ops.pieces import PATTERNS
from tinyllm.tokenizer.base import Tokenizer
from tinyllm.tokenizer.bpe import BPETokenizer
from tinyllm.tokenizer.chat import CHAT_TEMPLATES, ChatTemplate, Special
from tinyllm.tokenizer.files import load_tokenizer, make_tokenizer, save_tokenizer
from tinyllm.tokenizer.simple import ByteTokenizer, CharTokenizer

__all__ = ["CHAT_TEMPLATES", "PATTERNS", "BPETokenizer", "ByteTokenizer", "CharTokenizer", "ChatTemplate",
           "Special", "Tokenizer", "load_tokenizer", "make_tokenizer", "save_tokenizer"]
