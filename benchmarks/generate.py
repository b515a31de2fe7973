"""Generate with transformers, and for LLaMA with llama.cpp, from the weights of a tinyllm model.

Nothing is downloaded: the model is saved to a temporary folder, which transformers opens as it is, and,
for llama.cpp, written into a GGUF file there.
"""

import tempfile
import warnings
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np

from tinyllm.models import GPT
from tinyllm.models.gguf import save_gguf

# kind of a GGUF file -> bits, precision, and how far off the largest logit its logits may be
KINDS = {"f32": (32, "float32", 1e-3), "q8_0": (8, "int8", 0.2), "q4_0": (4, "int4", 0.9)}


def engines(model):
    """Return {name: function of (model, threads) that makes an engine, or raises ImportError}."""
    found = {"transformers": Transformers}
    if not isinstance(model, GPT):
        found |= {f"llama.cpp {kind}": partial(LlamaCpp, kind=kind) for kind in KINDS}
    return found


class Transformers:
    """GPT2LMHeadModel or LlamaForCausalLM of Hugging Face, eager, float32, with its KV cache."""

    around, precision, tolerance = nullcontext, "float32", 1e-3

    def __init__(self, model, threads):
        import torch
        import transformers

        transformers.logging.set_verbosity_error()
        torch.set_num_threads(threads)
        self.torch = torch
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            self.model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.model.eval()

    def prefill(self, prompt):
        """Read a prompt -> the logits of the token that follows, (V,)."""
        return self._read(prompt).logits[0, -1].numpy()

    def begin(self, prompt, new):
        """Read the prompt -> arguments of `go_on`."""
        return self._read(prompt), new

    def go_on(self, out, new):
        """Write `new` tokens, each the likeliest."""
        with self.torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of a name that old versions need
            for _ in range(new):
                token = out.logits[:, -1:].argmax(-1)
                out = self.model(token, past_key_values=out.past_key_values, use_cache=True)

    def _read(self, prompt):
        with self.torch.inference_mode():
            return self.model(self.torch.tensor([prompt]), use_cache=True, logits_to_keep=1)


class LlamaCpp:
    """llama.cpp through llama-cpp-python, from a GGUF file of the given kind: f32, q8_0 or q4_0."""

    around = nullcontext

    def __init__(self, model, threads, kind="f32"):
        import llama_cpp

        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "model.gguf")
            bits, self.precision, self.tolerance = KINDS[kind]
            save_gguf(model, path, bits=bits)
            self.llama = llama_cpp.Llama(
                path, n_ctx=model.config.context, n_threads=threads, n_threads_batch=threads, verbose=False,
                use_mmap=False, n_batch=512,
            )
        self.get_logits, self.V = llama_cpp.llama_get_logits_ith, model.config.vocab_size

    def prefill(self, prompt):
        """Read a prompt -> the logits of the token that follows, (V,)."""
        self.llama.reset()
        self.llama.eval(prompt)
        return self._logits().copy()

    def begin(self, prompt, new):
        """Read the prompt -> arguments of `go_on`."""
        self.prefill(prompt)
        return (new,)

    def go_on(self, new):
        """Write `new` tokens, each the likeliest."""
        for _ in range(new):
            self.llama.eval([int(np.argmax(self._logits()))])

    def _logits(self):
        return np.ctypeslib.as_array(self.get_logits(self.llama.ctx, -1), (self.V,))
