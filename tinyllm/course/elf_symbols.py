"""Refuse compiled C code of a student that uses more than a kernel needs, or that runs when it is loaded.

A kernel needs only the C library's functions for mathematics, memory and text. So an object file is refused
if it names other functions: for example `dlsym`, which can find NumPy's matrix product, or `mprotect`, which
can open the pages around an array. Weak symbols count too.

No code may run while the library is loaded, because no guard is active yet. The linker makes such code from
sections of many names and kinds. So an object may only have the sections of ordinary C (`SECTIONS`), and the
linked library, which has no start files, must not make the loader run anything: `runs_at_load` reads the same
tables as the loader.

This does not stop C code that needs no names, such as a system call in assembly. The filter in
`sandbox.freeze` denies these system calls.

The format is ELF (System V ABI, "Object Files"). Only 64-bit ELF, the format of Linux, is read.
"""

import re
import struct

from tinyllm.course.workers import printable

ONE = """acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp2 exp10 expm1 fabs
fdim floor fma fmax fmin fmod frexp hypot ilogb ldexp lgamma llrint llround log log10 log1p log2 logb lrint
lround modf nan nearbyint nextafter nexttoward pow remainder remquo rint round scalbln scalbn sin sincos sinh
sqrt tan tanh tgamma trunc"""
OTHERS = """abs labs llabs div ldiv qsort bsearch rand srand malloc calloc realloc free aligned_alloc
posix_memalign memcpy memmove memset memcmp memchr strlen strnlen strcpy strncpy strcat strncat strcmp strncmp
strchr strrchr strstr bcmp printf puts putchar fprintf fputs fputc putc fwrite snprintf sprintf vsnprintf
vfprintf fflush stdout stderr perror exit clock clock_gettime time tinyllm_abort tinyllm_assert_fail
__errno_location __tls_get_addr __stack_chk_fail __stack_chk_guard _GLOBAL_OFFSET_TABLE_
memcpy_chk memmove_chk memset_chk strcpy_chk strncpy_chk strcat_chk strncat_chk
printf_chk fprintf_chk snprintf_chk sprintf_chk vsnprintf_chk vfprintf_chk"""
MATHEMATICS = f"(?:{'|'.join(ONE.split())})"
ALLOWED = re.compile(
    rf"{MATHEMATICS}[fl]?|__{MATHEMATICS}[fl]?_finite|_ZGV\w+_{MATHEMATICS}f?"  # and the vectors of libmvec
    r"|__(?:isinf|isnan|finite|signbit|fpclassify|issignaling)[fl]?"
    rf"|(?:__)?(?:{'|'.join(OTHERS.split())})"
    r"|__(?:add|sub|mul|div|udiv|mod|umod|neg|ashl|ashr|lshr|cmp|eq|ne|lt|le|gt|ge|unord|pow|float(?:un)?"
    r"|fix(?:uns)?|extend|trunc|popcount|parity|clz|ctz|ffs|bswap)(?:[qhsdtxb][fci]){1,2}v?\d?"  # libgcc's
    r"|__aarch64_\w+"
)
GUARDS = {"sigaction", "sigaltstack", "sigaddset", "signal", "__sigsetjmp", "siglongjmp", "memset"}
HEADER, SECTION = struct.Struct("<16s24xQ10xHHH"), struct.Struct("<IIQQQQIIQQ")
SYMBOL, PROGRAM = struct.Struct("<IBBHQQ"), struct.Struct("<IIQQQQQQ")
PAIR, RELOCATION = struct.Struct("<QQ"), struct.Struct("<QQq")
SYMTAB, STRTAB, IFUNC = 2, 3, 10  # sh_type, sh_type, st_info
MAX_SYMBOLS, MAX_LENGTH = 4096, 256  # of an object, which is the student's; bytes of a name
SECTIONS = re.compile(  # of an object: names and types; the linker goes by names
    r"\.rela?\.(?:text|data|rodata|tdata|lrodata|ldata|eh_frame|debug_\w+)(?:\..*)? (?:4|9)"
    r"|\.(?:text|data|rodata|bss|tbss|tdata|lrodata|ldata|lbss|eh_frame|debug_\w+|note)(?:\..*)? \d+"
    r"|(?:|\.comment|\.symtab|\.strtab|\.shstrtab|\.group|\.llvm_addrsig) \d+"
)
LOADABLE, DYNAMIC = 1, 2  # p_type
JMPREL, PLTRELSZ, RELA, RELASZ, SYMBOLS = 23, 2, 7, 8, 6  # d_tag
RUN_AT_LOAD = {12, 13, 25, 26, 32}  # d_tag: INIT, FINI, INIT_ARRAY, FINI_ARRAY, PREINIT_ARRAY
IRELATIVE = {37, 1032}  # of a relocation: an ifunc's, on x86-64 and arm64
NO_OBJECT = "it does not compile: the compiler's output cannot be read"
EARLY = "it has code that runs when it is loaded (a constructor or an ifunc), or a section of its own"


def refusal(data: bytes) -> str:
    """Return in one line why an object file may not be linked, or "". data: the bytes of the file.

    A file that is not 64-bit little-endian ELF is accepted, because other systems have other formats.
    """
    if data[:6] != b"\x7fELF\x02\x01":
        return ""
    try:
        asked, defined, early = names(data)
    except (struct.error, IndexError, ValueError, OverflowError):
        return NO_OBJECT
    if early:
        return EARLY
    if taken := sorted(GUARDS & defined):
        return f"it defines {taken[0]}, a name of the C library; take another"
    strangers = sorted(name for name in asked if not ALLOWED.fullmatch(name))
    if strangers:
        more = f" and {len(strangers) - 1} more" if len(strangers) > 1 else ""
        allowed = "the functions of the C library for mathematics, memory and text, all that a kernel may use"
        return printable(f"it calls {strangers[0]}{more}: neither of this file nor one of {allowed}")
    return ""


def names(data: bytes) -> tuple[set[str], set[str], bool]:
    """Return an object file's undefined names, its exported names, and True if code may run at load time.

    Such code comes from an ifunc or from a section that is not in `SECTIONS`. Raises struct.error,
    IndexError, ValueError or OverflowError if the file is damaged.
    """
    _, at, size, count, last = HEADER.unpack_from(data)
    if size != SECTION.size:
        raise ValueError("no section headers")
    sections = [SECTION.unpack_from(data, at + i * size) for i in range(count)]
    named = (f"{text_at(data, sections[last], section[0])} {section[1]}" for section in sections)
    early = not all(map(SECTIONS.fullmatch, named))
    tables = [section for section in sections if section[1] == SYMTAB]
    if len(tables) > 1 or any(table[5] > MAX_SYMBOLS * SYMBOL.size for table in tables):
        raise ValueError("too many symbols")
    asked: set[str] = set()
    defined: set[str] = set()
    for _, _, _, _, offset, length, link, _, _, _ in tables:
        for place in range(offset, offset + length, SYMBOL.size):
            name, info, _, where, _, _ = SYMBOL.unpack_from(data, place)
            text = text_at(data, sections[link], name)
            early = early or info & 15 == IFUNC
            if text and info >> 4:  # not a local one
                (defined if where else asked).add(text)
    return asked, defined, early


def text_at(data: bytes, table: tuple, at: int) -> str:
    """Return the string at an offset in a string table. Raises ValueError if no complete string is there."""
    _, kind, _, _, offset, length, *_ = table
    end = data.index(b"\0", offset + at, min(offset + at + MAX_LENGTH, offset + length))
    if kind != STRTAB:
        raise ValueError("not a table of texts")
    return data[offset + at : end].decode("utf-8", "replace")


def runs_at_load(data: bytes) -> str:
    """Say in one line which code of a linked library would run as it is loaded; "" if there is none.

    data: the bytes of the library, which is linked without start files, because these run code.
    """
    if data[:6] != b"\x7fELF\x02\x01":
        return ""
    try:
        (at,), (size, count) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<HH", data, 54)
        programs = [PROGRAM.unpack_from(data, at + i * size) for i in range(count)]
        tags: dict[int, int] = {}
        for kind, _, offset, _, _, length, *_ in programs:
            if kind == DYNAMIC:
                tags |= dict(PAIR.iter_unpack(data[offset : offset + length]))
        tables = [(tags[where], tags[length]) for where, length in ((JMPREL, PLTRELSZ), (RELA, RELASZ))
                  if where in tags]
        found = {info for where, length in tables for _, info, _ in
                 RELOCATION.iter_unpack(mapped(data, programs, where, length))}
        kinds = {info & 0xFFFFFFFF for info in found}
        places = {tags[SYMBOLS] + (info >> 32) * SYMBOL.size for info in found}
        symbols = [SYMBOL.unpack(mapped(data, programs, place, SYMBOL.size)) for place in places]
        chosen = any(info & 15 == IFUNC for _, info, *_ in symbols)
    except (struct.error, IndexError, ValueError, OverflowError, KeyError):
        return NO_OBJECT
    return EARLY if not tags or chosen or RUN_AT_LOAD & tags.keys() or IRELATIVE & kinds else ""


def mapped(data: bytes, programs: list[tuple], address: int, length: int) -> bytes:
    """Return the bytes that the loader puts at an address. Raises ValueError if there are none."""
    for kind, _, offset, start, _, in_file, *_ in programs:
        if kind == LOADABLE and start <= address and address + length <= start + in_file:
            return data[offset + address - start : offset + address - start + length]
    raise ValueError("no such address")
