"""Write the exercise.py that a student fills in: its functions have the signatures and docstrings of ops.

What differs from the library is in the lesson's exercise.toml:

note       what the file says about all its functions, in place of NOTE
imports    lines, in place of `import numpy as np`
instead    {op: docstring}, where the op's own gives away what the student should find
also       {op: a paragraph that follows the op's docstring}
"""

import inspect
import re
import textwrap
from collections.abc import Sequence
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
    imports = said.get("imports", ["import numpy as np"])
    return "\n".join([docstring(head), "", *imports, *(stub(name, said) for name in names)]) + "\n"


def stub(name: str, said: dict[str, Any]) -> str:
    """Return the stub of an op: its signature, and what it should do."""
    signature = re.sub(r"e-0(\d)", r"e-\1", f"{name}{OPS[name].__signature__}")  # 1e-5; Python writes 1e-05
    text = said.get("instead", {}).get(name) or LEFT_OUT.sub("", inspect.getdoc(OPS[name]) or "")
    if name in (more := said.get("also", {})):
        text += "\n\n" + more[name]
    body = textwrap.indent(docstring(text, 76) + "\nraise NotImplementedError", "    ")
    return f"\n\n{fold(f'def {signature}:', 80, ' ' * len(f'def {name}('))}\n{body}"


def docstring(text: str, width: int = 80) -> str:
    """Return a text as a docstring: paragraphs are folded, except those with an indented line."""
    paragraphs = f'"""{text.rstrip()}'.split("\n\n")
    return "\n\n".join(each if "\n " in f"\n{each}" else fold(each, width) for each in paragraphs) + '\n"""'


def fold(text: str, width: int, indent: str = "") -> str:
    """Fold a text into lines, but neither inside a word nor beside a sign of a formula, such as + or =."""
    text = re.sub(" ([-+=/.]) ", "\xa0\\1\xa0", " ".join(text.split()))
    return textwrap.fill(text, width, subsequent_indent=indent, break_long_words=False,
                         break_on_hyphens=False).replace("\xa0", " ")
