"""Generation: let a model continue a text, token by token.

A prompt is first read into the KV cache (prefill), then one token at a time is scored, drawn and fed back
(decoding), for all prompts in one batch. On the compiled backend the logits, and so the tokens, are the
same bits whether there is a cache or not, whether a prompt is read at once or in chunks, and whatever
else is in the batch: a kernel computes each row by itself, and row b's n-th draw is number n of
`Random(seed, "sample", b)`, which depends on nothing else.

When the context is full, the window slides: the last half of it (context // 2 tokens) is read anew as if
it were the whole text, and decoding goes on until it is full again. So the price of a new window is paid
once in context / 2 tokens.
"""

import codecs
from dataclasses import dataclass

import numpy as np

from tinyllm import ops
from tinyllm.errors import UserError
from tinyllm.nn import inference
from tinyllm.rng import Random

START = "<|endoftext|>"  # what an empty prompt stands for, or a newline where there is no such token


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen from the logits.

    The steps come in this order: repetition penalty, temperature, top-k, top-p, min-p. Temperature 0
    takes the likeliest token, of equal ones the smallest id. Raises UserError on settings that mean
    nothing.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0

    def __post_init__(self):
        if self.temperature != 0 and not 1e-6 <= self.temperature < np.inf:  # less would overflow float32
            raise UserError(f"temperature must be 0 (greedy) or at least 0.000001, got {self.temperature}")
        if self.top_k is not None and not (self.top_k >= 1 and self.top_k == int(self.top_k)):
            raise UserError(f"top_k must be a whole number of at least 1, got {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UserError(f"top_p must be above 0 and at most 1, got {self.top_p}")
        if self.min_p is not None and not 0 <= self.min_p <= 1:
            raise UserError(f"min_p must be from 0 to 1, got {self.min_p}")
        if not 0.01 <= self.repetition_penalty <= 100:
            raise UserError(
                f"repetition_penalty must be from 0.01 to 100 (1 is none), got {self.repetition_penalty}"
            )

    def choose(self, logits, seen, random):
        """Choose the next token.

        logits (V,), the ids so far, a Random -> id. One number is drawn; at temperature 0, none.
        Raises UserError when the logits are NaN, as they are when a model's weights are broken.
        """
        if np.isnan(logits).any():
            raise UserError(
                "the model's logits are not numbers (NaN): its weights are broken; take an earlier checkpoint"
            )
        if self.repetition_penalty != 1:
            logits = ops.repetition_penalty(logits, np.array(seen, np.int64), self.repetition_penalty)
        if self.temperature == 0:
            return int(np.argmax(logits))
        logits = ops.temperature(logits, self.temperature)
        if self.top_k is not None:
            logits = ops.top_k(logits, self.top_k)
        if self.top_p is not None:
            logits = ops.top_p(logits, self.top_p)
        if self.min_p is not None:
            logits = ops.min_p(logits, self.min_p)
        return int(ops.sample(ops.softmax(logits), np.array(random.uniform())))


class TextStream:
    """Turn tokens into text as they come, never showing half a character or a part of a stop string.

    The stop string that is complete first ends the text, just before itself; then `stopped` is True.
    Where tokens begin and end makes no difference.
    """

    def __init__(self, tokenizer, stop=()):
        self.tokenizer = tokenizer
        self.stop = stop
        self.stopped = False
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")  # keeps half a character back
        self._held = ""  # text that may turn out to be the beginning of a stop string

    def push(self, token):
        """Add one token and return the text that can be shown now, which may be empty."""
        self._held += self._decoder.decode(self.tokenizer.decode_bytes([token]))
        return self._release()

    def finish(self):
        """Return the text that was still held back: there are no more tokens."""
        if self.stopped:
            return ""
        self._held += self._decoder.decode(b"", final=True)
        text = self._release()
        text, self._held = text + self._held, ""
        return text

    def _release(self):
        found = [(self._held.find(s) + len(s), -len(s)) for s in self.stop if s in self._held]
        if found:
            end, minus_length = min(found)  # the first to be complete; of two that end together, the longer
            text, self._held, self.stopped = self._held[: end + minus_length], "", True
            return text
        keep = max((n for s in self.stop for n in range(1, len(s)) if self._held.endswith(s[:n])), default=0)
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text


@dataclass(frozen=True, eq=False, slots=True)
class Step:
    """One new token of one row, as `stream` yields it."""

    row: int  # which prompt it continues
    token: int
    text: str  # what can be shown now: empty in the middle of a character, or of what may be a stop string
    logits: np.ndarray  # (V,), as the model gave them, before any sampling setting
    finish: str | None  # on the last step: "stop", "length" (max_tokens) or "context" (full, overflow="stop")


class _Row:
    """One text that is being written: its ids, where the model's window begins, and its random numbers."""

    def __init__(self, index, ids, random, text):
        self.index = index
        self.ids = ids
        self.begin = 0
        self.random = random
        self.text = text  # a TextStream, or None without a tokenizer
        self.count = 0

    @property
    def window(self):
        """The ids that the model sees. In decoding, the last of them is not in the cache yet."""
        return self.ids[self.begin :]


def generate(model, prompts, *, max_tokens, **options):
    """Continue each prompt by up to `max_tokens` tokens, and return the new ids, a list for each prompt.

    Takes the options of `stream`. The ids are all that were drawn, those of a stop string included: it is
    the text of `stream`'s steps that is cut exactly before it.
    """
    new = [[] for _ in prompts]
    for step in stream(model, prompts, max_tokens=max_tokens, **options):
        new[step.row].append(step.token)
    return new


def stream(
    model,
    prompts,
    *,
    max_tokens,
    temperature=1.0,
    top_k=None,
    top_p=None,
    min_p=None,
    repetition_penalty=1.0,
    seed=0,
    stop=(),
    tokenizer=None,
    use_cache=True,
    prefill_chunk=None,
    overflow="slide",
    cache=None,
):
    """Continue each prompt, yielding a `Step` for every new token of every row, in turn.

    prompts: a list of lists of ids, or of texts if there is a tokenizer. An empty prompt starts from
        `<|endoftext|>`, or from a newline if the tokenizer has no such token.
    seed: an int, or one for each prompt; with its own seed, a prompt goes on the same way in any batch.
    stop: strings or token ids, each of which ends a row; strings need a tokenizer.
    use_cache: False computes everything anew for every token: slow, and a proof that the cache is right.
    prefill_chunk: read prompts that many tokens at a time, which bounds the memory that a long one takes.
    overflow: what happens when the context is full: "slide", as the head of this file says, or "stop".
    cache: from `model.new_cache()`, for one prompt, of which it may hold the first tokens already. In the
        end it holds the window up to the last token but one, so that a conversation can go on.

    Raises UserError, at the call, when a prompt or a setting cannot be honoured.
    """
    sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty)
    stop = (stop,) if isinstance(stop, (str, int, np.integer)) else tuple(stop)
    _check_options(prompts, max_tokens, stop, tokenizer, prefill_chunk, overflow, cache)
    if np.ndim(seed) and len(seed) != len(prompts):
        raise UserError(f"{len(prompts)} prompts need as many seeds, or one for all; got {len(seed)}")
    strings = [s for s in stop if isinstance(s, str)]
    rows = []
    for b, prompt in enumerate(prompts):
        ids = read_prompt(model.config, b, prompt, tokenizer)
        random = Random(seed, "sample", b) if np.ndim(seed) == 0 else Random(seed[b], "sample", 0)
        rows.append(_Row(b, ids, random, TextStream(tokenizer, strings) if tokenizer else None))
    if not use_cache:
        cache = None
    elif cache is None:
        cache = model.new_cache(len(rows))
    endings = _Endings(max_tokens, {s for s in stop if not isinstance(s, str)}, overflow)
    return _run(model, rows, cache, sampling, endings, prefill_chunk)


@dataclass(frozen=True)
class _Endings:
    """What ends a row."""

    max_tokens: int
    stop_ids: set
    overflow: str

    def reason(self, row, context):
        """Return why the row ends with its last token, or None if it goes on."""
        if row.ids[-1] in self.stop_ids or (row.text and row.text.stopped):
            return "stop"
        if row.count >= self.max_tokens:
            return "length"
        return "context" if self.overflow == "stop" and len(row.window) > context else None


def _run(model, rows, cache, sampling, endings, chunk):
    if endings.max_tokens == 0:
        return
    context = model.config.context
    modules = [m for _, m in model.named_modules()]
    known = min(layer.length for layer in cache) if cache else 0  # what a cache of your own brings along
    for i, row in enumerate(rows):
        _prefill(model, row, cache, i, chunk, known)
    while rows:
        going_on = []
        for i, (row, logits) in enumerate(zip(rows, _next_logits(model, modules, rows, cache), strict=True)):
            step = _advance(row, logits, sampling, endings, context)
            if step.finish is None:
                going_on.append(i)
            yield step
        if cache and 0 < len(going_on) < len(rows):
            cache = [layer.keep(going_on) for layer in cache]
        rows = [rows[i] for i in going_on]
        for i, row in enumerate(rows):
            if len(row.window) > context:
                row.begin = len(row.ids) - max(1, context // 2)
                _prefill(model, row, cache, i, chunk)


def _advance(row, logits, sampling, endings, context):
    """Choose a row's next token, and say what it shows and whether it is the last."""
    token = sampling.choose(logits, row.ids, row.random)
    row.ids.append(token)
    row.count += 1
    text = row.text.push(token) if row.text and token not in endings.stop_ids else ""
    finish = endings.reason(row, context)
    if finish and row.text:
        text += row.text.finish()
    return Step(row.index, token, text, logits, finish)


def _prefill(model, row, cache, i, chunk, known=0):
    """Read a row's window into row i of the cache, from `known` on; the last token is left to decoding."""
    if cache is None:
        return
    mine = [layer.row(i) for layer in cache]
    window = np.array([row.window[:-1]])
    for layer in mine:
        layer.truncate(min(known, window.size))
    chunk = chunk or max(1, window.size)
    with inference(model):
        for start in range(mine[0].length, window.size, chunk):
            model.hidden(window[:, start : start + chunk], mine)


def _next_logits(model, modules, rows, cache):
    """Score the next token of every row: -> (rows, V)."""
    with inference(model, modules):
        if cache is None:
            return [model.head(model.hidden(np.array([row.window]))[:, -1]).data[0] for row in rows]
        last = np.array([[row.ids[-1]] for row in rows])
        return model.head(model.hidden(last, cache)[:, -1]).data


def read_prompt(config, b, prompt, tokenizer):
    """Return a prompt's ids as a list. Raises UserError naming the prompt if the model cannot read it."""
    if isinstance(prompt, (str, bytes)):
        if tokenizer is None:
            raise UserError(
                f"prompt {b} is text, which needs a tokenizer: pass tokenizer=, or a list of token ids"
            )
        prompt = tokenizer.encode(prompt)
    ids = [int(i) for i in prompt] or [_start_token(tokenizer)]
    for i in ids:
        if not 0 <= i < config.vocab_size:
            raise UserError(
                f"prompt {b} holds token {i}, outside of the model's vocabulary of {config.vocab_size}"
            )
    if len(ids) > config.context:
        raise UserError(
            f"prompt {b} has {len(ids)} tokens and the model's context is {config.context}: shorten it"
        )
    return ids


def _start_token(tokenizer):
    if tokenizer is None:
        raise UserError("an empty prompt needs a token to start from: give one, or pass tokenizer=")
    if START in tokenizer.special_tokens:
        return tokenizer.special_tokens[START]
    try:
        return tokenizer.encode("\n")[0]
    except UserError:
        raise UserError(
            f"this tokenizer knows neither {START} nor a newline to start from: give a prompt"
        ) from None


def _check_options(prompts, max_tokens, stop, tokenizer, prefill_chunk, overflow, cache):
    if isinstance(prompts, (str, bytes)):
        raise TypeError("prompts is a list of prompts: write [prompt]")
    if max_tokens < 0:
        raise UserError(f"max_tokens must be at least 0, got {max_tokens}")
    if "" in stop:
        raise UserError("an empty stop string would stop everything: leave it out")
    if tokenizer is None and any(isinstance(s, str) for s in stop):
        raise UserError("stop strings need a tokenizer: pass tokenizer=, or stop at token ids")
    if prefill_chunk is not None and prefill_chunk < 1:
        raise UserError(f"prefill_chunk must be at least 1, got {prefill_chunk}")
    if overflow not in ("slide", "stop"):
        raise UserError(f'overflow must be "slide" or "stop", got {overflow!r}')
    if cache is not None and len(prompts) != 1:
        raise ValueError(f"a cache of your own is for one prompt, got {len(prompts)} prompts")
