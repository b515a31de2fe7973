"""The mother of workers: a process that has numpy ready and forks one fresh worker for every test.

Started as `python -I -S zygote.py FD NUMPY`, so that neither tinyllm nor anything else installed is in
reach. It is told over the socket FD what to do: {"do": "start", "code": FILE, "folder": SCRATCH, ...} with a
second socket, over which a worker then talks with the grader; {"do": "end"} kills all that has grown from it,
and is answered with how the worker came to its end.
It runs no student's code itself and is the parent of whatever a worker leaves behind, so nothing outlives a
test.

With "-" in the place of FD it is one worker itself, and takes its order from standard input: where forking is
not safe or not there, and inside bubblewrap.
"""

import contextlib
import ctypes
import importlib.util
import os
import signal
import socket
import sys
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
MAX_TEXT = 4000  # characters of an error that are worth sending


def load_file(name, path):
    """Import one file as a module of that name."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def main(where, numpy_folder):
    """Get ready, and be one worker or the mother of many until the grader goes away."""
    sys.path.append(numpy_folder)
    for name in ("numpy", "numpy.linalg", "numpy.random"):
        importlib.import_module(name)
    sys.path.remove(numpy_folder)
    wire = load_file("_tinyllm_wire", os.path.join(HERE, "wire.py"))
    sandbox = load_file("_tinyllm_sandbox", os.path.join(HERE, "sandbox.py"))
    if where == "-":
        alone(wire, sandbox)
    else:
        mother(wire, sandbox, socket.socket(fileno=int(where)))


def mother(wire, sandbox, control):
    """Fork workers until the grader goes away."""
    ctypes.CDLL(None).prctl(sandbox.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wire.send(control, "ready")
    child = None
    while True:
        try:
            order = wire.receive(control)
        except wire.Closed:
            kill_all(child)
            return
        if order["do"] == "end":
            wire.send(control, end(child, order["patience"]))
            child = None
            continue
        _, fds, _, _ = socket.recv_fds(control, 1, 2)
        child = os.fork()
        if child == 0:
            live(wire, sandbox, forked, order, control, fds)
        for each in fds:
            os.close(each)


def alone(wire, sandbox):
    """Be one worker: standard input and output become the way to the grader, which nothing else then has."""
    talk = wire.Pipes(os.fdopen(os.dup(0), "rb", 0), os.fdopen(os.dup(1), "wb", 0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    wire.send(talk, "ready")
    live(wire, sandbox, lambda: talk, wire.receive(talk))


def live(wire, sandbox, talk, order, *args):
    """The whole life of a worker, from the order to the exit. talk: a function that gives the way back."""
    code = 1
    try:
        worker(wire, sandbox, talk(*args), order)
        code = 0
    except wire.Closed:
        code = 0
    finally:
        os._exit(code)


def descendants(root=None):
    """The processes that have grown from this one or that, in any depth; needs /proc, or knows none."""
    found, todo = [], [root or os.getpid()]
    while todo:
        pid = todo.pop()
        try:
            tasks = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for task in tasks:
            try:
                with open(f"/proc/{pid}/task/{task}/children") as f:
                    children = [int(word) for word in f.read().split()]
            except OSError:
                continue
            found += children
            todo += children
    return found


def asleep(pids):
    """Whether each thread of these processes waits, and not for a processor; needs /proc, or says no.

    What is ready to run and gets no processor, because others have them all, is not asleep.
    """
    states = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/stat") as f:
                    states.add(f.read().rpartition(")")[2].split()[0])
    return "S" in states and states <= {"S", "Z"}


def used_by(pids):
    """Seconds of processor time of these processes, by /proc."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as f:
            ticks += sum(map(int, f.read().rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def used():
    """Seconds of processor time of the children that have ended; 0 where nobody counts them."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def end(child, patience):
    """End a worker -> {"signal": what it had died of by itself, or None, "cpu": seconds of processor time}.

    patience: milliseconds to wait for one that is about to end by itself.
    """
    died_of, before = None, used()
    for _ in range(patience if child else 0):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            died_of = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            break
        time.sleep(0.001)
    kill_all(child, died_of is None)
    return {"signal": died_of, "cpu": used() - before}


def kill_all(child=None, alive=True):
    """Kill every descendant until there is none."""
    if child:  # by name and group too: not every system has /proc
        with contextlib.suppress(OSError):
            os.killpg(child, signal.SIGKILL)
        if alive:
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGKILL)
    for _ in range(10_000):
        for pid in descendants():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            break
        time.sleep(0.001)


def forked(control, fds):
    """Let go of all that is the mother's -> the socket to the grader. fds: that, and where prints go."""
    os.setsid()
    control.close()
    talk = socket.socket(fileno=fds[0])
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(fds[1], 1)
    os.dup2(fds[1], 2)
    kept = talk.fileno()
    os.closerange(3, kept)
    os.closerange(kept + 1, 2**16)
    return talk


def worker(wire, sandbox, talk, order):
    """Put up the fences, import the student's file, and answer calls until the grader hangs up."""
    kept = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}  # Windows needs it
    os.environ.clear()
    os.environ.update(kept, HOME=order["folder"], TMPDIR=order["folder"], PYTHONDONTWRITEBYTECODE="1")
    sys.dont_write_bytecode = True
    os.chdir(order["folder"])
    if order["watch"]:
        arguments = (order["watch"], order["limits"]["memory"])
        threading.Thread(target=watch, args=arguments, daemon=True).start()
    sandbox.limits(**order["limits"])
    if order["level"] == "landlock" or (order["level"] == "bwrap" and sandbox.landlock_version()):
        readable = [os.path.dirname(order["code"]), "/dev/urandom", "/dev/null", *order["readable"]]
        sandbox.landlock(readable)
    if order["level"] in ("landlock", "bwrap"):
        sandbox.seccomp()
    answer(wire, talk, order)


def watch(parent, memory):
    """Leave when the grader is gone or the memory is used up: for macOS, which sees to neither."""
    import resource

    def held():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if sys.platform == "darwin" else 0

    while os.getppid() == parent and held() < memory:
        time.sleep(0.1)
    os._exit(1)


def answer(wire, talk, order):
    """Import the student's file and run its functions: the loop of a worker."""
    try:
        sys.path.insert(0, os.path.dirname(order["code"]))
        module = load_file("exercise", order["code"])
    except BaseException as error:
        wire.send(talk, {"error": describe(error, order["code"])})
        return
    wire.send(talk, {"ready": True})
    while True:
        call = wire.receive(talk)
        try:
            function = getattr(module, call["function"], None)
            if not callable(function):
                wire.send(talk, {"missing": call["function"]})
                continue
            args = [*call["args"], *(remote(wire, talk, name) for name in call.get("remote", ()))]
            steps = Steps(function) if call.get("steps") else None
            result = function(*args)
            reply = {"value": result, "args": args if call.get("send_args") else None}
            if steps:
                reply["steps"] = steps.stop(wire)
            frame = wire.dump(reply)
        except BaseException as error:
            sys.setprofile(None)
            frame = wire.dump({"error": describe(error, order["code"])})
        talk.settimeout(None)
        talk.sendall(frame)


def remote(wire, talk, name):
    """A function that the grader runs: it gets the arguments and answers; nothing of it is here."""

    def ask(*args, **kwargs):
        wire.send(talk, {"ask": name, "args": list(args), "kwargs": kwargs})
        reply = wire.receive(talk)
        for at, value in reply.get("changed", ()):  # it wrote into an argument: so shall this look here
            args[at][slice(None) if isinstance(value, list) else ...] = value
        if "raised" in reply:
            raise RuntimeError(f"{name} raised {reply['raised']}")
        return reply["value"]

    ask.__name__ = name
    return ask


class Steps:
    """Looks at the local variables of a function when it returns: the steps of its computation, by name."""

    def __init__(self, function):
        self.code, self.found = getattr(function, "__code__", None), {}
        sys.setprofile(self.look)

    def look(self, frame, event, value):
        if event == "return" and frame.f_code is self.code:
            self.found = dict(frame.f_locals)

    def stop(self, wire):
        """The variables that can be sent, as pairs of name and value."""
        sys.setprofile(None)
        steps = []
        for name, value in list(self.found.items())[:64]:
            try:
                if len(wire.dump(value)) < 2**20:
                    steps.append((name, value))
            except Exception:
                continue
        return steps


def describe(error, code):
    """What went wrong, for the student: the kind, the message and the line of their file."""
    kind = type(error).__name__
    of_the_file = isinstance(error, SyntaxError) and error.filename == code
    try:
        message = str(error.msg if of_the_file else error)  # str(error) would say the place again
    except BaseException:
        message = "its message cannot be read"
    line = error.lineno if of_the_file else None
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == code:
            line = frame.lineno
    clean = message.encode("utf-8", "replace").decode()[:MAX_TEXT]
    return {"kind": kind, "message": clean, "line": line}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
