"""Make small models' folders, run `tinyllm serve` on them, and ask it."""

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from tiny_gpt import shaken

import tinyllm as tl

SIZES = {"model_type": "llama", "context": 192, "layers": 2, "heads": 2, "width": 16, "hidden": 24}
BERT = SIZES | {"model_type": "bert", "context": 32, "layers": 1}
SPECIAL = {"talker": tl.CHAT_TEMPLATES["chatml"].special_tokens, "plain": ["<|endoftext|>"],
           "encoder": ["[CLS]", "[SEP]", "[MASK]"]}


def make_folder(parent, name):
    """Write an untrained model with large weights: `talker` has a chat template, `encoder` is a BERT."""
    folder = Path(parent, name)
    tokenizer = tl.ByteTokenizer(special_tokens=SPECIAL[name])
    tokenizer.chat = tl.CHAT_TEMPLATES["chatml"] if name == "talker" else None
    sizes = BERT if name == "encoder" else SIZES | {"kv_heads": 1}
    shaken(tl.build(sizes | {"vocab_size": tokenizer.vocab_size}), 0.4, len(name)).save_pretrained(folder)
    tl.save_tokenizer(tokenizer, folder)
    return folder


@contextlib.contextmanager
def running(*words, first=""):
    """Run `tinyllm serve`, after a line of Python -> its process, with `port`, and `errors`: a file."""
    code = f"{first}\nimport sys, tinyllm.cli\nsys.exit(tinyllm.cli.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "serve", *map(str, words), "--port", "0"]
    with tempfile.TemporaryFile("w+") as errors, subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
        try:
            process.port, process.errors = int(process.stdout.readline().rsplit(":", 1)[1]), errors
            yield process
        finally:
            process.kill()


def ask(port, path, body=None, method=None, headers=(), timeout=60):
    """Send a request -> (status, the answer's JSON, or its text)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    with contextlib.closing(connection):
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method or ("GET" if body is None else "POST"), path, data, dict(headers))
        answer = connection.getresponse()
        text = answer.read().decode()
    return answer.status, json.loads(text) if "json" in answer.headers["content-type"] else text


def events(port, path, body):
    """Stream an answer -> its events; the last must be [DONE]."""
    _, text = ask(port, path, body | {"stream": True})
    *found, done = text.removesuffix("\n\n").split("\n\n")
    assert done == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in found]


def begin(link, body, path="/v1/completions"):
    """Send a request for a stream on a socket."""
    data = json.dumps(body | {"stream": True}).encode()
    link.sendall(b"POST %b HTTP/1.1\r\nHost: localhost\r\n" % path.encode())
    link.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(data), data))


def raw(port, data, timeout=30):
    """Send bytes, which need be no HTTP -> what the server answers, up to the end of an error object."""
    with socket.create_connection(("127.0.0.1", port), timeout) as link:
        with contextlib.suppress(OSError):  # the server may refuse, and close, before it has read all
            link.sendall(data)
        answer = b""
        with contextlib.suppress(OSError):
            while not answer.endswith(b"}}") and (part := link.recv(1 << 16)):
                answer += part
        return answer
