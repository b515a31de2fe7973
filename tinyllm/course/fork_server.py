"""Fork one fresh worker for every test, from a process that has numpy loaded.

This process starts as `python -I -S fork_server.py NUMPY SOCKET`, so that neither tinyllm nor any other
installed package can be imported. SOCKET is the number of a file descriptor.

If the first message is a list of paths that workers may read, this process is a server, which never runs a
student's code. A request {"code": FILE, "folder": SCRATCH, ...} comes with a second socket, over which the
new worker talks with the grader; the answer is its process id. {"end": ID} ends a worker; the answer says how
it had ended. If the first message is a request to start a worker, this process is itself the only worker.
"""

import contextlib
import copy
import importlib.util
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
OUTPUT = "output"  # the file in a worker's folder that receives its output
PATIENCE = 200  # milliseconds in which a worker may end by itself, when its socket is closed
MAX_STEPS = 64  # values of variables that are recorded
MAX_TEXT = 4000  # characters of an error message that are sent
protocol: Any = None  # these two are loaded by `main`, from files: tinyllm cannot be imported here
sandbox: Any = None


def load_file(name: str, path: str) -> Any:
    """Import a file as a module with a given name."""
    spec: Any = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def main(numpy_folder: str, fd: str) -> None:
    """Load NumPy, then run as a server or as a single worker until the grader closes the connection."""
    global protocol, sandbox
    sys.path.append(numpy_folder)
    for name in ("numpy", "numpy.linalg", "numpy.random"):
        importlib.import_module(name)
    sys.path.remove(numpy_folder)
    protocol = load_file("_tinyllm_protocol", os.path.join(HERE, "protocol.py"))
    sandbox = load_file("_tinyllm_sandbox", os.path.join(HERE, "sandbox.py"))
    sock = socket.socket(fileno=int(fd))
    protocol.send(sock, "ready")
    first = protocol.receive(sock)
    if isinstance(first, dict):
        run_worker(sock, first)
    serve(sock, first)


def serve(control: socket.socket, readable: list[str]) -> None:
    """Fork workers, and end them, on request until the grader closes the connection."""
    with contextlib.suppress(OSError):  # no filter for this machine: the worker says so
        sandbox.filter_bytes()  # made before any fork
    children: set[int] = set()
    while True:
        try:
            request = protocol.receive(control)
        except protocol.Closed:
            for child in children:
                end(child)
            return
        if "end" not in request:
            _, (fd,), _, _ = socket.recv_fds(control, 1, 1)
            child = os.fork()
            if child == 0:
                run_worker(detach(control, fd), request | {"readable": readable})
            os.close(fd)
            children.add(child)
            protocol.send(control, child)
        else:
            children.remove(request["end"])
            protocol.send(control, end(request["end"]))


def end(child: int) -> dict[str, Any]:
    """End a worker and its process group; return {"signal": number or None, "cpu": processor time}.

    Behind seccomp a worker starts no other process; elsewhere this ends those that stay in its group.

    signal: the signal that had ended the worker, 0 if it exited, None if it had to be killed.
    """
    for _ in range(PATIENCE):
        pid, status, usage = os.wait4(child, os.WNOHANG)
        if pid:
            break
        time.sleep(0.001)
    if not pid:
        os.kill(child, signal.SIGKILL)
    with contextlib.suppress(OSError):  # the group is empty, or not made yet
        os.killpg(child, signal.SIGKILL)
    if not pid:
        _, _, usage = os.wait4(child, 0)
    number = max(-os.waitstatus_to_exitcode(status), 0) if pid else None
    return {"signal": number, "cpu": usage.ru_utime + usage.ru_stime}


def detach(control: socket.socket, fd: int) -> socket.socket:
    """Close all files of the server except the socket to the grader, and return this socket."""
    os.setsid()
    control.close()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.closerange(3, fd)
    os.closerange(fd + 1, 2**16)
    return socket.socket(fileno=fd)


def run_worker(sock: socket.socket, request: dict[str, Any]) -> None:
    """Run as a worker until the grader closes the connection, then exit. This function never returns."""
    try:
        work(sock, request)
    finally:
        os._exit(0)  # also if the grader has gone; nobody asks for the number


def work(sock: socket.socket, request: dict[str, Any]) -> None:
    """Enter the sandbox, import the student's file, and answer calls; or become the program that does so."""
    os.environ.clear()
    os.environ.update(HOME=request["folder"], TMPDIR=request["folder"], PYTHONDONTWRITEBYTECODE="1")
    sys.dont_write_bytecode = True
    os.chdir(request["folder"])
    output = os.open(OUTPUT, os.O_WRONLY | os.O_APPEND)
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    sandbox.limits(**request["limits"])
    allow(request["call_seconds"])
    code = request["code"]
    program = not code.endswith(".py")
    if request["level"] == "landlock":
        if program:
            sandbox.landlock(executable=[code, *sandbox.c_library()])
        else:
            sandbox.landlock([os.path.dirname(code), "/dev/urandom", "/dev/null", *request["readable"]])
        sandbox.seccomp(starts=program)
    if program:
        os.dup2(sock.fileno(), 0)
        os.execv(code, [code, str(request["call_seconds"])])
    try:
        module = load_file("exercise", code)
    except BaseException as error:
        protocol.send(sock, {"error": describe(error, code)})
        return
    protocol.send(sock, {"ready": True})
    last: list[Any] = []
    while True:
        call = protocol.receive(sock)
        allow(request["call_seconds"])
        try:
            protocol.send(sock, answer(sock, module, call, last))
        except BaseException as error:
            protocol.send(sock, {"error": describe(error, code)})


def allow(seconds: float) -> None:
    """Have SIGPROF end this process after so much more of processor time; 0 is no limit."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


def answer(sock: socket.socket, module: Any, call: dict[str, Any], last: list[Any]) -> dict[str, Any]:
    """Call a function of the student's module, and return the answer to the grader.

    last: the previous result and its serialised bytes, or []; replaced by those of this call.
    """
    function = getattr(module, call["function"], None)
    if not callable(function):
        return {"missing": call["function"], "near": nearest(module, call["function"])}
    args = [*call["args"], *(remote(sock, name) for name in call.get("remote", ()))]
    named = dict(zip(call.get("names", ()), args, strict=False))
    with recorded(function if call.get("steps") else None) as found:
        result = function(**named) if named else function(*args)
    if last and protocol.dump(last[0]) != last[1]:
        raise RuntimeError("its result of the call before has changed; return a new array in each call")
    last[:] = result, protocol.dump(result)
    reply = {"value": result} | ({"args": args} if call.get("send_args") else {})
    if call.get("steps"):
        pairs = [(name, value) for (name, _), value in found.items()]
        # If some are missing, nothing can be said to be missing in the function.
        reply["steps"] = list(filter(can_be_sent, pairs)) if len(pairs) <= MAX_STEPS else []
    return reply


def nearest(module: Any, name: str) -> str:
    """Return the name in a module that differs from `name` only in capitals and underscores, or ""."""
    plain = {each.lower().replace("_", ""): each for each in vars(module)}
    return plain.get(name.lower().replace("_", ""), "")


def can_be_sent(value: Any) -> bool:
    """Return True if the protocol can send a value, and it is not large."""
    try:
        return len(protocol.dump(value)) < 2**20
    except Exception:  # a value of the student's may raise any error
        return False


def remote(sock: socket.socket, name: str) -> Callable[..., Any]:
    """Return a function that calls a function of the grader: it sends the arguments over the socket."""

    def ask(*args, **kwargs):
        protocol.send(sock, {"ask": name, "args": list(args), "kwargs": kwargs})
        reply = protocol.receive(sock)
        for at, value in reply.get("changed", ()):  # arguments that the function changed
            args[at][slice(None) if isinstance(value, list) else ...] = value
        if "raised" in reply:
            raise RuntimeError(f"{name} raised {reply['raised']}")
        return reply["value"]

    ask.__name__ = name
    return ask


@contextlib.contextmanager
def recorded(function: Callable[..., Any] | None) -> Iterator[dict[tuple, Any]]:
    """Record at most MAX_STEPS values of a function's variables, in order -> {(name, content): value}."""
    found: dict[tuple, Any] = {}
    code, before = getattr(function, "__code__", None), sys.gettrace()

    def look(frame, event, value):
        for name, now in frame.f_locals.items() if len(found) <= MAX_STEPS else ():
            with contextlib.suppress(Exception):  # a value of the student's may raise any error
                content = now.tobytes() if hasattr(now, "tobytes") else repr(now)
                if (name, content) not in found:
                    found[name, content] = copy.deepcopy(now)
        return look

    sys.settrace((lambda frame, *event: look if frame.f_code is code else None) if code else before)
    try:
        yield found
    finally:
        sys.settrace(before)


def describe(error: Any, code: str) -> dict[str, Any]:
    """Return a dict with the kind and message of an exception, and its line in the student's file."""
    of_the_file = isinstance(error, SyntaxError) and error.filename == code
    try:
        message = str(error.msg if of_the_file else error)  # str(error) would repeat the place
    except BaseException:
        message = "its message cannot be read"
    line = error.lineno if of_the_file else None
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == code:
            line = frame.lineno
            if not message and (frame.line or "").startswith("assert "):
                message = f"`{frame.line}`"
    clean = message.encode("utf-8", "replace").decode()[:MAX_TEXT]
    return {"kind": type(error).__name__, "message": clean, "line": line}


if __name__ == "__main__":
    main(*sys.argv[1:])
