"""Define Request, what a caller wants; Sequence, a text that an engine continues; and Step, its new token."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.config import check, setting
from tinyllm.decode.sampling import Sampling
from tinyllm.errors import UserError, instead
from tinyllm.tokenizer.text import TextStream

DEFAULT = Sampling()
Likeliest = list[tuple[int, float]]  # tokens and their log-probabilities, the likeliest first


@instead()
@dataclass(frozen=True, kw_only=True)
class Request:
    """Say how to continue a prompt. Raises UserError for an option that cannot be met.

    max_tokens: the largest number of new tokens. 0 with `echo` only scores the prompt.
    sampling: how the next token is drawn.
    stop: strings or token ids that end the text; strings need a tokenizer.
    seed, sample: the key of the random numbers; other sequences in the batch do not change the result.
    mask: a function from the ids so far, prompt included, to the allowed next ids, or to V booleans; see
        tinyllm/constrain/constraint.py for masks that make a text fit a pattern or a JSON Schema.
    bias: {token: number that is added to its logit}, before the mask and the sampling.
    presence_penalty, frequency_penalty: numbers that are subtracted from the logit of each token that was
        drawn before: the first once, the second as often as it was drawn.
    logprobs: compute the log-probability of each new token under the model, without bias, mask and sampling.
    top_logprobs: also store the k likeliest tokens at each new token's place, with their log-probabilities.
    echo: also store both for the tokens of the prompt.
    overflow: what happens when the context is full: "stop", or "slide" (see tinyllm/decode/engine.py).
    """

    max_tokens: int = setting(min=0)
    sampling: Sampling = DEFAULT
    stop: Any = ()
    seed: int = 0
    sample: int = 0
    mask: Callable | None = None
    bias: Mapping[int, float] | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logprobs: bool = False
    top_logprobs: int = setting(0, min=0)
    echo: bool = False
    overflow: str = setting("slide", choices=("slide", "stop"))

    def __post_init__(self) -> None:
        check(self)
        if "" in self.stops:
            raise UserError("an empty stop string would stop everything: leave it out")
        if (self.echo or self.top_logprobs) and not self.logprobs:
            raise UserError("echo and top_logprobs add to logprobs: ask for logprobs=True, too")
        if not np.isfinite(list((self.bias or {}).values())).all():
            raise UserError("a bias must be a finite number: forbid tokens with a mask")

    @cached_property
    def penalised(self) -> bool:
        """Return True if tokens that were drawn become rarer."""
        return bool(self.presence_penalty or self.frequency_penalty)

    @cached_property
    def adjusts(self) -> bool:
        """Return True if logits change before a token is drawn."""
        return self.mask is not None or bool(self.bias) or self.penalised

    @property
    def stops(self) -> tuple:
        """Return the strings and token ids that end the text."""
        return (self.stop,) if isinstance(self.stop, (str, int, np.integer)) else tuple(self.stop)

    def check(self, vocab_size: int, tokenizer: Any) -> None:
        """Raise UserError unless a model with this vocabulary, and this tokenizer or None, can do it."""
        if tokenizer is None and any(isinstance(s, str) for s in self.stops):
            raise UserError("stop strings need a tokenizer: pass tokenizer=, or stop at token ids")
        if self.top_logprobs > vocab_size:
            raise UserError(f"top_logprobs can be {vocab_size} at most, all tokens, got {self.top_logprobs}")
        for token in self.bias or ():
            if not 0 <= token < vocab_size:
                raise UserError(f"a bias is for token {token}: tokens are 0 to {vocab_size - 1}")


@dataclass(eq=False, slots=True)
class Sequence:
    """A text that an engine continues. `ids` are the prompt and the tokens drawn so far."""

    index: int  # how many sequences were added before
    ids: list[int]
    prompt_length: int
    request: Request
    stop_ids: frozenset
    key: int  # names its stream of random numbers
    cache: list | None  # a cache from the caller, one row
    unread: int  # how many tokens before the last are not in the engine's cache yet
    text: TextStream | None = None  # None without a tokenizer
    reused: int = 0  # how many tokens of the prompt were copied from an earlier text
    begin: int = 0  # the index in `ids` at which the model's window begins
    finish: str | None = None  # the reason why it ended: see Step
    error: str | None = None  # what was wrong, if `finish` is "error"
    # If the request asks for them: of `tokens`; with echo, of `ids`. None for ids that no pass predicted.
    logprobs: list[float | None] = field(default_factory=list)
    top_logprobs: list[Likeliest | None] = field(default_factory=list)

    @property
    def tokens(self) -> list[int]:
        """Return the ids that were drawn, without the prompt."""
        return self.ids[self.prompt_length :]

    @property
    def window(self) -> list[int]:
        """Return the ids that the model sees."""
        return self.ids[self.begin :]

    @property
    def cached(self) -> int:
        """Return how many tokens of the window are in the engine's cache, at most all but the last."""
        return len(self.ids) - self.begin - 1 - self.unread

    @property
    def echoes(self) -> bool:
        """Return True while log-probabilities of the prompt are missing."""
        return self.request.echo and len(self.logprobs) < self.prompt_length

    def slide(self, context: int) -> None:
        """If the window exceeds the context, cut it to its last context // 2 ids, which are read again."""
        if len(self.ids) - self.begin > context:
            half = max(1, context // 2)
            self.begin, self.unread = len(self.ids) - half, half - 1

    def tell(self, ids: list[int], last: list[int], text: TextStream) -> None:
        """Append tokens that were not drawn, such as a tool's result; the next step reads only these.

        last: what replaces the last token, of which a caller may take only a part. text: a new stream of what
        is drawn from here on. max_tokens does not count what is told. Call it between two steps of an engine,
        for a sequence that has not ended.
        """
        new, more = [*last, *ids], len(last) + len(ids) - 1
        if self.request.logprobs:
            self.logprobs += [None] * more
        if self.request.top_logprobs:
            self.top_logprobs += [None] * more
        self.request = replace(self.request, max_tokens=self.request.max_tokens + more)
        self.ids[-1:], self.unread, self.text = new, self.unread + more, text

    def score(self, at: int, table: np.ndarray, tokens: Any) -> None:
        """Store the log-probabilities of n tokens, taken from `table`, those of all tokens (n or more, V).

        The first has index `at` in `logprobs`. With top_logprobs, the likeliest tokens are stored, too; of
        equally likely ones the smaller id comes first. A repeated call, after an interrupt, changes nothing.
        """
        for i, (row, token) in enumerate(zip(table, tokens, strict=False), at):
            self.logprobs[i : i + 1] = [float(row[token])]
            if count := self.request.top_logprobs:
                _, best, values = ops.beam_step(np.zeros(1, row.dtype), row[None], count)
                self.top_logprobs[i : i + 1] = [[*zip(best.tolist(), values.tolist(), strict=True)]]

    def push(self, token: int, context: int) -> str:
        """Append a token, and set `finish` if the text ends -> the text to show now."""
        stream, text, stopped, finish = self.text, "", token in self.stop_ids, None
        if stream is not None and not stopped:
            text = stream.push(token)
            stopped = stream.stopped
        count = len(self.ids) + 1
        if stopped:
            finish = "stop"
        elif count - self.prompt_length >= self.request.max_tokens:
            finish = "length"
        elif count - self.begin > context and self.request.overflow == "stop":
            finish = "context"
        if finish and stream is not None:
            text += stream.finish()
        self.ids[count - 1 :], self.finish = [token], finish  # one statement, for Ctrl-C
        return text


@dataclass(eq=False, slots=True)
class Step:
    """The result of one step of an engine for one sequence: its new token."""

    sequence: Sequence
    token: int  # -1 if `finish` is "error"
    text: str  # new text to show; "" while a character or a possible stop string is incomplete
    logits: np.ndarray  # (V,), the model's, before any option of the request is applied
    # On the last step: "stop", "length" (max_tokens), "context" (full, overflow="stop") or "error".
    finish: str | None

    @property
    def index(self) -> int:
        """Return the index of the sequence: how many were added to the engine before it."""
        return self.sequence.index
