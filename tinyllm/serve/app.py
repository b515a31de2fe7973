"""Answer HTTP requests: check who asks, read bounded bodies, and send answers while they are written."""

import asyncio
import base64
import contextlib
import hmac
import json
import re
import time
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tinyllm.errors import UserError
from tinyllm.files import read_text
from tinyllm.serve.answers import Answer, many, prepare
from tinyllm.serve.fields import Chat, Completion, Embedding, Refusal, parse, read_fields
from tinyllm.serve.worker import Served, Worker, collect

MOST_BYTES, ALL_BYTES, SECONDS = 4 << 20, 64 << 20, 10  # of a body, of all at once, and to send one
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
FREE = {"/", "/health"}  # need no key


def refused(request: Any, error: Any) -> Response:
    """Return the response for an error."""
    if isinstance(error, HTTPException):  # of starlette: no such path or method
        error = Refusal(f"{error.detail}: {request.method} {request.url.path[:80]}", status=error.status_code)
    elif not isinstance(error, Refusal):
        error = Refusal(error) if isinstance(error, UserError) else Refusal("a bug of the server", status=500)
    body = json.dumps(error.body)  # which, unlike JSONResponse, can write half a character
    headers = {"retry-after": "1"} if error.status == 503 else {}
    return Response(body, error.status, headers, "application/json")


class Api:
    """The endpoints, over some models and one worker. hosts: the names of this server, or none for any."""

    def __init__(self, models: list[Served], hosts: set[str], key: str = ""):
        self.hosts, self.key = hosts, f"bearer {key}" if key else ""
        self.models, self.worker = {served.name: served for served in models}, Worker(models)
        self.held: dict[Any, int] = {}  # bytes of the cache that jobs may need
        self.reading: dict[Request, int] = {}  # bytes of bodies
        self.slow = asyncio.Lock()  # one request at a time, so that others do not wait for it
        self.ended: Refusal | None = None
        self.counts, self.began = self.worker.counts, int(time.time())
        gets = {"/": self._page, "/health": self._health, "/metrics": self._metrics,
                "/v1/models": self._list, "/v1/models/{name}": self._list}
        posts = {"chat/completions": Chat, "completions": Completion, "embeddings": Embedding}
        routes = [Route(path, endpoint) for path, endpoint in gets.items()]
        routes += [Route(f"/v1/{path}", partial(self._post, kind), methods=["POST"])
                   for path, kind in posts.items()]
        handlers = dict.fromkeys((UserError, HTTPException, Exception), refused)
        self.app = Starlette(routes=routes, exception_handlers=handlers)
        text = read_text(Path(__file__).with_name("chat.html"))
        parts = [text.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0] for tag in ("style", "script")]
        style, script = (base64.b64encode(sha256(part.encode()).digest()).decode() for part in parts)
        self.page = HTMLResponse(text, headers={"content-security-policy": (
            f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")})

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        request = Request(scope)
        error = self._stranger(request.headers, scope["path"])
        await (refused(request, error) if error else self.app)(scope, receive, send)

    def _stranger(self, headers, path):
        """Refuse pages of other sites, hosts that only resolve to this one, and wrong keys."""
        host, origin, key = (headers.get(name, "") for name in ("host", "origin", "authorization"))
        if self.hosts and re.sub(r":\d*$", "", host).strip("[]") not in self.hosts:
            return Refusal(f"this server is not {host[:80]}", status=421, code="wrong_host")
        cross = origin and origin.partition("://")[2] != host
        if cross or headers.get("sec-fetch-site") == "cross-site":
            return Refusal("pages of other sites may not ask", status=403, code="cross_site")
        sent = (key[:7].lower() + key[7:]).encode("latin-1")  # the bytes that were sent; Bearer in any case
        same = hmac.compare_digest(sent, self.key.encode())
        if self.key and path not in FREE and not same:
            return Refusal("the key is missing or wrong", status=401, code="invalid_api_key")
        return None

    def end(self) -> None:
        """Tell all clients that the server ends; it takes no new requests."""
        self.ended = Refusal("the server ends", status=503, code="shutdown")
        self.worker.inbox.put(None)
        for job in list(self.held):
            self.worker.loop.call_soon_threadsafe(job.queue.put_nowait, self.ended)

    async def _page(self, request: Request) -> Response:
        return self.page

    async def _health(self, request: Request) -> Response:
        if not self.worker.is_alive():
            raise Refusal("the worker has ended", status=503)
        return JSONResponse({"status": "ok"})

    async def _metrics(self, request: Request) -> Response:
        engines = [served.engine for served in self.models.values() if served.engine]
        gauges = {"running": sum(len(e.running) for e in engines),
                  "waiting": sum(len(e.waiting) for e in engines),
                  "cache_bytes": sum(layer.nbytes for e in engines for layer in e.slots.cache),
                  "prefix_bytes": sum(e.prefixes.nbytes for e in engines if e.prefixes)}
        counters = {f"{name}_total": count for name, count in sorted(self.counts.items())}
        return PlainTextResponse("".join(
            f"# TYPE tinyllm_{name} {'counter' if name in counters else 'gauge'}\ntinyllm_{name} {value}\n"
            for name, value in (gauges | counters).items()), media_type="text/plain; version=0.0.4")

    async def _list(self, request: Request) -> Response:
        one = request.path_params.get("name")
        data = [{"id": name, "object": "model", "created": self.began, "owned_by": "tinyllm"}
                for name in ([self._model(one).name] if one else self.models)]
        return JSONResponse(data[0] if one else {"object": "list", "data": data})

    def _model(self, name):
        found = self.models.get(name) if name else next(iter(self.models.values()))
        if found is None:
            message = f"there is no model {name[:80]!r}; there are {', '.join(self.models)}"
            raise Refusal(message, "model", 404, "model_not_found")
        return found

    async def _post(self, kind: Any, request: Request) -> Any:
        self.counts["requests"] += 1
        try:
            asked = read_fields(parse(await self._body(request)), kind)
            served = self._model(asked.model)
            if kind is Embedding:
                return await self._embed(served, asked)
            slow = kind is Chat and (asked.response_format or asked.tools)  # a grammar may take seconds
            async with self.slow if slow else contextlib.nullcontext():
                if slow and await request.is_disconnected():
                    raise Refusal("the client left")
                job = await asyncio.to_thread(prepare, served, asked)
        finally:
            self.reading.pop(request, None)
        return partial(self._respond, Answer(job, asked))

    async def _body(self, request):
        """Read the body of a request. Raises Refusal if it is too long or too slow."""
        body, length = bytearray(), int(request.headers.get("content-length", "0"))
        try:
            async with asyncio.timeout(SECONDS):
                async for part in request.stream():
                    body += part
                    self.reading[request] = len(body)
                    if max(len(body), length) > MOST_BYTES:  # the connection drops the rest: see Protocol
                        raise Refusal(f"a request has {MOST_BYTES:,} bytes at most", status=413)
                    if sum(self.reading.values()) > ALL_BYTES:
                        raise Refusal("too much is being read: try again", status=503, code="overloaded")
        except TimeoutError:
            raise Refusal(f"the body took more than {SECONDS} s", status=408) from None
        except ClientDisconnect:
            raise Refusal("the client left") from None
        return bytes(body)

    async def _embed(self, served, asked):
        model, tokenizer = served.opened.model, served.opened.tokenizer
        if not hasattr(model, "embed_sentences"):
            raise Refusal(f"{served.name} is no encoder, so it has no embeddings", "model")
        texts = [tokenizer.encode(text) if isinstance(text, str) else text
                 for text in many(asked.input, "input")]
        if not all(0 <= i < model.config.vocab_size for text in texts for i in text):
            raise Refusal(f"token ids are 0 to {model.config.vocab_size - 1}", "input")
        rows = [model.framed(tokenizer.special_tokens, text)[0] for text in texts]
        async with self.slow:
            vectors = await asyncio.to_thread(model.embed_sentences, rows)
        shown = [base64.b64encode(v.astype("<f4").tobytes()).decode() if asked.encoding_format == "base64"
                 else v.tolist() for v in vectors]
        count = sum(map(len, rows))
        return JSONResponse({
            "object": "list", "model": served.name, "usage": {"prompt_tokens": count, "total_tokens": count},
            "data": [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(shown)]})

    async def _respond(self, answer, scope, receive, send):
        """Run a job and send what it writes; the job ends when the client leaves."""
        job, memory = answer.job, answer.job.served.memory
        need = job.served.position * sum(len(ids) + options["max_tokens"] for ids, options in job.prompts)
        if need > memory:
            raise Refusal(f"the answers may need {need:,} bytes of {memory:,}")
        self.held[job] = need  # before a look at `ended`: a signal may come between any two lines
        watch = asyncio.create_task(_leave(receive, job.queue))
        try:
            held = sum(n for other, n in self.held.items() if other.served is job.served)
            if self.ended or held > memory:
                busy = Refusal("too many requests wait: try again", status=503, code="overloaded")
                raise self.ended or busy
            self.worker.inbox.put(partial(self.worker.begin, job))
            await _send(answer, send)
        finally:
            watch.cancel()
            self.worker.inbox.put(partial(self.worker.end, job))
            del self.held[job]


async def _leave(receive, queue):
    """Put None into the queue when the client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass
    queue.put_nowait(None)


async def _news(queue):
    """Return all that is in the queue, a Piece for each text; the end of a job, a Refusal or None, alone."""
    found = await queue.get()
    while isinstance(found, dict) and not queue.empty():
        if not isinstance(news := queue.get_nowait(), dict):
            return news
        for piece in news.values():
            collect(found, piece)
    return [found[row] for row in sorted(found)] if isinstance(found, dict) else found


async def _send(answer, send):
    """Send an answer: as one object, or as events, in which an error ends the stream."""
    left, stream, begun = len(answer.job.prompts), answer.job.stream, False
    while left:
        news = await _news(answer.job.queue)
        if news is None:
            return
        if isinstance(news, Refusal) and not begun:
            raise news
        if isinstance(news, Refusal):
            left, data = 0, [news.body]
        else:
            left -= sum(piece.finish is not None for piece in news)
            data = answer.chunks(news, not left) if stream else [answer.whole(news)]
        if not begun:
            kind = b"text/event-stream" if stream else b"application/json"
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
            begun = True
        text = "".join(f"data: {json.dumps(event)}\n\n" for event in data) if stream else json.dumps(data[0])
        text += "data: [DONE]\n\n" * (stream and not left and not isinstance(news, Refusal))
        await send({"type": "http.response.body", "body": text.encode(), "more_body": left > 0})
