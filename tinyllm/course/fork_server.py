"""Fork one fresh worker for every test, from a process that has numpy loaded.

This process starts as `python -I -S fork_server.py NUMPY SOCKET`, so that neither tinyllm nor any other
installed package can be imported. The socket transmits two kinds of requests. {"do": "start", "code": FILE,
"folder": SCRATCH, ...} comes with a second socket, over which the new worker talks with the grader; the
answer is its process id. {"do": "end", "child": ID, ...} kills a worker; the answer is how it ended. The
server never runs a student's code.

SOCKET is the number of a file descriptor; on Windows, a copy of the socket is read from stdin instead. On
systems where processes cannot be forked safely, the first message is a request to start a worker: then this
process is itself the only worker.
"""

import contextlib
import importlib.util
import os
import signal
import socket
import sys
import time
import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:  # not imported when this runs, in an isolated Python
    from collections.abc import Callable
    from types import FrameType, ModuleType
    from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
OUTPUT = "output"  # the file in a worker's folder that receives its output
MAX_TEXT = 4000  # characters of an error message that are sent


def load_file(name: str, path: str) -> "Any":
    """Import a file as a module with a given name."""
    spec: Any = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def main(numpy_folder: str, fd: str = "") -> None:
    """Load NumPy, then run as a server or as a single worker until the grader closes the connection."""
    sys.path.append(numpy_folder)
    for name in ("numpy", "numpy.linalg", "numpy.random"):
        importlib.import_module(name)
    sys.path.remove(numpy_folder)
    protocol = load_file("_tinyllm_protocol", os.path.join(HERE, "protocol.py"))
    sandbox = load_file("_tinyllm_sandbox", os.path.join(HERE, "sandbox.py"))
    if fd:
        sock = socket.socket(fileno=int(fd))
    else:
        sock = socket.fromshare(sys.stdin.buffer.read())  # type: ignore[attr-defined]
    protocol.send(sock, "ready")
    first = protocol.receive(sock)
    if isinstance(first, dict):
        run_worker(protocol, sandbox, sock, first)
    serve(protocol, sandbox, sock, first)


def serve(protocol: "ModuleType", sandbox: "ModuleType", control: socket.socket, readable: list) -> None:
    """Fork workers on request until the grader closes the connection.

    readable: the paths that a worker may read; they are sent only once, because they are many.
    """
    with contextlib.suppress(OSError):  # no filter for this machine: the worker says so
        sandbox.filter_bytes()  # made before any fork
    children: set[int] = set()
    while True:
        try:
            request = protocol.receive(control)
        except protocol.Closed:
            for child in children:
                end(child, 0)
            return
        if request["do"] == "end":
            ended: dict = {"signal": None, "cpu": 0.0}
            if request["child"] in children:  # else it was one of a server that died
                children.remove(request["child"])
                ended = end(request["child"], request["patience"])
            protocol.send(control, ended)
            continue
        _, (fd,), _, _ = socket.recv_fds(control, 1, 1)
        child = os.fork()
        if child == 0:
            run_worker(protocol, sandbox, detach(control, fd), request | {"readable": readable})
        os.close(fd)
        children.add(child)
        protocol.send(control, child)


def run_worker(protocol: "ModuleType", sandbox: "ModuleType", sock: socket.socket, request: dict) -> None:
    """Run as a worker until the grader closes the connection, then exit. This function never returns."""
    code = 1
    try:
        work(protocol, sandbox, sock, request)
    except protocol.Closed:
        code = 0
    finally:
        os._exit(code)


def descendants() -> list[int]:
    """Return the ids of all descendants of this process; [] without Linux's /proc."""
    family = [os.getpid()]
    for pid in family:  # which grows
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children") as f:
                    family += map(int, f.read().split())
    return family[1:]


def asleep(pid: int) -> bool:
    """Return True if every thread of a process sleeps; False without Linux's /proc.

    A thread that is ready to run but gets no processor is not asleep.
    """
    states = set()
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/stat") as f:
                states.add(f.read().rpartition(")")[2].split()[0])
    return "S" in states and states <= {"S", "Z"}


def used() -> float:
    """Return the processor time in seconds of the children that have ended; 0 on Windows."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def end(child: int, patience: int) -> dict:
    """Kill a worker and its process group; return {"signal": number or None, "cpu": processor time}.

    Behind seccomp a worker starts no other process; elsewhere this ends those that stay in its group.

    patience: milliseconds to wait for the worker to end by itself.
    signal: the signal that ended the worker in this time, 0 if it exited, None if it had to be killed.
    """
    died_of, before = None, used()
    for _ in range(patience):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            died_of = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            break
        time.sleep(0.001)
    if died_of is None:
        os.kill(child, signal.SIGKILL)
    with contextlib.suppress(OSError):  # it is empty, or not made yet
        os.killpg(child, signal.SIGKILL)
    if died_of is None:
        os.waitpid(child, 0)
    return {"signal": died_of, "cpu": used() - before}


def detach(control: socket.socket, fd: int) -> socket.socket:
    """Close all files of the server except the socket to the grader, and return this socket."""
    os.setsid()
    control.close()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.closerange(3, fd)
    os.closerange(fd + 1, 2**16)
    return socket.socket(fileno=fd)


def work(protocol: "ModuleType", sandbox: "ModuleType", sock: socket.socket, request: dict) -> None:
    """Enter the sandbox, import the student's file, and answer calls; or become the program that does so."""
    kept = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}  # Windows needs it
    os.environ.clear()
    os.environ.update(kept, HOME=request["folder"], TMPDIR=request["folder"], PYTHONDONTWRITEBYTECODE="1")
    sys.dont_write_bytecode = True
    os.chdir(request["folder"])
    output = os.open(OUTPUT, os.O_WRONLY | os.O_APPEND)
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    sandbox.limits(**request["limits"])
    allow(request["call_seconds"])
    program = not request["code"].endswith(".py")
    if request["level"] == "landlock":
        readable = [os.path.dirname(request["code"]), "/dev/urandom", "/dev/null", *request["readable"]]
        if program:
            sandbox.landlock(executable=[request["code"], *sandbox.c_library()])
        else:
            sandbox.landlock(readable)
        sandbox.seccomp(starts=program)
    if program:
        os.dup2(sock.fileno(), 0)
        os.execv(request["code"], [request["code"], str(request["call_seconds"])])
    try:
        sys.path.insert(0, os.path.dirname(request["code"]))
        module = load_file("exercise", request["code"])
    except BaseException as error:
        protocol.send(sock, {"error": describe(error, request["code"])})
        return
    protocol.send(sock, {"ready": True})
    last: list = []
    while True:
        call = protocol.receive(sock)
        allow(request["call_seconds"])
        answer(protocol, sock, module, call, request["code"], last)


def allow(seconds: float) -> None:
    """Have SIGPROF end this process after so much more of processor time; 0 is no limit, as on Windows."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def answer(protocol: "ModuleType", sock: socket.socket, module: "ModuleType", call: dict, code: str,
           last: list) -> None:
    """Call a function of the student's module, and send its result or its error.

    last: the result of the call before and its frame, or []; replaced by those of this call.
    """
    try:
        function = getattr(module, call["function"], None)
        if not callable(function):
            protocol.send(sock, {"missing": call["function"]})
            return
        args = [*call["args"], *(remote(protocol, sock, name) for name in call.get("remote", ()))]
        named = dict(zip(call.get("names", ()), args, strict=False))
        with Steps(function if call.get("steps") else None) as steps:
            result = function(**named) if named else function(*args)
        if last and protocol.dump(last[0]) != last[1]:
            raise RuntimeError("its result of the call before has changed; return a new array in each call")
        last[:] = result, protocol.dump(result)
        reply = {"value": result} | ({"args": args} if call.get("send_args") else {})
        reply |= {"steps": sendable(protocol, steps.found)} if call.get("steps") else {}
        frame = protocol.dump(reply)
    except BaseException as error:
        frame = protocol.dump({"error": describe(error, code)})
    sock.settimeout(None)
    sock.sendall(frame)


def remote(protocol: "ModuleType", sock: socket.socket, name: str) -> "Callable":
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


class Steps:
    """A context manager that records in `found` the variables {name: value} of a function when it returns.

    If the function is None, nothing is recorded.
    """

    def __init__(self, function):
        self.code, self.found = getattr(function, "__code__", None), {}

    def __enter__(self):
        self.before = sys.getprofile()
        if self.code:
            sys.setprofile(self.look)
        return self

    def __exit__(self, *exc):
        sys.setprofile(self.before)

    def look(self, frame: "FrameType", event: str, value: object) -> None:
        if event == "return" and frame.f_code is self.code:
            self.found = dict(frame.f_locals)


def sendable(protocol: "ModuleType", found: dict) -> list[tuple]:
    """Return (name, value) of the variables that the protocol can send."""
    steps = []
    for name, value in list(found.items())[:64]:
        with contextlib.suppress(Exception):
            if len(protocol.dump(value)) < 2**20:
                steps.append((name, value))
    return steps


def describe(error: "Any", code: str) -> dict:
    """Return a dict with the kind and message of an exception, and its line in the student's file."""
    kind = type(error).__name__
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
    return {"kind": kind, "message": clean, "line": line}


if __name__ == "__main__":
    main(*sys.argv[1:])
