"""Try the chat page of `tinyllm serve` in Chromium: it writes, stops, writes again, explains its tokens."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
from itertools import count

import pytest
from html_page import EVIL, Page
from served import ask, running

pytest.importorskip("uvicorn")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-pipe")
HELP = """
const sleep = ms => new Promise(done => setTimeout(done, ms));
const until = async what => { for (let i = 0; i < 600 && !what(); i++) await sleep(50); return what(); };
const text = what => [...document.querySelectorAll(what)].map(part => part.textContent);
const type = (id, value) => { document.getElementById(id).value = value; };
const ready = () => until(() => !document.getElementById("again").disabled);
const click = id => document.getElementById(id).click();
"""


@contextlib.contextmanager
def browser(folder, scheme):
    """Start Chromium -> a function that sends a command and returns the result, and a list of events."""
    (ours, theirs), (reads, writes) = os.pipe(), os.pipe()
    words = [CHROMIUM, *FLAGS, f"--user-data-dir={folder}",
             f"--blink-settings=preferredColorScheme={['dark', 'light'].index(scheme)}"]
    numbers, seen, session = count(1), [], {}

    def connect():
        os.dup2(reads, 3)
        os.dup2(theirs, 4)

    with subprocess.Popen(words, preexec_fn=connect, close_fds=False, stderr=subprocess.DEVNULL) as process:
        os.close(theirs)
        with open(ours, "rb") as answers:
            def send(method, **params):
                number, rest = next(numbers), b""
                message = {"id": number, "method": method, "params": params} | session
                os.write(writes, json.dumps(message).encode() + b"\0")
                while True:
                    while b"\0" not in rest:
                        rest += answers.read1(1 << 16) or pytest.fail("Chromium has ended")
                    message, _, rest = rest.partition(b"\0")
                    found = json.loads(message)
                    if found.get("id") == number:
                        return found["result"]
                    seen.append(found)

            target = send("Target.createTarget", url="about:blank")["targetId"]
            session["sessionId"] = send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            yield send, seen
            process.kill()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
@pytest.mark.parametrize("scheme, width", [("dark", 1280), ("light", 390)])
def test_the_page_chats(tmp_path, scheme, width):
    with running("shipped") as process, browser(tmp_path, scheme) as (send, seen):
        def run(code):
            code = f"(async () => {{ {HELP} {code} }})()"
            found = send("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
            assert "exceptionDetails" not in found, found
            return found["result"].get("value")

        for domain in ("Page", "Log", "Network", "Runtime"):
            send(f"{domain}.enable")
        send("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        send("Page.navigate", url=f"http://127.0.0.1:{process.port}/")
        names = run("await until(() => text('#model option').length); return text('#model option')")
        said = run("type('text', 'Once upon a time'); type('max_tokens', 30); click('send'); "
                   "await ready(); return text('.assistant, .error')")
        body = {"messages": [{"role": "user", "content": "Once upon a time"}], "max_tokens": 30}
        _, truth = ask(process.port, "/v1/chat/completions", body)
        assert (names, said) == (["shipped"], [truth["choices"][0]["message"]["content"]])
        pop = run("document.querySelectorAll('.t')[4].dispatchEvent(new Event('mouseover', {bubbles: true}));"
                  "const pop = document.getElementById('pop');"
                  "return [getComputedStyle(pop).display, pop.textContent]")
        assert pop[0] == "block" and pop[1].count(" %") in (5, 6)
        again = run("click('again'); await ready(); const seed = document.getElementById('seed').value;"
                    "return [text('.user').length, text('.assistant').length, seed]")
        assert again == [1, 1, "1"]
        stopped = run(f"type('text', {json.dumps(EVIL)}); type('max_tokens', 5000); click('send'); "
                      "await until(() => text('.assistant')[1]); click('send');"
                      "await until(() => document.getElementById('send').textContent == 'Send');"
                      "return [text('.user')[1], text('.error'), document.querySelectorAll('b').length]")
        assert stopped == [EVIL, [], 1]
        look = run("const page = document.documentElement;"
                   "return [getComputedStyle(document.body).backgroundColor, page.scrollWidth]")
        assert look == ["rgb(20, 22, 27)" if scheme == "dark" else "rgb(251, 250, 248)", width]
        if place := os.environ.get("TINYLLM_PICTURES"):
            with open(f"{place}/chat-{width}.png", "wb") as file:
                file.write(base64.b64decode(send("Page.captureScreenshot")["data"]))
        kinds = {event["method"] for event in seen}
        assert not kinds & {"Log.entryAdded", "Runtime.consoleAPICalled"}
        asked = [event["params"]["request"]["url"] for event in seen
                 if event["method"] == "Network.requestWillBeSent"]
        assert asked and all(url.startswith(f"http://127.0.0.1:{process.port}/") for url in asked)


def test_the_page_holds_no_markup_of_others_and_may_load_nothing():
    with running("shipped") as process:
        status, text = ask(process.port, "/")
    assert status == 200 and "innerHTML" not in text and "document.write" not in text
    parsed = Page(text)
    assert not parsed.open and not {"link", "img", "iframe"} & set(parsed.tags)
    assert not {n for n, _ in parsed.attributes if n.startswith("on")}
    assert not {n for n, _ in parsed.attributes} & {"href", "src", "action", "style"}
