"""tinyllm: a language-model library small enough to read in a week and fast enough to be worth using.

import tinyllm as tl

corpus = tl.load_corpus("stories")
tokenizer = tl.CharTokenizer.train(corpus.data)
model = tl.GPT(tl.GPTConfig(vocab_size=tokenizer.vocab_size, context=64, layers=4, heads=4, width=128))
tokens = tl.token_array(corpus.data, tokenizer)
tl.fit(model, tokens, steps=100)
print(tokenizer.decode(tl.generate(model, ["Once"], max_tokens=200, tokenizer=tokenizer)[0]))
"""

from functools import partial
from typing import TYPE_CHECKING

from tinyllm.data import Batch, Corpus, get_batch, load_corpus, load_tokens, token_array, token_file
from tinyllm.errors import UserError, missing
from tinyllm.functional import checkpoint
from tinyllm.generate import Engine, generate, stream  # the function, from here on, not its module
from tinyllm.models import (
    GPT,
    GPTConfig,
    Llama,
    LlamaConfig,
    build,
    from_pretrained,
    load_weights,
    save_weights,
)
from tinyllm.nn import Int4Linear, Int8Linear, quantize
from tinyllm.ops import lr_schedule, override, use
from tinyllm.ops.registry import empty_pool, memory, threads
from tinyllm.rng import Random
from tinyllm.sampling import Sampling
from tinyllm.tensor import Tensor, no_grad
from tinyllm.tokenizer import (
    BPETokenizer,
    ByteTokenizer,
    CharTokenizer,
    ChatTemplate,
    load_tokenizer,
    save_tokenizer,
)
from tinyllm.train import (
    SGD,
    AdamW,
    Run,
    clip_grad_norm,
    decay_groups,
    fit,
    learning_rate,
    make_config,
    prepare,
)
from tinyllm.train import load_run as load
from tinyllm.version import __version__ as __version__

__all__ = [
    "GPT", "SGD", "AdamW", "BPETokenizer", "Batch", "ByteTokenizer", "CharTokenizer", "ChatTemplate",
    "Corpus",
    "Engine", "GPTConfig", "Int4Linear", "Int8Linear", "Llama", "LlamaConfig", "Random", "Run",
    "Sampling", "Tensor", "UserError", "build", "checkpoint", "clip_grad_norm", "decay_groups",
    "empty_pool", "fit", "from_pretrained", "generate", "get_batch", "learning_rate", "load",
    "load_corpus", "load_tokenizer", "load_tokens", "load_weights", "lr_schedule", "make_config",
    "memory", "no_grad", "override", "prepare", "quantize", "save_tokenizer", "save_weights", "stream",
    "threads", "token_array", "token_file", "use",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__ = partial(missing, __name__)
