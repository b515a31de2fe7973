"""Encode 25 languages beside tiktoken and tokenizers: `python benchmarks/languages.py [FOLDER]`.

The texts are the translated messages of GTK, as Linux distributions install them, in files such as
FOLDER/de/LC_MESSAGES/gtk30.mo. For each pattern, a tokenizer learns from all of them, and the other libraries
get its tokens. Each message by itself must have the same ids everywhere. Then one thread encodes the messages
of a language joined to one text, and all texts, and "hello world" alone, in turns; a figure is the other
library's time divided by tinyllm's. Needs the extra `peers`.
"""

import argparse
import struct
from pathlib import Path

from tokenizer import ENGINES

from tinyllm import threads
from tinyllm.bench.timing import Contender, race, ratio
from tinyllm.tokenizer import BPETokenizer

LANGUAGES = ["ar", "bn", "cs", "de", "el", "es", "fa", "fi", "fr", "he", "hi", "hu", "it", "ja", "ko", "pl",
             "pt_BR", "ru", "ta", "te", "th", "tr", "uk", "vi", "zh_CN"]
PATTERN_NAMES = ("gpt2", "gpt4", "o200k")


def messages(folder: Path, language: str) -> list[str]:
    """Return the messages in all catalogues of GTK in a language (.mo files: see GNU gettext's manual)."""
    found: dict[str, None] = {}
    for data in map(Path.read_bytes, sorted((folder / language / "LC_MESSAGES").glob("gtk*.mo"))):
        count, _, at = struct.unpack_from("<3I", data, 8)
        for size, place in struct.iter_unpack("<2I", data[at : at + 8 * count]):
            texts = data[place : place + size].decode().split("\0")  # several where numbers have forms
            found |= dict.fromkeys(text for text in texts if text and "\n" not in text)
    return list(found)


def differing(ours: BPETokenizer, engine, texts: list[str]) -> int:
    """Return how many texts have other ids than ours."""
    pairs = zip(ours.encode_batch(texts), engine.encode(texts, 1), strict=True)
    return sum(list(a) != list(b) for a, b in pairs)


def main() -> None:
    """Print one line for each language, and one for each pattern."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", default="/usr/share/locale", type=Path)
    parser.add_argument("--vocab", type=int, default=16384, help="tokens to learn (default 16,384)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each race (default 1)")
    args = parser.parse_args()
    texts = {language: messages(args.folder, language) for language in LANGUAGES}
    if lacking := [language for language, found in texts.items() if not found]:
        parser.error(f"{args.folder} has no messages of GTK in {', '.join(lacking)}")
    every = [text for found in texts.values() for text in found]
    threads(1)
    for pattern in PATTERN_NAMES:
        ours = BPETokenizer.train("\n".join(every), args.vocab, pattern)
        engines = {name: make(ours) for name, make in ENGINES.items()}
        wrong = {name: differing(ours, engine, every) for name, engine in engines.items()}
        print(f"{pattern}: {len(every):,} messages of {len(texts)} languages; with other ids: {wrong}")
        joined = {language: "\n".join(found) for language, found in texts.items()}
        for what, text in (joined | {"all": "\n".join(every), "hello world": "hello world"}).items():
            runs = {"tinyllm": Contender(lambda text=text, encode=ours.encode: encode(text))}
            for name, engine in engines.items():
                runs[name] = Contender(lambda text=text, encode=engine.encode: encode([text], 1))
            times = race(runs, args.seconds)
            shown = " ".join(f"{name} {ratio(times, name, 'tinyllm'):6.2f} x" for name in engines)
            print(f"  {what:12} {len(text.encode()):9,} bytes  {shown}", flush=True)


if __name__ == "__main__":
    main()
