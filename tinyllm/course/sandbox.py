"""Restrict this process before it runs a student's code.

A restriction can be tightened but never removed. `limits` sets POSIX resource limits. `landlock` (Linux 5.13)
allows the process to open files only below a few folders, and to signal only its own children (from version 6
on). `seccomp` (Linux 3.5) allows only the system calls that a function on arrays needs. Landlock and seccomp
are called with ctypes, because the standard library does not offer them. Comments with "hostile:" name
submissions in tests/course/hostile that would succeed without the code at this place.

`python -I -S sandbox.py LEVEL COMPILER ARGUMENTS...` compiles a student's C code with `limits` and
`landlock`. A compiler does not run the code, but `#include "/home/me/secret"` would show a file in an error
message, and a header that includes itself takes for ever.

The numbers come from landlock(7), seccomp(2) and filter.h of the Linux kernel. Workers import this file, so
it uses only the standard library.
"""

import ctypes
import functools
import os
import platform
import stat
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 38, 22
LANDLOCK_CREATE, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT = 444, 445, 446  # the same on every architecture
READ = 1 << 2 | 1 << 3  # READ_FILE, READ_DIR
EXECUTE = 1 << 0
WRITE = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 14  # also remove and make files and folders
ON_FILES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14  # the rights that make sense for a single file
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # version -> how many rights on files it knows
SCOPES = 3  # abstract sockets and signals, from version 6
BELOW = ("bin", "lib", "lib32", "lib64", "libexec", "include")  # not src, where containers keep programs
SYSTEM = (*(f"{top}/{each}" for top in ("", "/usr", "/usr/local") for each in BELOW), "/nix/store",
          "/etc/alternatives", "/etc/ld.so.cache", "/dev/null", "/dev/urandom")


@functools.cache  # every worker makes hundreds of calls
def _libc():
    return ctypes.CDLL(None, use_errno=True)


def _call(name, *args):
    """Call `syscall` or `prctl` of the C library. Raises OSError if it fails."""
    result = _libc()[name](*(ctypes.c_long(a) if isinstance(a, int) else a for a in args))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def landlock_version() -> int:
    """Return the version of Landlock in this Linux kernel; 0 if there is none."""
    if sys.platform != "linux":
        return 0
    try:
        return _call("syscall", LANDLOCK_CREATE, 0, 0, 1)
    except OSError:
        return 0


def landlock(readable: list | tuple = (), writable: list | tuple = (), executable: list | tuple = ()) -> None:
    """Let this process open only files below these paths. Raises OSError if this is not possible."""
    # (hostile: hidden tests; other students' folders; the library's own source, read; a report in the
    # grader's place; a file system that fills up)
    version = landlock_version()
    if version < 1:
        raise OSError("this kernel has no Landlock")
    rights = (1 << FILE_RIGHTS.get(version, 16)) - 1
    network = 3 if version >= 4 else 0  # bind and connect over TCP: no rule below allows them
    scopes = SCOPES if version >= 6 else 0
    known = 8 if version < 4 else 16 if version < 6 else 24  # bytes of the structure in this version
    attributes = struct.pack("=QQQ", rights, network, scopes)[:known]
    ruleset = _call("syscall", LANDLOCK_CREATE, ctypes.c_char_p(attributes), len(attributes), 0)
    try:
        for paths, allowed in ((readable, READ), (writable, READ | WRITE), (executable, READ | EXECUTE)):
            for path in paths:
                _allow(ruleset, path, allowed & rights)
        _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _call("syscall", LANDLOCK_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset, path, rights):
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # a path that does not exist needs no rule
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            rights &= ON_FILES
        rule = struct.pack("=Qi", rights, handle)
        _call("syscall", LANDLOCK_ADD_RULE, ruleset, 1, ctypes.c_char_p(rule), 0)
    finally:
        os.close(handle)


# The system calls that a function on arrays needs, by number: (x86-64, arm64). Every other one is denied
# (hostile: a connection out; a signal to the grader; a shell; a process by the raw system call; a fork bomb;
# a daemon that outlives the test; threads without end; what Landlock does not see; shared memory; limits,
# raised; the calls of x32, which have other numbers; a watch on other people's folders; the grader's memory).
ALLOWED = {
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67),
    "pwrite64": (18, 68), "lseek": (8, 62), "close": (3, 57), "close_range": (436, 436),
    "stat": (4, None), "lstat": (6, None), "fstat": (5, 80), "newfstatat": (262, 79), "statx": (332, 291),
    "statfs": (137, 43), "fstatfs": (138, 44), "access": (21, None), "faccessat": (269, 48),
    "faccessat2": (439, 439), "getdents64": (217, 61), "getcwd": (79, 17), "chdir": (80, 49),
    "readlink": (89, None), "readlinkat": (267, 78), "umask": (95, 166), "fadvise64": (221, 223),
    "pipe": (22, None), "pipe2": (293, 59), "dup": (32, 23), "dup2": (33, None), "dup3": (292, 24),
    "poll": (7, None), "ppoll": (271, 73), "select": (23, None), "pselect6": (270, 72),
    "sendto": (44, 206), "recvfrom": (45, 207),  # on the socket to the grader: there is no other
    "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "mremap": (25, 216), "brk": (12, 214),
    "madvise": (28, 233), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132), "restart_syscall": (219, 128), "alarm": (37, None), "setitimer": (38, 103),
    "nanosleep": (35, 101), "clock_nanosleep": (230, 115), "gettimeofday": (96, 169), "time": (201, None),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "times": (100, 153), "getrusage": (98, 165),
    "getrlimit": (97, 163), "sysinfo": (99, 179), "uname": (63, 160), "getrandom": (318, 278),
    "getpid": (39, 172), "gettid": (186, 178), "getppid": (110, 173), "getuid": (102, 174),
    "geteuid": (107, 175), "getgid": (104, 176), "getegid": (108, 177), "getpgid": (121, 155),
    "getsid": (124, 156), "getcpu": (309, 168), "sched_yield": (24, 124), "sched_getaffinity": (204, 123),
    "futex": (202, 98), "set_robust_list": (273, 99), "rseq": (334, 293), "prctl": (157, 167),
    "exit": (60, 93), "exit_group": (231, 94),
}
# Calls that are denied for some values of an argument. fcntl: F_SETOWN, F_SETSIG, F_SETOWN_EX make the kernel
# signal another process (hostile: a signal through a file); also leases, notices, and sizes of pipes, which
# may hold gigabytes (hostile: room in the kernel that no limit counts). ioctl: all but questions about a
# terminal and flags of a file descriptor (hostile: calls through a handle that may only read). open: O_TRUNC,
# which before Landlock 3 empties a file that may only be read.
FCNTL, DENIED_FCNTL = (72, 25), (8, 10, 15, 1024, 1026, 1031)
IOCTL, ALLOWED_IOCTL = (16, 29), (0x5401, 0x802C542A, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
OPEN, OPENAT, O_TRUNC = (2, None), (257, 56), 0x200
# More calls, for a compiled program to start. Landlock lets it execute nothing but itself and the loader
# (hostile: C: another program, by the loader; C: NumPy and its products).
STARTING = {"execve": (59, 221), "arch_prctl": (158, None), "set_tid_address": (218, 96)}
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column of the tables, AUDIT_ARCH
ALLOW, DENY, KILL = 0x7FFF0000, 0x00050001, 0x80000000  # DENY: the call fails with EPERM
LOAD, EQUAL, ANY_OF, RETURN = 0x20, 0x15, 0x45, 0x06
NUMBER, MACHINE = 0, 4  # offsets of the call's number and the architecture in the filter's input
SECOND, THIRD = 24, 32  # offsets of the second and the third argument


def seccomp_program(machine: str, starts: bool = False) -> list[tuple]:
    """Return the filter of `seccomp` as BPF instructions: [(code, jump if true, jump if false, number)]."""
    column, architecture = MACHINES[machine]
    program: list[tuple] = [(LOAD, 0, 0, MACHINE), (EQUAL, 1, 0, architecture), (RETURN, 0, 0, KILL)]
    program += [(LOAD, 0, 0, NUMBER)]
    for numbers in (ALLOWED | STARTING if starts else ALLOWED).values():
        if numbers[column] is not None:
            program += [(EQUAL, 0, 1, numbers[column]), (RETURN, 0, 0, ALLOW)]
    commands = [(EQUAL, 0, 1, command) for command in DENIED_FCNTL]
    program += for_argument(FCNTL[column], SECOND, commands, DENY, ALLOW)
    commands = [(EQUAL, 0, 1, command) for command in ALLOWED_IOCTL]
    program += for_argument(IOCTL[column], SECOND, commands, ALLOW, DENY)
    for numbers, where in ((OPEN, SECOND), (OPENAT, THIRD)):
        if (number := numbers[column]) is not None:
            program += for_argument(number, where, [(ANY_OF, 0, 1, O_TRUNC)], DENY, ALLOW)
    return [*program, (RETURN, 0, 0, DENY)]


def for_argument(number: int, where: int, tests: list[tuple], answer: int, otherwise: int) -> list[tuple]:
    """Return instructions for system call `number`: `answer` if one of `tests` is true, else `otherwise`."""
    program = [step for test in tests for step in (test, (RETURN, 0, 0, answer))]
    return [(EQUAL, 0, len(program) + 2, number), (LOAD, 0, 0, where), *program, (RETURN, 0, 0, otherwise)]


def seccomp(starts: bool = False) -> None:
    """Let all system calls that are not listed fail with EPERM. Raises OSError if this is not possible.

    starts: True if this process becomes a compiled program.
    """
    program = filter_bytes(starts)
    buffer = ctypes.create_string_buffer(program, len(program))

    class Filter(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("program", ctypes.c_void_p)]

    described = Filter(len(program) // 8, ctypes.addressof(buffer))
    _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _call("prctl", PR_SET_SECCOMP, 2, ctypes.byref(described), 0, 0)


@functools.cache  # computed once by the server, for all the workers that it forks
def filter_bytes(starts: bool = False) -> bytes:
    """Return the filter of `seccomp` as bytes. Raises OSError if this machine has no such filter."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in MACHINES:
        raise OSError(f"no seccomp filter for {sys.platform} on {machine}")
    return b"".join(struct.pack("=HBBI", *step) for step in seccomp_program(machine, starts))


def c_library() -> list[str]:
    """Return the C library, its loader and its math library: this process has loaded the same files."""
    with open("/proc/self/maps") as f:
        paths = {line.split(None, 5)[5].strip() for line in f if "/" in line}
    needed = ("ld-", "libc.", "libc-", "libm.", "libm-")
    return [path for path in paths if os.path.basename(path).startswith(needed)]


def limits(memory: int = 2**31, cpu_seconds: int = 60, file_size: int = 2**24, files: int = 64) -> None:
    """Limit this process: address space and file size in bytes, seconds of processor time, open files."""
    # (hostile: memory without end; a function without end; a file system that fills up)
    import resource  # here, because Windows lacks it

    wanted = {"AS": memory, "CPU": cpu_seconds, "FSIZE": file_size, "NOFILE": files, "CORE": 0}
    for name, value in wanted.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            last = value + 2 if name == "CPU" and hard == resource.RLIM_INFINITY else value
            resource.setrlimit(kind, (value, last))  # SIGXCPU says why; SIGKILL follows if that is ignored
        except (ValueError, OSError):  # macOS refuses some limits
            continue


def visible() -> list:
    """Return the paths that a compiler may read and run: system folders without this library's folder."""
    library = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    return [path for each in SYSTEM for path in without(os.path.realpath(each), library)]


def without(folder: str, hidden: str) -> list:
    """Return paths that cover all files in a folder, except the files in its subfolder `hidden`."""
    if not f"{hidden}/".startswith(f"{folder}/"):
        return [folder]
    inside = [] if folder == hidden else [each for each in os.scandir(folder) if not each.is_symlink()]
    return [path for each in inside for path in without(each.path, hidden)]


def compile_fenced(level: str, command: list[str]) -> None:
    """Restrict this process and replace it by the compiler, which may only write to the current folder."""
    limits(memory=2**31, cpu_seconds=20, file_size=2**24, files=256)
    if level != "plain":
        system = visible()
        landlock(readable=system, writable=[os.getcwd(), "/dev/null"], executable=system)
    os.execve(command[0], command, {"PATH": os.defpath, "TMPDIR": os.getcwd(), "LC_ALL": "C"})


if __name__ == "__main__":
    compile_fenced(sys.argv[1], sys.argv[2:])
