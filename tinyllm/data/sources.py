"""Load a corpus by name: a generated text, or one that comes with Python.

Nothing is downloaded, and no code is run.
"""

import os
import sysconfig
from contextlib import suppress
from pathlib import Path

from tinyllm.data.corpus import Corpus
from tinyllm.data.reading import MAX_BYTES, join, read
from tinyllm.data.tokens import holds_tokens, load_tokens
from tinyllm.errors import UserError
from tinyllm.files import read_text
from tinyllm.world import stories
from tinyllm.world.corpus import PREFIX, SEPARATOR, read_name
from tinyllm.world.document import Document
from tinyllm.world.pictures import SIZE

NOT_LIBRARY = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "lib2to3"}


def load_corpus(name: str | os.PathLike) -> Corpus:
    """Load a text: a name from `SOURCES`, a file, glob, folder or .gz, or "-" for standard input -> Corpus.

    Names such as `world:facts` or `world:facts,groups=7` (a kind of text and its settings) generate a text. A
    name takes precedence over a file of the same name; write ./stories for the file. A file written by
    `tinyllm tokenizer encode --out` gives a corpus of tokens. Raises UserError for other names.
    """
    name = os.fspath(name)
    if name.startswith(PREFIX):
        corpus = world_corpus(name)
    elif name in SOURCES:
        _, load, *more = SOURCES[name]
        corpus = Corpus(name, load(), *more)
    elif holds_tokens(name):
        corpus = Corpus(name, b"", tokens=load_tokens(name))
    else:
        corpus = Corpus(name, read(name))
    if not corpus.size:
        raise UserError(f"{name} is empty; a model needs some text to learn from")
    return corpus


def world_corpus(name: str) -> Corpus:
    """Generate a text from a name like world:facts,groups=7 -> Corpus. Raises UserError for a bad name."""
    named = read_name(name)
    texts: list[str] = []
    asked: list[Document] = []
    size = 0
    for document in named.documents():
        if document.prompt and len(asked) == len(texts):  # to save memory, of prose only the text is kept
            asked.append(document)
        texts.append(document.text + SEPARATOR)
        size += len(texts[-1]) + (3 * SIZE**2 if "scene" in document.labels else 0)
        if size > MAX_BYTES:
            raise UserError(f"{name} has more than {MAX_BYTES // 2**20:,} MiB; take fewer documents with n=")
    documents = tuple(asked) if len(asked) == len(texts) else ()
    return Corpus(name, "".join(texts).encode("ascii"), named.entropy_per_char, SEPARATOR.encode(), documents)


def load_pydocs() -> bytes:
    """Join the help topics of Python, sorted by name -> bytes."""
    try:
        from pydoc_data.topics import topics  # this file of the standard library holds one dict of strings
    except ImportError:
        raise UserError("this Python comes without pydoc_data; choose another corpus") from None
    return "\n\n".join(f"{name}\n\n{topics[name].strip()}\n" for name in sorted(topics)).encode()


def load_stdlib_code() -> bytes:
    """Join the standard library's source files in UTF-8, sorted by path, without tests -> bytes."""
    root = Path(sysconfig.get_paths()["stdlib"])
    paths: list[Path] = []
    for where, folders, names in os.walk(root):
        folders[:] = {*folders} - NOT_LIBRARY  # `walk` does not enter these
        paths += [Path(where, name) for name in names if name.endswith(".py")]
    sources = []
    for path in sorted(paths, key=lambda path: path.relative_to(root).as_posix()):
        with suppress(UserError):
            sources.append(read_text(path).encode())
    return join(sources)


SOURCES: dict[str, tuple] = {  # name: (description, function that loads the bytes, more fields of a Corpus)
    "stories": ("little stories from a known world, with exact entropy",
                lambda: stories.generate(0).encode("ascii"), stories.entropy_per_char,
                stories.SEPARATOR.encode()),
    "pydocs": ("the help topics of your Python", load_pydocs),
    "stdlib-code": ("the source of your Python's standard library", load_stdlib_code),
}
