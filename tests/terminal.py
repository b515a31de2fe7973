"""A terminal of 80 columns for tests: a command in it, and the keys that somebody presses."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

CTRL_C = "\x03"


def at_terminal(command, keys=(), cwd=None, env=None, seconds=60):
    """Run a command in a terminal -> (what it showed, its exit code; of a signal, minus its number).

    keys: pairs of a text to wait for, which is looked for after the last one, and what is then typed, or a
    function that says it. Ctrl-C is pressed again where nothing comes of it, not even an echo: between its
    prompt and its wait for a key, readline takes note of it and waits all the same.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env={**os.environ, **(env or {})},
        start_new_session=True, preexec_fn=_sit_down,
    )  # fmt: skip
    os.close(theirs)
    shown, at, end, keys, again = "", 0, time.monotonic() + seconds, list(keys), b""
    try:
        while data := _read(ours, end, shown, again):
            again = b"" if b"^C" in data or b"\n" in data else again  # else it is the rest of the prompt
            shown += data.decode("utf-8", "replace").replace("\r\n", "\n")
            while keys and keys[0][0] in shown[at:]:
                text, typed = keys.pop(0)
                at = shown.index(text, at) + len(text)
                typed = (typed() if callable(typed) else typed).encode()
                os.write(ours, typed)
                again = typed if typed == CTRL_C.encode() else b""
        return shown, process.wait(max(end - time.monotonic(), 1))
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _sit_down():
    """Make standard input the terminal, and heed Ctrl-C, unlike a job in the background."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _read(terminal, end, shown, again):
    """The next bytes, or none at the end. Raises TimeoutError. again: what to type each second until then."""
    while not select.select([terminal], [], [], max(min(end - time.monotonic(), 1 if again else 60), 0))[0]:
        if time.monotonic() >= end:
            raise TimeoutError(f"the command waits for something after {shown[-500:]!r}")
        os.write(terminal, again)
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux's way to say that nobody is at the other end
        return b""
