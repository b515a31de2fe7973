"""Try the chat page of `tinyllm serve` in Chromium: it writes, stops, writes again, explains its tokens."""

import json

import pytest
from html_page import EVIL, needs_browser, seen_by_browser, whole
from served import ask, running

pytest.importorskip("uvicorn")
DRIVER = """
async function drive(frame) {
    const {contentDocument: page, contentWindow: view} = frame, seen = {}, at = id => page.getElementById(id);
    const texts = what => [...page.querySelectorAll(what)].map(part => part.textContent);
    const until = async what => { for (let i = 0; i < 9999 && !what(); i++) await fetch("health"); };
    const ready = () => until(() => !at("again").disabled);
    const write = (text, tokens) => {
        [at("text").value, at("max_tokens").value] = [text, tokens];
        at("send").click();
    };
    await until(() => texts("#model option").length);
    seen.models = texts("#model option");
    write("Once upon a time", 30);
    await ready();
    seen.said = texts(".assistant, .error");
    page.querySelectorAll(".t")[4].dispatchEvent(new Event("mouseover", {bubbles: true}));
    seen.pop = [view.getComputedStyle(at("pop")).display, at("pop").textContent];
    at("again").click();
    await ready();
    seen.again = [texts(".user").length, texts(".assistant").length, at("seed").value];
    write(EVIL, 5000);
    await until(() => texts(".assistant")[1]);
    at("send").click();
    await until(() => at("send").textContent == "Send");
    seen.stopped = [texts(".user")[1], texts(".error"), page.querySelectorAll("b").length];
    seen.look = [view.getComputedStyle(page.body).backgroundColor, page.documentElement.scrollWidth];
    seen.asked = view.performance.getEntriesByType("resource").map(entry => entry.name);
    return seen;
}
if (self == top) onload = async () => {
    const frame = document.createElement("iframe"), pre = document.createElement("pre");
    [frame.width, frame.frameBorder, pre.id] = [WIDTH, 0, "seen"];
    frame.srcdoc = document.documentElement.outerHTML;
    document.body.append(frame);
    await new Promise(loaded => { frame.onload = loaded; });
    pre.textContent = JSON.stringify(await drive(frame));
    document.body.append(pre);
};
"""


@needs_browser
@pytest.mark.parametrize("scheme, width", [("dark", 1280), ("light", 390)])
def test_the_page_chats(tmp_path, scheme, width):
    """Let the page drive a copy of itself in a frame of this width; its policy lets no other script run."""
    driver = DRIVER.replace("WIDTH", str(width)).replace("EVIL", json.dumps(EVIL).replace("</", "<\\/"))
    plant = ("from tinyllm.serve import app; read = app.read_text; "
             f"app.read_text = lambda path: read(path).replace('</script>', {driver!r} + '</script>')")
    with running("shipped", first=plant) as process:
        address = f"http://127.0.0.1:{process.port}/"
        seen = seen_by_browser(tmp_path, address, scheme, "--virtual-time-budget=600000")
        body = {"messages": [{"role": "user", "content": "Once upon a time"}], "max_tokens": 30}
        _, truth = ask(process.port, "/v1/chat/completions", body)
    assert (seen["models"], seen["said"]) == (["shipped"], [truth["choices"][0]["message"]["content"]])
    assert seen["pop"][0] == "block" and seen["pop"][1].count(" %") in (5, 6)
    assert seen["again"] == [1, 1, "1"] and seen["stopped"] == [EVIL, [], 1]
    assert seen["look"] == ["rgb(20, 22, 27)" if scheme == "dark" else "rgb(251, 250, 248)", width]
    assert seen["asked"] and all(url.startswith(address) for url in seen["asked"])


def test_the_page_holds_no_markup_of_others_and_may_load_nothing():
    with running("shipped") as process:
        status, text = ask(process.port, "/")
    assert status == 200 and "innerHTML" not in text and "document.write" not in text
    assert "style" not in dict(whole(text, scripts=1).attributes)
