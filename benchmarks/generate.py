"""Generate with transformers, and for LLaMA with llama.cpp, from the weights of a tinyllm model.

Nothing is downloaded: the model is saved to a temporary folder, which transformers opens as it is, and,
for llama.cpp, written into a GGUF file there
(https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
"""

import tempfile
import warnings
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np

from tinyllm.models import GPT

# kind of a GGUF file -> precision, and how far off the largest logit its logits may be
KINDS = {"f32": ("float32", 1e-3), "q8_0": ("int8", 0.2), "q4_0": ("int4", 0.9)}


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
            write_gguf(model, path, kind)
            self.llama = llama_cpp.Llama(
                path, n_ctx=model.config.context, n_threads=threads, n_threads_batch=threads, verbose=False,
                use_mmap=False, n_batch=512,
            )  # fmt: skip
        self.precision, self.tolerance = KINDS[kind]
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


def write_gguf(model, path, kind):
    """Write a LLaMA as a GGUF file, with a vocabulary of which only the size matters."""
    import gguf

    c = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(c.context)
    writer.add_embedding_length(c.width)
    writer.add_block_count(c.layers)
    writer.add_feed_forward_length(c.hidden)
    writer.add_head_count(c.heads)
    writer.add_head_count_kv(c.kv_heads)
    writer.add_layer_norm_rms_eps(c.eps)
    writer.add_rope_dimension_count(c.width // c.heads)
    writer.add_rope_freq_base(c.theta)
    writer.add_vocab_size(c.vocab_size)
    tokens = ["<unk>", "<s>", "</s>", *(f"t{i}" for i in range(3, c.vocab_size))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([2, 3, 3, *[1] * (len(tokens) - 3)])
    types = {"f32": gguf.GGMLQuantizationType.F32, "q8_0": gguf.GGMLQuantizationType.Q8_0,
             "q4_0": gguf.GGMLQuantizationType.Q4_0}  # fmt: skip
    for name, array in gguf_tensors(model):
        if array.ndim == 2 and kind != "f32":
            packed = gguf.quants.quantize(array, types[kind])
            writer.add_tensor(name, packed, raw_dtype=types[kind])
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


PARTS = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
         "post_attention_layernorm": "ffn_norm"}  # fmt: skip
WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def gguf_tensors(model):
    """Yield (GGUF's name, array), matrices as (n_out, n_in).

    llama.cpp's rope rotates pairs of neighbours (2i, 2i + 1), tinyllm's pairs (i, i + D/2), so the rows of
    queries and keys are put in its order.
    """
    c = model.config
    for name, array in model.state_dict().items():
        name = name.removesuffix(".weight")
        if array.ndim == 2 and name not in ("model.embed_tokens", "lm_head"):  # those lie so already
            array = np.ascontiguousarray(array.T)
        if name.endswith(("q_proj", "k_proj")):
            heads = c.heads if name.endswith("q_proj") else c.kv_heads
            halves = array.reshape(heads, 2, c.width // c.heads // 2, c.width)
            array = np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(array.shape)
        if name in WHOLE:
            yield f"{WHOLE[name]}.weight", array
        else:
            _, _, layer, part = name.split(".", 3)
            yield f"blk.{layer}.{PARTS[part]}.weight", array
