"""A headless Chromium over a pair of pipes: open a page, listen to its requests and errors, take its picture.

The protocol is Chromium's own (DevTools), JSON messages that end in a zero byte, on file descriptors 3 and 4.
"""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
         "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--disable-dev-shm-usage",
         "--proxy-server=127.0.0.1:9", "--remote-debugging-pipe")  # fmt: skip  # no way out, whoever asks
SECONDS = 60
LAUNCH = """
import fcntl, os, sys
inward, outward = (fcntl.fcntl(int(fd), fcntl.F_DUPFD, 50) for fd in sys.argv[1:3])
os.dup2(inward, 3)
os.dup2(outward, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One Chromium with a fresh profile and one page; use it as a context manager."""

    def __enter__(self):
        self.profile = tempfile.mkdtemp(prefix="tinyllm-chromium-")
        inward, self.to = os.pipe()
        self.back, outward = os.pipe()
        command = [PROGRAM, *FLAGS, f"--user-data-dir={self.profile}", "about:blank"]
        launch = [sys.executable, "-c", LAUNCH, str(inward), str(outward), *command]
        self.process = subprocess.Popen(launch, pass_fds=(inward, outward), start_new_session=True,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        os.close(inward)
        os.close(outward)
        self.waiting, self.events, self.count, self.session = b"", [], 0, None
        try:
            self._attach()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _attach(self):
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.ask(f"{domain}.enable")

    def __exit__(self, *exc):
        os.close(self.to)
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.back)
        shutil.rmtree(self.profile, ignore_errors=True)

    def ask(self, method, **params):
        """Send a command and wait for its answer; events that come meanwhile are kept."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self.count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def _receive(self):
        deadline = time.monotonic() + SECONDS
        while b"\0" not in self.waiting:
            ready, _, _ = select.select([self.back], [], [], max(0, deadline - time.monotonic()))
            part = os.read(self.back, 65536) if ready else b""
            if not part:
                raise TimeoutError("Chromium does not answer")
            self.waiting += part
        line, self.waiting = self.waiting.split(b"\0", 1)
        return json.loads(line)

    def open(self, url):
        """Load a page and wait until it is there."""
        self.events = []
        self.ask("Page.navigate", url=url)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())

    def requests(self):
        """The addresses that the page has asked for."""
        return [e["params"]["request"]["url"] for e in self.events
                if e.get("method") == "Network.requestWillBeSent"]  # fmt: skip

    def complaints(self):
        """What stands in the console: errors, warnings, what a script printed."""
        names = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return [e for e in self.events if e.get("method") in names]

    def run(self, script):
        """Run a script in the page -> its value."""
        return self.ask("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def look(self, width, height, scheme):
        """Set the size of the window in pixels, and whether the page is seen light or dark."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                 mobile=width < 600)  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", features=features)

    def picture(self):
        """A PNG of the window."""
        shot = self.ask("Page.captureScreenshot", format="png")
        return base64.b64decode(shot["data"])
