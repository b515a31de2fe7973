"""Define Sequence, a text that an engine continues, and Step, one new token of it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tinyllm.decode.sampling import Sampling
from tinyllm.tokenizer.text import TextStream


@dataclass(eq=False, slots=True)
class Sequence:
    """A text that an engine continues. `ids` are the prompt and the tokens drawn so far.

    For an encoder-decoder, `source` is the prompt, and `ids` begin with the decoder's start token.
    """

    index: int  # the number of sequences added before
    ids: list[int]
    prompt_length: int
    max_tokens: int
    sampling: Sampling
    stop_ids: frozenset
    stream: int  # the key of its random numbers
    text: TextStream | None  # None without a tokenizer
    mask: Callable | None
    cache: list | None  # a cache from the caller, one row
    source: list[int] | None = None  # the prompt of an encoder-decoder, read by the encoder
    known: int = 0  # how many tokens of the window the caller's cache holds
    begin: int = 0  # the index in `ids` at which the model's window begins
    finish: str | None = None  # the reason why it ended: see Step
    error: str | None = None  # what was wrong, if `finish` is "error"
    logprobs: list[float] = field(default_factory=list)  # of `tokens`, if the engine computes them

    @property
    def tokens(self) -> list[int]:
        """Return the ids that were drawn, without the prompt."""
        return self.ids[self.prompt_length :]

    @property
    def window(self) -> list[int]:
        """Return the ids that the model sees. The last id is not in the cache yet."""
        return self.ids[self.begin :]

    def _push(self, token: int, most: float, show: bool) -> str:
        """Append a token, and set `finish` if the text ends -> the text to show now; "" if not `show`."""
        self.ids.append(token)
        stream, text, stopped = self.text, "", token in self.stop_ids
        if stream is not None and not stopped and (show or stream.stop):
            text = stream.push(token)
            stopped = stream.stopped
        if stopped:
            self.finish = "stop"
        elif len(self.ids) - self.prompt_length >= self.max_tokens:
            self.finish = "length"
        elif len(self.ids) - self.begin > most:
            self.finish = "context"
        return text + stream.finish() if self.finish and stream is not None else text


@dataclass(eq=False, slots=True)
class Step:
    """The result of one step of an engine for one sequence: its new token."""

    sequence: Sequence
    token: int  # -1 if `finish` is "error"
    text: str  # new text to show: empty inside a character or a possible stop string
    all_logits: np.ndarray  # (B, V), of all sequences that ran in this step
    place: int  # the row of this sequence in all_logits
    logprob: float | None  # the log-probability of the token by these logits, if the engine computes it
    # On the last step: "stop", "length" (max_tokens), "context" (full, overflow="stop") or "error".
    finish: str | None

    @property
    def row(self) -> int:
        """Return the index of the sequence: the number of sequences that the engine got before it."""
        return self.sequence.index

    @property
    def logits(self) -> np.ndarray:
        """Return the model's logits (V,) for this token, before any sampling setting is applied."""
        return self.all_logits[self.place]
