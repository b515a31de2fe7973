"""WordPiece, unigram and character BPE against Hugging Face's `tokenizers`: the same ids, the same text.

    python tests/proofs/verify_families.py [--quick] [--seed N] [--strings N]

Needs tokenizers, and sentencepiece for a real charsmap (without it: one made here). Trains tokenizers of the
three families on the standard library's source, saves them with each setting that is honoured, loads the
files here, and encodes corpora and drawn strings with both, with special tokens and without; then decodes
what came out, and ids drawn at random. Asks what each normalizer and pre-tokenizer does with every code
point. One difference fails.
"""

import argparse
import itertools
import json
import random
import sys
import sysconfig
import tempfile
from pathlib import Path

from charsmaps import charsmap

from tinyllm.errors import UserError
from tinyllm.tokenizer.families import from_huggingface
from tinyllm.tokenizer.families.normalize import make_normalizer
from tinyllm.tokenizer.families.pretokenize import make_pre_tokenizer
from tinyllm.tokenizer.numbers import exact_number
from tinyllm.tokenizer.unicode import TABLES

try:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers import trainers as trainers
except ImportError as missing:
    print(f"=> {missing.name} is missing: pip install --editable '.[peers]'")
    raise SystemExit(77) from None

STRANGE = (
    "déjà vu Ǆ ﬁne ½ ① ㍿ İstanbul ΑΣ ΣΑΣ straße 日本語のテスト 한국어 ᄒ\u1161ᆫ नमस्ते क्षत्रिय เขา "
    "e\u0301\u0323 a\u200d\u0301 ©\u0301 \u0600a 👨\u200d👩\u200d👧 🇫🇷🇩 😀 "
    "\u200b\u00ad\ufeff\x00\x07\x85 \u2028 don't can't"
)
WORDS = ["the", " ", "  ", "\n", "\t", "\r\n", "▁", "▁▁", "<s>", "</s>", "[CLS]", "[UNK]", "<unk>", "<extra>",
         "é", "e\u0301", "##ing", "ing", "a" * 101, "<0x41>", "<0xE2>", ".", ",", "self", "return", "0",
         "12", "½", "日本", "中", "\u0301", "\u200d", "क", "\u094d", "ﬁ", "\ufdfa", "\ufffd", "\x01", "😀",
         "İ", "Σ", "ǅ", "added", " added ", "ADDED", "n't", " do not", "</w>"]  # fmt: skip


def corpus(limit):
    folder = Path(sysconfig.get_path("stdlib"))
    lines = [line for path in sorted(folder.glob("*.py"))[:limit]
             for line in path.read_text("utf-8", "replace").splitlines() if line.strip()]
    return [*lines, *[STRANGE] * 30]


def drawn(rng):
    """A string of words, letters, and any code points, short or long, sometimes of one letter only."""
    kind = rng.randrange(8)
    if kind == 0:
        return rng.choice(WORDS) * rng.randrange(1, 300)
    if kind == 1:
        return "".join(chr(rng.choice((rng.randrange(0x20, 0x7F), rng.randrange(0x300, 0x370),
                                       rng.randrange(0xD800), rng.randrange(0xE000, 0x110000))))
                       for _ in range(rng.randrange(30)))
    if kind == 2:
        return "".join(rng.choice(STRANGE) for _ in range(rng.randrange(40)))
    if kind == 3:
        return "".join(rng.choice("ab▁ <s>\u0301") for _ in range(rng.randrange(40)))
    return "".join(rng.choice(WORDS) + rng.choice(("", "", " ")) for _ in range(rng.randrange(12)))


def trained(model, trainer, normalizer, pre_tokenizer, lines):
    tokenizer = Tokenizer(model)
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    tokenizer.train_from_iterator(lines, trainer)
    return json.loads(tokenizer.to_str())


def with_added(spec, tokens):
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    for token in tokens:
        (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])
    return json.loads(tokenizer.to_str())


def part(thing):
    return None if thing is None else json.loads(thing.__getstate__())


ADDED = [
    AddedToken("<extra>", special=True),
    AddedToken("added", single_word=True, normalized=True),
    AddedToken("<l>", lstrip=True, special=True, normalized=False),
    AddedToken("<r>", rstrip=True, normalized=False),
    AddedToken("Éa", normalized=True),
    AddedToken("  ", normalized=False),
]


def bert(lines):
    trainer = trainers.WordPieceTrainer(vocab_size=2000, show_progress=False,
                                        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    base = trained(models.WordPiece(unk_token="[UNK]"), trainer, normalizers.BertNormalizer(),
                   pre_tokenizers.BertPreTokenizer(), lines)
    both = (True, False)
    for clean, chinese, accents, low in itertools.product(both, both, (True, False, None), both):
        yield {**base, "normalizer": part(normalizers.BertNormalizer(clean, chinese, accents, low)),
               "decoder": part(decoders.WordPiece("##", clean))}
    cuts = pre_tokenizers
    for pre in (cuts.Whitespace(), cuts.WhitespaceSplit(), cuts.Punctuation("removed"), cuts.Digits(True),
                cuts.Sequence([cuts.Whitespace(), cuts.Digits(False), cuts.Punctuation("contiguous")]),
                cuts.CharDelimiterSplit("e"), None,
                *(cuts.Split("e", how, invert) for invert in (False, True) for how in (
                    "removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"))):
        yield {**base, "pre_tokenizer": part(pre), "decoder": None}
    names = normalizers
    for normal in (names.NFC(), names.NFKD(), names.Lowercase(), names.StripAccents(),
                   names.Sequence([names.NFD(), names.StripAccents(), names.Strip()])):
        yield {**base, "normalizer": part(normal), "decoder": part(decoders.WordPiece("##", False))}
    yield with_added(base, ADDED)
    yield {**base, "model": {**base["model"], "max_input_chars_per_word": 5}}
    yield {**base, "model": {**base["model"], "continuing_subword_prefix": ""}}


def t5(lines, charsmap):
    trainer = trainers.UnigramTrainer(vocab_size=2000, show_progress=False, unk_token="<unk>",
                                      special_tokens=["<pad>", "</s>", "<unk>"])
    meta = pre_tokenizers.Metaspace()
    clean = normalizers.Sequence([normalizers.Precompiled(charsmap), normalizers.Strip(left=False),
                                  normalizers.Replace(Regex(" {2,}"), "▁")])
    base = trained(models.Unigram(), trainer, clean, meta, lines)
    base["decoder"] = part(decoders.Metaspace())
    yield base
    yield with_added(base, ADDED)
    cuts = pre_tokenizers
    for scheme, split in itertools.product(("first", "always", "never"), (True, False)):
        pre = cuts.Metaspace("▁", scheme, split)
        yield {**with_added(base, ADDED), "normalizer": None, "pre_tokenizer": part(pre),
               "decoder": part(decoders.Metaspace("▁", scheme, split))}
        if scheme != "first":
            both = cuts.Sequence([cuts.WhitespaceSplit(), pre])
            yield {**base, "pre_tokenizer": part(both)}
    for normal in (normalizers.Precompiled(charsmap), normalizers.Nmt(), normalizers.NFKC(), None,
                   normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Lowercase()])):
        yield {**base, "normalizer": part(normal)}
        yield {**base, "normalizer": part(normal), "pre_tokenizer": None}
    old = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
    yield {**base, "pre_tokenizer": old, "decoder": old}
    model = base["model"]
    spelt = [[f"<0x{byte:02X}>", -20.0] for byte in range(256)]
    yield {**base, "model": {**model, "vocab": model["vocab"] + spelt, "byte_fallback": True}}
    yield {**base, "model": {**model, "vocab": model["vocab"] + spelt[:200], "byte_fallback": True}}
    equal = [[token, 0.0 if i < 3 else -float(len(token))] for i, (token, _) in enumerate(model["vocab"])]
    yield {**base, "model": {**model, "vocab": equal}}  # every way to write a text ties


def llama(lines):
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=2000, show_progress=False, special_tokens=special)
    replace = normalizers.Replace(" ", "▁")
    whole = normalizers.Sequence([normalizers.Prepend("▁"), replace])
    meta = pre_tokenizers.Metaspace("▁", "always", True)
    base = trained(models.BPE(), trainer, None, meta, lines)
    vocab = base["model"]["vocab"]
    spelt = {f"<0x{byte:02X}>": len(vocab) + byte for byte in range(256)}
    base["decoder"] = part(decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(),
                                              decoders.Fuse(), decoders.Strip(" ", 1, 0)]))
    model = {**base["model"], "vocab": vocab | spelt, "unk_token": "<unk>"}
    gemma = part(pre_tokenizers.Split(" ", "merged_with_previous"))
    first = part(pre_tokenizers.Metaspace("▁", "first", False))
    for fallback, fuse, ignore in itertools.product((True, False), repeat=3):
        settings = {**model, "byte_fallback": fallback, "fuse_unk": fuse, "ignore_merges": ignore}
        yield {**base, "model": settings, "normalizer": part(whole), "pre_tokenizer": None}
        split = {**base, "model": settings, "normalizer": part(replace), "pre_tokenizer": gemma}
        yield with_added(split, ADDED)
        yield {**base, "model": settings, "pre_tokenizer": first}
        some = {token: i for token, i in settings["vocab"].items() if token not in ("<0xE4>", "<0x98>")}
        yield {**base, "model": {**settings, "vocab": some}, "decoder": None}
    yield {**base, "model": {**model, "unk_token": None, "byte_fallback": True}, "pre_tokenizer": None}
    yield {**base, "model": {**model, "unk_token": None}}
    yield from suffixed(lines)


def suffixed(lines):
    """GPT-1's way: the end of a word is marked; and the other way, what continues one."""
    cuts = pre_tokenizers
    for prefix, suffix in ((None, "</w>"), ("##", None)):
        mark = {"end_of_word_suffix": suffix} if suffix else {"continuing_subword_prefix": prefix}
        trainer = trainers.BpeTrainer(vocab_size=1500, show_progress=False, special_tokens=["<unk>"], **mark)
        spec = trained(models.BPE(unk_token="<unk>", **mark), trainer, normalizers.Lowercase(),
                       cuts.Whitespace(), lines)
        for fuse in (False, True):
            decoder = decoders.BPEDecoder() if suffix else decoders.WordPiece("##", False)
            yield {**spec, "model": {**spec["model"], "fuse_unk": fuse}, "decoder": part(decoder)}


def real_charsmap(kind):
    """sentencepiece's own table of replacements, out of a model trained on a few lines."""
    try:
        import sentencepiece
    except ImportError:
        return None
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder, "text")
        text.write_text("some words to learn from\n" * 50 + "other lines of words and letters\n" * 50)
        sentencepiece.SentencePieceTrainer.train(
            input=str(text), model_prefix=str(Path(folder, "m")), hard_vocab_limit=False,
            normalization_rule_name=kind, minloglevel=2)  # fmt: skip
        model = Path(folder, "m.model").read_bytes()
    return dict(protobuf(dict(protobuf(model))[3]))[2]  # normalizer_spec.precompiled_charsmap


def protobuf(data):
    """(field number, value) pairs of a protocol buffer; of a field that repeats, the last counts."""
    at = 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 0:
            yield key >> 3, number()
        else:
            size = {1: 8, 5: 4}.get(key & 7) or number()
            yield key >> 3, data[at : at + size]
            at += size


class Count:
    """How many strings were compared, and the differences that were found."""

    def __init__(self):
        self.tokenizers = self.strings = self.decoded = self.points = self.refused = 0
        self.wrong = []

    def differ(self, what, text, theirs, ours):
        self.wrong.append(f"{what}: {text[:200]!r}: theirs {str(theirs)[:300]}, ours {str(ours)[:300]}")
        print(self.wrong[-1], flush=True)


def attempt(function, *args):
    """A result, or None where it is refused."""
    try:
        return function(*args)
    except (UserError, Exception) as error:
        if type(error) not in (UserError, Exception):
            raise
        return None


def compare(spec, texts, rng, count):
    """One tokenizer on all texts: ids with and without special tokens, and what they decode to."""
    text = json.dumps(spec)
    theirs, ours = Tokenizer.from_str(text), from_huggingface(json.loads(text, parse_float=exact_number))
    what = {key: spec[key] for key in ("normalizer", "pre_tokenizer", "decoder")} | spec["model"]
    what = {key: str(value)[:100] for key, value in what.items() if key not in ("vocab", "merges")}
    assert json.loads(ours._json()) == json.loads(text)
    for plain in (False, True):
        theirs.encode_special_tokens = plain
        for each in texts:
            ids = attempt(lambda each: theirs.encode(each, add_special_tokens=False).ids, each)
            got = attempt(ours.encode, each, () if plain else "all")
            count.strings += 1
            count.refused += ids is None
            if plain and got is not None and set(got) & set(ours.special_tokens.values()):
                unknown = spec["model"].get("unk_token") or spec["model"].get("unk_id")
                unknown = theirs.token_to_id(unknown) if isinstance(unknown, str) else unknown
                if set(got) & set(ours.special_tokens.values()) - {unknown}:
                    count.differ(f"SPECIAL {what}", each, ids, got)
            if plain and got != ids and any(name in each for name in ours.special_tokens):
                continue  # there theirs may still make the special token, by way of the vocabulary
            if got != ids:
                count.differ(what, each, ids, got)
            elif ids is not None:
                compare_decoded(ours, theirs, ids, what, count)
    known = [i for i, token in enumerate(ours._texts) if token is not None]
    for _ in range(len(texts) // 4):
        compare_decoded(ours, theirs, rng.choices(known, k=rng.randrange(12)), what, count)
    count.tokenizers += 1


def compare_decoded(ours, theirs, ids, what, count):
    count.decoded += 1
    got, want = ours.decode(ids), theirs.decode(ids, skip_special_tokens=False)
    if got != want:
        count.differ(f"DECODE {what}", str(ids), want, got)


def every_code_point(count, charsmaps, step):
    """Each normalizer and pre-tokenizer on each code point, alone and between letters."""
    names = normalizers
    parts = [names.NFC(), names.NFD(), names.NFKC(), names.NFKD(), names.Lowercase(), names.StripAccents(),
             names.Strip(), names.Nmt(), names.BertNormalizer(), *map(names.Precompiled, charsmaps)]
    cuts = pre_tokenizers
    parts += [cuts.Whitespace(), cuts.WhitespaceSplit(), cuts.BertPreTokenizer(), cuts.Punctuation(),
              cuts.Digits(True)]
    for each in parts:
        spec = part(each)
        normal = isinstance(each, names.Normalizer)
        ours = make_normalizer(spec) if normal else make_pre_tokenizer(spec, True)
        for point in itertools.chain(range(0, 0xD800, step), range(0xE000, 0x110000, step)):
            c = chr(point)
            for text in (c, f"a{c}\u0301b", f"\u0323{c}\u0301"):
                count.points += 1
                if normal:
                    theirs, got = each.normalize_str(text), ours(text)
                else:
                    theirs, got = [piece for piece, _ in each.pre_tokenize_str(text)], ours(text, True)
                if theirs != got:
                    count.differ(str(spec)[:80], text, theirs, got)


def strange_graphemes(normalizer, count, rng, n):
    """A normalizer on strings of characters that join, or would if Unicode were newer."""
    names = ("prepend", "extend", "spacing", "linker", "consonant", "pictograph", "control", "inert", "marks")
    kinds = [TABLES[name].split() for name in names]
    others = "a©e½ﬁ\u0301\u0301\u0323\u200c\u200d\u200d\r\n\u1100\u1161\u11a8가각\U0001f1eb"
    ours = make_normalizer(part(normalizer))
    for _ in range(n):
        text = ""
        for _ in range(rng.randrange(1, 9)):
            span = [int(end, 16) for end in rng.choice(rng.choice(kinds)).split("-")]
            text += rng.choice((chr(rng.randint(span[0], span[-1])), rng.choice(others)))
        count.points += 1
        if normalizer.normalize_str(text) != ours(text):
            count.differ(part(normalizer)["type"], text, normalizer.normalize_str(text), ours(text))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer strings, one code point in 97")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strings", type=int, help="how many strings to draw for each tokenizer")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    lines = corpus(15 if args.quick else 60)
    made = charsmap({"a": "bb", "e\u0301": "É", "ﬁ": "fi", "\x01": "", "½": "1/2", "ab": "c", "\r\n": "\n"})
    real = real_charsmap("nmt_nfkc")
    charsmaps = [made, *([real, real_charsmap("nmt_nfkc_cf")] if real else [])]
    count = Count()
    drawings = args.strings or (150 if args.quick else 3000)
    families = itertools.chain(bert(lines), t5(lines, real or made), llama(lines))
    for spec in families:
        texts = ["", STRANGE, "\n".join(rng.sample(lines, 50))]
        texts += rng.sample(lines, 100 if args.quick else 400) + [drawn(rng) for _ in range(drawings)]
        compare(spec, texts, rng, count)
    every_code_point(count, charsmaps, 97 if args.quick else 1)
    for kind in (normalizers.NFC(), normalizers.NFKD(), *map(normalizers.Precompiled, charsmaps)):
        strange_graphemes(kind, count, rng, 20 * drawings)
    print(f"=> {count.tokenizers} tokenizers; {count.strings:,} strings encoded, {count.refused} refused,"
          f" {count.decoded:,} decoded, {count.points:,} normalized or cut: {len(count.wrong)} differences"
          f"{'' if real else '; without the charsmap of sentencepiece'}")
    return 1 if count.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
