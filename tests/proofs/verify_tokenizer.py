"""Check that byte-level BPE gives the same ids as tiktoken and Hugging Face's `tokenizers`.

    python tests/proofs/verify_tokenizer.py [--quick] [--strings N]

It encodes ten million random strings of difficult parts: names of added tokens and halves of them, white
space of every kind, combining marks, digits, every code point. Each batch tests one tokenizer. With a
published pattern, tinyllm encodes from a rank file and a tokenizer.json, tiktoken with its own form of the
pattern, and `tokenizers`; with the settings of GPT-2, LLaMA 3 or Qwen, tinyllm and `tokenizers`.

Code points to which the libraries' Unicode tables give different categories are counted and left out: they
are newer than one of the tables. Needs the peers: pip install --editable '.[peers]'.
"""

import argparse
import base64
import json
import os
import random
import sys
import tempfile
from functools import partial
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from unittest.mock import patch

import regex

from tinyllm.tokenizer import BPETokenizer, load_tokenizer, save_tokenizer

if missing := [name for name in ("tiktoken", "tokenizers") if find_spec(name) is None]:
    print(f"=> {missing[0]} is missing: pip install --editable '.[peers]'")
    raise SystemExit(77)

import tiktoken
import tiktoken.load
import tiktoken_ext.openai_public as public
import tokenizers

os.environ["TIKTOKEN_CACHE_DIR"] = ""  # no cache: tiktoken would reuse an older file of the same name
CATEGORIES = ("L", "N", "P", "S", "M", "Lu", "Lt", "Lm", "Lo", "Ll")
NAMES = ["<|endoftext|>", "<|im_start|>", "<tool>"]  # of added tokens; the last is not special
SCRAPS = [
    *NAMES, "<|im_end|>", "<|im", "|>", "<a><b>", "'s", "'S", "'\u017f", "'ll", "'LL", "'re", "  ", "   ",
    "\n", "\r\n", "\t", "\xa0", "\u2003", "\u3000", "\u200b", "\x0b", "\x1c", "\x85", "\u2028", "1", "12",
    "1234567", "\u0663", "\u00bd", "\u216b", "e\u0301", "\u00e9te\u0301", "\u212b ", "\u0327\u0301",
    "\u1100\u1161\u11a8", "\uac00\u11a8", "\ufb03", "\u1e9b\u0323", "the", " the", "er", "ing", " Hello",
    "HELLO", "\u4f60\u597d", "\u041c\u0438\u0440", "\U0001f600", "\U0001f468\u200d\U0001f469", "\u0e33",
    "\u0915\u093c", "_", "...", "(", "=", "\x00", "\ufffd",
]


def strings(rng, alphabet, count):
    """Yield random strings of scraps and of characters of all of Unicode; one in twenty is long."""
    for _ in range(count):
        length = rng.randint(0, 12) if rng.random() < 0.95 else rng.randint(20, 300)
        scraps = rng.choice((0.0, 0.7, 1.0, 1.0))  # the share of parts that are scraps
        yield "".join(rng.choice(SCRAPS if rng.random() < scraps else alphabet) for _ in range(length))


def known_alike(everything):
    """Return the characters that `regex` and both peers put into the same categories."""
    text, alike = "".join(everything), set(everything)
    for category in CATEGORIES:
        pattern = rf"\p{{{category}}}"
        cut = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "removed")
        bytes_alone = {"mergeable_ranks": {bytes([i]): i for i in range(256)}, "special_tokens": {}}
        theirs = tiktoken.Encoding("x", pat_str=pattern, **bytes_alone)
        ours = set(regex.findall(pattern, text))
        alike -= ours ^ (set(text) - {c for piece, _ in cut.pre_tokenize_str(text) for c in piece})
        alike -= ours ^ set(theirs.decode(theirs.encode_ordinary(text)))
    return sorted(alike)


def by_library(path, ordinary):
    """Return the encoding of batches by `tokenizers`; `ordinary`: names of special tokens are text."""
    library = tokenizers.Tokenizer.from_file(str(path))
    library.encode_special_tokens = ordinary
    return lambda batch: [found.ids for found in library.encode_batch(batch, add_special_tokens=False)]


def published(texts, folder):
    """Yield (name, functions that encode batches) for each published pattern; our functions come first."""
    makers = {"gpt2": public.r50k_base, "gpt4": public.cl100k_base, "o200k": public.o200k_base}
    for name, make in makers.items():
        with patch.object(public, "load_tiktoken_bpe", lambda *args, **kwargs: {}):
            spelling = make()["pat_str"]
        ranks, saved = Path(folder, name), Path(folder, f"{name}.json")
        ours = BPETokenizer.train(texts, 1200, name)
        lines = (base64.b64encode(token) + b" %d\n" % i for token, i in ours.vocabulary.ids.items())
        ranks.write_bytes(b"".join(lines))
        save_tokenizer(ours, saved)
        read = tiktoken.load.load_tiktoken_bpe(str(ranks))
        theirs = tiktoken.Encoding(name, pat_str=spelling, mergeable_ranks=read, special_tokens={})
        yield name, (load_tokenizer(ranks, name).encode_batch, load_tokenizer(saved).encode_batch,
                     theirs.encode_ordinary_batch, by_library(saved, ordinary=True))


def document(setting, words, merges):
    """Return the tokenizer.json of a setting around a vocabulary."""
    made = BPETokenizer([], {"llama 3": "gpt4", "qwen": "qwen2"}.get(setting, "gpt2")).to_dict()
    made["model"] |= {"vocab": {word: i for i, word in enumerate(words)}, "merges": merges}
    made["model"]["ignore_merges"] = setting == "llama 3"
    made["normalizer"] = {"type": "NFC"} if setting == "qwen" else None
    flags = dict.fromkeys(("normalized", "single_word", "lstrip", "rstrip"), False)
    made["added_tokens"] = [{"id": len(words) + i, "content": name, "special": name != "<tool>", **flags}
                            for i, name in enumerate(NAMES)]
    return made


def settings(texts, folder):
    """Yield (name, functions that encode batches) for files in Hugging Face's format; ours come first."""
    words, merges = BPETokenizer.train(texts, 1200).vocabulary.words()
    shuffled = [*words]  # as in some files: ids that do not follow the merges, and all splits of every token
    random.Random(3).shuffle(shuffled)
    splits = [[w[:i], w[i:]] for w in words for i in range(1, len(w)) if w[:i] in words and w[i:] in words]
    for setting in ("gpt2", "llama 3", "qwen"):
        for who, vocabulary in {"learnt": (words, merges), "every split": (shuffled, splits)}.items():
            path = Path(folder, f"{setting} {who}.json")
            path.write_text(json.dumps(document(setting, *vocabulary)))
            for allowed in (NAMES[:2], ()):
                ours = partial(load_tokenizer(path).encode_batch, allowed_special=allowed)
                yield f"{setting}, {who}", (ours, by_library(path, ordinary=not allowed))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a minute")
    parser.add_argument("--strings", type=int, default=10_000_000, help="how many to compare")
    args = parser.parse_args(argv)
    everything = [chr(c) for c in range(0, 0x110000, 100 if args.quick else 1) if not 0xD800 <= c < 0xE000]
    alphabet, rng, count, differences = known_alike(everything), random.Random(1), 0, 0
    library = sorted(Path(json.__file__).parents[1].glob("*.py"))
    texts = [path.read_text("utf-8", "replace") for path in library]
    with tempfile.TemporaryDirectory() as folder:
        known = [*published(texts[:20], folder), *settings(texts[:20], folder)]
        for turn, (name, encoders) in enumerate(cycle(known)):
            if turn >= len(known) and count >= (20_000 if args.quick else args.strings):
                break
            batch = texts[:60:8] if turn < len(known) else []
            batch = [*batch, *strings(rng, alphabet, 500 if args.quick else 20_000)]
            ours, *others = (encode(batch) for encode in encoders)
            count += len(batch)
            wrong = [batch[i] for i, ids in enumerate(ours) if any(theirs[i] != ids for theirs in others)]
            differences += len(wrong)
            print(*(f"DIFFERENT, {name}: {text[:200]!r}\n" for text in wrong[:3]), sep="", end="")
    print(f"=> tiktoken {tiktoken.__version__}, tokenizers {tokenizers.__version__}: {count:,} strings, "
          f"{differences} differences; {len(everything) - len(alphabet):,} code points left out, which are "
          "newer than a table")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
