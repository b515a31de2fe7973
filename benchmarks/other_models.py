"""Make contenders of other libraries: PyTorch, transformers and llama.cpp, from tinyllm's weights.

Nothing is downloaded. A model is saved to a temporary folder, which transformers opens as it is, and, for
llama.cpp, written to a GGUF file there.
"""

import tempfile
import warnings
from functools import partial
from pathlib import Path

import numpy as np

from tinyllm.bench.race import Contender
from tinyllm.bench.rows import NEW, model_of, prompt_of
from tinyllm.models.gguf import save_gguf
from tinyllm.nn.module import forward_flops
from tinyllm.ops.runtime import threads

MODES: dict[str, dict] = {"torch": {}, "torch bf16": {"bf16": True}, "torch compiled": {"compiled": True},
                          "torch compiled bf16": {"compiled": True, "bf16": True}}
# Kind of a GGUF file -> bits, and how far off its logits may be: llama.cpp rounds activations, too.
GGUF_KINDS = {"f32": (32, 1e-3), "q8_0": (8, 0.2), "q4_0": (4, 0.9)}
T5_NEW = 64  # tokens that a T5 writes
SENTENCES = 32  # in a batch of the encoder


def torch_trainer(sizes: dict, batch: int, how: dict) -> Contender:
    """Return training steps of a GPT in PyTorch to time, with the fastest of its AdamWs."""
    import torch
    import torch_gpt

    torch.set_num_threads(threads())
    model = model_of(sizes)
    tokens = np.random.default_rng(0).integers(0, sizes["vocab_size"], (batch, sizes["context"] + 1))
    x, y = (torch.from_numpy(part.copy()) for part in (tokens[:, :-1], tokens[:, 1:]))
    kind, step = torch_gpt.training_step(model, x, y, **how)
    amounts = {"tokens": x.numel(), "flops": 3 * batch * forward_flops(model, sizes["context"])}
    return Contender(step, amounts=amounts, answer=lambda: np.array([step()]),
                     tolerance=2e-2 if "bf16" in how else 1e-4,
                     facts={"precision": "bf16" if "bf16" in how else "float32", "adamw": kind})


def hugging_face(sizes: dict, opener: str):
    """Return a model of tinyllm's weights as a class of transformers opens it."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(threads())
    with tempfile.TemporaryDirectory() as folder:
        model_of(sizes).save_pretrained(folder)
        return getattr(transformers, opener).from_pretrained(folder, dtype=torch.float32).eval()


def transformers_writer(sizes: dict, task: str) -> Contender:
    """Return prefill or decoding of transformers to time: eager, float32, with its KV cache."""
    import torch

    model = hugging_face(sizes, "AutoModelForCausalLM")
    prompt, half, new = _work(sizes)

    def read(ids):
        with torch.inference_mode():
            return model(torch.tensor([ids]), use_cache=True, logits_to_keep=1)

    def write(out):
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of a name that old versions need
            for _ in range(new):
                token = out.logits[:, -1:].argmax(-1)
                out = model(token, past_key_values=out.past_key_values, use_cache=True)

    def logits():
        return read(prompt).logits[0, -1].numpy()

    if task == "prefill":
        return Contender(logits, amounts={"tokens": len(prompt)}, answer=logits, tolerance=1e-3)
    return Contender(write, lambda: (read(prompt[:half]),), amounts={"tokens": new})


def llama_cpp_writer(sizes: dict, task: str, kind: str = "f32") -> Contender:
    """Return prefill or decoding of llama.cpp to time, from a GGUF file of some kind."""
    import llama_cpp

    bits, tolerance = GGUF_KINDS[kind]
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model.gguf")
        model = model_of(sizes)
        save_gguf(model, path, bits=bits)
        llama = llama_cpp.Llama(path, n_ctx=model.config.context, n_threads=threads(), n_batch=512,
                                n_threads_batch=threads(), verbose=False, use_mmap=False)
    prompt, half, new = _work(sizes)

    def logits():
        found = llama_cpp.llama_get_logits_ith(llama.ctx, -1)
        return np.ctypeslib.as_array(found, (model.config.vocab_size,))

    def read(ids):
        llama.reset()
        llama.eval(ids)
        return logits().copy()

    def write():
        for _ in range(new):
            llama.eval([int(np.argmax(logits()))])

    if task == "prefill":
        reading = partial(read, prompt)
        return Contender(reading, amounts={"tokens": len(prompt)}, answer=reading, tolerance=tolerance)
    return Contender(write, lambda: (read(prompt[:half]), ())[1], amounts={"tokens": new})


def _work(sizes):
    """Return a prompt to read, the length of its first part, and how many tokens to write after that part."""
    model = model_of(sizes)
    prompt, half = prompt_of(model)
    return prompt, half, min(NEW, model.config.context - half)


def t5_prompt(sizes: dict) -> np.ndarray:
    """Return one prompt of 64 tokens, (1, 64)."""
    return np.random.default_rng(0).integers(0, sizes["vocab_size"], (1, 64))


def transformers_translator(sizes: dict) -> Contender:
    """Return transformers' greedy answer of a T5 to time."""
    import torch

    model, prompt = hugging_face(sizes, "T5ForConditionalGeneration"), torch.tensor(t5_prompt(sizes))
    options = {"max_new_tokens": T5_NEW, "min_new_tokens": T5_NEW, "do_sample": False, "num_beams": 1}

    def write():
        return model.generate(prompt, **options)[:, 1:].numpy()

    return Contender(write, amounts={"tokens": T5_NEW}, answer=write)


def sentences() -> list[list[int]]:
    """Return 64 lists of 4 to 40 ids, as sentences have them."""
    rng = np.random.default_rng(0)
    return [rng.integers(1000, 30000, n).tolist() for n in rng.integers(4, 41, 64)]


def transformers_encoder(sizes: dict) -> Contender:
    """Return transformers' vectors of sentences to time, sorted by length, with its fastest attention."""
    import torch

    model, texts = hugging_face(sizes, "BertModel"), sentences()

    def embed():
        found = np.empty((len(texts), sizes["width"]), np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        with torch.inference_mode():
            for begin in range(0, len(texts), SENTENCES):
                chosen = order[begin : begin + SENTENCES]
                lengths = torch.tensor([len(texts[i]) for i in chosen])
                ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(texts[i]) for i in chosen], True)
                mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
                x = model(input_ids=ids, attention_mask=mask).last_hidden_state
                mean = (x * mask[..., None]).sum(1) / lengths[:, None]
                found[chosen] = torch.nn.functional.normalize(mean).numpy()
        return found

    return Contender(embed, amounts={"tokens": sum(map(len, texts))}, answer=embed, tolerance=1e-4)
