"""Every byte comes back, and no text becomes a special token, with any pattern: encode, then decode.

    python tests/proofs/verify_roundtrip.py [--quick] [--strings N] [--seed N]

Every string of one and of two bytes, every code point alone and between letters, and random byte strings
(ten million for all patterns together): bytes of every value, scraps that the patterns know, pieces that
come again and again, names of special tokens and halves of them. A sample of each goes through the specs,
too, which must give the same ids. One difference fails.
"""

import argparse
import sys
from itertools import product

import numpy as np

from tinyllm.ops.registry import use
from tinyllm.tokenizer import PATTERNS, BPETokenizer

SPECIAL = ["<|end|>", "<|end|>>", "<|im_start|>"]
SCRAPS = [b"the", b" the", b"'s", b"'LL", b" ", b"  ", b"\n", b"\r\n", b"\t", b"12", b"1234", b"!", b"//",
          b"Ab", b"a" * 70, *map(str.encode, ("é", "e\u0301", "中", "😀", "\u3000")), b"\xf0\x9f", b"\xff",
          b"\xed\xa0\x80", b"<|end|>", b"<|end", b"|>", b"<|im_start|>"]
BATCH, SAMPLE = 20_000, 40
OWN = r"[ae]+|\w\s?"  # a pattern that lets some of the text lie between its matches


def learnt(pattern):
    """A tokenizer of a text with a little of everything."""
    text = b" ".join(SCRAPS * 3) + "the cat's 12 naïve 日本語 ÀÉ straße 😀😀".encode() * 5
    return BPETokenizer.train(text, 400, pattern, SPECIAL)


def drawn(rng, n):
    """n random byte strings, of four kinds."""
    lengths, kinds = rng.integers(0, 24, n).tolist(), rng.integers(0, 4, n).tolist()
    noise, at = rng.bytes(24 * n), 0
    scraps = rng.integers(0, len(SCRAPS), 24 * n).tolist()
    strings = []
    for length, kind in zip(lengths, kinds, strict=True):
        if kind == 0:
            strings.append(noise[at : at + length])
        elif kind == 1:
            strings.append(SCRAPS[scraps[at]] * length)
        else:
            some = [SCRAPS[i] for i in scraps[at : at + length // 2]]
            strings.append(b"".join(some) + noise[at : at + kind % 2])
        at += length
    return strings


def wrong(tokenizer, texts):
    """How many texts do not come back, gain a special token, or get other ids from the specs."""
    ids = tokenizer.encode_batch(texts)
    ordinary = tokenizer.vocab_size - len(SPECIAL)
    bad = sum(tokenizer.decode_bytes(some) != text for some, text in zip(ids, texts, strict=True))
    bad += sum(max(some, default=0) >= ordinary for some in ids)
    with use("numpy"):
        bad += sum(tokenizer.encode(texts[i]) != ids[i] for i in range(min(SAMPLE, len(texts))))
    return bad


def every_short(step):
    """Strings of one and two bytes; code points, one in `step`, alone and between letters."""
    yield [bytes([byte]) for byte in range(256)] + [bytes(pair) for pair in product(range(256), repeat=2)]
    for first in range(0, 0x110000, 2**16):
        points = [chr(i).encode("utf-8", "surrogatepass") for i in range(first, first + 2**16, step)]
        yield points + [b"a" + point + b"b" for point in points]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer strings and code points")
    parser.add_argument("--strings", type=int, default=10_000_000, help="how many to draw, for all patterns")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    rng = np.random.default_rng(args.seed)
    tokenizers = [learnt(pattern) for pattern in (*PATTERNS, OWN)]
    short, many, bad = 0, 0, 0
    for texts in every_short(97 if args.quick else 1):
        for tokenizer in tokenizers:
            bad += wrong(tokenizer, texts)
            short += len(texts)
    while many < (200_000 if args.quick else args.strings):
        for tokenizer in tokenizers:
            texts = drawn(rng, BATCH)
            bad += wrong(tokenizer, texts)
            many += len(texts)
    points = "one code point in 97" if args.quick else "every code point"
    print(f"=> {len(tokenizers)} patterns, all of one or two bytes, {points} ({short:,} strings) and "
          f"{many:,} random byte strings: {bad} lost, changed or special")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
