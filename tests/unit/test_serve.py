"""Check the server: answers as OpenAI writes them, the same alone and under load; abuse changes nothing."""

import base64
import dataclasses
import json
import random
import re
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from helpers import refuses
from readers import mutate_json
from served import SPECIAL, ask, begin, events, make_folder, raw, running
from test_train_config import beside

import tinyllm as tl

pytest.importorskip("uvicorn")
from tinyllm.constrain.expressions import Expressions
from tinyllm.serve import answers, chat, fields
from tinyllm.serve.worker import Job, Served, Worker, collect

TALK, WRITE, EMBED = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
USER = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    return {name: make_folder(place, name) for name in SPECIAL}


@pytest.fixture(scope="module")
def server(folders):
    with running(*folders.values(), "--memory", "64") as process:
        yield process


@pytest.fixture(scope="module")
def port(server):
    return server.port


@pytest.fixture
def served(folders):
    return Served("plain", tl.open_model(folders["plain"]), "fp", 2**26)


@pytest.fixture
def worker(served):
    """Return a worker without a thread; what it would hand to the event loop is in `sent`."""
    worker = Worker([served])
    worker.sent = []
    worker.loop = SimpleNamespace(call_soon_threadsafe=lambda call, given: worker.sent.append(given))
    return worker


def text_of(answer):
    choices = answer[1]["choices"]
    return [(c["text"] if "text" in c else c["message"]["content"], c["finish_reason"]) for c in choices]


def test_a_completion_is_what_the_library_writes(port, folders):
    opened = tl.open_model(folders["plain"])
    body = {"model": "plain", "prompt": "The end", "max_tokens": 20, "n": 3, "seed": 5, "temperature": 0.7,
            "top_p": 0.9, "logprobs": 2, "echo": True, "logit_bias": {"65": -3}, "stop": ["zz"]}
    status, answer = ask(port, WRITE, body)
    ids, scores = tl.generate(
        opened.model, "The end", max_tokens=20, n=3, seed=5, tokenizer=opened.tokenizer, bias={65: -3},
        stop=["zz"], sampling=tl.Sampling(temperature=0.7, top_p=0.9), logprobs=True, echo=True)
    assert status == 200 and [c["index"] for c in answer["choices"]] == [0, 1, 2]
    for choice, row, logprobs in zip(answer["choices"], ids, scores, strict=True):
        said = choice["logprobs"]
        assert choice["text"] == opened.tokenizer.decode(row) and said["token_logprobs"] == logprobs
        assert len(said["tokens"]) == len(said["text_offset"]) == 27 and said["top_logprobs"][0] is None
        assert all(len(top) == 2 for top in said["top_logprobs"][1:])
    usage = answer["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (7, 60, 67)


def test_a_prompt_can_be_scored_only_and_prompts_may_be_ids(port):
    _, answer = ask(port, WRITE, {"model": "plain", "prompt": [[65, 66, 67], [65]], "max_tokens": 0,
                                  "logprobs": 1, "echo": True})
    assert [c["text"] for c in answer["choices"]] == ["ABC", "A"]
    assert [len(c["logprobs"]["tokens"]) for c in answer["choices"]] == [3, 1]
    assert ask(port, WRITE, {"prompt": [65, 66], "max_tokens": 3}) [1]["usage"]["prompt_tokens"] == 2


@pytest.mark.parametrize("path, body", [
    (TALK, USER | {"n": 2, "logprobs": True, "top_logprobs": 3, "max_completion_tokens": 30}),
    (WRITE, {"model": "plain", "prompt": ["a", "b"], "logprobs": 1, "max_tokens": 30, "echo": True})])
def test_a_stream_has_the_parts_of_the_whole_answer(port, path, body):
    _, whole = ask(port, path, body)
    *chunks, last = events(port, path, body | {"stream_options": {"include_usage": True}})
    assert last["choices"] == [] and last["usage"] | {"prompt_tokens_details": 0} == (
        whole["usage"] | {"prompt_tokens_details": 0})
    for choice in whole["choices"]:
        mine = [c for chunk in chunks for c in chunk["choices"] if c["index"] == choice["index"]]
        assert [c["finish_reason"] for c in mine if c["finish_reason"]] == [choice["finish_reason"]]
        key = "content" if path == TALK else "token_logprobs"
        assert [x for c in mine for x in c["logprobs"][key]] == choice["logprobs"][key]
        text = "".join(c["delta"].get("content", "") if path == TALK else c["text"] for c in mine)
        assert text == (choice["message"]["content"] if path == TALK else choice["text"])
    assert chunks[0]["system_fingerprint"] == whole["system_fingerprint"]


def requests(number):
    """Yield requests of all kinds; many begin alike."""
    for i in range(number):
        story = "Once upon a time there was a king " + "and a queen " * (i % 3)
        body = {"model": ["plain", "talker"][i % 2], "seed": i % 7, "max_tokens": 5 + i % 40,
                "n": 1 + (i % 5 == 0), "temperature": i % 4 * 0.4, "frequency_penalty": i % 2 * 0.5,
                "presence_penalty": i % 3 * 0.2}
        if i % 2:
            yield TALK, body | {"response_format": {"type": ["text", "json_object"][i % 3 // 2]},
                                "messages": [{"role": "system", "content": story[:30]},
                                             {"role": "user", "content": f"question {i % 4}"}]}
        else:
            yield WRITE, body | {"prompt": story + str(i % 4), "stop": ["e", "qq"][i % 4 // 2]}


def leave_early(port, body, after):
    """Begin to stream an answer, and leave after some bytes."""
    with socket.create_connection(("127.0.0.1", port)) as link:
        begin(link, body)
        link.recv(after)


def answers_under_load(models, number, clients, leaving):
    """Ask each request alone, then twice among many, while others leave -> (truth, found, last /metrics)."""
    asked = list(requests(number))
    order = np.random.default_rng(0).permutation(number * 2) % number
    with running(*models) as alone, running(*models) as busy, ThreadPoolExecutor(clients) as pool:
        truth = [text_of(ask(alone.port, *request)) for request in asked]
        left = [{"model": "plain", "prompt": f"Once upon a time {i % 9}"} for i in range(leaving)]
        gone = [pool.submit(leave_early, busy.port, body, 1 + i * 40 % 999) for i, body in enumerate(left)]
        found = list(pool.map(lambda i: text_of(ask(busy.port, *asked[i])), order))
        assert [future.result() for future in gone] == [None] * leaving
        metrics, (_, again) = wait_idle(busy.port), ask(busy.port, *asked[0])
        assert again["usage"]["prompt_tokens_details"]["cached_tokens"] >= 16
    return [truth[i] for i in order], found, metrics


def test_an_answer_is_the_same_alone_and_under_load_with_cancellations_and_prefixes(folders):
    truth, found, metrics = answers_under_load((folders["plain"], folders["talker"]), 60, 16, 20)
    assert found == truth and {end for row in truth for _, end in row} == {"stop", "length"}
    assert metrics["requests_total"] == 140 and metrics["first_token_count_total"] > 99


def wait_idle(port):
    """Wait until no text is written -> /metrics as a dict."""
    for _ in range(200):
        _, text = ask(port, "/metrics")
        found = {name: float(x) for name, x in re.findall(r"^tinyllm_(\w+) (\S+)$", text, re.M)}
        if found["running"] == found["waiting"] == found["cache_bytes"] == 0:
            return found
        time.sleep(0.05)
    raise AssertionError(text)


# Chat, tools, embeddings


def test_messages_become_the_ids_of_the_template_and_calls_go_on_in_one_turn(folders):
    opened = tl.open_model(folders["talker"])
    call = {"id": "1", "type": "function", "function": {"name": "calc", "arguments": '{"x": "2 + 2"}'}}
    messages = [{"role": "developer", "content": "be"},
                {"role": "user", "content": [{"type": "text", "text": "?"}]},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "content": "4", "tool_call_id": "1"}]
    ids = chat.encode(opened, fields.Chat(messages=messages))
    start = opened.chat.encode(opened.tokenizer, [{"role": "system", "content": "be"},
                                                  {"role": "user", "content": "?"}], reply=True)
    assert opened.tokenizer.decode(ids) == opened.tokenizer.decode(start) + "[calc 2 + 2] => 4"
    more = [*messages, {"role": "assistant", "content": " so 4"}, {"role": "user", "content": "ok"}]
    said = opened.tokenizer.decode(chat.encode(opened, fields.Chat(messages=more)))
    assert "[calc 2 + 2] => 4 so 4<|im_end|>\n<|im_start|>user\nok<|im_end|>" in said


def tool(name, *parameters):
    properties = {p: {"type": "string"} for p in parameters}
    return {"type": "function", "function": {"name": name, "parameters": {"properties": properties}}}


def test_a_call_ends_an_answer_and_is_held_back_until_it_is_whole(served, worker):
    """A mask makes the model write a call; it is streamed letter by letter."""
    ids, numbers = served.opened.tokenizer.encode("so [x] [calc 1 + 1] more"), count()
    asked = fields.Chat(messages=[{}], tools=[tool("calc", "x"), tool("look", "a", "b")])
    options = {"max_tokens": 30, "mask": lambda tokens: [ids[next(numbers)]]}
    worker.begin(Job(served, [([65], options)], True, chat.read_tools(asked)))
    while served.engine.running or served.engine.waiting:
        worker._step(served)
        worker._send()
    pieces = [piece for batch in worker.sent for _, news in batch for piece in news.values()]
    assert [piece.text for piece in pieces[:-1]] == ["s", "o", " ", "[x", "]", " "]
    found: dict = {}
    for piece in pieces:
        collect(found, piece)
    (whole,) = found.values()
    assert (whole.text, whole.finish) == ("so [x] ", "tool_calls") and not worker.jobs
    assert whole.call == {"name": "calc", "arguments": '{"x": "1 + 1"}'}


def test_calls_have_the_names_and_arguments_of_openai():
    tools = {"look_up": {"type": "object"}, "calc": "x"}
    found = chat.find_call('a [look_up {"a": ["]", 1]}] b', tools)
    assert found == ("a ", {"name": "look_up", "arguments": '{"a": ["]", 1]}'}, "")
    for text in ("[", "[lo", "[look_up ", '[look_up {"a": "]', "[calc 1 +"):
        assert chat.find_call("so " + text, tools) == ("so ", None, text)
    for text in ("[x", "[look it", "[calc 1\n+ 1", "[look_up {}, 1", "[calc []]", "[calc ]"):
        assert chat.find_call(text, tools) == (text, None, "")


def test_a_forced_call_has_arguments_of_its_schema(folders):
    opened = tl.open_model(folders["plain"])
    numbers = {"type": "array", "items": {"type": "integer"}, "maxItems": 2}
    one = tool("add_all", "x")
    one["function"]["parameters"] = {"properties": {"numbers": numbers}, "required": ["numbers"]}
    asked = fields.Chat(messages=[{}], tools=[one], tool_choice="required")
    tools = chat.read_tools(asked)
    assert chat.must_call(asked, tools) == tools
    end = opened.model.config.vocab_size
    fits = answers._constraint("calls", json.dumps(tools), opened.tokenizer, (end,))
    ids, mask = [], fits.within(60)
    while end not in (allowed := mask(ids)):
        ids.append(int(allowed[len(ids) * 7 % len(allowed)]))
    before, call, held = chat.find_call(opened.tokenizer.decode(ids), tools)
    assert (before, held) == ("", "") and call["name"] == "add_all"
    assert len(json.loads(call["arguments"])["numbers"]) <= 2


def test_a_form_may_end_with_a_stop_that_is_one_token(served):
    """Runs of sft end an answer with a newline, and have no token for it alone."""
    asked = fields.Chat(messages=[{}], response_format={"type": "json_object"})
    mask = answers._mask(served, asked, {}, ["\n"], 50, 0)
    assert [*mask(served.opened.tokenizer.encode("{}"))] == served.opened.tokenizer.encode("\n")


def test_requests_that_ask_for_the_same_form_share_its_expressions_for_a_while(served, monkeypatch):
    monkeypatch.setattr("tinyllm.constrain.constraint.Expressions", made := Mock(side_effect=Expressions))
    for name in ["x", "x", "y", "x", *map(str, range(99)), "x"]:
        schema = {"type": "json_schema", "json_schema": {"schema": {"const": name}}}
        for more in ({"response_format": schema}, {"tools": [tool(name, "x")], "tool_choice": "required"}):
            answers.prepare(served, fields.Chat(**USER, **more))
    assert made.call_count == 2 * (2 + 99 + 1)


def test_an_engine_that_fails_ends_its_answers_and_the_next_one_is_written(served, worker):
    broken, whole = (Job(served, [([65], {"max_tokens": 3})], False, {}) for _ in range(2))
    worker.begin(broken)
    served.engine.step = lambda: (_ for _ in ()).throw(MemoryError("no memory"))
    worker._step(served)
    assert "MemoryError" in str(worker.sent[0]) and worker.sent[0].status == 500 and not worker.jobs
    worker.begin(whole)
    for _ in range(3):
        worker._step(served)
    worker._send()
    assert len(worker.sent) == 2 and worker.sent[1][0][1][0].finish == "length"
    left = Job(served, [([65], {"max_tokens": 9})], False, {})
    worker.begin(left)
    worker._step(served)
    worker.end(left)
    worker._step(served)
    assert not (worker.fresh or worker.jobs or served.engine.running)


def test_embeddings_are_those_of_the_library_as_numbers_and_as_base64(port, folders):
    opened = tl.open_model(folders["encoder"])
    texts = ["a man eats", "a meal"]
    rows = [opened.model.framed(opened.tokenizer.special_tokens, ids)[0] for ids in opened.tokenizer(texts)]
    truth = opened.model.embed_sentences(rows)
    _, plain = ask(port, EMBED, {"model": "encoder", "input": texts})
    _, packed = ask(port, EMBED, {"model": "encoder", "input": texts, "encoding_format": "base64"})
    np.testing.assert_array_equal(np.float32([entry["embedding"] for entry in plain["data"]]), truth)
    for entry, row in zip(packed["data"], truth, strict=True):
        np.testing.assert_array_equal(np.frombuffer(base64.b64decode(entry["embedding"]), "<f4"), row)


def post(body, path=WRITE, **headers):
    return "POST", path, body, headers


def chatted(**more):
    return post(USER | more, TALK)


def completed(**more):
    return post({"prompt": "a", "max_tokens": 2} | more)


def formed(**schema):
    return chatted(response_format={"type": "json_schema", "json_schema": {"schema": schema}})


DEEP = b'{"prompt": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
OTHER = {"origin": "http://evil.example"}
ABUSE = {  # name -> (request, status, what the message says)
    "no body": (post(b""), 400, "JSON"), "a list": (post(b"[]"), 400, "object"),
    "deep": (post(DEEP), 400, "nested"), "not UTF-8": (post(b'{"prompt": "\xff"}'), 400, "UTF-8"),
    "half a character": (completed(prompt="\ud800"), 400, "half a character"),
    "half in a field": (completed(**{"\ud800": 1}), 400, "half a character"),
    "half in a model": (completed(model="\ud800"), 400, "half a character"),
    "infinity": (post(b'{"prompt": "a", "temperature": Infinity}'), 400, "Infinity"),
    "1e999": (post(b'{"prompt": "a", "temperature": 1e999}'), 400, "1e999"),
    "a huge number": (post(b'{"seed": ' + b"9" * 5000 + b"}"), 400, "too long"),
    "a key twice": (post(b'{"n": 1, "n": 2}'), 400, "twice"),
    "too long": (post(b" " * (5 << 20)), 413, "bytes"),
    "a million letters": (completed(prompt="a" * 1_000_000), 400, "context"),
    "a million ids": (completed(prompt=[65] * 1_000_000), 400, "context"),
    "ids outside": (completed(prompt=[65, 99999]), 400, "vocabulary"),
    "negative": (completed(prompt=[-1]), 400, "-1"),
    "floats as ids": (completed(prompt=[1.5]), 400, "prompt"),
    "true as id": (completed(prompt=[True]), 400, "prompt"),
    "mixed prompts": (completed(prompt=["a", 1]), 400, "prompt"),
    "1000 prompts": (completed(prompt=["a"] * 1000), 400, "texts"),
    "a prompt of null": (completed(prompt={}), 400, "prompt"), "n true": (completed(n=True), 400, "n must"),
    "n times prompts": (completed(prompt=["a"] * 9, n=100), 400, "texts"),
    "temperature tiny": (completed(temperature=1e-9), 400, "temperature"),
    "17 stops": (completed(stop=["a"] * 17), 400, "stop"), "no stop": (completed(stop=""), 400, "stop"),
    "a stop of 1": (completed(stop=[1]), 400, "stop"),
    "a long stop": (completed(stop="x" * 10**6), 400, "stop"),
    "bias of text": (completed(logit_bias={"a": 1}), 400, "logit_bias"),
    "bias too large": (completed(logit_bias={"1": 1e9}), 400, "logit_bias"),
    "bias outside": (completed(logit_bias={"99999": 1}), 400, "tokens are"),
    "unknown field": (completed(best_of=3), 400, "best_of"),
    "a typo": (completed(temprature=1), 400, "temperature"), "suffix": (completed(suffix="b"), 400, "suffix"),
    "functions": (chatted(functions=[]), 400, "functions"),
    "no model": (completed(model="gpt-4"), 404, "no model"),
    "an encoder writes": (completed(model="encoder"), 400, "embeddings"),
    "a writer embeds": (post({"input": "a"}, EMBED), 400, "encoder"),
    "ids to embed": (post({"model": "encoder", "input": [10**6]}, EMBED), 400, "token ids"),
    "no messages": (post({}, TALK), 400, "messages"),
    "a role": (chatted(messages=[{"role": "king", "content": "a"}]), 400, "role"),
    "null": (chatted(messages=[None]), 400, "messages"),
    "content of 1": (chatted(messages=[{"role": "user", "content": 1}]), 400, "messages"),
    "a picture": (chatted(messages=[{"role": "user", "content": [{"type": "image_url"}]}]), 400, "text"),
    "a tool alone": (chatted(messages=[{"role": "tool", "content": "a"}]), 400, "role"),
    "a tool's name": (chatted(tools=[tool("](")]), 400, "name"),
    "a choice": (chatted(tools=[tool("calc")], tool_choice={"type": "function",
                 "function": {"name": "x"}}), 400, "tool_choice"),
    "required": (chatted(tool_choice="required"), 400, "tool_choice"),
    "parameters": (chatted(tools=[tool("calc") | {"function": {"name": "calc",
                   "parameters": {"properties": []}}}], tool_choice="x"), 400, "tool"),
    "a format of text": (chatted(response_format={"type": "xml"}), 400, "response_format"),
    "no schema": (chatted(response_format={"type": "json_schema"}), 400, "json_schema"),
    "a regex bomb": (formed(type="string", pattern="((a{1,99}){1,99}){1,99}"), 400, "too often"),
    "an array bomb": (formed(type="array", items={}, minItems=10**9), 400, "max_tokens"),
    "a loop": (formed(**{"$ref": "#"}), 400, "itself"),
    "a keyword": (formed(uniqueItems=True), 400, "uniqueItems"),
    "top without": (chatted(top_logprobs=3), 400, "logprobs"),
    "another site": (post({"prompt": "a"}, **OTHER), 403, "sites"),
    "fetched": (post({}, **{"sec-fetch-site": "cross-site"}), 403, "sites"),
    "rebinding": (post({}, host="evil.example"), 421, "evil"),
    "host like it": (post({}, host="127.0.0.1.evil.example"), 421, "evil"),
    "GET": (("GET", WRITE, None, {}), 405, "GET"), "PUT": (("PUT", TALK, b"{}", {}), 405, "PUT"),
    "preflight": (("OPTIONS", TALK, None, OTHER), 403, "sites"),
    "a path": (("GET", "/v1", None, {}), 404, "Found"),
    "up": (("GET", "/../../etc/passwd", None, {}), 404, "Found"),
    "a model's path": (("GET", "/v1/models/..%2f..%2fetc", None, {}), 404, "Found"),
    "a null byte": (("GET", "/v1/models/%00", None, {}), 404, "no model"),
}


@pytest.mark.parametrize("name", ABUSE)
def test_a_wrong_request_gets_one_clear_error(port, name):
    (method, path, body, headers), status, words = ABUSE[name]
    found, answer = ask(port, path, body, method, headers)
    assert found == status and answer.keys() == {"error"}, answer
    error = answer["error"]
    assert error.keys() == {"message", "type", "param", "code"} and error["type"] == "invalid_request_error"
    assert words in error["message"] and len(error["message"]) < 600 and "\n" not in error["message"]


@pytest.mark.parametrize("kind", [fields.Completion, fields.Chat, fields.Embedding])
def test_values_beside_the_declared_ones_are_refused_by_name(kind):
    for field in dataclasses.fields(kind):
        for value in beside(field):
            refuses(f"{field.name} must be .*, got ", fields.read_fields, {field.name: value}, kind)


WHOLE = {
    TALK: {"messages": [{"role": "system", "content": [{"type": "text", "text": "a"}]},
                        {"role": "user", "content": "b"},
                        {"role": "assistant", "content": None,
                         "tool_calls": [{"function": {"name": "calc", "arguments": "{}"}}]},
                        {"role": "tool", "content": "4", "tool_call_id": "1"}],
           "max_tokens": 9, "n": 2, "stop": ["x"], "logit_bias": {"5": 1}, "logprobs": True,
           "top_logprobs": 2, "tools": [tool("calc", "x")], "tool_choice": "auto", "stream": False,
           "stream_options": {},
           "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "null"}}}},
    WRITE: {"model": "plain", "prompt": [[65], [66]], "max_tokens": 2, "temperature": 0.5, "top_p": 0.5,
            "seed": 1, "echo": True, "logprobs": 1, "stop": "x", "presence_penalty": 1.0},
    EMBED: {"model": "encoder", "input": [[65], [66]], "encoding_format": "float"},
}


def test_odd_values_anywhere_are_refused_or_answered_but_are_no_bug(port):
    rng, statuses = random.Random(0), Counter()
    for path in [*WHOLE] * 150:
        body = mutate_json(rng, json.dumps(WHOLE[path]).encode()) or b"{}"
        status, answer = ask(port, path, body, "POST")
        statuses[status] += 1
        assert status in (200, 400, 404), (body, answer)
        assert status == 200 or (answer["error"]["message"] and answer["error"]["type"]), (body, answer)
    assert statuses[200] > 30 and statuses[400] > 200


HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
BROKEN = {
    "no HTTP": b"hello\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 50_000 + b"\r\n",
    "a long path": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n", "no host": b"GET / HTTP/1.1\r\n\r\n",
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20, "zeros": bytes(100_000),
    "chunks": CHUNKED + b"ZZ\r\n",
    "endless chunks": CHUNKED + (b"10000\r\n" + bytes(65536) + b"\r\n") * 200,
    "a huge length": HEAD + b"Content-Length: 99999999999\r\n\r\n{",
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_request_is_refused_and_others_are_served(port, name):
    answer = raw(port, BROKEN[name])
    assert re.match(rb"HTTP/1.1 4\d\d ", answer) and b'{"error":' in answer, answer[:300]
    assert ask(port, "/health") == (200, {"status": "ok"})


def test_nobody_waits_for_the_grammars_of_those_who_left(server):
    def new():  # none of the last forms, whose expressions are kept
        return formed(properties={f"a{i}": {"type": "null"} for i in range(900)}, title=next(numbers))[2]

    def ticks():  # of processor time
        return sum(map(int, Path(f"/proc/{server.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))

    def spent():
        before = ticks()
        ask(server.port, TALK, new())
        return ticks() - before

    numbers = count()
    once = spent()
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port)) as link:
            begin(link, new(), TALK)
            time.sleep(0.02)
    assert spent() < 8 * once


def test_after_all_that_nothing_is_left_and_the_memory_has_not_grown(server):
    idle = wait_idle(server.port)
    memory = int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{server.pid}/status").read_text())[1]) / 1024
    assert idle["prefix_bytes"] <= 64 * 2**20 and memory < 1000
