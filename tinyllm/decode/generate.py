"""Continue prompts with a model: all at once, or token by token."""

from collections.abc import Iterator
from typing import Any

from tinyllm.decode.engine import Engine
from tinyllm.decode.prefill import begin
from tinyllm.decode.sequence import Request, Sequence, Step
from tinyllm.errors import UserError, instead
from tinyllm.tokenizer.text import is_one_prompt

BEAMS = "beam_search(model, prompts, beams=...) of tinyllm.decode.beams"
OTHER_NAMES = {"max_new_tokens": "max_tokens=", "do_sample": "sampling=tl.Sampling(temperature=0)",
               "beams": BEAMS, "num_beams": BEAMS, "num_return_sequences": "n="} | {
    name: f"sampling=tl.Sampling({name}=...)" for name in ("temperature", "top_k", "top_p", "min_p")
}


def _start(model: Any, prompts: Any, *, n: int = 1, cache: list | None = None, tokenizer: Any = None,
           **options: Any) -> tuple[Engine, list[Sequence]]:
    """Make an engine and add the sequences of all prompts, n for each -> (engine, sequences)."""
    prompts = [prompts] if is_one_prompt(prompts) else prompts
    if n < 1:
        raise UserError(f"n must be at least 1, got {n}")
    if cache is not None and len(cache[0].lengths) != len(prompts):
        raise UserError(f"{len(prompts)} prompts need a cache of as many rows, got {len(cache[0].lengths)}")
    ids, cache = begin(model, prompts, tokenizer, cache)
    settings = {name: options.pop(name) for name in ("batch", "prefill_budget", "draft") if name in options}
    engine = Engine(model, tokenizer, **settings)
    rows = [cache and [layer.keep(slice(b, b + 1)) for layer in cache] for b in range(len(ids))]
    return engine, [engine.add(ids[i // n], cache=rows[i // n], sample=i, **options)
                    for i in range(n * len(ids))]


@instead(_start, Engine, Request, **OTHER_NAMES)
def generate(model: Any, prompts: Any, *, max_tokens: int, logprobs: bool = False, echo: bool = False,
             **options: Any) -> Any:
    """Continue each prompt by up to `max_tokens` tokens -> the new ids, a list for each prompt.

    The options and errors are the same as in `stream`. With logprobs=True the result is (ids,
    log-probabilities), both with a list for each prompt; if also echo=True, both begin with the prompt. A
    single prompt, given without a list, gives one list of ids if n is 1. The ids include the tokens of a stop
    string; the text of `stream` leaves the stop string out.
    """
    options |= {"max_tokens": max_tokens, "logprobs": logprobs, "echo": echo}
    engine, sequences = _start(model, prompts, **options)
    for s in sequences:
        s.text = s.text if s.text and s.text.stop else None  # nobody reads the texts
    for _ in _steps(engine, sequences):
        pass
    ids, scores = [s.ids if echo else s.tokens for s in sequences], [s.logprobs for s in sequences]
    if is_one_prompt(prompts) and len(ids) == 1:
        return (ids[0], scores[0]) if logprobs else ids[0]
    return (ids, scores) if logprobs else ids


@instead(_start, Engine, Request, **OTHER_NAMES)
def stream(model: Any, prompts: Any, *, max_tokens: int, **options: Any) -> Iterator[Step]:
    """Continue each prompt, and yield a `Step` for every new token of every row, in turn.

    prompts: a list of lists of ids, or of texts if there is a tokenizer; or a single prompt.
    sampling: a `Sampling`. Only the commands apply a folder's generation_config.json (`model.generation`).
    n: how many times each prompt is continued; prompt b has the sequences n * b to n * b + n - 1.
    seed: sequence i draws the i-th stream of numbers of this seed.
    cache: one row for each prompt; see `Engine.add`.
    stop, mask, bias, logprobs, top_logprobs, echo, overflow: see `Request`; the same for all prompts.
    tokenizer, batch, prefill_budget, draft: see `Engine`.

    Raises UserError for an invalid prompt or setting at once, and for failed sequences after the last step.
    """
    engine, sequences = _start(model, prompts, max_tokens=max_tokens, **options)
    return _steps(engine, sequences)


def _steps(engine: Engine, sequences: list[Sequence]) -> Iterator[Step]:
    """Yield all steps, then raise UserError if a sequence has failed."""
    yield from (step for step in engine if step.finish != "error")
    for s in sequences:
        if s.error:
            raise UserError(s.error)
