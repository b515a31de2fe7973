"""Run tiktoken, Hugging Face's tokenizers and rustbpe with our vocabulary, to measure side by side.

Each runs its fastest function: tiktoken `encode_ordinary`, tokenizers `encode_batch_fast`, which keeps no
offsets. A library that is not installed raises ImportError.
"""

import json
import os
from importlib import metadata

from tinyllm.tokenizer.patterns import PATTERNS
from tinyllm.tokenizer.tiktoken import ranks_of


class Tiktoken:
    """tiktoken with our tokens as ranks; UserError where ranks would not merge as we do."""

    name = "tiktoken"

    def __init__(self, tokenizer):
        import tiktoken

        self.version = metadata.version("tiktoken")
        source = PATTERNS.get(tokenizer.pattern, tokenizer.pattern)
        ranks = ranks_of(tokenizer.vocabulary)
        self._encoding = tiktoken.Encoding("ours", pat_str=source, mergeable_ranks=ranks, special_tokens={})

    def encode(self, texts, threads):
        """Return the ids of each text."""
        if threads == 1:
            return [self._encoding.encode_ordinary(text) for text in texts]
        return self._encoding.encode_ordinary_batch(texts, num_threads=threads)

    def decode(self, ids):
        """Return the bytes of ids."""
        return self._encoding.decode_bytes(ids)


class HuggingFace:
    """tokenizers with the tokenizer.json that we write."""

    name = "huggingface"

    def __init__(self, tokenizer):
        import tokenizers

        self.version = tokenizers.__version__
        self._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(tokenizer.to_dict()))

    def encode(self, texts, threads):
        """Return the ids of each text."""
        os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"  # read at every call
        return [found.ids for found in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def decode(self, ids):
        """Return the bytes of ids."""
        return self._tokenizer.decode(ids, skip_special_tokens=False).encode()


def use_threads(threads):
    """Set the number of threads of Rust's libraries, which read it once, before their first work."""
    os.environ["RAYON_NUM_THREADS"] = str(threads)


def huggingface_trainer(tokenizer):
    """Return a function (texts, vocab_size) that trains tokenizers on texts cut as ours cuts them."""
    import tokenizers
    from tokenizers import models, pre_tokenizers, trainers

    cut = tokenizers.Tokenizer.from_str(json.dumps(tokenizer.to_dict())).pre_tokenizer

    def train(texts, vocab_size):
        os.environ["TOKENIZERS_PARALLELISM"] = "true"
        new = tokenizers.Tokenizer(models.BPE())
        new.pre_tokenizer = cut
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        how = {"vocab_size": vocab_size, "show_progress": False, "initial_alphabet": alphabet}
        new.train_from_iterator(texts, trainers.BpeTrainer(**how))
        return new.get_vocab_size()

    return train


def rustbpe_trainer(tokenizer):
    """Return a function (texts, vocab_size) that trains rustbpe (Karpathy, 2025), with the same cuts."""
    import rustbpe

    source = PATTERNS.get(tokenizer.pattern, tokenizer.pattern)

    def train(texts, vocab_size):
        new = rustbpe.Tokenizer()
        new.train_from_iterator(iter(texts), vocab_size, pattern=source)
        return new.vocab_size

    return train


ENGINES = {"tiktoken": Tiktoken, "huggingface": HuggingFace}
TRAINERS = {"rustbpe": rustbpe_trainer, "huggingface": huggingface_trainer}
