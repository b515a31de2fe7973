"""Generation: how fast a prompt is read, and how fast tokens are written with the KV cache and without."""

from functools import partial
from statistics import median

from tinyllm.bench.timing import Contender, race, ratio
from tinyllm.generate import generate, stream

NEW = 32  # tokens per sample, or as many as fit in half a context


def measure_generation(setting, seconds, least=3):
    """Time generation of one row with untrained weights -> yields a record for each of three tasks.

    prefill: read a context full of tokens and choose the next. decode: go on from half a context, reading
    the prompt off the clock. decode without cache: the same, where every token reads all before it anew.
    """
    model = setting.model()
    context = setting.context
    new = min(NEW, context - context // 2)
    prompt = [i % setting.vocab_size for i in range(context)]
    half = prompt[: context // 2]
    times = race({
        "prefill": Contender(partial(generate, model, [prompt], max_tokens=1)),
        "decode": Contender(_exhaust, partial(_begin, model, half, new, True)),
        "decode without cache": Contender(_exhaust, partial(_begin, model, half, new, False)),
    }, seconds, least)  # fmt: skip
    for task, tokens in (("prefill", context), ("decode", new), ("decode without cache", new)):
        took = median(times[task])
        record = {"bench": "generate", "setting": setting.name, "task": task, "tokens": tokens}
        record |= {"seconds": took, "tokens_per_second": tokens / took, "rounds": len(times[task])}
        if task == "decode":
            record["times_without_cache"] = ratio(times, "decode without cache", "decode")
        yield record


def _begin(model, prompt, new, use_cache):
    """Start a stream and take its first token, so that the prompt has been read."""
    steps = stream(model, [prompt], max_tokens=new + 1, use_cache=use_cache)
    next(steps)
    return (steps,)


def _exhaust(steps):
    for _ in steps:
        pass
