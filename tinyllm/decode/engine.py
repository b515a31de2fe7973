"""Generate text: continue many texts at once with a model, token by token.

An `Engine` decodes all its sequences in one batch. First a sequence's prompt is read into the KV cache
(prefill). Then, for each new token, the model scores the vocabulary, a token is drawn, and it becomes the
next input (decoding). Sequences can join or end while others run; the cache rows of finished sequences
are used again. `generate` and `stream` use an engine.

On the compiled backend the logits, and so the tokens, are the same bits with and without a cache, with any
size of prefill chunks, and with any other sequences in the batch. This holds because a kernel computes each
row separately, and the n-th token of a sequence uses the n-th number of its own random stream.

When the context is full, the window slides: the last half of the text (context // 2 tokens) is read again as
if it were the whole text, and decoding continues until the context is full again. So text is read again only
once every context / 2 tokens.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from tinyllm import ops
from tinyllm.decode.sampling import Sampling, apply_masks
from tinyllm.decode.sequence import Sequence, Step
from tinyllm.errors import UserError, instead
from tinyllm.nn import DecoderLM, EncoderDecoderLM, LanguageModel, inference
from tinyllm.nn.cache import Filled, check_row
from tinyllm.padding import pad_right
from tinyllm.rng import Random, uniforms
from tinyllm.tokenizer.text import TextStream, is_one_prompt, read_prompt

DEFAULT = Sampling()
PREFILL = 4096  # the limit of tokens in one forward pass, padding included; a longer prompt is read alone
# A running sequence, as the arrays of a step need it: random key, tokens drawn, window length, last token.
ROW = np.dtype([("key", np.uint64), ("drawn", int), ("length", int), ("last", int), ("sampling", np.uint64)])


class Engine:
    """Decode many sequences together: `add` them at any time, and iterate to get a `Step` for each token.

    batch: the largest number of sequences decoded at once; others wait until one ends.
    logprobs: True computes the log-probability of each drawn token under the model.
    use_cache: False reads the whole window again for every token, a slow check that the cache is right.
    prefill_chunk: read prompts in chunks of this many tokens, which limits the memory for a long prompt.
    overflow: what happens when the context is full: "stop", or "slide" as the module's docstring explains.

    A mask is a function that says which tokens may come next. A sequence whose logits are NaN, or whose mask
    allows no token, ends with `finish="error"` and a message in `error`; the others continue. When `step` is
    interrupted, by an error in a mask or by Ctrl-C, the next call repeats the step.
    """

    def __init__(self, model: Any, tokenizer: Any = None, *, batch: int = 256, logprobs: bool = False,
                 use_cache: bool = True, prefill_chunk: int | None = None, overflow: str = "slide",
                 ):  # fmt: skip
        if isinstance(model, LanguageModel) and model.objective == "masked":
            raise UserError(f"a {type(model).__name__} fills in masked tokens, and cannot continue a text")
        if batch < 1:
            raise UserError(f"batch must be at least 1, got {batch}")
        if prefill_chunk is not None and prefill_chunk < 1:
            raise UserError(f"prefill_chunk must be at least 1, got {prefill_chunk}")
        if overflow not in ("slide", "stop"):
            raise UserError(f'overflow must be "slide" or "stop", got {overflow!r}')
        self.has_encoder = isinstance(model, EncoderDecoderLM)
        self.model, self.tokenizer, self.batch, self.logprobs = model, tokenizer, batch, logprobs
        self.use_cache, self.prefill_chunk, self.overflow = use_cache, prefill_chunk, overflow
        self.running: list[Sequence] = []  # sequence i is row i of the cache
        self.waiting: deque[Sequence] = deque()
        self._rows = _table([])  # a row per running sequence; empty after an interrupt
        self._added = 0
        self._cache: list = []  # one KVCache for each layer; rows behind the running ones are free
        self._modules = [m for _, m in model.named_modules()]
        self._samplings: WeakValueDictionary = WeakValueDictionary()  # equal settings share one object

    def add(self, prompt: Any, sampling: Sampling = DEFAULT, *, max_tokens: int, stop: Any = (),
            seed: int = 0, sample: int = 0, mask: Callable | None = None,
            cache: list | None = None) -> Sequence:  # fmt: skip
        """Add a prompt, to be continued by up to `max_tokens` tokens -> its Sequence.

        prompt: ids, or a text if there is a tokenizer. An empty prompt starts from `<|endoftext|>`, or from a
            newline if the tokenizer has no `<|endoftext|>`.
        stop: strings or token ids that end the sequence; strings need a tokenizer.
        seed, sample: the key of the random numbers; other sequences in the batch do not change the result.
        mask: a function from the ids so far, prompt included, to the allowed next ids, or to V booleans.
        cache: one row, from `model.new_cache()`, that may already hold the first tokens of the prompt. When
            the sequence ends, the cache holds the window without its last token, for a later prompt.

        Raises UserError when a prompt or a setting is invalid.
        """
        stop = (stop,) if isinstance(stop, (str, int, np.integer)) else tuple(stop)
        strings = [s for s in stop if isinstance(s, str)]
        if max_tokens < 0 or max_tokens % 1:
            raise UserError(f"max_tokens must be a whole number of at least 0, got {max_tokens}")
        if "" in strings:
            raise UserError("an empty stop string would stop everything: leave it out")
        if self.tokenizer is None and strings:
            raise UserError("stop strings need a tokenizer: pass tokenizer=, or stop at token ids")
        if self.has_encoder and cache:
            raise UserError("an encoder reads the whole of every prompt: leave out cache=")
        config, source = self.model.config, None
        end = (config.end,) if self.has_encoder and config.end is not None else ()
        ids = read_prompt(config, self._added, prompt, self.tokenizer, end)
        if self.has_encoder:
            source, ids = ids, [config.start]
        new = Sequence(
            index=self._added, ids=ids, prompt_length=len(ids), max_tokens=max_tokens,
            sampling=self._samplings.setdefault((type(sampling), *vars(sampling).values()), sampling),
            stop_ids=frozenset([*(s for s in stop if not isinstance(s, str)), *end]),
            stream=Random(seed, "sample", sample).key,
            text=TextStream(self.tokenizer, strings, () if source else ids) if self.tokenizer else None,
            mask=mask,
            cache=cache if self.use_cache else None,
            source=source,
        )  # fmt: skip
        if new.cache:
            check_row(new.cache, config, len(ids) + max_tokens - 1)
            new.known = min(len(ids) - 1, *(layer.length for layer in new.cache))
        self._added += 1
        if max_tokens:
            self.waiting.append(new)
        else:
            new.finish = "length"
        return new

    def __iter__(self) -> Iterator[Step]:
        """Yield a Step for each new token until all sequences have ended, including ones added meanwhile."""
        while self.running or self.waiting:
            yield from self.step()

    def step(self) -> list[Step]:
        """Continue every running sequence by one token -> a Step for each, in the order they were added."""
        return sorted(self._advance(), key=lambda step: step.sequence.index)

    def _advance(self, show: bool = True) -> list[Step]:
        """Continue every running sequence by one token -> Steps in the order of rows; [] unless `show`."""
        self._admit()
        if not self.running:
            return []
        logits = self._next_logits()
        tokens, errors = self._choose(logits)
        logprobs: list = [None] * len(tokens)
        if self.logprobs:
            logprobs = ops.log_softmax(logits)[np.arange(len(tokens)), tokens].tolist()
        steps, most = [], self.model.config.context if self.overflow == "stop" else np.inf
        rows, self._rows = self._rows, _table([])
        rows["last"] = tokens
        rows["drawn"] += 1
        rows["length"] += 1
        for row, (s, token, logprob) in enumerate(zip(self.running, tokens.tolist(), logprobs, strict=True)):
            if row in errors:
                token, logprob, s.finish, s.error = -1, None, "error", errors[row]
                text = s.text.finish() if s.text is not None else ""
            else:
                text = s._push(token, most, show)
                if self.logprobs:
                    s.logprobs.append(logprob)
            if show:
                steps.append(Step(s, token, text, logits, row, logprob, s.finish))
        self._rows = rows
        self._release()
        return steps

    def cancel(self, sequence: Sequence) -> None:
        """End a sequence early; its `finish` becomes "cancelled"."""
        if sequence.finish is None:
            sequence.finish = "cancelled"
            if sequence in self.waiting:
                self.waiting.remove(sequence)
            else:
                self._release()

    def _choose(self, logits: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
        """Draw the next token of every running sequence: logits (B, V) -> ids (B,), {row: error message}."""
        masks = {row: (s.mask, s.ids) for row, s in enumerate(self.running) if s.mask}
        logits, errors = apply_masks(logits, masks)
        u, settings = uniforms(self._rows["key"], self._rows["drawn"]), self._rows["sampling"]
        tokens = np.empty(len(logits), np.int64)
        for number in set(settings.tolist()):
            rows = np.flatnonzero(settings == number)
            sampling, ids = self.running[rows[0]].sampling, [self.running[row].ids for row in rows]
            part = slice(None) if len(rows) == len(tokens) else rows  # a slice copies nothing
            tokens[part] = sampling.choose(logits[part], ids, u[part])
        return tokens, errors

    def _next_logits(self) -> np.ndarray:
        """Score the next token of every running sequence -> (B, V)."""
        with inference(self.model, self._modules):
            if not self.use_cache:
                rows = [self.model.hidden([s.window], **({"source": [s.source]} if s.source else {}))
                        for s in self.running]  # fmt: skip
                return np.concatenate([self.model.head(row[:, -1]).data for row in rows])
            layers = [layer.rows(0, len(self.running)) for layer in self._cache]
            for layer in layers:
                layer.lengths[:] = self._rows["length"] - 1
            return self.model.head(self.model.hidden(self._rows["last"][:, None], layers)[:, -1]).data

    def _admit(self) -> None:
        """Start waiting sequences, as many as fit into the batch: read their prompts, then let them run."""
        if len(self._rows) != len(self.running):
            self._rows = _table(self.running)
            self._release()
        new = [self.waiting[i] for i in range(min(len(self.waiting), self.batch - len(self.running)))]
        if self.use_cache and new:
            new = self._prefill(new)
        self.running += new
        self._rows = np.concatenate([self._rows, _table(new)])
        for _ in new:
            self.waiting.popleft()

    def _prefill(self, new: list[Sequence]) -> list[Sequence]:
        """Read new sequences into free rows of the cache, without their last tokens -> the sequences by row.

        Equal windows are read once and copied.
        """
        equal: dict[Any, list[Sequence]] = {}
        for s in new:
            key = id(s) if s.cache else (tuple(s.window[:-1]), tuple(s.source or ()))
            equal.setdefault(key, []).append(s)
        groups = sorted(equal.values(), key=lambda group: _width(group[0]))
        unique = [group[0] for group in groups]
        first = len(self.running)
        self._reserve(first + len(new))
        with inference(self.model, self._modules):
            for begin, end in _parts(unique, self.model.config.context):
                self._read(unique[begin:end], first + begin)
        copies = [(first + i, s) for i, group in enumerate(groups) for s in group[1:]]
        rows = np.arange(first + len(unique), first + len(new))
        for layer in self._cache:
            layer.copy(layer, [row for row, _ in copies], rows)
        return unique + [s for _, s in copies]

    def _read(self, sequences: list[Sequence], first: int) -> None:
        """Read the windows of sequences into rows of the cache, from row `first` on, in one padded batch.

        The padding is on the right, so no token sees it; `_next_logits` corrects the lengths.
        """
        known = [s.known for s in sequences]
        tokens = pad_right([s.window[s.known : -1] for s in sequences])
        width = tokens.shape[1]
        layers = [layer.rows(first, first + len(sequences)) for layer in self._cache]
        if self.has_encoder:
            sources = [s.source or [] for s in sequences]
            self.model.read(pad_right(sources), layers, [*map(len, sources)])
        for i, layer in enumerate(layers):
            for row, s in enumerate(sequences):
                if s.cache and s.known:
                    layer.copy(s.cache[i], [0], [row])
            layer.lengths[:] = known
        layers[-1].ends = True
        chunk = self.prefill_chunk or max(1, width)
        for start in range(0, width, chunk):
            with suppress(Filled):
                self.model.hidden(tokens[:, start : start + chunk], layers)

    def _reserve(self, rows: int) -> None:
        """Enlarge the cache to at least this many rows."""
        if not self._cache or rows > len(self._cache[0].lengths):
            larger = self.model.new_cache(min(self.batch, max(rows, 2 * len(self.running))))
            running = np.arange(len(self.running))
            for old, new in zip(self._cache, larger, strict=False):
                new.copy(old, running, running)
            self._cache = larger

    def _release(self) -> None:
        """Free the rows of sequences that ended, or whose window slides and must be read again.

        The last rows are moved to the freed ones, so that running sequences keep rows 0, 1, ...
        """
        context = self.model.config.context
        leaving = [i for i, s in enumerate(self.running) if s.finish or len(s.ids) - s.begin > context]
        if not leaving:
            return
        rows, self._rows = self._rows, _table([])
        gone = set(leaving)
        for row in leaving:
            s = self.running[row]
            if s.finish == "error":
                for layer in self._cache:
                    layer.clear(row)
            elif s.cache and s.finish:
                for own, layer in zip(s.cache, self._cache, strict=True):
                    own.copy(layer, [row], [0])
            elif s.finish is None:
                s.begin, s.known = len(s.ids) - max(1, context // 2), 0
        count = len(self.running) - len(gone)
        gaps = [row for row in leaving if row < count]
        moving = [row for row in range(count, len(self.running)) if row not in gone]
        for layer in self._cache:
            layer.copy(layer, moving, gaps)
        sliding = [self.running[row] for row in leaving if not self.running[row].finish]
        self.waiting.extendleft(reversed(sliding))
        for row, last in zip(gaps, moving, strict=True):
            self.running[row] = self.running[last]
        del self.running[count:]
        if len(rows):
            rows[gaps] = rows[moving]
            self._rows = rows[:count]


def _table(sequences: list[Sequence]) -> np.ndarray:
    ends = ((s, len(s.ids)) for s in sequences)
    rows = [(s.stream, n - s.prompt_length, n - s.begin, s.ids[-1], id(s.sampling)) for s, n in ends]
    return np.array(rows, ROW)


def _width(s: Sequence) -> int:
    """Return how many tokens have to be read before the first new token of a sequence."""
    return len(s.window) - 1 - s.known + len(s.source or ())


def _parts(sequences: list[Sequence], context: int) -> Iterator[tuple[int, int]]:
    """Split sequences, sorted by length, into batches (begin, end) that are padded and read at once."""
    begin = known = 0
    for end, s in enumerate(sequences):
        known, width = max(known, s.known), _width(s)
        if end > begin and (width * (end + 1 - begin) > PREFILL or known + width > context):
            yield begin, end
            begin, known = end, s.known
    if sequences:
        yield begin, len(sequences)


OTHER_NAMES = {"max_new_tokens": "max_tokens=", "do_sample": "sampling=tl.Sampling(temperature=0)"} | {
    name: f"sampling=tl.Sampling({name}=...)" for name in ("temperature", "top_k", "top_p", "min_p")
}


@instead(**OTHER_NAMES)
def generate(model: Any, prompts: Any, *, max_tokens: int, logprobs: bool = False, **options: Any) -> Any:
    """Continue each prompt by up to `max_tokens` tokens -> the new ids, a list for each prompt.

    The options and errors are the same as in `stream`. With logprobs=True the result is (ids,
    log-probabilities), both with a list for each prompt. A single prompt, given without a list, gives one
    list of ids if n is 1. The ids include the tokens of a stop string, which the text of `stream` leaves out.
    """
    engine, sequences = _start(model, prompts, max_tokens=max_tokens, logprobs=logprobs, **options)
    while engine.running or engine.waiting:
        engine._advance(show=False)
    _raise_errors(sequences)
    ids, scores = [s.tokens for s in sequences], [s.logprobs for s in sequences]
    if is_one_prompt(prompts) and len(ids) == 1:
        (ids,), (scores,) = ids, scores  # type: ignore[assignment]
    return (ids, scores) if logprobs else ids


@instead(**OTHER_NAMES)
def stream(model: Any, prompts: Any, *, max_tokens: int, **options: Any) -> Iterator[Step]:
    """Continue each prompt, and yield a `Step` for every new token of every row, in turn.

    prompts: a list of lists of ids, or of texts if there is a tokenizer; or a single prompt.
    sampling: a `Sampling`. Only the commands apply a folder's generation_config.json (`model.generation`).
    seed: an int, or a list with an int per prompt, which makes each result independent of the other prompts.
    n: how many times each prompt is continued; prompt b has the rows n * b to n * b + n - 1.
    cache: from `model.new_cache(rows)`, one row for each continuation.
    stop, mask: see `Engine.add`; the same for all rows.
    tokenizer, batch, logprobs, use_cache, prefill_chunk, overflow: see `Engine`.

    Raises UserError for an invalid prompt or setting at once, and for failed sequences after the last step.
    """
    engine, sequences = _start(model, prompts, max_tokens=max_tokens, **options)
    return _steps(engine, sequences)


def _steps(engine: Engine, sequences: list[Sequence]) -> Iterator[Step]:
    yield from (step for step in engine if step.finish != "error")
    _raise_errors(sequences)


def _raise_errors(sequences: list[Sequence]) -> None:
    for error in (s.error for s in sequences if s.error):
        raise UserError(error)


def _start(model: Any, prompts: Any, *, max_tokens: int, sampling: Sampling = DEFAULT, stop: Any = (),
           seed: Any = 0, n: int = 1, mask: Callable | None = None, cache: list | None = None,
           tokenizer: Any = None, **options: Any) -> tuple[Engine, list[Sequence]]:  # fmt: skip
    """Make an engine and add the sequences of all prompts, n for each -> (engine, sequences)."""
    prompts = [prompts] if is_one_prompt(prompts) else prompts
    if n < 1:
        raise UserError(f"n must be at least 1, got {n}")
    if np.ndim(seed) and len(seed) != len(prompts):
        raise UserError(f"{len(prompts)} prompts need as many seeds, or one for all; got {len(seed)}")
    if cache is not None and len(cache[0].lengths) != n * len(prompts):
        raise UserError(f"{n * len(prompts)} rows need a cache of as many rows, got {len(cache[0].lengths)}")
    engine = Engine(model, tokenizer, **options)
    sequences = []
    for row in range(n * len(prompts)):
        own = {"seed": seed[row // n], "sample": row % n} if np.ndim(seed) else {"seed": seed, "sample": row}
        if cache is not None:
            own["cache"] = [layer.rows(row, row + 1) for layer in cache]
        prompt = prompts[row // n]
        sequences.append(engine.add(prompt, sampling, max_tokens=max_tokens, stop=stop, mask=mask, **own))
    return engine, sequences


for base in (DecoderLM, EncoderDecoderLM):
    base.generate, base.stream = generate, stream  # set here, because imports point down
