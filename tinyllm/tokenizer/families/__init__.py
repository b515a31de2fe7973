"""Tokenizers of other families, from Hugging Face's tokenizer.json: WordPiece, unigram, BPE over characters.

Normalizers, pre-tokenizers and decoders are plain functions, one line or a few each; the models keep a
vocabulary and call the ops. What a file asks for and is not here to the character is refused by its name.
"""

from tinyllm.tokenizer.families.load import MODELS, from_huggingface, reads
from tinyllm.tokenizer.families.pipeline import PipelineTokenizer

__all__ = ["MODELS", "PipelineTokenizer", "from_huggingface", "reads"]
