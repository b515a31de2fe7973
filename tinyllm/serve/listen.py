"""Listen for connections with uvicorn, within limits of time, size and number, until a signal."""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from tinyllm.errors import UserError
from tinyllm.serve.app import SECONDS, Api
from tinyllm.serve.fields import Refusal

CONNECTIONS = 512
PATIENCE = 30  # seconds in which a client must read what was sent


class Protocol(H11Protocol):
    """Close connections that send a request's headers too slowly or do not read; refuse broken requests.

    One that is refused is kept for a while, or a client that is still sending would see no answer.
    """

    timer: Any = None  # closes the connection
    refused = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait(SECONDS)
        if len(self.connections) > CONNECTIONS:
            self._refuse(Refusal("too many connections", status=503), "503 Service Unavailable")

    def data_received(self, data: bytes) -> None:
        if self.refused:
            return
        if self.timer is None and (self.cycle is None or self.cycle.response_complete):
            self._wait(SECONDS)
        super().data_received(data)
        if self.cycle and not self.cycle.response_complete and not self.flow.write_paused:
            self._wait(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait(None)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait(PATIENCE)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._wait(None)

    def send_400_response(self, msg: str) -> None:
        self._refuse(Refusal(msg), "400 Bad Request")

    def _wait(self, seconds):
        """Set the timer; None ends it."""
        if self.timer:
            self.timer.cancel()
        self.timer = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)

    def _refuse(self, error, status):
        body = json.dumps(error.body)
        self.transport.write(f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n"
                             f"content-length: {len(body)}\r\n\r\n{body}".encode())
        self.refused = True
        self._wait(1)
        with contextlib.suppress(OSError):  # the client has left
            self.transport.write_eof()


class Server(uvicorn.Server):
    """Call `ready` when connections are accepted; end what runs at a signal, and return."""

    api: Api
    ready: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.api.worker.loop = asyncio.get_running_loop()
        self.api.worker.start()
        await super().startup(sockets)
        self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        logging.getLogger("uvicorn.error").setLevel("CRITICAL")  # it would tell which clients read too slowly
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: Any) -> None:
        self.should_exit = True
        self.api.end()


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound. Raises UserError if that is not possible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=CONNECTIONS)
    except (OSError, OverflowError) as error:
        raise UserError(f"cannot listen on {host} port {port}: {getattr(error, 'strerror', error)}") from None


def listen(api: Api, bound: socket.socket, ready: Callable[[], None]) -> None:
    """Answer requests until SIGTERM or SIGINT; call `ready` at the beginning."""
    server = Server(uvicorn.Config(
        api, http=Protocol, ws="none", lifespan="off", log_config=None, log_level="error",
        access_log=False, server_header=False, proxy_headers=False, timeout_graceful_shutdown=1))
    server.api, server.ready = api, ready
    server.run([bound])
