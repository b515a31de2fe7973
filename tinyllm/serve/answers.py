"""Make an engine's options from a request's fields, and OpenAI's objects from what the engine writes."""

import dataclasses
import json
import time
from functools import lru_cache
from typing import Any
from uuid import uuid4

from tinyllm.constrain.constraint import Constraint
from tinyllm.decode.sampling import Sampling
from tinyllm.errors import UserError
from tinyllm.serve.chat import encode, must_call, read_calls, read_tools
from tinyllm.serve.fields import CHOICES, Chat, Completion, Refusal, check_part
from tinyllm.serve.worker import Job, Piece, Served
from tinyllm.tokenizer.text import START, read_prompt

LONGEST_STOP = 500  # characters
KEPT = 4  # constraints between requests: one may take 70 MB


def many(value: Any, param: str, n: int = 1) -> list[str | list[int]]:
    """Return the texts, or lists of ids, of a field that may also hold one alone, or raise Refusal."""
    found = value if isinstance(value, list) and value and isinstance(value[0], str | list) else [value]
    if not all(isinstance(one, str) or (isinstance(one, list) and all(type(i) is int for i in one))
               for one in found):
        raise Refusal(f"{param} must be a text, token ids, or a list of texts or of lists of ids", param)
    if len(found) * n > CHOICES:
        raise Refusal(f"{len(found)} x {n} texts are asked for, at most {CHOICES} are allowed", "n")
    return found


def prepare(served: Served, asked: Chat | Completion) -> Job:
    """Read a request's fields as options of `Engine.add`. Raises UserError if the model cannot do it."""
    opened, model, tools, mask = served.opened, served.opened.model, {}, None
    if served.engine is None:
        raise Refusal(f"{served.name} writes no text: ask /v1/embeddings", "model")
    if isinstance(asked, Chat):
        tools, context = read_tools(asked), model.config.context
        prompts, param = many([encode(opened, asked)], "messages", asked.n), "messages"
        limit = asked.max_tokens if asked.max_completion_tokens is None else asked.max_completion_tokens
        ends, scored, top, echo = opened.stops, asked.logprobs, asked.top_logprobs, False
        ends += [opened.chat.stop_id(opened.tokenizer)] if opened.chat else []
    else:
        prompts, param, limit = many(asked.prompt, "prompt", asked.n), "prompt", asked.max_tokens
        ends = [end for end in opened.stops if not isinstance(end, str)]
        scored, top, echo = asked.logprobs is not None, asked.logprobs or 0, asked.echo
        limit, context = 16 if limit is None else limit, model.config.context
    given = {f.name: getattr(asked, f.name) for f in dataclasses.fields(Sampling)
             if getattr(asked, f.name) is not None}
    options = {
        "sampling": dataclasses.replace(opened.sampling, **given), "stop": _stops(asked) + ends,
        "seed": asked.seed, "bias": _bias(asked), "logprobs": scored, "top_logprobs": top, "overflow": "stop",
        "echo": echo and scored, "presence_penalty": asked.presence_penalty,
        "frequency_penalty": asked.frequency_penalty,
    }
    found = []
    for b, prompt in enumerate(prompts):
        try:
            ids = read_prompt(model.config, b, prompt, opened.tokenizer, model.end_ids)
        except UserError as error:
            code = "context_length_exceeded" if "context is" in str(error) else None
            raise Refusal(error, param, code=code) from None
        begin = 1 if model.is_encoder_decoder else len(ids)
        room = context + 1 - begin
        most = room if limit is None else min(limit, room)
        mask = _mask(served, asked, tools, ends, most, begin) if isinstance(asked, Chat) else None
        found += [(ids, options | {"max_tokens": most, "mask": mask, "sample": i}) for i in range(asked.n)]
    return Job(served, found, asked.stream, tools)


def _stops(asked):
    stops = [asked.stop] if isinstance(asked.stop, str) else list(asked.stop)
    if not all(isinstance(stop, str) and 0 < len(stop) <= LONGEST_STOP for stop in stops):
        raise Refusal(f"stop must be texts of 1 to {LONGEST_STOP} characters", "stop")
    return stops


def _bias(asked):
    try:
        return {int(token): value for token, value in (asked.logit_bias or {}).items()}
    except ValueError:
        raise Refusal("the keys of logit_bias must be token ids", "logit_bias") from None


def _mask(served, asked, tools, ends, most, begin):
    """Return the mask for answers of a form that the request asks for, or None."""
    form = asked.response_format or {"type": "text"}
    kind = "calls" if form["type"] == "text" else "schema"
    value: Any = must_call(asked, tools)
    if form["type"] == "json_schema":
        check_part(form, {"json_schema": {"schema": dict}}, "response_format")
        value = form["json_schema"]["schema"]
    elif form["type"] == "json_object":
        value = {"type": "object"}
    if value is None:
        return None
    tokenizer, model = served.opened.tokenizer, served.opened.model
    ids = [tokenizer.encode(stop) if isinstance(stop, str) else [stop] for stop in ends]
    end = {*model.end_ids, *(one[0] for one in ids if len(one) == 1)}
    end = end or {i for name, i in tokenizer.special_tokens.items() if name == START}
    if not end:
        raise Refusal(f"{served.name} has no token that ends a text, so its texts cannot be held to a form",
                      "response_format")
    try:
        fits = _constraint(kind, json.dumps(value), tokenizer, tuple(sorted(end)))
        return fits.within(most - 1, begin)  # the last token is the end
    except (UserError, RecursionError) as error:
        raise Refusal(error, "tool_choice" if kind == "calls" else "response_format") from None


@lru_cache(KEPT)
def _constraint(kind, form, tokenizer, end):
    """Return the constraint for a schema or for calls of functions, in JSON; requests share recent ones."""
    value = json.loads(form)
    if kind == "calls":
        return Constraint(lambda grammar: read_calls(grammar, value), tokenizer, end)
    return Constraint.of_schema(value, tokenizer, end)


class Answer:
    """Write a job's answer as OpenAI does, whole or in chunks."""

    def __init__(self, job: Job, asked: Chat | Completion):
        self.job, self.asked, self.chat = job, asked, isinstance(asked, Chat)
        self.tokenizer, self.echo = job.served.opened.tokenizer, isinstance(asked, Completion) and asked.echo
        self.begun: dict[int, int] = {}  # the length of each text so far
        name, prefix = ("chat.completion", "chatcmpl") if self.chat else ("text_completion", "cmpl")
        name += ".chunk" if self.chat and asked.stream else ""
        self.head = {"id": f"{prefix}-{uuid4().hex}", "object": name, "created": int(time.time()),
                     "model": job.served.name, "system_fingerprint": job.served.fingerprint}

    def whole(self, pieces: list[Piece]) -> dict[str, Any]:
        """Return the answer of a request without a stream."""
        choices = [self.choice(piece, "message") for piece in pieces]
        return self.head | {"choices": choices, "usage": self.usage()}

    def chunks(self, pieces: list[Piece], last: bool) -> list[dict[str, Any]]:
        """Return chunks of a stream; the last one may have the usage."""
        found = [self.head | {"choices": [self.choice(piece, "delta")]} for piece in pieces]
        if last and (self.asked.stream_options or {}).get("include_usage"):
            found.append(self.head | {"choices": [], "usage": self.usage()})
        return found

    def choice(self, piece: Piece, part: str) -> dict[str, Any]:
        """Return an entry of `choices`; `part` is the name of a message in it."""
        text, first = piece.text, piece.row not in self.begun
        if first and self.echo:
            text = self.tokenizer.decode(self.job.prompts[piece.row][0]) + text
        said = {"index": piece.row, "finish_reason": piece.finish, "logprobs": self._scores(piece)}
        self.begun[piece.row] = self.begun.get(piece.row, 0) + len(text)
        if not self.chat:
            return said | {"text": text}
        message: dict[str, Any] = {"role": "assistant"} if first else {}
        message |= {"content": text or None} if piece.call else {"content": text}
        if piece.call:
            call = {"id": f"call_{uuid4().hex[:24]}", "type": "function", "function": piece.call}
            message["tool_calls"] = [call | ({"index": 0} if part == "delta" else {})]
        return said | {part: message}

    def usage(self) -> dict[str, Any]:
        """Return how many tokens the request has read and written."""
        prompts = range(0, len(self.job.prompts), self.asked.n)
        read = sum(len(self.job.prompts[i][0]) for i in prompts)
        written = sum(len(s.tokens) for s in self.job.sequences)
        cached = sum(self.job.sequences[i].reused for i in prompts)
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written,
                "prompt_tokens_details": {"cached_tokens": cached}}

    def _scores(self, piece):
        """Return the log-probabilities of a piece, or None if the request asks for none."""
        s = self.job.sequences[piece.row]
        if not s.request.logprobs:
            return None
        ids = (s.ids if s.request.echo else s.tokens)[piece.scored]
        tops = s.top_logprobs[piece.scored] or [None] * len(ids)
        rows = list(zip(ids, s.logprobs[piece.scored], tops, strict=True))
        if self.chat:
            return {"content": [self._named(i, p) | {"top_logprobs": [self._named(*one) for one in top or ()]}
                                for i, p, top in rows]}
        offsets, at = [], self.begun.get(piece.row, 0)
        for i in ids:
            offsets.append(at)
            at += len(self.tokenizer.decode([i]))
        return {"tokens": [self._named(i, 0)["token"] for i in ids],
                "token_logprobs": [p for _, p, _ in rows],
                "top_logprobs": [top and {self._named(i, p)["token"]: p for i, p in top} for *_, top in rows],
                "text_offset": offsets}

    def _named(self, token, logprob):
        """Return a token as OpenAI writes it; one that is no text alone is shown by its bytes."""
        data = self.tokenizer.decode_bytes([token])
        try:
            name = data.decode()
        except UnicodeDecodeError:
            name = "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
        return {"token": name, "logprob": logprob, "bytes": list(data)}
