"""Run a command in a terminal, and press keys in it."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

CTRL_C = "\x03"


def at_terminal(command, keys=(), cwd=None, env=None, seconds=60, rows=24, columns=80):
    """Run a command in a terminal -> (what it showed, its exit code; of a signal, minus its number).

    keys: pairs of a text, or a pattern, to wait for, which is looked for after the last one, and what is then
    typed, or a function that says it. Ctrl-C is pressed again where nothing comes of it, after a second
    without an echo, after ten with one: between its prompt and its wait for a key, readline takes note of it
    and waits all the same.
    """
    ours, theirs = pty.openpty()
    sizes = ("LINES", "COLUMNS")  # which readline sets
    given = {name: value for name, value in os.environ.items() if name not in sizes}
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env=given | (env or {}),
        start_new_session=True, preexec_fn=_sit_down,
    )
    os.close(theirs)
    shown, at, end, keys, again, pause = "", 0, time.monotonic() + seconds, list(keys), b"", 1
    try:
        while data := _read(ours, end, shown, again, pause):
            again = b"" if b"\n" in data else again  # else it is the rest of the prompt, or the echo
            pause = 10 if b"^C" in data else pause
            shown += data.decode("utf-8", "replace").replace("\r\n", "\n")
            while keys and (found := re.compile(_pattern(keys[0][0])).search(shown, at)):
                _, typed = keys.pop(0)
                at = found.end()
                typed = (typed() if callable(typed) else typed).encode()
                os.write(ours, typed)
                again, pause = typed if typed == CTRL_C.encode() else b"", 1
        return shown, process.wait(max(end - time.monotonic(), 1))
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _pattern(text):
    return text if isinstance(text, re.Pattern) else re.escape(text)


def _sit_down():
    """Make standard input the terminal, and heed Ctrl-C, unlike a job in the background."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _read(terminal, end, shown, again, pause):
    """Read the next bytes, none at the end; `again` is typed after each pause. Raises TimeoutError."""
    pause = pause if again else 60
    while not select.select([terminal], [], [], max(min(end - time.monotonic(), pause), 0))[0]:
        if time.monotonic() >= end:
            raise TimeoutError(f"the command waits for something after {shown[-500:]!r}")
        os.write(terminal, again)
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux's way to say that nobody is at the other end
        return b""
