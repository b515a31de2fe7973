"""Run `tinyllm serve` as a program: its line, signals, keys, limits of time and memory, and its page."""

import asyncio
import contextlib
import http.client
import os
import re
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from served import ask, begin, make_folder, running

pytest.importorskip("uvicorn")
from tinyllm.serve import fields, listen

WRITE, TALK = "/v1/completions", "/v1/chat/completions"
SLOW = """import os, signal, time
from tinyllm.serve import app
from tinyllm.decode.engine import Engine
step, leave = Engine.step, app._leave
Engine.step = lambda self: (time.sleep(0.1), step(self))[1]"""
ENDS = SLOW + """
app._leave = lambda *args: (os.kill(os.getpid(), signal.SIGTERM), leave(*args))[1]"""  # as a request begins
QUICK = "from tinyllm.serve import app, listen; app.SECONDS = listen.SECONDS = 1; listen.CONNECTIONS = 40"


@pytest.fixture(scope="module")
def talker(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("models"), "talker")


def test_a_port_that_is_taken_and_a_missing_package_give_one_line(refused, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "in use" in refused("serve", "shipped", "--port", taken.getsockname()[1])
    for module in ("tinyllm.cli.serve", "tinyllm.serve.listen"):
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "uvicorn", None)  # importing it fails
    assert "pip install uvicorn" in refused("serve", "shipped")


def count_texts(metrics):
    """Return how many texts run or wait, by /metrics."""
    return sum(map(int, re.findall(r"^tinyllm_(?:running|waiting) (\d+)$", metrics, re.MULTILINE)))


@pytest.mark.signals
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_soon_and_tells_who_waits(talker, number):
    with running(talker, "shipped", first=SLOW) as process, ThreadPoolExecutor(9) as pool:
        body = {"model": "shipped", "prompt": "Once", "max_tokens": 200, "n": 20, "temperature": 1.0}
        streams = [pool.submit(ask, process.port, WRITE, body | {"stream": i % 2 == 0}) for i in range(8)]
        while count_texts(ask(process.port, "/metrics")[1]) < 160:
            time.sleep(0.02)
        idle = http.client.HTTPConnection("127.0.0.1", process.port)
        idle.request("GET", "/health")  # a connection that is kept alive
        process.send_signal(number)
        began = time.monotonic()
        assert process.wait(10) == 0 and time.monotonic() - began < 2 + 3  # 2 s, on a busy machine more
        found = [stream.result() for stream in streams]
        assert process.errors.seek(0) == 0 and process.errors.read() == ""
    for status, said in found:
        assert (status == 503 and said["error"]["code"] == "shutdown") if isinstance(said, dict) else (
            "shutdown" in said and "[DONE]" not in said)


def test_a_request_that_begins_when_a_signal_comes_is_told(talker):
    with running(talker, first=ENDS) as process:
        status, said = ask(process.port, WRITE, {"prompt": "Once", "max_tokens": 90})
        assert (status, said["error"]["code"], process.wait(10)) == (503, "shutdown", 0)


def test_a_key_is_asked_for_and_other_hosts_may_be_named(talker):
    with running(talker, "--host", "0.0.0.0", "--api-key", "op\u00e9n sesame") as process:
        for key, status in [("Bearer x", 401), ("op\u00e9n sesame", 401), ("Bearer \u00e9", 401), ("", 401),
                            ("Bearer op\u00e9n sesame", 200)]:
            given = {"authorization": key.encode(), "host": "my.machine"}
            found, answer = ask(process.port, "/v1/models", headers=given)
            assert found == status and (status == 200 or answer["error"]["type"] == "authentication_error")
        assert [ask(process.port, path)[0] for path in ("/", "/health", "/metrics")] == [200, 200, 401]


def test_slow_senders_and_too_many_connections_do_not_stop_others(talker):
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90\r\n\r\n"
    with running(talker, first=QUICK) as process, contextlib.ExitStack() as stack:
        def drip(data, begun=b""):
            link = stack.enter_context(socket.create_connection(("127.0.0.1", process.port), 30))
            link.sendall(begun)
            said = b""
            with contextlib.suppress(OSError):
                for i in range(200):
                    link.sendall(data[i : i + 1])
                    link.settimeout(0.05)
                    with contextlib.suppress(TimeoutError):
                        if not (part := link.recv(9999)):
                            return said
                        said += part
            return said

        with ThreadPoolExecutor(30) as pool:
            slow = [pool.submit(drip, *data) for data in [(head,), (b"",), (b"{", head)] * 10]
            assert all(ask(process.port, WRITE, {"prompt": "a"})[0] == 200 for _ in range(5))
            said = [future.result() for future in slow]
        assert not any(said[0::3]) and not any(said[1::3]) and all(b"408" in one for one in said[2::3])
        idle = [stack.enter_context(socket.create_connection(("127.0.0.1", process.port))) for _ in range(60)]
        refusals = [link.recv(999) for link in idle[45:]]
        assert len(refusals) == 15 and all(b"too many connections" in one for one in refusals)
        time.sleep(1.5)
        assert ask(process.port, WRITE, {"prompt": "a"})[0] == 200


def sockets(process):
    found = []
    for link in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            found.append(os.readlink(link))
    return sum(name.startswith("socket:") for name in found)


def test_a_slow_reader_leaves_and_memory_is_a_limit(talker):
    patience, large = "from tinyllm.serve import listen; listen.PATIENCE = 1", {"prompt": "a" * 60, "n": 128}
    with running(talker, "--memory", "1", "--cache", "bf16") as process:
        status, answer = ask(process.port, WRITE, large | {"max_tokens": 30})
        assert status == 200 and len(answer["choices"]) == 128
    with running(talker, "--memory", "1", first=patience) as process:
        status, refusal = ask(process.port, WRITE, large | {"max_tokens": 30})
        assert (status, refusal["error"]["type"]) == (400, "invalid_request_error")
        with ThreadPoolExecutor(12) as pool:
            body = {"prompt": "a" * 10, "n": 20, "max_tokens": 80}
            found = [*pool.map(lambda i: ask(process.port, WRITE, body), range(40))]
        assert {status for status, _ in found} == {200, 503}
        assert {answer["error"]["code"] for status, answer in found if status == 503} == {"overloaded"}
        before = sockets(process)
        with socket.create_connection(("127.0.0.1", process.port)) as link:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            begin(link, {"prompt": "a", "n": 60, "max_tokens": 90, "logprobs": 20})
            for _ in range(400):
                if "cache_bytes 0" in ask(process.port, "/metrics")[1]:
                    break
                time.sleep(0.05)
            assert ask(process.port, WRITE, body)[0] == 200
            for _ in range(100):  # it has not read for longer than PATIENCE: its connection is closed
                if closed := sockets(process) <= before:
                    break
                time.sleep(0.1)
            assert closed


def test_a_client_that_left_before_it_was_refused_is_forgotten(monkeypatch):
    calls = []

    class Gone(asyncio.Transport):
        def write(self, data):
            calls.append(data[:12])

        def write_eof(self):
            raise OSError("not connected")

    monkeypatch.setattr(listen.Protocol, "_wait", lambda self, seconds: calls.append(seconds))
    protocol = listen.Protocol.__new__(listen.Protocol)
    protocol.transport = Gone()
    protocol.send_400_response("no")
    assert protocol.refused and calls == [b"HTTP/1.1 400", 1]


def test_the_documentation_lists_the_fields():
    page = (Path(__file__).parents[2] / "docs/serve.md").read_text("utf-8")
    for kind in (fields.Completion, fields.Chat, fields.Embedding):
        for name in kind.__dataclass_fields__:
            assert f"`{name}`" in page, name
    assert all(f"`{name}`" in page for name in fields.IGNORED)
