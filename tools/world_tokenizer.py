"""Make tinyllm/tokenizer/world.json: 1,024 tokens learnt from all kinds of text of the world.

    python tools/world_tokenizer.py

Eight ninths of the text are prose, shared by its kinds alike, the rest is shared by all other kinds. The bytes
of the file depend on nothing but the world; tests/unit/test_world.py says so.
"""

from pathlib import Path

from tinyllm.tokenizer import BPETokenizer, save_tokenizer
from tinyllm.world import KINDS, Stream, World
from tinyllm.world.corpus import SEPARATOR

FILE = Path(__file__).resolve().parents[1] / "tinyllm" / "tokenizer" / "world.json"
PROSE, OTHER = 800_000, 100_000  # bytes


def text() -> str:
    """Return the text to learn from."""
    prose = [name for name, kind in KINDS.items() if kind.group == "prose"]
    parts = []
    for names, share in ((prose, PROSE), ([name for name in KINDS if name not in prose], OTHER)):
        for name in names:
            stream, size, i = Stream(World(), KINDS[name], split="train"), 0, 0
            while size < share // len(names):
                parts.append(stream[i].text + SEPARATOR)
                size, i = size + len(parts[-1]), i + 1
    return "".join(parts)


def tokenizer() -> BPETokenizer:
    """Return the tokenizer."""
    return BPETokenizer.train(text(), 1024)


if __name__ == "__main__":
    save_tokenizer(tokenizer(), FILE)
