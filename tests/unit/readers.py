"""Damage files, and check what readers make of them: a value that works, or one line that names the file.

A test of readers lists them as `Reader`s, and calls `check_all` for each of them.
"""

import copy
import json
import os
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyllm.errors import UserError

STRANGE = [0, 1, -1, 255, 256, 2**24, 2**31, 2**63, 10**30, 1.5, -0.0, 1e308, None, True, False,
           [], {}, [[]], ["a", "b"], {"type": "Sequence"}, "", " ", "a", "##", "Ġ", "\ud800", "\0", "\x1b[2J",
           "a" * 300, "<|end|>", "the", "[UNK]", "(a*)*b"]
SCRAPS = [b"[" * 3000, b"9" * 5000, b"e999999999", b"1e400", b"NaN", b"null", b"-", b"\xff", b"\xc3", b"\x00",
          b"\\ud800", b"\r\n", b" ", b'"', b"{", b"]", b",", b":", b"=", b"#version: 0.2\n",
          b"IQ== 4294967296\n", b'"type": "BPE",']
NO_JSON = {"nothing": b"", "half": b"{", "deep": b"[" * 10**5, "long": b"9" * 5000, "infinite": b"1e400",
           "nan": b"NaN", "strange": b"\xff\xfe\x00\x1b[2J", "twice": b'{"a": 1, "a": 2}',
           "deep objects": b'{"a":' * 10**5 + b"1" + b"}" * 10**5, "many": b"[" + b'"",' * 2**22 + b"0]"}
OBSTACLES: dict[str, Callable[[Path], Any]] = {
    "a folder": os.mkdir, "a pipe": os.mkfifo, "a loop": lambda path: os.symlink(path.name, path),
    "a device": lambda path: os.symlink("/dev/zero", path)}


@dataclass(frozen=True)
class Reader:
    """A kind of file.

    write(folder): write good files, and return the paths of those that can be damaged.
    read(folder): read them, or raise UserError.
    use(value): use the value that was read, and assert what must be true of it.
    """

    write: Callable[[Path], list[Path]]
    read: Callable[[Path], Any]
    use: Callable[[Any], Any] = lambda value: None


def attempt(reader: Reader, folder: Path, *paths: Path) -> str | None:
    """Read a folder and use the value; or return the message of a refusal, which must say which file."""
    try:
        value = reader.read(folder)
    except UserError as error:
        text = str(error)
        assert len(text) < 600 and text.isprintable(), f"not one clear line: {text[:900]!r}"
        assert any(path.name in text for path in paths), f"it names no file: {text}"
        return text
    reader.use(value)
    return None


def check_all(reader: Reader, folder: Path, times: int, longest: int = 1 << 15, json_only=True) -> None:
    """Check that good files are read and work, and that damaged ones are refused, or work too."""
    assert attempt(reader, folder, *reader.write(folder)) is None
    for path in reader.write(folder):
        whole = path.read_bytes()
        bad = no_json(whole) if json_only and path.suffix == ".json" else {}
        for what, put in (OBSTACLES | bad).items():
            path.unlink()
            put(path)
            assert attempt(reader, folder, path), f"{path.name} was read, though it is {what}"
            path.rmdir() if what == "a folder" else path.unlink()
            path.write_bytes(whole)
    check_mutations(reader, folder, times, longest)


def no_json(whole: bytes) -> dict[str, Callable[[Path], Any]]:
    """Return functions that write files that are cut anywhere, or hold no JSON within the limits."""
    data = whole.rstrip()
    ends = {*range(0, len(data), len(data) // 50 + 1), *range(len(data) - 5, len(data))}
    bad = {f"cut at {end}": data[:end] for end in ends if end >= 0}
    bad |= NO_JSON | {f"{what} inside": b'{"x": ' + scrap + b"," + data.lstrip()[1:]
                      for what, scrap in NO_JSON.items()}
    return {what: lambda path, damaged=damaged: path.write_bytes(damaged) for what, damaged in bad.items()}


def check_mutations(reader: Reader, folder: Path, times: int, longest: int) -> None:
    """Check that files changed at random are refused, or read as values that work."""
    rng = random.Random(1)
    paths = reader.write(folder)
    for _ in range(times):
        path = rng.choice(paths)
        data = damaged = path.read_bytes()
        for _ in range(rng.randrange(1, 4)):
            damaged = mutate(rng, damaged)[:longest]
        path.write_bytes(damaged)
        try:
            attempt(reader, folder, folder, *paths)
        except Exception as error:
            error.add_note(f"{path.name} was {damaged[:2000]!r}")
            raise
        path.write_bytes(data)


def mutate(rng: random.Random, data: bytes) -> bytes:
    """Return the bytes of a file with a few random changes."""
    changed = mutate_json(rng, data) if rng.random() < 0.6 else None
    if changed is not None:
        return changed
    if rng.random() < 0.7:
        flipped = bytes([rng.choice(data or b"a") ^ 1 << rng.randrange(8)])
        return spliced(rng, data, [flipped, *SCRAPS], rng.choice((1, 1, 4, 30, 300, len(data))))
    words = [[str(strange).encode("utf-8", "replace")] for strange in STRANGE]
    lines = [b" ".join(spliced(rng, line.split(b" "), words)) if rng.random() < 0.2 else line
             for line in data.split(b"\n")]
    return b"\n".join(spliced(rng, lines, [[], *words]))


def spliced(rng: random.Random, items: Any, scraps: list, most: int = 1) -> Any:
    """Remove some items, replace them by a scrap or by other items, or insert a scrap or other items."""
    at, other = rng.randrange(len(items) + 1), rng.randrange(len(items) + 1)
    end, new = at + rng.choice((0, most)), rng.choice(scraps)
    return items[:at] + rng.choice((items[:0], new, new, items[other : other + most])) + items[end:]


def mutate_json(rng: random.Random, data: bytes) -> bytes | None:
    """Change, remove, copy or rename parts of JSON; return None if that is impossible."""
    with suppress(LookupError, ValueError, RecursionError):  # no JSON, a place that is gone or holds itself
        value = json.loads(data)
        known = list(places(value))
        for _ in range(rng.choice((1, 1, 2, 3))):
            small = [place for place in known if len(place[0]) < 40]
            place = rng.choice(small if small and rng.random() < 0.8 else known)
            change_place(rng, *place, *rng.choice(known))
        return json.dumps(value).encode()
    return None


def places(value: Any):
    """Yield every (container, key) inside of a value."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


def change_place(rng: random.Random, container: Any, key: Any, other: Any, name: Any) -> None:
    """Remove, rename, replace or nest container[key]; the new value or name may be that of other[name]."""
    kind = rng.randrange(5)
    if kind == 0:
        del container[key]
    elif kind == 1 and isinstance(container, dict):
        container[name if isinstance(name, str) else str(rng.choice(STRANGE))] = container.pop(key)
    elif kind == 2:
        container[key] = copy.deepcopy(other[name])
    elif kind == 3:
        for _ in range(rng.choice((1, 3, 20, 900))):
            container[key] = [container[key]] if isinstance(container, list) else {key: container[key]}
    else:
        container[key] = copy.deepcopy(rng.choice(STRANGE))
