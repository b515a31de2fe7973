"""List the public names of tinyllm; the first use of any name, such as `tinyllm.GPT`, imports everything."""

from tinyllm.data import Batch, Corpus, get_batch, load_corpus, load_tokens, token_array, token_file
from tinyllm.decode.engine import Engine
from tinyllm.decode.generate import generate, stream
from tinyllm.decode.sampling import Sampling
from tinyllm.errors import UserError
from tinyllm.models import GPT, GPTConfig, Llama, LlamaConfig, build, from_pretrained
from tinyllm.models.weights import load_weights, save_weights
from tinyllm.nn import Int4Linear, Int8Linear, quantize
from tinyllm.ops import lr_schedule, override, use
from tinyllm.ops.runtime import threads
from tinyllm.report.graph import draw
from tinyllm.rng import Random
from tinyllm.runs import Opened, Run, make_config, open_model, prepare
from tinyllm.tensor import Tensor, no_grad
from tinyllm.tokenizer import CHAT_TEMPLATES, BPETokenizer, ByteTokenizer, CharTokenizer, ChatTemplate
from tinyllm.tokenizer.files import load_tokenizer, save_tokenizer
from tinyllm.train import AdamW, Muon, clip_grad_norm, decay_groups, fit, learning_rate, muon_groups

__all__ = [
    "CHAT_TEMPLATES", "GPT", "AdamW", "BPETokenizer", "Batch", "ByteTokenizer", "CharTokenizer",
    "ChatTemplate", "Corpus", "Engine", "GPTConfig", "Int4Linear", "Int8Linear", "Llama", "LlamaConfig",
    "Muon", "Opened", "Random", "Run", "Sampling", "Tensor", "UserError", "build", "clip_grad_norm",
    "decay_groups", "draw", "fit", "from_pretrained", "generate", "get_batch", "learning_rate",
    "load_corpus", "load_tokenizer", "load_tokens", "load_weights", "lr_schedule", "make_config",
    "muon_groups", "no_grad", "open_model", "override", "prepare", "quantize", "save_tokenizer",
    "save_weights", "stream", "threads", "token_array", "token_file", "use",
]
