"""Measure the server beside its engine or another server: `python benchmarks/serve.py [--llama-cpp]`.

N clients stream at once from a server in a process of its own. The engine continues the same texts, or
llama-cpp-python's server does, greedily, with the same weights and as many threads. They take turns; a line
has the medians of tokens per second, of their ratio, and of the time to the first token.
"""

import argparse
import asyncio
import contextlib
import json
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import tinyllm as tl
from tinyllm.bench.rows import SIZES, model_of
from tinyllm.models.gguf import save_gguf
from tinyllm.nn.quantized import QuantizedLinear
from tinyllm.tokenizer.gguf import vocabulary

LETTERS = "".join(map(chr, range(32, 97)))  # 65, as many as in Shakespeare


def folder_of(name, parent):
    """Write an untrained model with a longer context, and a tokenizer of letters -> their folder."""
    folder = Path(parent, name)
    model_of(SIZES[name] | {"context": 256}).save_pretrained(folder)
    tl.save_tokenizer(tl.CharTokenizer.train(LETTERS), folder)
    return folder


def shipped_as_float32(folder):
    """Write the model that comes with tinyllm, to a folder, and beside it to folder.gguf."""
    opened = tl.open_model("shipped")
    arrays = opened.model.state_dict()
    for name, layer in opened.model.of_kind(QuantizedLinear).items():
        arrays[f"{name}.weight"] = layer.dequantized().T if name == "lm_head" else layer.dequantized()
    model = type(opened.model)(opened.model.config)
    model.load_state_dict({name: arrays[name] for name in model.state_dict()})
    model.save_pretrained(folder)
    tl.save_tokenizer(opened.tokenizer, folder)
    save_gguf(model, f"{folder}.gguf", vocabulary(opened.tokenizer))


def prompts(streams, turn):
    """Return a prompt of 16 characters for each stream, other ones in every turn."""
    return ["".join(random.Random(turn * streams + i).choices(LETTERS, k=16)) for i in range(streams)]


def engine_turn(opened, texts, tokens):
    """Continue all texts with the engine alone -> (tokens per second, no times, the continuations)."""
    engine, began = tl.Engine(opened.model, opened.tokenizer), time.perf_counter()
    written = [engine.add(text, max_tokens=tokens, seed=i) for i, text in enumerate(texts)]
    for _ in engine:
        pass
    rate = sum(len(s.tokens) for s in written) / (time.perf_counter() - began)
    return rate, [], [opened.tokenizer.decode(s.tokens) for s in written]


async def client(port, body):
    """Stream one answer -> (when it began, when the first and last token came, what was read)."""
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = json.dumps(body).encode()
    writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                 b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data))
    first, chunks = 0.0, []
    while chunk := await reader.read(1 << 16):
        chunks.append(chunk)
        if not first and b"data: {" in chunk:
            first = time.perf_counter()
    writer.close()
    return began, first, time.perf_counter(), b"".join(chunks)


def server_turn(port, texts, tokens, **options):
    """Let a client for each text stream at once -> (tokens per second, times to the first token, answers)."""
    async def together():
        usual = {"max_tokens": tokens, "stream": True} | options
        return await asyncio.gather(*(client(port, usual | {"prompt": text, "seed": i})
                                      for i, text in enumerate(texts)))
    seen = asyncio.run(together())
    seconds = max(last for _, _, last, _ in seen) - min(began for began, *_ in seen)
    answers = []
    for *_, data in seen:
        parts = [json.loads(event)["choices"][0] for event in re.findall(rb"data: (\{.*\})", data)]
        if not parts or parts[-1]["finish_reason"] != "length":
            raise SystemExit(f"an answer has fewer than {tokens} tokens: {data[-400:]!r}")
        answers.append("".join(part["text"] for part in parts))
    return len(texts) * tokens / seconds, [first - began for began, first, *_ in seen], answers


@contextlib.contextmanager
def served(module, *arguments):
    """Start a module that is a server in another process, and yield its port when it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    command = [sys.executable, "-m", module, *arguments, "--host=127.0.0.1", f"--port={address[1]}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            while process.poll() is None:
                with contextlib.suppress(ConnectionRefusedError), socket.create_connection(address):
                    break
                time.sleep(0.1)
            yield address[1]
        finally:
            process.terminate()


def race(title, contenders, args):
    """Let two contenders {name: function of texts and tokens} take turns, and print a line about them."""
    turns = [[turn(prompts(args.streams, number), args.tokens) for turn in contenders.values()]
             for number in range(args.turns + 1)][1:]
    said = [f"{title}, {args.streams} streams of {args.tokens} tokens, {tl.threads()} threads"]
    for name, seen in zip(contenders, zip(*turns, strict=True), strict=True):
        said.append(f"{name} {statistics.median(rate for rate, *_ in seen):,.0f} tok/s")
        if waits := [1000 * wait for _, times, _ in seen for wait in times]:
            said.append(f"first token after {statistics.median(waits):.0f} ms, at worst {max(waits):.0f} ms")
    ratio = statistics.median(ours[0] / other[0] for other, ours in turns)
    same = statistics.mean(a == b for other, ours in turns for a, b in zip(other[2], ours[2], strict=True))
    print("; ".join([*said, f"{ratio:.2f} x; {100 * same:.0f} % of the texts are equal"]))


def beside_llama_cpp(args, place):
    """Race the server against llama-cpp-python's, which answers one request after another."""
    if missing := [name for name in ("gguf", "llama_cpp", "fastapi") if not find_spec(name)]:
        return print(f"skipped, {missing[0]} is not installed: pip install --editable '.[gguf,peers]'")
    shipped_as_float32(folder := f"{place}/shipped")
    theirs = [f"--model={folder}.gguf", f"--n_threads={tl.threads()}", f"--n_threads_batch={tl.threads()}",
              "--n_ctx=256", "--interrupt_requests=False", "--verbose=False"]
    with served("tinyllm", "serve", folder) as ours, served("llama_cpp.server", *theirs) as other:
        race("shipped in float32", {
            "llama-cpp-python": partial(server_turn, other, temperature=0, repeat_penalty=1),
            "server": partial(server_turn, ours, temperature=0)}, args)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--llama-cpp", action="store_true", help="race llama-cpp-python's server")
    parser.add_argument("--streams", type=int, help="default 64, or 16 beside llama-cpp-python")
    parser.add_argument("--model", choices=SIZES, default="nano", help="the model beside the engine")
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args(argv)
    args.streams = args.streams or (16 if args.llama_cpp else 64)
    with tempfile.TemporaryDirectory() as place:
        if args.llama_cpp:
            return beside_llama_cpp(args, place)
        folder = folder_of(args.model, place)
        with served("tinyllm", "serve", str(folder)) as port:
            race(args.model, {"engine": partial(engine_turn, tl.open_model(folder)),
                              "server": partial(server_turn, port)}, args)


if __name__ == "__main__":
    main()
