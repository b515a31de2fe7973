"""Show tokens as printable text, also tokens that contain a part of a character or a control code."""

import unicodedata

SIGNS = {" ": "·", "\n": "↵", "\t": "→", "\r": "␍", "\x7f": "␡"}
IN_TEXT = {" ": " ", "\n": "↵\n"}
LONGEST = 16  # letters of a label


def visible(token: bytes) -> str:
    """Return a token as printable text: a space becomes a sign, an unprintable character \\xff or \\u202e."""
    text = token.decode("utf-8", "surrogateescape")
    shown = "".join(map(_visible_character, text))
    if text and unicodedata.combining(text[0]) and shown[0] == text[0]:
        return "◌" + shown  # else it would be drawn over the token before
    return shown


def label(token: bytes) -> str:
    """Return a token as printable text of at most 16 letters, for a table."""
    shown = visible(token) or "(empty)"
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"


def running(token: bytes) -> str:
    """Return a token as printable text. Spaces stay, and each line end gets a sign before it."""
    text = token.decode("utf-8", "surrogateescape")
    return "".join(IN_TEXT.get(c) or _visible_character(c) for c in text)


def plain(text: str) -> str:
    """Make the name of a file or a folder safe to print: replace characters that control a terminal."""
    return running(text.encode("utf-8", "surrogateescape"))


def _visible_character(c: str) -> str:
    if c in SIGNS:
        return SIGNS[c]
    if c < " ":
        return chr(0x2400 + ord(c))  # a control picture
    if "\udc80" <= c <= "\udcff":
        return f"\\x{ord(c) - 0xDC00:02x}"
    if not c.isprintable() or "\ufe00" <= c <= "\ufe0f" or ord(c) >= 0xE0000:
        return f"\\u{ord(c):04x}"  # such as a letter that only changes how its neighbours look
    return c
