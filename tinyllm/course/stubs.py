"""Write the exercise.py that a student fills in: its functions have the signatures and docstrings of ops.

What differs from the library is in the lesson's exercise.toml:

note       what the file says about all its functions, in place of NOTE
more       a paragraph that follows the note
imports    lines, in place of `import numpy as np`
edits      {op: [old, new, ...]}, changes of its docstring, which gives away what the student should find
instead    {op: docstring}, where most of the op's own would have to be changed
also       {op: a paragraph that follows the op's docstring}
"""

import functools
import inspect
import re
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from tinyllm.ops import OPS

HEAD = """Lesson {0}. Put your own code in place of {1}`raise NotImplementedError`.

Then run `tinyllm check {0}`.

"""
NOTE = ("What you are given must come back as it was. Numbers with a fraction are float32, "
        "and so are results of them.")
# Sources, and sentences about errors: no check tries inputs that raise.
LEFT_OUT = re.compile(r"\s*\([^()]*\b(?:19|20)\d\d\b[^()]*\)\.?|\s*\bRaises\s.*?\.(?=\s+[A-Z(]|$)", re.DOTALL)


def stub_file(number: int, names: Sequence[str], said: dict[str, Any]) -> str:
    """Return the text of exercise.py with a stub for each op; `said` is the lesson's exercise.toml."""
    head = HEAD.format(number, "each " * (len(names) > 1)) + said.get("note", NOTE)
    head += f"\n\n{said['more']}" if "more" in said else ""
    imports = said.get("imports", ["import numpy as np"])
    return "\n".join([docstring(head), "", *imports, *(stub(name, said) for name in names)]) + "\n"


def stub(name: str, said: dict[str, Any]) -> str:
    """Return the stub of an op: its signature, and what it should do."""
    signature = re.sub(r"e-0(\d)", r"e-\1", f"{name}{OPS[name].__signature__}")  # 1e-5; Python writes 1e-05
    own = unfolded(LEFT_OUT.sub("", inspect.getdoc(OPS[name]) or ""))
    text = said.get("instead", {}).get(name) or edited(own, *said.get("edits", {}).get(name, ()))
    if name in (more := said.get("also", {})):
        text += "\n\n" + more[name]
    body = textwrap.indent(docstring(text, 76) + "\nraise NotImplementedError", "    ")
    return f"\n\n{fold(f'def {signature}:', 80, ' ' * len(f'def {name}('))}\n{body}"


def edited(text: str, *changes: str) -> str:
    """Replace every old by new; changes: old, new, old, ... Raises ValueError if an old is not there."""
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        if old not in text:
            raise ValueError(f"there is no {old!r} to change")
        text = text.replace(old, new)
    return text


def docstring(text: str, width: int = 80) -> str:
    """Return a text as a docstring: paragraphs are folded, except those with an indented line."""
    return unfolded(f'"""{text.rstrip()}', functools.partial(fold, width=width)) + '\n"""'


def unfolded(text: str, change: Callable[[str], str] = lambda each: " ".join(each.split())) -> str:
    """Make each paragraph of a text one line, or `change` it, except those with an indented line."""
    return "\n\n".join(each if "\n " in f"\n{each}" else change(each) for each in text.split("\n\n"))


def fold(text: str, width: int, indent: str = "") -> str:
    """Fold a text into lines, but neither inside a word nor beside a sign of a formula, such as + or =."""
    text = re.sub(" ([-+=/.]) ", "\xa0\\1\xa0", " ".join(text.split()))
    return textwrap.fill(text, width, subsequent_indent=indent, break_long_words=False,
                         break_on_hyphens=False).replace("\xa0", " ")
