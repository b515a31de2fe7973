"""Generate two files from the headers: the list of kernel files for level.c, and the declarations for Cython.

Each line X(file, result, name, arguments) of tinyllm.h declares one kernel. Cython gets the struct of
kernels, and for every kernel a function `run_NAME` with the same arguments, but arrays in place of pointers:
it takes their addresses, releases the GIL and calls the kernel for the instruction set in use. A kernel whose
result is `int` returns something other than 0 when memory runs out, and `run_NAME` then raises MemoryError;
other results are returned. For a kernel that takes only arrays of one shape and its sizes (`n`, or `rows` and
`n`), the function that Python calls is written, too. Cython also gets all other functions of the headers.

`BUILD` is a digest of everything here that Python calls. tinyllm/ops/runtime.py has the digest that it needs,
and refuses kernels built from another source.
"""

import hashlib
import re
from pathlib import Path

HEADER = Path(__file__).with_name("tinyllm.h")
HEADERS = "tinyllm.h", "bpe/bpe.h", "bpe/pieces.h"  # what the glue calls
INCLUDES = Path(__file__).with_name("kernels.inc")
CYTHON = Path(__file__).with_name("glue") / "_kernels.pxi"
CALLED = re.compile(r"^ *(?:def|cpdef|cdef class|cdef public) .*", re.MULTILINE)  # seen by Python
KERNEL = re.compile(r"X\((\w+), (\w+), (\w+),\s*\(([^)]*)\)\)")
ONE_SHAPE = re.compile(r"((?:float \*\w+, )+)((?:const float \*\w+, )+)int64_t (rows, int64_t )?n")


def kernels():
    """Read the header -> a list of (file, result, name, arguments)."""
    text = HEADER.read_text().replace("\\\n", " ")
    return [(file, result, name, " ".join(arguments.split())) for file, result, name, arguments in
            KERNEL.findall(text)]


def build():
    """Return a digest of the table of kernels and of the functions of the glue."""
    glue = [path.read_text() for path in sorted(CYTHON.parent.glob("*.p[yx][xi]")) if path != CYTHON]
    called = [*map(str, kernels()), *(line for text in glue for line in CALLED.findall(text))]
    return hashlib.sha256("\n".join(called).encode()).hexdigest()[:12]


def declarations(header):
    """Write for Cython the structs, constants and functions that a header declares, without the kernels."""
    text = re.sub(r"/\*.*?\*/", "", (HEADER.parent / header).read_text(), flags=re.DOTALL)
    for c, cython in ("typedef", "ctypedef"), ("(void)", "()"), ("struct kernels ", "kernels_t "):
        text = text.replace(c, cython)
    lines = [f'cdef extern from "{header}" nogil:\n']
    for name, fields in re.findall(r"^struct (\w+)(?: \{([^}]*)\})?;", text, re.MULTILINE):
        parts = [part.strip() for part in fields.split(";") if part.strip()] or ["pass"]
        lines.append(f"    struct {name}:\n" + "".join(f"        {part}\n" for part in parts))
    for names in re.findall(r"^enum \{([^}]*)\};", text, re.MULTILINE):
        lines += [f"    enum: {name.split('=')[0].strip()}\n" for name in names.split(",")]
    for declared in re.findall(r"^(\w[\w *]+\(?[\w *]+\)?\([^;{}]*\));", text, re.MULTILINE):
        lines.append(f"    {' '.join(declared.replace('struct ', '').split())}\n")
    return "".join(lines)


def launcher(result, name, arguments):
    """Write the Cython function that calls one kernel on arrays."""
    taken, given, pointers = [], [], []
    for argument in arguments.split(", "):
        kind, variable = re.fullmatch(r"(.*?)(\w+)", argument).groups()
        if "*" in kind:
            pointers.append(f"    cdef {kind}{variable}_ = <{kind}>address({variable})\n")
        taken.append(f"object {variable}" if "*" in kind else argument)
        given.append(f"{variable}_" if "*" in kind else variable)
    call = f"kernels.{name}({', '.join(given)})"
    returned = "int" if result == "void" else result
    lines = [f"cdef inline {returned} run_{name}({', '.join(taken)}) except? -1:\n", *pointers]
    if result != "void":
        lines.append(f"    cdef {result} done\n")
    lines.append(f"    with nogil:\n        {'' if result == 'void' else 'done = '}{call}\n")
    if result == "int":
        lines.append(f'    if done:\n        raise MemoryError("no memory for the workspace of {name}")\n')
    lines.append(f"    return {'0' if result == 'void' else 'done'}\n")
    return "".join(lines)


def function(result, name, arguments):
    """Write the function that Python calls, if the kernel takes only arrays of one shape and sizes, or ""."""
    found = ONE_SHAPE.fullmatch(arguments) if result == "void" else None
    if not found:
        return ""
    made, given = (re.findall(r"\w+(?=,)", names) for names in found.groups()[:2])
    x, least = given[-1], 1 if found[3] else 0
    size = f"rows_of({x}), {x}.shape[-1]" if found[3] else f"{x}.size"
    return (f"def {name.removesuffix('_each')}({', '.join(given)}):\n"
            + "".join(f'    {each} = f32({each}, "{each}", {least})\n' for each in given)
            + "".join(f"    {each} = empty({x}.shape)\n" for each in made)
            + f"    if {x}.size:  # an array without elements may have any number of rows\n"
            f"        run_{name}({', '.join([*made, *given])}, {size})\n    return {', '.join(made)}\n")


def write():
    """Write each of the two files if its content has changed."""
    table = kernels()
    files = dict.fromkeys(file for file, *_ in table)
    _update(INCLUDES, "".join(f'#include "{file}.c"\n' for file in files))
    declared = "".join(f"        {result} (*{name})({arguments}) noexcept nogil\n"
                       for _, result, name, arguments in table)
    operations = sorted(path.name for path in CYTHON.parent.glob("*.pxi") if path != CYTHON)
    _update(CYTHON, (
        '# Written by csrc/bindings.py from the headers in csrc/.\n\n'
        f'BUILD = "{build()}"\n\ncdef extern from "tinyllm.h" nogil:\n'
        f'    struct kernels_t "kernels":\n        const char *level\n{declared}'
        "    const kernels_t *kernels\n\n"
        + "\n".join(map(declarations, HEADERS)) + "\n"
        + "\n".join(written(*kernel[1:]) for written in (launcher, function) for kernel in table)
        + "\n" + "".join(f'include "{name}"\n' for name in operations)))


def _update(path, text):
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
