"""Let a model write only texts that fit a regular expression, such as yes|no, or a JSON Schema.

    fits = Constraint.of_regex(r"[A-Z][a-z]+ is \\d+ years old\\.", tokenizer, model.end_ids)
    tl.generate(model, ids, max_tokens=40, mask=fits.within(40, len(ids)))

A token is allowed if its bytes fit, and if the shortest end after them fits into the tokens that are left. So
a text that begins is finished: max_tokens cuts none off, and none comes to a place where nothing fits.
"""

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from math import inf
from threading import Lock
from typing import Any

import numpy as np

from tinyllm.constrain.expressions import NOTHING, Expressions
from tinyllm.constrain.json_schema import read_schema
from tinyllm.constrain.regex import read_regex
from tinyllm.errors import UserError

LONGEST = 32  # bytes; a longer token is never allowed, and what it says can be written with shorter ones
MOST_STATES = 20_000  # which take 1 kB each; then they are forgotten
MOST_MASKS = 256
MOST_DERIVED = 600_000  # options and bytes that are looked at for one token, in about 0.3 seconds


class Constraint:
    """Say which tokens may follow which, for texts that `build(grammar)` describes.

    end: ids that end a text. Raises UserError if no text fits, or if the tokenizer can write none that fits.
    """

    def __init__(self, build: Callable[[Expressions], int], tokenizer: Any, end: Collection[int]):
        if not end:
            raise UserError("a text that must fit needs a token for its end: pass end=model.end_ids")
        self._build, self._end = build, sorted(end)
        self._ids, self._bytes, self._texts, self._longer = _spelling(tokenizer, len(tokenizer), (*end,))
        self._lock = Lock()
        self._writable = [text[0] for text in self._bytes.values() if len(text) == 1]
        self._forget()
        self._least = self.grammar.shortest[self.start]
        if self._least == inf:
            raise UserError("no text fits, or this tokenizer cannot write one that does")

    @classmethod
    def of_regex(cls, pattern: str, tokenizer: Any, end: Collection[int]) -> "Constraint":
        """Allow the texts that fit a pattern as a whole; tinyllm/constrain/regex.py lists its parts."""
        return cls(lambda grammar: read_regex(grammar, pattern), tokenizer, end)

    @classmethod
    def of_schema(cls, schema: Any, tokenizer: Any, end: Collection[int]) -> "Constraint":
        """Allow JSON that is valid under a schema; tinyllm/constrain/json_schema.py lists its keywords."""
        return cls(lambda grammar: read_schema(grammar, schema), tokenizer, end)

    def within(self, max_tokens: int, begin: int = 0) -> Callable[[Sequence[int]], np.ndarray]:
        """Return a mask for a request of max_tokens behind a prompt of `begin` tokens.

        Raises UserError if the shortest text may take more, or if the first token takes too long to find.
        """
        if self._least > max_tokens:
            raise UserError(f"what fits may take {self._least} tokens at least; max_tokens is {max_tokens}")
        last: list[Any] = [None, [], 1]  # a grammar, tokens, and the state to which these lead

        def mask(ids):
            with self._lock:  # other threads may follow other texts
                try:
                    return self._mask(ids[begin:], max_tokens + begin - len(ids), last)
                except UserError:  # a second try must not find the work of the first, and go on
                    self._forget()
                    raise

        mask([0] * begin)
        return mask

    def _forget(self):
        """Begin a grammar in which only the first state is known."""
        self.grammar = Expressions(self._writable)
        self.start = self._build(self.grammar)
        self.grammar.finish()
        self._state_of: dict[int, int] = {}  # of expressions
        self._expressions: list[int] = []
        self._next = np.full((64, 256), -1, np.int32)  # the states after each byte; -1: not derived yet
        self._shortest = np.zeros(64)  # of states, in bytes
        self._reached: dict[int, np.ndarray] = {}
        self._limit = self.grammar.derived + MOST_DERIVED
        self._derive([self._number(NOTHING)])
        self._number(self.start)

    def _number(self, e):
        if e not in self._state_of:
            self._state_of[e] = state = len(self._expressions)
            self._expressions.append(e)
            if state == len(self._shortest):
                self._next = np.concatenate([self._next, np.full_like(self._next, -1)])
                self._shortest = np.concatenate([self._shortest, self._shortest])
            self._shortest[state] = self.grammar.shortest[e]
        return self._state_of[e]

    def _derive(self, states):
        """Fill in the rows of states that were not derived yet. Raises UserError if there are too many."""
        for state in states:
            if self._next[state, 0] < 0:
                if self.grammar.derived > self._limit:
                    raise UserError("this form takes too long to follow: count fewer parts that look alike")
                row = [self._number(e) for e in self.grammar.row(self._expressions[state])]
                self._next[state] = row

    def _after(self, state):
        """Return the states after each token, in the order of `_ids`; 0 for those that do not fit."""
        if state not in self._reached:
            states = np.full(len(self._ids), state, np.int32)
            for column, count in enumerate(self._longer):
                rows = np.flatnonzero(states[:count])
                now = states[rows]
                self._derive(np.unique(now).tolist())
                states[rows] = self._next[now, self._texts[rows, column]]
            if len(self._reached) >= MOST_MASKS:
                del self._reached[next(iter(self._reached))]
            self._reached[state] = states
        return self._reached[state]

    def _mask(self, tokens, left, last):
        """Return which tokens may come after these, if `left` may come -> ids. last: of the call before."""
        if len(self._expressions) > MOST_STATES:
            self._forget()
        self._limit = self.grammar.derived + MOST_DERIVED
        grammar, before, state = last
        if grammar is not self.grammar or before != tokens[: len(before)]:
            before, state = [], 1
        for token in tokens[len(before) :]:
            for byte in self._bytes.get(token, b""):
                self._derive([state])
                state = int(self._next[state, byte])
        last[:] = self.grammar, [*tokens], state
        states = self._after(state)
        allowed = self._ids[(states > 0) & (self._shortest[states] < left)]
        return allowed if self._shortest[state] else np.append(allowed, self._end)


@lru_cache(8)
def _spelling(tokenizer, size, end):
    """Return the ids of tokens, the longest first, {id: bytes}, the same as rows, and how many are longer."""
    texts = {i: text for i, text in tokenizer.bytes_of_tokens().items() if 0 < len(text) <= LONGEST}
    ids = sorted(texts.keys() - {*end}, key=lambda i: -len(texts[i]))
    rows = np.frombuffer(b"".join(texts[i].ljust(LONGEST, b"\0") for i in ids), np.uint8).reshape(-1, LONGEST)
    longer = [sum(len(texts[i]) > n for i in ids) for n in range(LONGEST)]
    return np.array(ids, np.int64), {i: texts[i] for i in ids}, rows, longer
