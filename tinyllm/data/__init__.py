"""Load texts for training (named corpora, files, generated stories), encode them, and draw batches."""

from tinyllm.data.batches import Batch, eval_windows, get_batch, rows, two_texts
from tinyllm.data.corpus import Corpus
from tinyllm.data.pictures import read_picture
from tinyllm.data.sources import SOURCES, load_corpus
from tinyllm.data.tokens import TokenFile, load_tokens, token_array, token_file

__all__ = ["SOURCES", "Batch", "Corpus", "TokenFile", "eval_windows", "get_batch", "load_corpus",
           "load_tokens", "read_picture", "rows", "token_array", "token_file", "two_texts"]
