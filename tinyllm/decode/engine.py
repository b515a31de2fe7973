"""Continue many texts at once, token by token: start those that wait, and run steps.

An `Engine` decodes all its sequences in one batch. First a sequence's prompt is read into the KV cache
(prefill). Then, for each new token, the model scores the vocabulary, a token is drawn, and it becomes the
next input (decoding). Sequences can join or end while others run; the cache rows of finished sequences
are used again.

On the compiled backend the logits, and so the tokens, are the same bits with and without a cache, with any
budget for prompts, and with any other sequences in the batch. This holds because a kernel computes each
row separately, and the n-th token of a sequence uses the n-th number of its own random stream.

When the context is full, the window slides: the last context // 2 tokens are read again as if they were the
whole text, and decoding continues until the context is full again. So tokens are read again only once every
context / 2 tokens.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinyllm.decode.choose import choose, score
from tinyllm.decode.prefill import begin, prompt_key, read_prompts
from tinyllm.decode.prefix import Prefixes
from tinyllm.decode.sampling import Sampling
from tinyllm.decode.sequence import DEFAULT, Request, Sequence, Step
from tinyllm.decode.slots import Slots
from tinyllm.errors import UserError, instead
from tinyllm.nn import inference
from tinyllm.padding import pad_right
from tinyllm.rng import Random
from tinyllm.tokenizer.text import TextStream


@instead()
class Engine:
    """Decode many sequences together: `add` them at any time, and iterate to get a `Step` for each token.

    batch: the largest number of sequences decoded at once; others wait until one ends.
    prefill_budget: how many tokens of prompts a step reads at most. A long prompt is read over several steps,
        and each step also draws the other sequences' next tokens. A smaller budget needs less memory.
    draft: a `Lookup` or `DraftModel` of tinyllm/decode/speculative.py, which proposes tokens. The texts are
        the same; `passes` and `written` count passes of the model and the tokens that they gave.
    prefixes: a store of earlier texts; a sequence that begins like one of them reads only the rest.

    A sequence whose logits are NaN, or whose mask allows no token, ends with `finish="error"` and a message
    in `error`; the others continue. To end a sequence early, set its `finish`, between two steps. When a step
    is interrupted, by an error in a mask or by Ctrl-C, the next call repeats it: all that counts is derived
    from the ids of the sequences, which grow last.
    """

    def __init__(self, model: Any, tokenizer: Any = None, *, batch: int = 256, prefill_budget: int = 4096,
                 draft: Any = None, prefixes: Prefixes | None = None):
        if why := getattr(model, "silent", ""):
            raise UserError(why)
        for name, number in (("batch", batch), ("prefill_budget", prefill_budget)):
            if number < 1:
                raise UserError(f"{name} must be at least 1, got {number}")
        if draft is not None:
            draft.check(model)
        self.model, self.tokenizer, self.draft = model, tokenizer, draft
        self.passes = self.written = 0
        self.batch, self.prefill_budget, self.prefixes = batch, prefill_budget, prefixes
        self.running: list[Sequence] = []  # sequence i has row i of the slots
        self.waiting: list[Sequence] = []
        self.slots = Slots(model)
        self._added = 0
        self._modules = [m for _, m in model.named_modules()]

    def add(self, prompt: Any, sampling: Sampling = DEFAULT, *, cache: list | None = None,
            **options: Any) -> Sequence:
        """Add a prompt, to be continued as `Request(sampling=sampling, **options)` says -> its Sequence.

        prompt: ids, or a text if there is a tokenizer. An empty prompt starts from `<|endoftext|>`, or from a
            newline if the tokenizer has no `<|endoftext|>`.
        cache: a cache with one row, which is copied: either of the prompt's first tokens, from
            `model.new_cache` and a pass, or of a source, from `model.read`. Without it, an encoder-decoder
            reads the prompt as its source, and continues its start token.

        Raises UserError when a prompt or an option is invalid.
        """
        # Raise errors now, not in the step that starts the sequence.
        request, config = Request(sampling=sampling, **options), self.model.config
        request.check(config.vocab_size, self.tokenizer)
        (ids,), cache = begin(self.model, [prompt], self.tokenizer, cache, self._added)
        if cache is not None:
            self.slots.check(cache)
        # Prefill leaves out the prompt's last token: the pass that reads it gives the first new token.
        known = min(len(ids) - 1, *(layer.length for layer in cache)) if cache else 0
        new = Sequence(
            index=self._added, ids=ids, prompt_length=len(ids), request=request, cache=cache,
            unread=len(ids) - 1 - known, key=Random(request.seed, "sample", request.sample).key,
            stop_ids=frozenset([*(s for s in request.stops if not isinstance(s, str)), *self.model.end_ids]),
        )
        if self.tokenizer is not None:
            before = [] if self.model.is_encoder_decoder else ids  # its ids are a start token, not text
            strings = [s for s in request.stops if isinstance(s, str)]
            new.text = TextStream(self.tokenizer, strings, before)
        if request.echo:  # this engine does not predict the first token and the caller's cached ones
            new.logprobs = [None] * (known + 1)
            new.top_logprobs = [None] * (known + 1) if request.top_logprobs else []
        self._added += 1
        if request.max_tokens or new.echoes:
            self.waiting.append(new)
        else:
            new.finish = "length"
        return new

    def __iter__(self) -> Iterator[Step]:
        """Yield a Step for each new token until all sequences have ended, including ones added meanwhile."""
        while self.running or self.waiting:
            yield from self.step()

    def step(self) -> list[Step]:
        """Continue every sequence whose prompt is read by a token -> Steps, in the order of `add`."""
        with inference(self.model, self._modules):
            self._release()  # sequences that the caller ended
            # Admit first, so that this step also reads the prompts of the new sequences.
            self._admit()
            for s in self.running:
                s.slide(self.model.config.context)
            read_prompts(self.running, self.slots, self.prefill_budget)
            self._release()  # sequences whose prompts were only to be scored
            ready = [s for s in self.running if not s.unread]
            if not ready:  # this step only read parts of prompts
                return []
            drafts = self._propose(ready)
            logits = self._forward(drafts)
        # Ids are appended only now, so that a step interrupted above can be repeated.
        steps: list[Step] = []
        for place in range(logits.shape[1]):
            steps += self._draw(ready, logits[:, place])
            if place + 1 == logits.shape[1]:
                break
            going = [row for row, (s, ids) in enumerate(zip(ready, drafts, strict=True))
                     if not s.finish and ids[place : place + 1] == s.ids[-1:]]
            if not going:
                break
            ready, drafts = [ready[row] for row in going], [drafts[row] for row in going]
            logits = logits[going]
        self.passes, self.written = self.passes + 1, self.written + len(steps)
        self._release()
        return sorted(steps, key=lambda step: step.index)

    def _admit(self) -> None:
        """Give rows to waiting sequences, in their order, while there are rows and a budget to read them."""
        self.waiting = [s for s in self.waiting if not s.finish]  # without those that the caller ended
        if not self.waiting:
            return
        budget = self.prefill_budget - sum(s.unread for s in self.running)
        prompts = {prompt_key(s) for s in self.running if s.unread}
        new: list[Sequence] = []
        copies: list[Sequence] = []  # sequences whose prompt another one already reads
        found: dict[Sequence, int] = {}  # how many tokens of a prompt are in its row, from an earlier text
        for s in self.waiting[: self.batch - len(self.running)]:
            if s.unread and prompt_key(s) in prompts:
                copies.append(s)
            elif s.unread and budget <= 0:
                break
            else:
                new.append(s)
                prompts.add(prompt_key(s))
                budget -= s.unread
        new = sorted(new, key=lambda s: s.unread) + copies  # little padding: neighbours are similar in length
        self.slots.reserve(len(self.running) + len(new), 0)
        for row, s in enumerate(new, len(self.running)):
            if s.cache:
                self.slots.copy(s.cache, [0], [row])
            elif self.prefixes and s.unread and not s.request.echo:
                found[s], cache = self.prefixes.find(s.ids)
                if cache:
                    self.slots.copy(cache, [0], [row])
        # One statement for both, so that Ctrl-C does not leave a sequence in both lists or in none.
        self.running, self.waiting = self.running + new, self.waiting[len(new) :]
        for s, count in found.items():
            s.reused, s.unread = count, s.unread - count

    def _propose(self, ready: list[Sequence]) -> list[list[int]]:
        """Return the tokens proposed for each sequence: [] without a draft, and while prompts are read."""
        room = self.model.config.context - 1 - max(s.cached for s in self.running)
        if self.draft is None or room < 1 or len(ready) < len(self.running):
            return [[] for _ in ready]
        return [ids[:room] for ids in self.draft.propose(ready)]

    def _forward(self, drafts: list[list[int]]) -> np.ndarray:
        """Score the vocabulary after the last and after each proposed token -> (B, n, V).

        The rows are those of the sequences whose prompts are read.
        """
        # Sequences with unread prompts are computed, too, as a pass needs adjacent rows, and then rewound.
        lengths = [s.cached for s in self.running]
        ready = [row for row, s in enumerate(self.running) if not s.unread]
        tokens = [[s.ids[-1]] for s in self.running]
        for row, ids in zip(ready, drafts, strict=True):
            tokens[row] += ids
        padded = pad_right(tokens)
        self.slots.reserve(len(lengths), max(lengths) + padded.shape[1])
        logits = self.model.head(self.model.hidden(padded, self.slots.view(0, lengths))).data
        return logits if len(ready) == len(logits) else logits[ready]

    def _draw(self, sequences: list[Sequence], logits: np.ndarray) -> list[Step]:
        """Draw the next token of each sequence, and add it to its text: logits (B, V) -> Steps."""
        tokens, errors = choose(sequences, logits)
        score(sequences, logits, tokens, errors)
        steps: list[Step] = []
        for row, (s, token) in enumerate(zip(sequences, tokens.tolist(), strict=True)):
            if row in errors:
                token, s.finish, s.error = -1, "error", errors[row]
                text = s.text.finish() if s.text is not None else ""
            else:
                text = s.push(token, self.model.config.context)
            steps.append(Step(s, token, text, logits[row], s.finish))
        return steps

    def _release(self) -> None:
        """Free the rows of sequences that ended."""
        # The rows in use are kept without gaps, so that a pass over all of them copies nothing.
        leaving = [row for row, s in enumerate(self.running) if s.finish]
        for row in leaving:
            s = self.running[row]
            if s.finish == "error":
                for layer in self.slots.cache:
                    layer.clear(row)  # its numbers may be NaN, and 0 * NaN would break the row's next text
            elif self.prefixes and not (s.cache or s.begin):
                self.prefixes.keep(s.ids[: s.cached], self.slots.cache, row)
        if leaving:
            if self.draft is not None:
                self.draft.release(len(self.running), leaving)
            order = self.slots.release(len(self.running), leaving)
            self.running = [self.running[row] for row in order]
