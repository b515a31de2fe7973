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
    """Run a command in a terminal -> (what it showed, its exit code, or minus the signal that ended it).

    keys: pairs (text to wait for, keys to type then); each text is looked for after the one before. Ctrl-C is
    typed again if nothing happens, because readline waits for a key in spite of a Ctrl-C that comes between
    its prompt and this wait.
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
    """Make standard input the controlling terminal, and let Ctrl-C have its usual effect."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _read(terminal, end, shown, again):
    """Read the next bytes, b"" at the end; type `again` after each pause. Raises TimeoutError."""
    while not select.select([terminal], [], [], PAUSE)[0]:
        if time.monotonic() >= end:
            raise TimeoutError(f"the command waits for something after {shown[-500:]!r}")
        os.write(terminal, again)
    try:
        return os.read(terminal, 65536)
    except OSError:  # raised by Linux when the other end is closed
        return b""
