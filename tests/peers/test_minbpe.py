"""Run minbpe's tests: round trips, Wikipedia's example, saving, special tokens, step by step training.

Andrej Karpathy, github.com/karpathy/minbpe, tests/test_tokenizer.py; written here. `learn` is minbpe's loop
in a few lines. By design other than there: of pairs that are equally frequent tinyllm merges the one with the
lowest ids, minbpe the one that it has seen first; so `learn` breaks ties as tinyllm does.
"""

import itertools
from collections import Counter

import pytest
import regex

from tinyllm.tokenizer import PATTERNS, BPETokenizer, load_tokenizer, save_tokenizer

WHOLE = r"(?s:.+)"  # minbpe's BasicTokenizer: the text is one piece
LLAMA = """<|endoftext|>A llama (/ˈlɑːmə/; in Spanish: [ˈʎama]) is an animal of the Andes, kept for its wool
and as a carrier of packs since long before Columbus.<|fim_prefix|> Llamas live in herds, and the llamas' wool
holds little lanolin.[2] They'll learn a simple task after a few repetitions.<|fim_suffix|> A llama carries
about 25 to 30% of its own weight for 8 to 13 km (5–8 miles).[3]<|endofprompt|>
"""
FIM = {"<|fim_prefix|>": 100258, "<|fim_middle|>": 100259, "<|fim_suffix|>": 100260}
SPECIAL = {"<|endoftext|>": 100257, **FIM, "<|endofprompt|>": 100276}
RANKS = {token: i for i, token in enumerate(BPETokenizer.train(LLAMA, 256 + 64, "gpt4").vocabulary.tokens)}
TEXTS = ("", "?", "hello world!!!? (안녕하세요!) lol123 😉", LLAMA)
patterns = pytest.mark.parametrize("pattern", [WHOLE, "gpt2", "gpt4"])


def merge(ids, pair, new):
    """Replace each occurrence of a pair, from the left."""
    out, i = [], 0
    while i < len(ids):
        found = tuple(ids[i : i + 2]) == pair
        out.append(new if found else ids[i])
        i += 2 if found else 1
    return out


def learn(text, vocab_size, pattern):
    """Merge the most frequent pair again and again, as minbpe's `train` does -> [pair, ...]."""
    pieces = [list(piece.encode()) for piece in regex.findall(PATTERNS.get(pattern, pattern), text)]
    merges = []
    while len(merges) < vocab_size - 256:
        counts = Counter(pair for piece in pieces for pair in itertools.pairwise(piece))
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        pieces = [merge(piece, pair, 256 + len(merges)) for piece in pieces]
        merges.append(pair)
    return merges


@patterns
def test_learning_is_minbpes_loop(pattern):
    text = LLAMA.replace("\n", " ")
    assert list(BPETokenizer.train(text, 256 + 64, pattern).merges) == learn(text, 256 + 64, pattern)


@patterns
@pytest.mark.parametrize("text", TEXTS)
def test_texts_come_back(pattern, text):
    tokenizer = BPETokenizer.train(LLAMA, 256 + 64, pattern)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@patterns
def test_the_example_of_wikipedia(pattern):
    """aaabdaaabac -> XdXac with X = ZY, Y = ab, Z = aa: https://en.wikipedia.org/wiki/Byte_pair_encoding."""
    tokenizer = BPETokenizer.train("aaabdaaabac", 256 + 3, pattern)
    ids = tokenizer.encode("aaabdaaabac")
    assert ids == [258, 100, 258, 97, 99] and tokenizer.decode(ids) == "aaabdaaabac"


@pytest.mark.parametrize("special", [{}, SPECIAL], ids=["plain", "special"])
def test_a_saved_tokenizer_encodes_alike(tmp_path, special):
    tokenizer = BPETokenizer.from_ranks(RANKS, "gpt4", special)
    ids = tokenizer.encode(LLAMA, "all")
    assert tokenizer.decode(ids) == LLAMA
    assert set(special.values()) & set(ids) == set(special.values()) - {100259}
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    again = load_tokenizer(tmp_path / "tokenizer.json")
    assert again.encode(LLAMA, "all") == ids and again.decode(ids) == LLAMA
