"""Make tinyllm/tokenizer/world.json: 1,024 tokens learnt from texts of the world.

    python tools/world_tokenizer.py

Eight ninths of the text are prose, the rest are other kinds in equal parts. The bytes of the file depend only
on the world; tests/unit/test_world.py checks this.
"""

from pathlib import Path

from tinyllm.tokenizer import BPETokenizer, save_tokenizer
from tinyllm.world import KINDS, Stream, World
from tinyllm.world.corpus import SEPARATOR

FILE = Path(__file__).resolve().parents[1] / "tinyllm" / "tokenizer" / "world.json"
PARTS = {  # kinds -> bytes of each; new kinds stay out, so that the tokenizer stays as it is
    "stories encyclopaedia letters dialogues": 200_000,
    "facts question reading program translation caption calculator instruction refusal lookup": 10_000,
}


def text() -> str:
    """Return the text to learn from."""
    parts = []
    for names, share in PARTS.items():
        for name in names.split():
            stream, size, i = Stream(World(), KINDS[name], split="train"), 0, 0
            while size < share:
                parts.append(stream[i].text + SEPARATOR)
                size, i = size + len(parts[-1]), i + 1
    return "".join(parts)


def tokenizer() -> BPETokenizer:
    """Return the tokenizer."""
    return BPETokenizer.train(text(), 1024)


if __name__ == "__main__":
    save_tokenizer(tokenizer(), FILE)
