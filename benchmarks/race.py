"""Race tinyllm against other libraries: `python benchmarks/race.py NAME [--seconds S] [--threads N]`.

    train      GPT nano and mini beside PyTorch: eager and compiled, in float32 and bfloat16
    generate   beside transformers, and for LLaMA llama.cpp, from the same weights
    translate  a T5 that writes greedily, beside transformers
    encode     64 sentences through an encoder of MiniLM's sizes, beside transformers
    tokenizer  learning, encoding, decoding and splitting beside tiktoken, tokenizers, rustbpe and regex
    rows       ops on rows beside PyTorch, 1,496 shapes on one thread
    families   two families of tinyllm of equal sizes
    draft      a pass over five tokens beside a pass over one, as speculative decoding needs

The first contender of a race is tinyllm, and a ratio is the other's time as a multiple of its time. Each
library runs in a process of its own, and must compute what tinyllm computes. `pip install --editable
'.[peers]'` installs them all; one that is not installed is left out, and a line says so.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import other_models
import other_rows
import other_tokenizers

import tinyllm as tl
from tinyllm.bench import rows
from tinyllm.bench.race import Contender
from tinyllm.bench.rows import BATCH, GREEDY, SIZES, Race, model_of
from tinyllm.cli.bench import introduce, run
from tinyllm.models import family
from tinyllm.models.t5 import PRESETS as T5_SIZES
from tinyllm.nn import inference
from tinyllm.nn.module import forward_flops

MINILM = {"model_type": "bert", "task": "encode", "vocab_size": 30522, "context": 512, "layers": 6,
          "heads": 12, "width": 384, "hidden": 1536}


def train(quick: bool) -> Iterator[Race]:
    """Yield the races of `tinyllm bench train`, with PyTorch."""
    for about, makers, apart in rows.train_races(quick):
        name = about["setting"]
        modes = {mode: partial(other_models.torch_trainer, SIZES[name], BATCH[name], how)
                 for mode, how in other_models.MODES.items()}
        yield about, makers | modes, apart


def generate(quick: bool) -> Iterator[Race]:
    """Yield the races of `tinyllm bench generate`, with transformers and llama.cpp."""
    for about, makers, apart in rows.generate_races(quick):
        sizes, task = SIZES[about["setting"]], about["task"]
        theirs: dict[str, Callable] = {"transformers": partial(other_models.transformers_writer, sizes, task)}
        if sizes["model_type"] == "llama":
            theirs |= {f"llama.cpp {kind}": partial(other_models.llama_cpp_writer, sizes, task, kind)
                       for kind in other_models.GGUF_KINDS}
        yield about, makers | theirs, apart


def translate(quick: bool) -> Iterator[Race]:
    """Yield races of 64 greedy tokens after a prompt of 64."""
    for name in ["nano"] if quick else ["nano", "small"]:
        sizes = {"model_type": "t5", "vocab_size": 32128, **T5_SIZES[name]}
        yield {"setting": name}, {"tinyllm": partial(translator, sizes),
                                  "transformers": partial(other_models.transformers_translator, sizes)}, True


def translator(sizes: dict) -> Contender:
    """Return tinyllm's greedy answer to a T5's prompt to time."""
    model, prompt = model_of(sizes), other_models.t5_prompt(sizes)

    def write():
        return np.array(tl.generate(model, prompt.tolist(), max_tokens=other_models.T5_NEW, sampling=GREEDY))

    return Contender(write, amounts={"tokens": other_models.T5_NEW}, answer=write)


def encode(quick: bool) -> Iterator[Race]:
    """Yield one race of vectors of sentences."""
    sizes = MINILM | ({"layers": 1, "width": 48} if quick else {})
    theirs = partial(other_models.transformers_encoder, sizes)
    yield {}, {"tinyllm": partial(encoder, sizes), "transformers": theirs}, True


def encoder(sizes: dict) -> Contender:
    """Return tinyllm's vectors of sentences to time."""
    embed, sentences = model_of(sizes).embed_sentences, other_models.sentences()
    amounts = {"tokens": sum(map(len, sentences))}
    return Contender(lambda: embed(sentences), amounts=amounts, answer=lambda: embed(sentences))


def families(quick: bool) -> Iterator[Race]:
    """Yield races of two families of equal sizes that train, and that write whole contexts from one token.

    A mixture of 8 experts, of which a token uses 2, meets a LLaMA whose MLP does the work of those two. What
    a FLOP costs is the ratio of their GFLOP/s.
    """
    for pair in (("llama", "mixtral"), ("gpt2", "llama")):
        for name in ["nano"] if quick else BATCH:
            sizes = {each: {"model_type": each, "vocab_size": 512, **family(each).PRESETS[name]}
                     for each in pair}
            for task, make in (("train", rows.trainer), ("write", writer)):
                yield {"setting": name, "task": task}, {
                    each: partial(unchecked, make, sizes[each], BATCH[name]) for each in pair}, False


def unchecked(make: Callable[..., Contender], *args: object) -> Contender:
    """Return a contender whose answer may differ from the others'."""
    contender = make(*args)
    contender.answer = None
    return contender


def writer(sizes: dict, batch: int) -> Contender:
    """Return the writing of whole contexts to time."""
    model = model_of(sizes)
    prompts = np.random.default_rng(0).integers(0, model.config.vocab_size, (batch, 1)).tolist()
    new = model.config.context - 1
    write = partial(tl.generate, model, prompts, max_tokens=new, sampling=GREEDY)
    return Contender(write, amounts={"tokens": batch * new, "flops": batch * forward_flops(model, new)})


def draft(quick: bool) -> Iterator[Race]:
    """Yield races of a pass over one token and a pass over five, both behind 64 in the cache.

    Checking a draft of speculative decoding is such a pass: it reads the same weights, so it should cost
    little more.
    """
    for name in ["nano"] if quick else ["small", "llama-110m"]:
        for bits in (32, 8, 4):
            model = model_of(SIZES[name], bits)
            engines = {f"{n} tokens": partial(short_pass, model, n) for n in (1, 5)}
            yield {"setting": name, "task": f"{bits} bits"}, engines, False


def short_pass(model, tokens: int) -> Contender:
    """Return a pass over a few tokens to time, all logits included, behind tokens that were read before."""
    before = min(64, model.config.context // 2)
    caches, ids = model.new_cache(), np.arange(before + tokens)[None] % model.config.vocab_size
    with inference(model):
        model.hidden(ids[:, :before], caches)

    def step():
        for cache in caches:
            cache.lengths[:] = before
        with inference(model):
            model.head(model.hidden(ids[:, before:], caches))

    return Contender(step, amounts={"tokens": tokens})


RACES = {  # name -> races of (quick), seconds of each
    "train": (train, 20.0), "generate": (generate, 5.0),
    "translate": (translate, 5.0), "encode": (encode, 5.0),
    "tokenizer": (other_tokenizers.tokenizer, 3.0),
    "rows": (other_rows.races, 0.1), "families": (families, 5.0), "draft": (draft, 8.0),
}


def main(argv: list[str] | None = None) -> None:
    """Run the races of one name."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("name", choices=RACES)
    parser.add_argument("--seconds", type=float, help="of each race")
    parser.add_argument("--threads", type=int, help="of every library (default: as many as there are CPUs)")
    parser.add_argument("--data", help="tokenizer: a file or a corpus; rows: a family of ops")
    parser.add_argument("--quick", action="store_true", help="the smallest model or text only")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    args = parser.parse_args(argv)
    if args.threads:
        tl.threads(args.threads)
    races, seconds = RACES[args.name]
    if args.data and args.name not in ("tokenizer", "rows"):
        parser.error("--data goes with tokenizer and rows")
    given = {"data": args.data} if args.data else {}
    seconds = args.seconds if args.seconds is not None else seconds / (20 if args.quick else 1)
    run(args.name, races(args.quick, **given), seconds, introduce(args.json), args.json)


if __name__ == "__main__":
    main()
