"""Fences around a process that is about to run a student's code, put up by the process itself.

Each can only be tightened, never taken down. `limits` are POSIX resource limits. `landlock` (Linux 5.13)
lets it open files below a few folders only, and, from version 6 on, signal none but its own children.
`seccomp` (Linux 3.5) takes away the system calls for network, new processes and threads, tracing, signals,
and what Landlock does not see: modes, owners and times of files; `freeze` those that change how memory lies,
for a worker that has C between guard pages. All through ctypes and `resource`,
because the standard library has no door to them and no package is worth it.

landlock(7), seccomp(2) and filter.h of the Linux kernel are the sources of the numbers. The worker reads this
file, so it imports the standard library only.
"""

import ctypes
import os
import platform
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_GET_SECCOMP, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER = 38, 21, 22, 36
LANDLOCK_CREATE, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT = 444, 445, 446  # the same on every architecture
READ = 1 << 2 | 1 << 3  # READ_FILE, READ_DIR
EXECUTE = 1 << 0
WRITE = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 14  # and remove, and make files and folders
ON_FILES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14  # the rights that make sense for a single file
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # version -> how many rights on files it knows
SCOPES = 3  # abstract sockets and signals, from version 6


def _libc():
    return ctypes.CDLL(None, use_errno=True)


def _call(number, *args):
    """Make a system call. Raises OSError."""
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    result = _libc().syscall(ctypes.c_long(number), *wide)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def landlock_version():
    """The version of Landlock that this kernel offers; 0 if there is none."""
    if sys.platform != "linux":
        return 0
    try:
        return _call(LANDLOCK_CREATE, 0, 0, 1)
    except OSError:
        return 0


def landlock(readable=(), writable=(), executable=()):
    """From now on open nothing but what lies below these paths. Raises OSError where it cannot be done."""
    version = landlock_version()
    if version < 1:
        raise OSError("this kernel has no Landlock")
    rights = (1 << FILE_RIGHTS.get(version, 16)) - 1
    network = 3 if version >= 4 else 0  # bind and connect, none of which is allowed anywhere
    scopes = SCOPES if version >= 6 else 0
    known = 8 if version < 4 else 16 if version < 6 else 24  # bytes of the structure, which has grown
    attributes = struct.pack("=QQQ", rights, network, scopes)[:known]
    ruleset = _call(LANDLOCK_CREATE, ctypes.c_char_p(attributes), len(attributes), 0)
    try:
        for paths, allowed in ((readable, READ), (writable, READ | WRITE), (executable, READ | EXECUTE)):
            for path in paths:
                _allow(ruleset, path, allowed & rights)
        _call_prctl(PR_SET_NO_NEW_PRIVS, 1)
        _call(LANDLOCK_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset, path, rights):
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # what is not there needs no leave
    try:
        if not os.path.isdir(path):
            rights &= ON_FILES
        rule = struct.pack("=Qi", rights, handle)
        _call(LANDLOCK_ADD_RULE, ruleset, 1, ctypes.c_char_p(rule), 0)
    finally:
        os.close(handle)


def _call_prctl(*args):
    wide = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in args]
    wide += [ctypes.c_ulong(0)] * (5 - len(wide))
    if _libc().prctl(*wide) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


# System calls that a function on arrays has no use for, by number: (x86-64, arm64).
FORBIDDEN = {
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "accept": (43, 202),
    "bind": (49, 200), "listen": (50, 201), "sendmsg": (46, 211), "sendmmsg": (307, 269),
    "accept4": (288, 242),
    "fork": (57, None), "vfork": (58, None), "clone": (56, 220), "execve": (59, 221), "execveat": (322, 281),
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "move_pages": (279, 239), "migrate_pages": (256, 238), "kcmp": (312, 272),
    "perf_event_open": (298, 241), "bpf": (321, 280), "userfaultfd": (323, 282), "keyctl": (250, 219),
    "add_key": (248, 217), "request_key": (249, 218),
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14),
    "lremovexattr": (198, 15), "fremovexattr": (199, 16), "setxattrat": (463, 463),
    "removexattrat": (466, 466), "file_setattr": (469, 469), "truncate": (76, 45), "flock": (73, 32),
    "mknod": (133, None), "mknodat": (259, 33), "symlink": (88, None), "symlinkat": (266, 36),
    "mount": (165, 40), "umount2": (166, 39), "unshare": (272, 97), "setns": (308, 268), "chroot": (161, 51),
    "pivot_root": (155, 41), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "mount_setattr": (442, 442), "quotactl": (179, 60),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "fanotify_init": (300, 262),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "msgget": (68, 186), "msgsnd": (69, 189),
    "msgrcv": (70, 188), "msgctl": (71, 187), "semget": (64, 190), "semop": (65, 193), "semctl": (66, 191),
    "semtimedop": (220, 192), "mq_open": (240, 180), "mq_unlink": (241, 181),
    "memfd_create": (319, 279), "memfd_secret": (447, 447),
    "setpriority": (141, 140), "ioprio_set": (251, 30), "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119), "sched_setparam": (142, 118), "sched_setattr": (314, 274),
    "prlimit64": (302, 261), "setrlimit": (160, 164), "setsid": (112, 157), "setpgid": (109, 154),
    "reboot": (169, 142), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "swapon": (167, 224), "swapoff": (168, 225),
    "acct": (163, 89), "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171),
    "clock_adjtime": (305, 266), "sethostname": (170, 161), "setdomainname": (171, 162),
    "syslog": (103, 116), "personality": (135, 92), "iopl": (172, None), "ioperm": (173, None),
    "vhangup": (153, 58), "quotactl_fd": (443, 443), "setsockopt": (54, 208), "io_setup": (206, 0),
    "inotify_init": (253, None), "inotify_init1": (294, 26), "inotify_add_watch": (254, 27),
}  # fmt: skip
# What would take down the pages beside an array, or the handler of the fault that they give: see `freeze`.
FROZEN = {
    "mprotect": (10, 226), "pkey_mprotect": (329, 288), "munmap": (11, 215), "mremap": (25, 216),
    "remap_file_pages": (216, 234), "rt_sigaction": (13, 134), "sigaltstack": (131, 132),
}  # fmt: skip
MMAP, PROT_EXEC, MAP_FIXED = (9, 222), 4, 0x10
MISSING = {"clone3": (435, 435), "openat2": (437, 437)}  # ENOSYS sends the C library to clone and openat
# Of fcntl a few commands are forbidden: those that have the kernel send signals to another process (SETOWN,
# SETSIG, SETOWN_EX), leases, notices, and pipes that hold gigabytes (SETPIPE_SZ). Of ioctl all are but those
# that ask about a terminal or set what belongs to a handle: the others freeze file systems, change the flags
# of files that may only be read, and reach the network through any socket.
FCNTL, DENIED_FCNTL = (72, 25), (8, 10, 15, 1024, 1026, 1031)
IOCTL, ALLOWED_IOCTL = (16, 29), (0x5401, 0x802C542A, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
OPEN, OPENAT, O_TRUNC = (2, None), (257, 56), 0x200  # it empties what may only be read, before Landlock 3
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above, AUDIT_ARCH
ALLOW, DENY, ABSENT, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000  # EPERM, ENOSYS
LOAD, EQUAL, AT_LEAST, ANY_OF, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, MACHINE = 0, 4  # where the filter finds call and architecture
SECOND, THIRD, FOURTH = 24, 32, 40  # and arguments


def denied(machine, calls):
    """The beginning of each filter: other architectures end the process, and these calls are denied."""
    column, architecture = MACHINES[machine]
    program = [(LOAD, 0, 0, MACHINE), (EQUAL, 1, 0, architecture), (RETURN, 0, 0, KILL)]
    program += [(LOAD, 0, 0, NUMBER)]
    if machine == "x86_64":  # the x32 calls have numbers of their own
        program += [(AT_LEAST, 0, 1, 0x40000000), (RETURN, 0, 0, DENY)]
    for numbers in calls.values():
        if numbers[column] is not None:
            program += [(EQUAL, 0, 1, numbers[column]), (RETURN, 0, 0, DENY)]
    return program


def seccomp_program(machine):
    """The filter as instructions of classic BPF, a list of (code, jump if true, jump if false, number)."""
    column, program = MACHINES[machine][0], denied(machine, FORBIDDEN)
    for numbers in MISSING.values():
        program += [(EQUAL, 0, 1, numbers[column]), (RETURN, 0, 0, ABSENT)]
    commands = [(EQUAL, 0, 1, command) for command in DENIED_FCNTL]
    program += asked(FCNTL[column], SECOND, commands, DENY, (LOAD, 0, 0, NUMBER))
    allowed = [(EQUAL, 0, 1, command) for command in ALLOWED_IOCTL]
    program += asked(IOCTL[column], SECOND, allowed, ALLOW, (RETURN, 0, 0, DENY))
    for numbers, where in ((OPEN, SECOND), (OPENAT, THIRD)):
        if numbers[column] is not None:
            program += asked(numbers[column], where, [(ANY_OF, 0, 1, O_TRUNC)], DENY, (LOAD, 0, 0, NUMBER))
    return [*program, (RETURN, 0, 0, ALLOW)]


def frozen_program(machine):
    """The filter of `freeze`, as instructions."""
    number, program = MMAP[MACHINES[machine][0]], denied(machine, FROZEN)
    for where, bit in ((THIRD, PROT_EXEC), (FOURTH, MAP_FIXED)):
        program += asked(number, where, [(ANY_OF, 0, 1, bit)], DENY, (LOAD, 0, 0, NUMBER))
    return [*program, (RETURN, 0, 0, ALLOW)]


def asked(number, where, questions, answer, otherwise):
    """Instructions for one call: an answer if a question about an argument is true, else what follows."""
    program = [step for question in questions for step in (question, (RETURN, 0, 0, answer))]
    return [(EQUAL, 0, len(program) + 2, number), (LOAD, 0, 0, where), *program, otherwise]


def seccomp():
    """From now on do without the calls above, which answer EPERM. Raises OSError where it cannot be done."""
    _filter(seccomp_program)


def freeze():
    """From now on leave memory as it lies; nothing if this process is behind no filter. Raises OSError.

    Pages keep their rights and places, nothing new can be run, and signals keep their handlers. New memory
    may still be asked for; what is given back stays, which `free` does not mind.
    """
    if sys.platform == "linux" and _libc().prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 2:
        _filter(frozen_program)


def _filter(instructions):
    machine = platform.machine()
    if sys.platform != "linux" or machine not in MACHINES:
        raise OSError(f"no seccomp filter for {sys.platform} on {machine}")
    program = b"".join(struct.pack("=HBBI", *step) for step in instructions(machine))
    buffer = ctypes.create_string_buffer(program, len(program))

    class Filter(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("program", ctypes.c_void_p)]

    described = Filter(len(program) // 8, ctypes.addressof(buffer))
    _call_prctl(PR_SET_NO_NEW_PRIVS, 1)
    _call_prctl(PR_SET_SECCOMP, 2, ctypes.byref(described))


def limits(memory=2**31, cpu_seconds=60, file_size=2**24, files=64, processes=None):
    """Bound what this process may use: address space and files in bytes, processor time in seconds."""
    try:
        import resource
    except ImportError:  # Windows, where the grader puts the process into a job object
        return
    wanted = {"AS": memory, "CPU": cpu_seconds, "FSIZE": file_size, "NOFILE": files, "NPROC": processes}
    for name, value in {**wanted, "CORE": 0}.items():
        kind = getattr(resource, f"RLIMIT_{name}", None)
        if kind is None or value is None:
            continue
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            last = value + 2 if name == "CPU" and hard == resource.RLIM_INFINITY else value
            resource.setrlimit(kind, (value, last))  # SIGXCPU says why; SIGKILL follows if that is ignored
        except (ValueError, OSError):  # macOS refuses some; the report names the level, not each limit
            continue
