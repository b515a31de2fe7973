"""Labels of tokens: a token is bytes, which may be half a letter or a terminal's code."""

LONGEST = 16  # letters of a token that are shown


def _letters(raw: bytes) -> str | None:
    """Return the text of a token, or None if its bytes are not whole letters."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _plain(letter: str) -> str:
    """Return a letter as it is if it can be shown, else its escape, such as \\x07 or \\u202e."""
    return letter if letter.isprintable() else repr(letter)[1:-1]


def _hex(raw: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in raw)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def visible(raw: bytes) -> str:
    """Return a token for a table: spaces and line ends are marked, long ones cut."""
    text = _letters(raw)
    if text is None:
        return _cut(_hex(raw))
    text = "".join(map(_plain, text.replace(" ", "␣").replace("\n", "↵")))
    return _cut(text) or "(empty)"


def quoted(raw: bytes) -> str:
    """Return a token between quotes, for the terminal: 'the', ' ', "'", '\\n'."""
    text = _letters(raw)
    inside = _cut("".join(map(_plain, text)) if text is not None else _hex(raw))
    return f'"{inside}"' if "'" in inside else f"'{inside}'"


def running(raw: bytes) -> str:
    """Return a token for a running text: spaces stay, and line ends stay after a mark."""
    text = _letters(raw)
    if text is None:
        return _hex(raw)
    return "".join("↵\n" if letter == "\n" else _plain(letter) for letter in text)


def plain(text: str) -> str:
    """Return a name, such as a folder's, without control codes of a page or a terminal."""
    return running(text.encode("utf-8", "surrogateescape"))
