"""Read the symbols of a compiled C file, and refuse the file if a kernel must not use one of them.

A kernel needs only the C library's functions for mathematics, memory and text. So a file is refused by name
if it calls, for example, `dlsym` to find NumPy's matrix product, or `mprotect` to open the pages around an
array; weak symbols count too. Code that would run while the file is loaded, before anything guards it (a
constructor, an ifunc), is refused as well.

C that uses no names is not stopped here: a system call in assembly, or a search of the loader's tables from
the address of `memcpy`. The filter in `sandbox.freeze` denies such system calls.

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
__errno_location __tls_get_addr __stack_chk_fail __stack_chk_guard _GLOBAL_OFFSET_TABLE_ __cpu_model
__cpu_indicator_init memcpy_chk memmove_chk memset_chk strcpy_chk strncpy_chk strcat_chk strncat_chk
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
SYMBOL = struct.Struct("<IBBHQQ")
SYMTAB, RUN_AT_LOAD, IFUNC = 2, (14, 15, 16), 10  # sh_type, sh_type (INIT_, FINI_, PREINIT_ARRAY), st_info
NO_OBJECT = "it does not compile: the compiler's output cannot be read"


def refusal(data: bytes) -> str:
    """Return one line on why an object file may not be linked, or "". data: the bytes of the file.

    A file that is not 64-bit little-endian ELF is accepted: other systems have other formats.
    """
    if data[:6] != b"\x7fELF\x02\x01":
        return ""
    try:
        asked, defined, early = names(data)
    except (struct.error, IndexError, ValueError, OverflowError):
        return NO_OBJECT
    if early:
        return "it has code that runs when it is loaded (a constructor or an ifunc), which a kernel may not"
    if taken := sorted(GUARDS & defined):
        return f"it defines {taken[0]}, a name of the C library; take another"
    strangers = sorted(name for name in asked if not ALLOWED.fullmatch(name))
    if strangers:
        more = f" and {len(strangers) - 1} more" if len(strangers) > 1 else ""
        allowed = "the functions of the C library for mathematics, memory and text, all that a kernel may use"
        return printable(f"it calls {strangers[0]}{more}: neither of this file nor one of {allowed}")
    return ""


def names(data: bytes) -> tuple[set[str], set[str], bool]:
    """Read an object file's symbols -> (undefined names, exported names, True if code runs at load time).

    Raises struct.error, IndexError, ValueError or OverflowError if the file is damaged.
    """
    _, at, size, count, _ = HEADER.unpack_from(data)
    if size != SECTION.size:
        raise ValueError("no section headers")
    sections = [SECTION.unpack_from(data, at + i * size) for i in range(count)]
    asked: set[str] = set()
    defined: set[str] = set()
    early = False
    for _, kind, _, _, offset, length, link, _, _, _ in sections:
        early = early or kind in RUN_AT_LOAD
        if kind != SYMTAB:
            continue
        texts = data[sections[link][4] : sections[link][4] + sections[link][5]]
        for place in range(offset, offset + length, SYMBOL.size):
            name, info, _, where, _, _ = SYMBOL.unpack_from(data, place)
            text = texts[name : texts.index(b"\0", name)].decode("utf-8", "replace")
            early = early or info & 15 == IFUNC
            if text and info >> 4:  # not a local one
                (defined if where else asked).add(text)
    return asked, defined, early
