"""Byte-level BPE in the formats of others gives the ids of their libraries: tiktoken, Hugging Face.

    python tests/proofs/verify_tokenizer.py [--quick] [--strings N] [--seconds N]

First by the million: ten million strings in batches, with each published pattern in turn, by us from a rank
file and from a tokenizer.json, by tiktoken with its own spelling of the pattern, and by `tokenizers`. Then by
settings: GPT-2's, LLaMA 3's and Qwen's, which we read ourselves, and one that the library runs for us, around
vocabularies that are learnt from real text, by us and by `tokenizers`. They encode the same strings, as often
as there is time for. The library reads what we save, too.

Strings are corpora, and random ones made to hit what goes wrong: names of added tokens and halves of them,
white space of every kind, marks that combine, digits, every code point. Those that the two sides' tables
of Unicode know differently are counted and left out: they were assigned after the older table was made.

Needs the peers: pip install --editable '.[peers]'.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
import unicodedata
from itertools import chain, cycle, product
from pathlib import Path
from unittest.mock import patch

import regex
from foreign_tokenizers import write_gpt2, write_ranks

from tinyllm.tokenizer import BPETokenizer, load_tokenizer, save_tokenizer
from tinyllm.tokenizer.patterns import PATTERNS, QWEN2

try:
    import tiktoken
    import tiktoken.load
    import tiktoken_ext.openai_public
    import tokenizers
except ImportError as missing:
    print(f"=> {missing.name} is missing: pip install --editable '.[peers]'")
    raise SystemExit(77) from None

os.environ["TIKTOKEN_CACHE_DIR"] = ""  # or tiktoken reads a file of the same name as it was last time
ROOT = Path(__file__).resolve().parents[2]
BATCH = 20_000
CATEGORIES = ("L", "N", "P", "S", "M", "Lu", "Lt", "Lm", "Lo", "Ll")
SCRAPS = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im", "|>", "<s>", "</s>", "<mask>", "[MASK]",
    "[SEP]", "<pad>",
    "|||IP_ADDRESS|||", "|||", "<a>", "<b>", "<a><b>", "<b", "word", "Word", "words", "'s", "'S",
    "'\u017f", "'ll", "'LL",
    "'re", "  ", "   ", "      ", " ", "\n", "\r\n", "\t", "\xa0", "\u2003", "\u3000", "\u200b", "\x0b",
    "\x1c", "\x85",
    "\u2028", "1", "12", "1234567", "\u0663", "\u00bd", "\u216b", "e\u0301", "\u00e9", "\u00e9te\u0301",
    "e\u0301t\u00e9",
    "\u212b ", "\u212b", "\u0327\u0301", "\u0301\u0327", "\u1100\u1161\u11a8", "\uac00\u11a8", "\ufb03",
    "\u1e9b\u0323",
    "the", " the", "er", "ing", "hello", " Hello", "HELLO", "a", "n", "an", "in", "\u4f60\u597d",
    "\u3053\u3093", "\u041c\u0438\u0440",
    "\U0001f600", "\U0001f468\u200d\U0001f469", "\u0e33", "\u0915\u093c", "_", "...", "!?", "(", "=",
    "\x00", "\ufffd", "\U0010ffff",
]


def corpora():
    """Real text: this repository's prose and code, and part of Python's library."""
    paths = [
        ROOT / "README.md",
        *sorted((ROOT / "csrc").glob("*.[ch]")),
        *sorted((ROOT / "tinyllm").rglob("*.py")),
    ]
    paths += sorted(Path(json.__file__).parents[1].glob("*.py"))[:60]
    return [path.read_text("utf-8", "replace") for path in paths]


def strings(rng, alphabet, count):
    """Random strings: scraps joined, characters of all of Unicode, and mixtures; one in twenty is long."""
    for _ in range(count):
        length = rng.randint(0, 12) if rng.random() < 0.95 else rng.randint(20, 300)
        kind = rng.random()
        if kind < 0.5:
            yield "".join(rng.choices(SCRAPS, k=length))
        elif kind < 0.6:
            yield rng.choice(SCRAPS) * length
        elif kind < 0.7:
            yield "".join(rng.choices(alphabet, k=length))
        else:
            yield "".join(
                rng.choice(SCRAPS) if rng.random() < 0.7 else rng.choice(alphabet) for _ in range(length)
            )


def known_alike(everything, matched_by_peer):
    """Those of some characters that `regex` and a peer put into the same categories."""
    text = "".join(everything)
    alike = set(everything)
    for category in CATEGORIES:
        pattern = rf"\p{{{category}}}"
        ours = set(regex.findall(pattern, text))
        alike -= ours ^ matched_by_peer(pattern, text)
    for character in set(everything) - {"\u0295"} - alike:  # Python's older table has it in another category
        assert unicodedata.category(character) == "Cn", f"U+{ord(character):04X} was always there"
    return sorted(alike)


def by_huggingface(pattern, text):
    cut = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "removed")
    return set(text) - {c for piece, _ in cut.pre_tokenize_str(text) for c in piece}


def by_tiktoken(pattern, text):
    ranks = {bytes([i]): i for i in range(256)}
    theirs = tiktoken.Encoding("x", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return set(theirs.decode(theirs.encode_ordinary(text)))


class Count:
    """How many strings were compared, and the first differences in words."""

    def __init__(self):
        self.strings = self.differences = 0

    def compare(self, name, text, ours, theirs):
        self.strings += 1
        if list(ours) != list(theirs):
            self.differences += 1
            if self.differences <= 20:
                print(f"DIFFERENT {name}: {text[:200]!r}\n  ours   {ours[:40]}\n  theirs {theirs[:40]}")


def vocabularies(texts, size):
    """Learnt by us and by `tokenizers`: {who: (words, merges)}, tokens in byte characters."""
    words, merges = BPETokenizer.train("\n".join(texts), size).vocabulary.words()
    learnt = {"ours": (list(words), merges)}
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    theirs.train_from_iterator(texts, trainer)
    model = json.loads(theirs.to_str())["model"]
    learnt["theirs"] = (sorted(model["vocab"], key=model["vocab"].get), model["merges"])
    # all splits of every token, in a mixed order, and ids that do not follow the merges: other files do so
    words, _ = learnt["theirs"]
    known, shuffled = set(words), words[:]
    random.Random(3).shuffle(shuffled)
    splits = [[w[:i], w[i:]] for w in words for i in range(1, len(w)) if w[:i] in known and w[i:] in known]
    learnt["every split"] = (shuffled, splits)
    return learnt


SETTINGS = ("gpt2", "llama 3", "qwen", "digits alone")


def document(setting, words, merges):
    """The tokenizer.json of a setting around a vocabulary."""
    names = ["<|endoftext|>", "<|im_start|>", "<tool>"]
    pattern = {"llama 3": "gpt4", "qwen": QWEN2}.get(setting, "gpt2")
    made = BPETokenizer([], pattern).to_dict()
    made["model"] |= {"vocab": {word: i for i, word in enumerate(words)}, "merges": merges}
    made["added_tokens"] = [
        {"id": len(words) + i, "content": name, "special": name != "<tool>", "normalized": False,
         "single_word": False, "lstrip": False, "rstrip": False} for i, name in enumerate(names)
    ]
    if setting == "llama 3":
        made["model"]["ignore_merges"] = True
    elif setting == "qwen":
        made["normalizer"] = {"type": "NFC"}
    elif setting == "digits alone":
        digits = {"type": "Digits", "individual_digits": True}
        made["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, made["pre_tokenizer"]]}
    return made


def check_huggingface(count, name, made, folder, texts):
    """Read a file with both libraries, encode everything in both ways, and again after saving it here."""
    path = Path(folder, "tokenizer.json")
    path.write_text(json.dumps(made))
    ours, theirs = load_tokenizer(path), tokenizers.Tokenizer.from_file(str(path))
    allowed = [token["content"] for token in made["added_tokens"] if token["special"]]
    for special in (True, False):
        theirs.encode_special_tokens = not special
        expected = theirs.encode_batch(texts, add_special_tokens=False)
        for text, found in zip(texts, expected, strict=True):
            count.compare(name, text, ours.encode(text, allowed if special else ()), found.ids)
    theirs.encode_special_tokens = False
    if isinstance(ours, BPETokenizer):
        check_saved(count, name, ours, theirs, folder, texts[:300])


def check_saved(count, name, ours, theirs, folder, texts):
    """A file that we saved holds the same tokenizer, for us and for the library."""
    own = Path(folder, "own.json")
    save_tokenizer(ours, own)
    loaded = load_tokenizer(own)
    assert loaded.fingerprint() == ours.fingerprint()
    reread = tokenizers.Tokenizer.from_file(str(own))
    for text in texts:
        ids = theirs.encode(text, add_special_tokens=False).ids
        count.compare(f"{name}, saved", text, loaded.encode(text, "all"), ids)
        count.compare(f"{name}, saved for them", text, reread.encode(text, add_special_tokens=False).ids, ids)


def check_tiktoken(count, name, tokenizer, folder, texts):
    """A rank file read by both, in pieces of text with special tokens and without."""
    path = Path(folder, "ranks.tiktoken")
    write_ranks(path, tokenizer.vocabulary.ids)
    last = tokenizer.vocab_size
    special = {"<|endoftext|>": last + 1, "<|im_start|>": last + 7}
    ours = load_tokenizer(path, name, special)
    source = PATTERNS.get(name, name)
    ranks = tiktoken.load.load_tiktoken_bpe(str(path))
    theirs = tiktoken.Encoding("x", pat_str=source, mergeable_ranks=ranks, special_tokens=special)
    for text in texts:
        count.compare(f"tiktoken {name}", text, ours.encode(text), theirs.encode_ordinary(text))
        ids = theirs.encode(text, allowed_special={"<|im_start|>"}, disallowed_special=())
        count.compare(f"tiktoken {name}", text, ours.encode(text, ["<|im_start|>"]), ids)
    save_tokenizer(ours, Path(folder, "ranks.json"))
    reread = tokenizers.Tokenizer.from_file(str(Path(folder, "ranks.json")))
    for text in texts[:300]:
        ids = theirs.encode(text, allowed_special="all")
        count.compare(f"tiktoken {name}, for Hugging Face", text, reread.encode(text).ids, ids)


def check_gpt2(count, tokenizer, folder, texts):
    """vocab.json and merges.txt, read by us and by `tokenizers`."""
    folder = Path(folder, "gpt2")
    write_gpt2(folder, tokenizer)
    ours = load_tokenizer(folder)
    model = tokenizers.models.BPE.from_file(str(Path(folder, "vocab.json")), str(Path(folder, "merges.txt")))
    theirs = tokenizers.Tokenizer(model)
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    for text in texts:
        count.compare("gpt2 files", text, ours.encode(text), theirs.encode(text).ids)


def spelt_by_tiktoken():
    """The published patterns as tiktoken itself spells them now -> {our name: regex}.

    Its ranks would be downloaded, and are left out.
    """
    public = tiktoken_ext.openai_public
    with patch.object(public, "load_tiktoken_bpe", lambda *args, **kwargs: {}):
        makers = {"gpt2": public.r50k_base, "gpt4": public.cl100k_base, "o200k": public.o200k_base}
        return {name: make()["pat_str"] for name, make in makers.items()}


def check_many(count, ranked, folder, batches):
    """Strings by the batch, by us and by both libraries, with one of the tokenizers after the other."""
    engines, patterns = [], spelt_by_tiktoken()
    for name, tokenizer in ranked.items():
        ranks, document = Path(folder, f"{name}.tiktoken"), Path(folder, f"{name}.json")
        write_ranks(ranks, tokenizer.vocabulary.ids)
        save_tokenizer(tokenizer, document)
        loaded = tiktoken.load.load_tiktoken_bpe(str(ranks))
        one = tiktoken.Encoding(name, pat_str=patterns[name], mergeable_ranks=loaded, special_tokens={})
        other = tokenizers.Tokenizer.from_file(str(document))
        engines.append((name, load_tokenizer(ranks, name), load_tokenizer(document), one, other))
    for batch, (name, from_ranks, from_document, one, other) in zip(batches, cycle(engines), strict=False):
        ours = from_ranks.encode_batch(batch)
        theirs = {"a tokenizer.json": from_document.encode_batch(batch)}
        theirs["tiktoken"] = [one.encode_ordinary(text) for text in batch]
        theirs["tokenizers"] = [found.ids for found in other.encode_batch_fast(batch)]
        count.strings += len(batch)
        for engine, ids in theirs.items():
            if ids != ours:
                for text, a, b in zip(batch, ours, ids, strict=True):
                    count.compare(f"{engine}, {name}", text, a, b)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a minute")
    parser.add_argument("--strings", type=int, default=10_000_000, help="how many by the million")
    parser.add_argument("--seconds", type=float, default=600, help="go on with other settings for so long")
    args = parser.parse_args(argv)
    rng, count, many = random.Random(1), Count(), Count()
    texts = corpora()[:: 32 if args.quick else 1]
    everything = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    everything = everything[:: 100 if args.quick else 1]
    for_them, for_tiktoken = (known_alike(everything, peer) for peer in (by_huggingface, by_tiktoken))
    left_out = len(everything) - len(for_them), len(everything) - len(for_tiktoken)
    print(
        f"=> code points newer than a table, left out: Hugging Face {left_out[0]:,}, tiktoken {left_out[1]:,}"
    )
    learnt = vocabularies(texts[:20], 1200)
    ranked = {pattern: BPETokenizer.train(texts[:20], 1200, pattern) for pattern in (*PATTERNS, QWEN2)}
    left = 20_000 if args.quick else args.strings
    alike = sorted({*for_them} & {*for_tiktoken})
    published = {name: ranked[name] for name in PATTERNS}
    with tempfile.TemporaryDirectory() as folder:
        batches = (list(strings(rng, alike, min(BATCH, left - n))) for n in range(0, left, BATCH))
        check_many(many, published, folder, chain([texts] * len(published), batches))
    versions = f"tiktoken {tiktoken.__version__}, tokenizers {tokenizers.__version__}"
    print(f"=> {versions}: {many.strings:,} strings, {many.differences} differences", flush=True)
    seconds, began, rounds = 30 if args.quick else args.seconds, time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        while not rounds or time.monotonic() - began < seconds:
            size = 200 if args.quick else 4000
            drawn = list(strings(rng, for_them, size)) + (texts[::8] if not rounds else [])
            for setting, (who, vocabulary) in product(SETTINGS, learnt.items()):
                made = document(setting, *vocabulary)
                check_huggingface(count, f"{setting} ({who})", made, folder, drawn)
            drawn = list(strings(rng, for_tiktoken, size)) + (texts[::8] if not rounds else [])
            for pattern, tokenizer in ranked.items():
                check_tiktoken(count, pattern, tokenizer, folder, drawn)
            check_gpt2(count, BPETokenizer(ranked["gpt2"].merges, "gpt2", ["<|end|>"]), folder, drawn)
            rounds += 1
            print(f"{count.strings:,} strings, {count.differences} differences", flush=True)
    print(f"=> other settings: {count.strings:,} strings compared, {count.differences} differences")
    return 1 if count.differences or many.differences else 0


if __name__ == "__main__":
    sys.exit(main())
