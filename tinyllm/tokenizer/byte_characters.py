"""Write bytes as GPT-2's characters, because JSON cannot hold a token that is half a character.

Each byte gets a visible character: printable Latin-1 characters represent themselves, and all other bytes
get U+0100, U+0101... in order (`bytes_to_unicode` in GPT-2's encoder.py, 2019). The space is "Ġ".
"""

_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
CHARACTERS = {byte: chr(byte) for byte in _PRINTABLE} | {b: chr(256 + i) for i, b in enumerate(_OTHERS)}
GPT2_BYTES = [*_PRINTABLE, *_OTHERS]  # the order of the first 256 tokens of GPT-2

_TO_CHARACTERS = {byte: ord(character) for byte, character in CHARACTERS.items()}
_TO_BYTES: dict[int, str | None] = dict.fromkeys(range(256))  # None drops a character
_TO_BYTES |= {ord(character): chr(byte) for byte, character in CHARACTERS.items()}


def characters(token: bytes) -> str:
    """Write bytes as GPT-2's characters: b" a" -> "\u0120a"."""
    return token.decode("latin-1").translate(_TO_CHARACTERS)


def token_bytes(word: str) -> bytes | None:
    """Read GPT-2's characters as bytes, or return None if a character stands for no byte."""
    try:
        token = word.translate(_TO_BYTES).encode("latin-1")
    except UnicodeEncodeError:
        return None
    return token if len(token) == len(word) else None
