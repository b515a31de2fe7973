"""Run the engines of all models in one thread, and hand each request its new text."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, NamedTuple

from tinyllm.decode.engine import Engine
from tinyllm.decode.prefix import Prefixes
from tinyllm.decode.sequence import Sequence
from tinyllm.errors import UserError
from tinyllm.nn.attention import Attention
from tinyllm.runs import Opened
from tinyllm.serve.chat import Tools, find_call
from tinyllm.serve.fields import Refusal
from tinyllm.version import __version__

PAUSE = 0.001  # seconds between two sends, for each stream: many streams get several tokens at a time


@dataclass(eq=False)
class Served:
    """A model with its engine, which is None for an encoder; `position` are the bytes of one in the cache."""

    name: str
    opened: Opened
    fingerprint: str
    memory: int
    position: int = 0
    engine: Engine | None = None

    def __post_init__(self):
        if self.opened.model.objective != "masked":
            self.position = sum(layer.nbytes for layer in self.opened.model.new_cache(1, 1))
            self.restart()

    def restart(self) -> None:
        """Make a new engine; all its rows together, and the stored prefixes, fit into the memory."""
        model = self.opened.model
        rows = self.memory * 3 // 5 // (self.position * model.config.context)
        prefixes = None if model.is_encoder_decoder else Prefixes(model, self.memory // 4)
        self.engine = Engine(model, self.opened.tokenizer, batch=max(1, min(256, rows)), prefixes=prefixes)


def fingerprint(opened: Opened) -> str:
    """Return a digest of a model, its caches and this version, which name an answer with its seed."""
    caches = {part.cache_kind for part in opened.model.of_kind(Attention).values()}
    return f"fp_{opened.fingerprint(__version__, *sorted(caches))[:12]}"


class Piece(NamedTuple):
    """The new part of one text of a request."""

    row: int  # which text
    text: str
    scored: slice  # new entries of the sequence's logprobs
    call: dict[str, str] | None
    finish: str | None


def collect(news: dict[int, Piece], new: Piece) -> None:
    """Add a piece to the earlier ones: {row: what has been written since the last time}."""
    if old := news.get(new.row):
        scored = slice(old.scored.start, new.scored.stop)
        new = Piece(new.row, old.text + new.text, scored, new.call, new.finish)
    news[new.row] = new


@dataclass(eq=False)
class Job:
    """A request: prompts with options of `Engine.add`, each n times, and a queue of {row: Piece}."""

    served: Served
    prompts: list[tuple[list[int], dict[str, Any]]]
    stream: bool
    tools: Tools
    began: float = field(default_factory=time.monotonic)
    sequences: list[Sequence] = field(default_factory=list)
    held: dict[int, str] = field(default_factory=dict)  # of each text, an end that may become a call
    scored: Counter = field(default_factory=Counter)  # how many logprobs are in Pieces
    news: dict[int, Piece] = field(default_factory=dict)  # not sent yet
    left: int = 0  # how many texts have not ended
    queue: asyncio.Queue = field(default_factory=asyncio.Queue)

    def push(self, index: int, text: str) -> None:
        """Note the new text of a sequence; one that calls a tool ends."""
        s = self.sequences[index]
        text, call, held = find_call(self.held.pop(index, "") + text, self.tools)
        if call:
            s.finish = "tool_calls"
        elif s.finish:
            text += held
        else:
            self.held[index] = held
        end = len(s.logprobs) - (s.finish == "stop" and s.ids[-1] in s.stop_ids and s.request.logprobs)
        scored, self.scored[index] = slice(self.scored[index], end), end
        self.left -= bool(s.finish)
        if text or s.finish or scored.start < end:
            finish = "length" if s.finish == "context" else s.finish
            collect(self.news, Piece(index, text, scored, call, finish))


class Worker(threading.Thread):
    """Step the engines in turn while there is work; between two steps, call the functions in `inbox`.

    loop: the event loop of the requests. counts: numbers for /metrics.
    """

    def __init__(self, models: list[Served]):
        super().__init__(daemon=True)
        self.models, self.inbox = models, SimpleQueue[Callable | None]()
        self.loop: Any = None
        self.jobs: dict[Sequence, tuple[Job, int]] = {}  # by the sequences that have not ended
        self.fresh: dict[Job, None] = {}  # those with news
        self.counts: Counter[str] = Counter()
        self.rested = 0.0  # when news may be sent again

    def run(self) -> None:
        """Work until there is a None in the inbox."""
        while True:
            busy = [m for m in self.models if m.engine and (m.engine.running or m.engine.waiting)]
            if not busy or time.monotonic() > self.rested:
                self._send()
            if not (busy and self.inbox.empty()):
                if (call := self.inbox.get()) is None:
                    return
                call()
            else:
                for served in busy:
                    self._step(served)

    def begin(self, job: Job) -> None:
        """Add the sequences of a job to its engine; if one is invalid, the job gets a Refusal."""
        engine: Any = job.served.engine
        try:
            job.sequences += (engine.add(prompt, **options) for prompt, options in job.prompts)
        except Exception as error:
            known = isinstance(error, UserError)
            self._fail(job, Refusal(error if known else f"a bug: {error!r}", status=400 if known else 500))
            return
        job.left = len(job.sequences)
        self.jobs |= {s: (job, i) for i, s in enumerate(job.sequences)}
        self._push([])

    def end(self, job: Job) -> None:
        """End what a job has not finished, because nobody waits for it any more."""
        for s in job.sequences:
            s.finish = s.finish or "cancelled"
            self.jobs.pop(s, None)
        self.fresh.pop(job, None)

    def _step(self, served):
        try:
            steps = served.engine.step()
            self.counts["generated_tokens"] += len(steps)
            self._push(steps)
        except Exception as error:  # such as no memory: this engine's texts are lost, and the server goes on
            for job in {job for job, _ in self.jobs.values() if job.served is served}:
                message = f"the engine failed: {type(error).__name__}: {error}"
                self._fail(job, Refusal(message, status=500))
            served.restart()

    def _push(self, steps):
        """Give the texts of steps to their jobs, then the ends of sequences that had no step."""
        texts = {s: "" for s in self.jobs if s.finish}
        for step in steps:
            texts[step.sequence] = texts.get(step.sequence, "") + step.text
        for s, text in texts.items():
            job, index = self.jobs.get(s, (None, 0))
            if job and s.finish == "error":
                self._fail(job, Refusal(s.error, status=500))
            elif job:  # neither its client has left, nor another text of it has failed
                if not job.scored:
                    self.counts["first_token_count"] += 1
                    self.counts["first_token_seconds"] += time.monotonic() - job.began
                job.push(index, text)
                self.fresh[job] = None
                if s.finish:
                    del self.jobs[s]

    def _fail(self, job, error):
        self.end(job)
        self.loop.call_soon_threadsafe(job.queue.put_nowait, error)

    def _send(self):
        """Send news: those of streams, and others when all their texts have ended."""
        ready = [job for job in self.fresh if job.stream or not job.left]
        if ready:
            self.loop.call_soon_threadsafe(_deliver, [(job.queue, job.news) for job in ready])
        for job in ready:
            del self.fresh[job]
            job.news = {}
        self.rested = time.monotonic() + PAUSE * len(ready)


def _deliver(batch):
    for queue, news in batch:
        queue.put_nowait(news)
