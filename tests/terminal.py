"""Run a command in a terminal, and press keys in it."""

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
PAUSE = 5  # seconds


def at_terminal(command, keys=(), cwd=None, env=None, seconds=60, columns=80):
    """Run a command in a terminal -> (what it showed, its exit code; of a signal, minus its number).

    keys: pairs of a text to wait for, which is looked for after the last one, and what is then typed. Ctrl-C
    is pressed again where nothing comes of it: between its prompt and its wait for a key, readline takes note
    of it and waits all the same.
    """
    ours, theirs = pty.openpty()
    given = {name: value for name, value in os.environ.items() if name not in ("LINES", "COLUMNS")}
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env=given | (env or {}),
        start_new_session=True, preexec_fn=_sit_down,
    )
    os.close(theirs)
    shown, at, end, keys, again = "", 0, time.monotonic() + seconds, list(keys), b""
    try:
        while data := _read(ours, end, shown, again):
            shown += data.decode("utf-8", "replace").replace("\r\n", "\n")
            while keys and (found := shown.find(keys[0][0], at)) >= 0:
                text, typed = keys.pop(0)
                at = found + len(text)
                os.write(ours, typed.encode())
                again = typed.encode() if typed == CTRL_C else b""
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
    """Read the next bytes, none at the end; `again` is typed after each pause. Raises TimeoutError."""
    while not select.select([terminal], [], [], PAUSE)[0]:
        if time.monotonic() >= end:
            raise TimeoutError(f"the command waits for something after {shown[-500:]!r}")
        os.write(terminal, again)
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux's way to say that nobody is at the other end
        return b""
