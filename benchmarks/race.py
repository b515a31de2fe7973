"""Race tinyllm against other libraries: `python benchmarks/race.py NAME [--quick]`.

    train      GPT nano and mini beside PyTorch: eager and compiled, in float32 and bfloat16
    generate   GPT-2 and LLaMA beside transformers, and LLaMA beside llama.cpp
    tokenizer  learning, encoding and decoding beside rustbpe, tiktoken and tokenizers

The first contender of a race is tinyllm, and a ratio is the other's time as a multiple of its time. Each
library runs in a process of its own, on as many threads as TINYLLM_THREADS says, and must compute what
tinyllm computes. `pip install --editable '.[peers]'` installs them; one that is not installed is left out.
"""

import argparse
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from tinyllm.bench import rows
from tinyllm.bench.race import Contender, apart
from tinyllm.bench.rows import BATCH, NEW, SIZES, Race, model_of, prompt_of, training_amounts
from tinyllm.cli.bench import introduce, run
from tinyllm.data import load_corpus
from tinyllm.models.gguf import save_gguf
from tinyllm.ops.runtime import threads
from tinyllm.tokenizer import PATTERNS, BPETokenizer
from tinyllm.tokenizer.gguf import vocabulary

PATTERN, VOCABULARY = "gpt4", 8192
DOCUMENT = 2**18  # bytes: many documents keep all threads busy


def train(quick: bool) -> Iterator[Race]:
    """Yield the races of `tinyllm bench train`, with PyTorch."""
    for about, makers in rows.train_races(quick):
        name = about["setting"]
        torch = partial(torch_trainer, SIZES[name], BATCH[name])
        theirs = {"torch": torch, "torch bf16": partial(torch, bf16=True),
                  "torch compiled": partial(torch, compiled=True),
                  "torch compiled bf16": partial(torch, compiled=True, bf16=True)}
        yield about, makers | apart(theirs)


def generate(quick: bool) -> Iterator[Race]:
    """Yield the races of `tinyllm bench generate`, with transformers and llama.cpp."""
    for about, makers in rows.generate_races(quick):
        sizes, task = SIZES[about["setting"]], about["task"]
        theirs = {"transformers": partial(transformers_writer, sizes, task)}
        if sizes["model_type"] == "llama":
            theirs |= {f"llama.cpp {kind}": partial(llama_cpp_writer, sizes, task, bits)
                       for kind, bits in (("f32", 32), ("q8_0", 8), ("q4_0", 4))}
        yield about, makers | apart(theirs)


def torch_gpt(sizes: dict) -> tuple[dict, Callable]:
    """Return PyTorch weights of a GPT, and loss(weights, tokens, targets), as in nanoGPT (Karpathy, 2022)."""
    import torch
    from torch.nn import functional as F

    model = model_of(sizes)
    C, heads = model.config.width, model.config.heads
    layers, eps = range(model.config.layers), model.config.eps
    arrays = {name: a if name.startswith("w") or a.ndim < 2 else a.T  # PyTorch's layers store (out, in)
              for name, a in model.state_dict().items()}
    weights = {name: torch.from_numpy(a.copy()).requires_grad_() for name, a in arrays.items()}

    def loss(w, tokens, targets):
        def linear(x, name):
            return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

        def norm(x, name):
            return F.layer_norm(x, (C,), w[f"{name}.weight"], w[f"{name}.bias"], eps)

        B, T = tokens.shape
        x = F.embedding(tokens, w["wte.weight"]) + w["wpe.weight"][:T]
        for h in (f"h.{i}" for i in layers):
            qkv = linear(norm(x, f"{h}.ln_1"), f"{h}.attn.c_attn").split(C, 2)
            q, k, v = (part.view(B, T, heads, C // heads).transpose(1, 2) for part in qkv)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(B, T, C)
            x = x + linear(y, f"{h}.attn.c_proj")
            y = F.gelu(linear(norm(x, f"{h}.ln_2"), f"{h}.mlp.c_fc"), approximate="tanh")
            x = x + linear(y, f"{h}.mlp.c_proj")
        logits = F.linear(norm(x, "ln_f"), w["wte.weight"])
        return F.cross_entropy(logits.view(B * T, -1), targets.view(-1))

    return weights, loss


def torch_trainer(sizes: dict, batch: int, compiled: bool = False, bf16: bool = False) -> Contender:
    """Return a contender that trains a GPT for a step in PyTorch, with its fused AdamW."""
    import torch

    torch.set_num_threads(threads())
    weights, loss = torch_gpt(sizes)
    forward = torch.compile(loss) if compiled else loss
    tokens = np.random.default_rng(0).integers(0, sizes["vocab_size"], (batch, sizes["context"] + 1))
    x, y = (torch.from_numpy(part.copy()) for part in (tokens[:, :-1], tokens[:, 1:]))
    groups = [{"params": [w for w in weights.values() if (w.ndim >= 2) == decays],
               "weight_decay": 0.1 * decays} for decays in (True, False)]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), fused=True)

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            found = forward(weights, x, y)
        found.backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return found.item()

    return Contender(step, amounts=training_amounts(model_of(sizes), batch, bf16),
                     answer=lambda: np.array([step()]), tolerance=2e-2 if bf16 else 1e-4)


def transformers_writer(sizes: dict, task: str) -> Contender:
    """Return a contender for prefill or decoding in transformers: eager, float32, with its KV cache."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(threads())
    ours = model_of(sizes)
    with tempfile.TemporaryDirectory() as folder:
        ours.save_pretrained(folder)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    prompt, half = prompt_of(ours), prompt_of(ours, ours.config.context // 2)

    def read(ids):
        with torch.inference_mode():
            return model(torch.tensor([ids]), use_cache=True, logits_to_keep=1)

    def write(out):
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # about a name that only old versions need
            for _ in range(NEW):
                token = out.logits[:, -1:].argmax(-1)
                out = model(token, past_key_values=out.past_key_values, use_cache=True)

    def logits():
        return read(prompt).logits[0, -1].numpy()

    if task == "prefill":
        return Contender(logits, amounts={"tokens": len(prompt)}, answer=logits, tolerance=1e-3)
    return Contender(write, lambda: (read(half),), amounts={"tokens": NEW})


def llama_cpp_writer(sizes: dict, task: str, bits: int) -> Contender:
    """Return a contender for prefill or decoding in llama.cpp, with its cache in float16."""
    import llama_cpp

    model = model_of(sizes)
    words = vocabulary(BPETokenizer.train(["ab " * 9], 258), model.config.vocab_size)
    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        save_gguf(model, file.name, words, bits)
        llama = llama_cpp.Llama(file.name, n_ctx=model.config.context, n_threads=threads(), n_batch=512,
                                n_threads_batch=threads(), verbose=False, use_mmap=False)

    def logits():
        found = llama_cpp.llama_get_logits_ith(llama.ctx, -1)
        return np.ctypeslib.as_array(found, (model.config.vocab_size,))

    def read(ids):
        llama.reset()
        llama.eval(ids)
        return logits().copy()

    def write(_):
        for _ in range(NEW):
            llama.eval([int(np.argmax(logits()))])

    prompt, half = prompt_of(model), prompt_of(model, model.config.context // 2)
    if task == "prefill":
        return Contender(lambda: read(prompt), amounts={"tokens": len(prompt)}, answer=lambda: read(prompt),
                         tolerance={32: 1e-3, 8: 0.2, 4: 0.9}[bits])
    return Contender(write, lambda: (read(half),), amounts={"tokens": NEW})


def tokenizer(quick: bool) -> Iterator[Race]:
    """Yield the races on the source of Python's library, in documents of 256 KiB.

    Every engine runs its fastest function, with the same pattern and, to encode and decode, the same
    vocabulary, and must give the same ids.
    """
    text = load_corpus("stdlib-code").data[: 1_000_000 if quick else None]
    texts = [text[i : i + DOCUMENT].decode("utf-8", "replace") for i in range(0, len(text), DOCUMENT)]
    yield {"task": "learn"}, apart({"tinyllm": partial(learner, BPETokenizer.train, texts),
                                    "rustbpe": partial(learner, learn_rustbpe, texts)})
    engines = {"tinyllm": ours, "tiktoken": tiktoken, "huggingface": huggingface}
    for task in ("encode", "decode"):
        makers = {name: partial(worker, task, make, texts) for name, make in engines.items()}
        yield {"task": task}, apart(makers)


def learner(learn: Callable, texts: list[str]) -> Contender:
    """Return a contender that learns a vocabulary; its answer is the size of one learnt with 300 wanted."""
    os.environ["RAYON_NUM_THREADS"] = str(threads())  # Rust's libraries read it once, before their first work
    return Contender(partial(learn, texts, VOCABULARY, PATTERN), amounts=_amounts(texts),
                     answer=lambda: np.array([learn(texts[:1], 300, PATTERN).vocab_size]))


def learn_rustbpe(texts: list[str], vocab_size: int, pattern: str):
    """Learn a vocabulary with rustbpe (Karpathy, 2025)."""
    import rustbpe

    new = rustbpe.Tokenizer()
    new.train_from_iterator(iter(texts), vocab_size, pattern=PATTERNS[pattern])
    return new


def worker(task: str, make: Callable, texts: list[str]) -> Contender:
    """Return a contender that encodes texts or decodes their ids, with the functions of `make(ours)`."""
    os.environ["RAYON_NUM_THREADS"] = str(threads())
    tokenizer = BPETokenizer.train(texts, VOCABULARY, PATTERN)
    encode, decode = make(tokenizer)
    if task == "encode":
        return Contender(partial(encode, texts), amounts=_amounts(texts),
                         answer=lambda: np.concatenate(encode(texts)))
    ids = tokenizer.encode_batch(texts)
    return Contender(lambda: list(map(decode, ids)), amounts=_amounts(texts),
                     answer=lambda: np.frombuffer(b"".join(map(decode, ids)), np.uint8))


def _amounts(texts):
    return {"text": sum(len(text.encode()) for text in texts)}


def ours(tokenizer):
    """Return tinyllm's functions to encode texts and to decode ids."""
    return tokenizer.encode_batch, tokenizer.decode_bytes


def tiktoken(ours):
    """Return tiktoken's functions to encode texts and to decode ids, with the vocabulary of a tokenizer."""
    import tiktoken

    theirs = tiktoken.Encoding("ours", pat_str=PATTERNS[ours.pattern], mergeable_ranks=ours.vocabulary.ids,
                               special_tokens={})
    if threads() == 1:  # without tiktoken's threads, because only this thread's time is measured
        return lambda texts: list(map(theirs.encode_ordinary, texts)), theirs.decode_bytes
    return partial(theirs.encode_ordinary_batch, num_threads=threads()), theirs.decode_bytes


def huggingface(ours):
    """Return the functions of Hugging Face's tokenizers to encode texts and to decode ids."""
    import tokenizers

    os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads() > 1 else "false"
    theirs = tokenizers.Tokenizer.from_str(json.dumps(ours.to_dict()))

    def encode(texts):
        return [found.ids for found in theirs.encode_batch_fast(texts, add_special_tokens=False)]

    return encode, lambda ids: theirs.decode(ids, skip_special_tokens=False).encode()


RACES: dict[str, tuple[Callable, float]] = {  # name -> function of `quick` that yields races, seconds of each
    "train": (train, 20.0), "generate": (generate, 5.0), "tokenizer": (tokenizer, 3.0),
}


def main() -> None:
    """Run the races of one name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", choices=RACES)
    parser.add_argument("--quick", action="store_true", help="the smallest model or text only")
    args = parser.parse_args()
    races, seconds = RACES[args.name]
    run(args.name, races(args.quick), seconds / (20 if args.quick else 1), introduce())


if __name__ == "__main__":
    main()
