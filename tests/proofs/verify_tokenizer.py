"""Compare byte-level BPE in others' formats with their libraries: tiktoken and Hugging Face.

    python tests/proofs/verify_tokenizer.py [--quick] [--strings N]

Ten million random strings, made to hit what goes wrong: names of added tokens and halves of them, white space
of every kind, marks that combine, digits, every code point. They are encoded in batches by each of these
tokenizers in turn: the published patterns, by us from a rank file and from a tokenizer.json, by tiktoken with
its own spelling of the pattern, and by `tokenizers`; and the settings of GPT-2, LLaMA 3, Qwen and of a file
that the library runs for us, by us and by `tokenizers`. (Special tokens of rank files and other features of
tiktoken: tests/peers/test_tiktoken.py.)

Code points that the tables of Unicode know differently are counted and left out: they were assigned after
the older table was made. Needs the peers: pip install --editable '.[peers]'.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import unicodedata
from functools import partial
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from unittest.mock import patch

import regex
from foreign_tokenizers import write_ranks

from tinyllm.tokenizer import BPETokenizer, load_tokenizer, save_tokenizer
from tinyllm.tokenizer.patterns import QWEN2

if missing := [name for name in ("tiktoken", "tokenizers") if find_spec(name) is None]:
    print(f"=> {missing[0]} is missing: pip install --editable '.[peers]'")
    raise SystemExit(77)

import tiktoken
import tiktoken.load
import tiktoken_ext.openai_public as public
import tokenizers

os.environ["TIKTOKEN_CACHE_DIR"] = ""  # or tiktoken reads a file of the same name as it was last time
BATCH = 20_000
CATEGORIES = ("L", "N", "P", "S", "M", "Lu", "Lt", "Lm", "Lo", "Ll")
NAMES = ["<|endoftext|>", "<|im_start|>", "<tool>"]  # of added tokens; the last is not special
SCRAPS = [
    *NAMES, "<|im_end|>", "<|im", "|>", "<s>", "</s>", "<mask>", "|||IP_ADDRESS|||", "<a><b>", "Words",
    "'s", "'S", "'\u017f", "'ll", "'LL", "'re", "  ", "   ", "\n", "\r\n", "\t", "\xa0", "\u2003",
    "\u3000", "\u200b", "\x0b", "\x1c", "\x85", "\u2028", "1", "12", "1234567", "\u0663", "\u00bd",
    "\u216b", "e\u0301", "\u00e9te\u0301", "\u212b ", "\u0327\u0301", "\u0301\u0327", "\u1100\u1161\u11a8",
    "\uac00\u11a8", "\ufb03", "\u1e9b\u0323", "the", " the", "er", "ing", " Hello", "HELLO", "a",
    "\u4f60\u597d", "\u041c\u0438\u0440", "\U0001f600", "\U0001f468\u200d\U0001f469", "\u0e33",
    "\u0915\u093c", "_", "...", "(", "=", "\x00", "\ufffd",
]


def strings(rng, alphabet, count):
    """Yield random strings of scraps and of characters of all of Unicode; one in twenty is long."""
    for _ in range(count):
        length = rng.randint(0, 12) if rng.random() < 0.95 else rng.randint(20, 300)
        scraps = rng.choice((0.0, 0.7, 1.0, 1.0))  # how many of the parts
        if rng.random() < 0.1:
            yield rng.choice(SCRAPS) * length
        else:
            yield "".join(rng.choice(SCRAPS if rng.random() < scraps else alphabet) for _ in range(length))


def known_alike(everything):
    """Return those of some characters that `regex` and the peers put into the same categories."""
    text, alike = "".join(everything), set(everything)
    for category in CATEGORIES:
        pattern = rf"\p{{{category}}}"
        cut = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "removed")
        bytes_alone = {"mergeable_ranks": {bytes([i]): i for i in range(256)}, "special_tokens": {}}
        theirs = tiktoken.Encoding("x", pat_str=pattern, **bytes_alone)
        ours = set(regex.findall(pattern, text))
        alike -= ours ^ (set(text) - {c for piece, _ in cut.pre_tokenize_str(text) for c in piece})
        alike -= ours ^ set(theirs.decode(theirs.encode_ordinary(text)))
    for character in set(everything) - {"\u0295"} - alike:  # Python's older table has it in another category
        assert unicodedata.category(character) == "Cn", f"U+{ord(character):04X} was always there"
    return sorted(alike)


def spelt_by_tiktoken():
    """Return the published patterns as tiktoken itself spells them -> {our name: regex}.

    Its ranks would be downloaded, and are left out.
    """
    with patch.object(public, "load_tiktoken_bpe", lambda *args, **kwargs: {}):
        makers = {"gpt2": public.r50k_base, "gpt4": public.cl100k_base, "o200k": public.o200k_base}
        return {name: make()["pat_str"] for name, make in makers.items()}


def by_library(library, batch):
    return [found.ids for found in library.encode_batch(batch, add_special_tokens=False)]


def published(texts, folder):
    """Yield (name, encoders of batches) of the published patterns, the first of which is ours."""
    for name, spelling in spelt_by_tiktoken().items():
        ranks, saved = Path(folder, name), Path(folder, f"{name}.json")
        ours = BPETokenizer.train(texts, 1200, name)
        write_ranks(ranks, ours.vocabulary.ids)
        save_tokenizer(ours, saved)
        read = tiktoken.load.load_tiktoken_bpe(str(ranks))
        theirs = tiktoken.Encoding(name, pat_str=spelling, mergeable_ranks=read, special_tokens={})
        library = tokenizers.Tokenizer.from_file(str(saved))
        yield name, (load_tokenizer(ranks, name).encode_batch, load_tokenizer(saved).encode_batch,
                     theirs.encode_ordinary_batch, partial(by_library, library))


def document(setting, words, merges):
    """Return the tokenizer.json of a setting around a vocabulary."""
    pattern = {"llama 3": "gpt4", "qwen": QWEN2}.get(setting, "gpt2")
    made = BPETokenizer([], pattern).to_dict()
    made["model"] |= {"vocab": {word: i for i, word in enumerate(words)}, "merges": merges}
    made["added_tokens"] = [
        {"id": len(words) + i, "content": name, "special": name != "<tool>", "normalized": False,
         "single_word": False, "lstrip": False, "rstrip": False} for i, name in enumerate(NAMES)
    ]
    if setting == "llama 3":
        made["model"]["ignore_merges"] = True
    elif setting == "qwen":
        made["normalizer"] = {"type": "NFC"}
    elif setting == "digits alone":
        digits = {"type": "Digits", "individual_digits": True}
        made["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, made["pre_tokenizer"]]}
    return made


def settings(texts, folder):
    """Yield (name, encoders of batches) of files of Hugging Face: as read, and as saved again."""
    words, merges = BPETokenizer.train(texts, 1200).vocabulary.words()
    shuffled = [*words]  # all splits of every token, and ids that do not follow the merges: other files do so
    random.Random(3).shuffle(shuffled)
    splits = [[w[:i], w[i:]] for w in words for i in range(1, len(w)) if w[:i] in words and w[i:] in words]
    for setting in ("gpt2", "llama 3", "qwen", "digits alone"):
        for who, vocabulary in {"learnt": (words, merges), "every split": (shuffled, splits)}.items():
            path, again = Path(folder, f"{setting} {who}.json"), Path(folder, f"{setting} {who} again.json")
            path.write_text(json.dumps(document(setting, *vocabulary)))
            save_tokenizer(load_tokenizer(path), again)
            read, reread = load_tokenizer(path), load_tokenizer(again)
            for special in (True, False):
                library = tokenizers.Tokenizer.from_file(str(path))
                library.encode_special_tokens = not special
                allowed = NAMES[:2] if special else ()
                yield f"{setting}, {who}", (partial(read.encode_batch, allowed_special=allowed),
                                            partial(reread.encode_batch, allowed_special=allowed),
                                            partial(by_library, library))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a minute")
    parser.add_argument("--strings", type=int, default=10_000_000, help="how many to compare")
    args = parser.parse_args(argv)
    everything = [chr(c) for c in range(0, 0x110000, 100 if args.quick else 1) if not 0xD800 <= c < 0xE000]
    alphabet, rng, count, differences = known_alike(everything), random.Random(1), 0, 0
    library = sorted(Path(json.__file__).parents[1].glob("*.py"))
    texts = [path.read_text("utf-8", "replace") for path in library[:60]]
    with tempfile.TemporaryDirectory() as folder:
        known = [*published(texts[:20], folder), *settings(texts[:20], folder)]
        left = 20_000 if args.quick else args.strings
        for turn, (name, encoders) in enumerate(cycle(known)):
            if count >= left and turn >= len(known):
                break
            batch = texts[::8] if turn < len(known) else []
            batch = [*batch, *strings(rng, alphabet, 500 if args.quick else BATCH)]
            ours, *others = (encode(batch) for encode in encoders)
            count += len(batch)
            for theirs in others:
                wrong = [i for i, ids in enumerate(ours) if ids != theirs[i]]
                differences += len(wrong)
                print(*(f"DIFFERENT, {name}: {batch[i][:200]!r}\n" for i in wrong[:3]), sep="", end="")
    versions = f"tiktoken {tiktoken.__version__}, tokenizers {tokenizers.__version__}"
    print(f"=> {versions}: {count:,} strings, {differences} differences; "
          f"{len(everything) - len(alphabet):,} code points left out, which are newer than a table")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
