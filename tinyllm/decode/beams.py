"""Find likely texts by beam search, which keeps the N likeliest beginnings at each step.

Greedy decoding takes the likeliest token at each step and cannot undo a choice. Beam search scores every
continuation of its N beginnings, and keeps the best N. A finished text is set aside with the score log p /
length ** length_penalty. The search ends when N texts are set aside, and no beginning has a better score than
the worst of them, as in transformers.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.decode.prefill import begin
from tinyllm.errors import UserError
from tinyllm.nn import inference
from tinyllm.padding import pad_right
from tinyllm.tokenizer.text import is_one_prompt


@dataclass
class Beams:
    """Hold the beam search for one prompt: N beginnings, their log-probabilities, and the finished texts."""

    limit: int  # the largest number of tokens of a text
    length_penalty: float
    texts: list[list[int]]
    scores: np.ndarray  # float32 (N,)
    ended: list[tuple[list[int], float]] = field(default_factory=list)  # at most N, the best first
    done: bool = False

    def advance(self, logprobs: np.ndarray, stops: frozenset[int]) -> list[int]:
        """Extend the beginnings by a token: logprobs (N, V) -> the kept ones' old indices, [] at the end."""
        N = len(logprobs)
        best = ops.beam_step(self.scores, logprobs, max(2, 1 + len(stops)) * N)  # at least N do not end
        going: list[tuple[list[int], float, int]] = []
        length = len(self.texts[0]) + 1
        for rank, (beam, token, score) in enumerate(zip(*(x.tolist() for x in best), strict=True)):
            text = [*self.texts[beam], token]
            if token not in stops and length < self.limit:
                going.append((text, score, beam))
            elif rank < N:
                self.ended.append((text, score / length**self.length_penalty))
        self.ended = sorted(self.ended, key=lambda each: -each[1])[:N]
        if not going:
            self.done = True
            return []
        self.texts, scores, parents = map(list, zip(*going[:N], strict=True))
        self.scores = np.array(scores, np.float32)
        if len(self.ended) == N:
            self.done = scores[0] / length**self.length_penalty <= self.ended[-1][1]
        return [] if self.done else parents


def beam_search(model: Any, prompts: list, *, max_tokens: int, beams: int = 4, length_penalty: float = 1.0,
                stop: Any = (), tokenizer: Any = None) -> list[list[tuple[list[int], float]]]:
    """Find the likeliest continuations of each prompt -> up to `beams` pairs (ids, score) each, best first.

    prompts: lists of ids, or texts if there is a tokenizer; their lengths may differ.
    length_penalty: above 0 prefers long texts, 0 compares probabilities alone, below 0 prefers short texts.
    stop: ids, or strings of one token, that end a text. The end token of an encoder-decoder always ends it.

    A text also ends after `max_tokens`, or when the context is full. One beam is greedy decoding. Raises
    UserError when a prompt or a setting is invalid.
    """
    if beams < 1 or max_tokens < 1:
        raise UserError(f"beams and max_tokens must be at least 1, got {beams} and {max_tokens}")
    prompts = [prompts] if is_one_prompt(prompts) else prompts
    stop = (stop,) if isinstance(stop, str | int) else stop
    texts, given = begin(model, prompts, tokenizer)
    stops = frozenset([*model.end_ids, *(_stop_token(each, tokenizer) for each in stop)])
    if beams > model.config.vocab_size:
        raise UserError(f"{beams} beams need as many tokens, and there are {model.config.vocab_size}")
    searches = [Beams(min(max_tokens, model.config.context + 1 - len(ids)), length_penalty,
                      [[] for _ in range(beams)], np.array([0.0] + [-1e9] * (beams - 1), np.float32))
                for ids in texts]
    before = [len(ids) - 1 for ids in texts]
    cache = given or model.new_cache(len(texts), 0)
    rows = np.repeat(np.arange(len(texts)), beams)
    with inference(model):
        for layer in cache:
            layer.reserve(0, min(max(before, default=0) + max_tokens, model.config.context))
        if any(before):
            model.hidden(pad_right([ids[:-1] for ids in texts]), cache)
        for layer in cache:  # forget the padding
            layer.rewind(before)
        cache = [layer.keep(rows) for layer in cache]
        _search(model, searches, cache, np.array([ids[-1] for ids in texts])[rows], stops)
    return [search.ended for search in searches]


def _search(model, searches, cache, last, stops):
    """Run the searches for all prompts together, each with N rows of the cache, until all are done."""
    while searches:
        logprobs = ops.log_softmax(model.head(model.hidden(last[:, None], cache)[:, -1]).data)
        N, parents = len(searches[0].texts), []
        for row, search in enumerate(searches):
            parents += [row * N + beam for beam in search.advance(logprobs[row * N : (row + 1) * N], stops)]
        going = [search for search in searches if not search.done]
        rows = np.array(parents, np.int64)
        if len(going) < len(searches):
            cache = [layer.keep(rows) for layer in cache]
        elif len(moved := np.flatnonzero(rows != np.arange(len(rows)))):
            for layer in cache:  # not the encoder's part, which is equal for all beams
                layer.copy(layer, rows[moved], moved, source=False)
        searches = going
        last = np.array([text[-1] for search in searches for text in search.texts])


def _stop_token(stop, tokenizer):
    """Return the id of a stop token, given as an id or a string. Raises UserError unless it is one token."""
    if not isinstance(stop, str):
        return int(stop)
    ids = tokenizer.encode(stop) if tokenizer else []
    if len(ids) != 1:
        raise UserError(f"beam search stops at single tokens, and {stop!r} is {len(ids)}: leave it out")
    return ids[0]
