"""`tokenizer.json` of Hugging Face: every part does what theirs does, or is refused by name.

The expected pieces and places were written down by hand from the library's rules; tests/proofs/
verify_tokenizer.py asks the library itself.
"""

import copy
import itertools
import json

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_families import FAMILIES, LLAMA3, byte_level, document, sequence, split

from tinyllm.errors import UserError
from tinyllm.ops.pieces import GPT2, GPT4
from tinyllm.tokenizer import BPETokenizer, load_tokenizer
from tinyllm.tokenizer.added import AddedToken, AddedTokens
from tinyllm.tokenizer.families.normalize import make_normalizer
from tinyllm.tokenizer.formats.bytelevel import characters
from tinyllm.tokenizer.formats.huggingface import from_document, to_document
from tinyllm.tokenizer.names import finder
from tinyllm.tokenizer.pretokenizers import build_pretokenizer, matches
from tinyllm.tokenizer.regexes import check_same_in_oniguruma
from tinyllm.tokenizer.template import build_template
from tinyllm.tokenizer.unicode import normal_form

TEXT = (
    "the cat's 12 naïve hats sat on the mat, the mat words word the cat sat \n\n  on 😀😀 é e\u0301 in an en "
    * 3
)
LEARNT = BPETokenizer.train(TEXT, 300)
WORDS = [characters(token) for token in LEARNT.vocabulary.tokens]
MERGES = [[WORDS[left], WORDS[right]] for left, right in LEARNT.merges]
parts = st.sampled_from(
    [*TEXT.split(" "), " ", "  ", "<a>", "<b", "<|im_end|>", "[MASK]", "\u212b ", "<s>", "1234"]
)
texts = st.one_of(st.text(), st.lists(parts).map("".join), st.lists(parts).map(" ".join))


def spec_encode(made, text):
    """The ids of a text without added tokens: normalise, cut, and merge the first rank again and again."""
    model = made["model"]
    ranks = {tuple(merge): i for i, merge in reversed(list(enumerate(model["merges"])))}
    normalize = make_normalizer(made["normalizer"])
    pieces, ids = [normalize(text)], []
    for step in build_pretokenizer(made["pre_tokenizer"]):
        pieces = [part for piece in pieces if piece for part in step(piece)]
    for piece in filter(None, pieces):
        word = [characters(bytes([byte])) for byte in piece.encode("utf-8", "surrogatepass")]
        if model["ignore_merges"] and "".join(word) in model["vocab"]:
            word = ["".join(word)]
        while pairs := [(ranks[pair], i) for i, pair in enumerate(itertools.pairwise(word)) if pair in ranks]:
            _, i = min(pairs)
            word[i : i + 2] = [word[i] + word[i + 1]]
        ids += [model["vocab"][token] for token in word]
    return ids


SPLITS = [
    [word[:i], word[i:]]
    for word in WORDS
    for i in range(1, len(word))
    if word[:i] in WORDS and word[i:] in WORDS
]


@pytest.mark.parametrize("merges", [MERGES, SPLITS[::-1]], ids=["learnt", "every split"])
@pytest.mark.parametrize("family", FAMILIES)
def test_families_encode_as_the_spec_and_survive_saving(family, merges, tmp_path):
    made = document(family, WORDS, merges)
    (tmp_path / "tokenizer.json").write_text(json.dumps(made))
    tokenizer = load_tokenizer(tmp_path)
    tokenizer.save(tmp_path / "own")
    tokenizer.save(tmp_path / "theirs", "huggingface")
    own, theirs = load_tokenizer(tmp_path / "own"), load_tokenizer(tmp_path / "theirs")
    assert own.fingerprint() == theirs.fingerprint() == tokenizer.fingerprint()
    assert json.loads((tmp_path / "theirs").read_bytes()) == made
    names = [token["content"] for token in made["added_tokens"]]
    special = {token["content"]: token["id"] for token in made["added_tokens"] if token["special"]}
    assert tokenizer.special_tokens == special

    @given(texts)
    def same(text):
        text = text.replace("\ud800", "")
        for allowed in ((), "all"):
            ids = tokenizer.encode(text, allowed)
            assert own.encode(text, allowed) == theirs.encode(text, allowed) == ids
            assert allowed or not set(ids) & set(special.values())
        plain = regex.sub(
            r"\L<names>|\L<normal>", "", text, names=names, normal=[normal_form("NFKC", n) for n in names]
        )
        if not any(normal_form("NFKC", name) in normal_form("NFKC", plain) for name in names):
            assert tokenizer.encode(plain) == spec_encode(made, plain)

    same()


def change(**fields):
    """A good document with fields changed: model__vocab reaches into model, ... takes a field away."""
    made = document("llama3", WORDS, MERGES)
    for path, value in fields.items():
        *steps, last = path.split("__")
        inside = made
        for step in steps:
            inside = inside[int(step) if step.isdigit() else step]
        if value is ...:
            del inside[last]
        else:
            inside[int(last) if last.isdigit() else last] = value
    return made


def token(**fields):
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return [{"id": len(WORDS), "content": "<x>", **flags, "special": True, **fields}]


VOCAB = {word: i for i, word in enumerate(WORDS)}
MADE = WORDS[256]  # by the first merge
DEEP = {"type": "ByteLevel"}
for _ in range(100):
    DEEP = {"type": "Sequence", "processors": [DEEP]}
REFUSED = [
    ({"version": "2.0"}, "version 1.0"),
    ({"version": ...}, "version"),
    ({"model": ...}, "not a tokenizer file|lacks"),
    ({"extra": 1}, "extra"),
    ({"model__type": "WordLevel"}, "WordLevel.*BPE, Unigram, WordPiece are"),
    ({"model__type": 7}, "model"),
    ({"model__novelty": 1}, "novelty"),
    ({"model__dropout": 0.1}, "dropout"),
    ({"model__continuing_subword_prefix": "##"}, "continuing_subword_prefix"),
    ({"model__end_of_word_suffix": "</w>"}, "end_of_word_suffix"),
    ({"model__vocab": []}, "model.vocab"),
    ({"model__vocab": {**VOCAB, "zzz": 5}}, "same id 5"),
    ({"model__vocab": {**VOCAB, "zzz": 2**40}}, "'zzz'"),
    ({"model__vocab": {**VOCAB, "zzz": True}}, "'zzz'"),
    ({"model__vocab": {word: i for word, i in VOCAB.items() if word != "q"}}, "0x71"),
    ({"model__vocab": {**VOCAB, "a b": 7000}}, "'a b'.*byte characters"),
    ({"model__merges": ["t h", ["h", "e"]]}, r"merges\[1\]|needs"),
    ({"model__merges": [["h", "e"], "t h"]}, r"merges\[1\]"),
    ({"model__merges": ["h e r"]}, r"merges\[0\]"),
    ({"model__merges": ["he"]}, r"merges\[0\]"),
    ({"model__merges": [["h", 3]]}, r"merges\[0\]"),
    ({"model__merges": [["", "e"]]}, "merges|empty"),
    ({"model__merges": [["q", "q"]]}, r"merges\[0\].*'qq'"),
    ({"model__merges": [MERGES[0], MERGES[0]]}, r"merges\[1\].*twice"),
    ({"added_tokens": token(id=len(WORDS) + 1)}, f"makes it {len(WORDS)}"),
    ({"added_tokens": token(id=-1)}, r"added_tokens\[0\]"),
    ({"added_tokens": token(content="")}, "no content"),
    ({"added_tokens": token(content="\ud800")}, "surrogate"),
    ({"added_tokens": token() + token()}, "twice"),
    ({"added_tokens": token(lstrip=1)}, "lstrip"),
    ({"added_tokens": token(more=1)}, "more"),
    ({"added_tokens": token(content=MADE, id=256)}, "ordinary text"),
    ({"added_tokens": token(content="q", id=VOCAB["q"])}, "ordinary text"),
    ({"added_tokens": token(content="ð", id=VOCAB["ð"], special=False)}, "ordinary text"),
    ({"normalizer": {"type": "Shout"}}, "Shout"),
    ({"normalizer": {"type": "NFC", "strength": 2}}, "strength"),
    ({"normalizer": {"type": "Sequence", "normalizers": [{"type": "Shout"}]}}, "normalizer .Shout"),
    ({"post_processor": DEEP}, "nested"),
    ({"normalizer": []}, "normalizer"),
    ({"pre_tokenizer": None}, "ByteLevel"),
    ({"pre_tokenizer": split("a")}, "ByteLevel"),
    ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [byte_level(), split("a")]}}, "ByteLevel"),
    ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [byte_level(), byte_level()]}}, "ByteLevel"),
    ({"pre_tokenizer": sequence({"type": "Whisper"})}, "Whisper"),
    ({"pre_tokenizer": sequence(split("a", "Sideways"))}, "Sideways"),
    ({"pre_tokenizer": sequence(split("a^"))}, r"'\^' at character 1"),
    ({"pre_tokenizer": sequence(split(""))}, "pattern"),
    ({"pre_tokenizer": sequence(split("(a"))}, "its end"),
    ({"pre_tokenizer": sequence(*[split("a")] * 99)}, "64"),
    ({"pre_tokenizer": {**byte_level(), "more": 1}}, "more"),
    ({"decoder": None}, "decoder"),
    ({"decoder": {"type": "Fuse"}}, "Fuse"),
    ({"decoder": {"type": "Sequence", "decoders": 3}}, "decoder"),
    ({"post_processor": {"type": "Postman"}}, "Postman"),
    ({"post_processor": {"type": "BertProcessing", "sep": ["x", 9**9], "cls": ["y", 1]}}, "post_processor"),
    ({"post_processor": {"type": "BertProcessing", "sep": ["x"], "cls": ["y", 1]}}, "sep"),
    ({"post_processor__processors__1__special_tokens": {}}, "not explained"),
    ({"post_processor__processors__1__single": [{}]}, "neither"),
    (
        {"post_processor__processors__0": document("modernbert", WORDS, [])["post_processor"]},
        "twice|no token",
    ),
    ({"truncation": []}, "truncation"),
]


@pytest.mark.parametrize("fields, match", REFUSED, ids=range(len(REFUSED)))
def test_what_is_not_known_is_named(fields, match, tmp_path):
    (tmp_path / "t.json").write_text(json.dumps(change(**fields)))
    with pytest.raises(UserError, match=match) as error:
        load_tokenizer(tmp_path / "t.json")
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_the_good_document_is_good_and_old_spellings_are_read():
    good = from_document(change())
    assert good.pattern == LLAMA3.replace(LLAMA3, good.pattern) and good.pipeline.steps is None
    old = ["#version: 0.2", *(" ".join(merge) for merge in MERGES)]
    assert (
        to_document(from_document(change(model__merges=old, model__type=...)))
        == to_document(good)
        == change()
    )
    assert from_document(change(pre_tokenizer=sequence(split(GPT2)))).pattern == "gpt2"


def test_a_name_may_be_an_ordinary_token_if_it_is_not_special():
    made = change(added_tokens=token(content=MADE, id=256, special=False), post_processor=None)
    assert MADE.isascii() and from_document(made).encode(MADE) == [256]
    tokenizer = from_document(made)
    assert tokenizer.encode(f"x{MADE}x") == [VOCAB["x"], 256, VOCAB["x"]]
    assert tokenizer.decode([256]) == MADE and to_document(tokenizer) == made


# Added tokens: what they take of the text around them.

CUT = [
    ({}, "a <x> b", ["a ", 1, " b"]),
    ({"lstrip": True}, "a \n<x> b", ["a", 1, " b"]),
    ({"rstrip": True}, "a <x> \u3000b", ["a ", 1, "b"]),
    ({"rstrip": True, "lstrip": True}, "<x>  <x>\x1c", [1, 1, "\x1c"]),
    ({"single_word": True}, "<x>a <x> a<x>", ["<x>a ", 1, " a<x>"]),
    ({"single_word": True}, "_<x> ²<x>-<x>", ["_<x> ²", 1, "-", 1]),
    ({"special": True}, "<x>a", ["<x>a"]),
    ({"normalized": True}, "<x>e\u0301", [1, "\u00e9"]),
    ({"content": "e\u0301"}, "\u00e9e\u0301", ["\u00e9", 1]),
    ({"content": "e\u0301", "normalized": True}, "\u00e9e\u0301", [1, 1]),
]


@pytest.mark.parametrize("fields, text, expected", CUT)
def test_an_added_token_takes_what_it_may(fields, text, expected):
    tokens = AddedTokens(
        (AddedToken(**{"content": "<x>", "id": 1, **fields}),), make_normalizer({"type": "NFC"})
    )
    assert list(tokens.cut(text)) == expected
    if fields.get("special"):
        assert list(tokens.cut(text, ["<x>"])) == [1, "a"]


@given(st.sets(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=8), st.text("abcd"))
def test_the_leftmost_and_longest_name_is_found(names, text):
    expected, at = [], 0
    while at < len(text):
        found = max((name for name in names if text.startswith(name, at)), key=len, default=None)
        if found:
            expected.append((at, at + len(found)))
        at += len(found or "x")
    assert list(finder(names)(text)) == expected
    assert list(finder([name.encode() for name in names])(text.encode())) == expected


# Pre-tokenizers: what was cut, written by hand.

PIECES = [
    (split(r"\d", "Isolated"), "a12b", ["a", "1", "2", "b"]),
    (split(r"\d", "Removed"), "a12b", ["a", "b"]),
    (split(r"\d", "Removed", True), "a12b", ["1", "2"]),
    (split(r"\d", "Contiguous"), "a12b", ["a", "12", "b"]),
    (split(r"\d", "MergedWithPrevious"), "a12b3", ["a1", "2", "b3"]),
    (split(r"\d", "MergedWithPrevious"), "1a", ["1", "a"]),
    (split(r"\d", "MergedWithNext"), "a12b3", ["a", "1", "2b", "3"]),
    (split(r"\d", "MergedWithPrevious", True), "a12b3", ["a", "1", "2b", "3"]),
    (split(r"\d|", "Isolated"), "a1b", ["a", "1", "b"]),
    (split(r"", "Isolated", kind="String") | {"pattern": {"String": "."}}, "a.b", ["a", ".", "b"]),
    ({"type": "Digits", "individual_digits": True}, "a1²Ⅻ", ["a", "1", "²", "Ⅻ"]),
    ({"type": "Digits", "individual_digits": False}, "a1²Ⅻb", ["a", "1²Ⅻ", "b"]),
    (byte_level(), "it's a", ["it", "'s", " a"]),
    (byte_level(prefix=True), "a b", [" a", " b"]),
    (byte_level(prefix=True, regex=False), "\xa0a", [" \xa0a"]),
    (sequence(split("[\r\n]"), byte_level(prefix=True, regex=False)), "a\nb", [" a", " \n", " b"]),
    (sequence(split(r"\s(?!\S)"), split(r"\p{L}+")), "ab c  d", ["ab", " ", "c", " ", " ", "d"]),
]


@pytest.mark.parametrize("part, text, expected", PIECES)
def test_pieces_are_cut_as_by_hand(part, text, expected):
    pieces = [text]
    for step in build_pretokenizer(part):
        pieces = [each for piece in pieces for each in step(piece)]
    assert pieces == expected


def test_empty_matches_stand_where_oniguruma_has_them():
    assert matches(regex.compile("|a"), "ab") == [(0, 0), (1, 1), (2, 2)]  # Python would find the a
    assert matches(regex.compile("a|"), "ab") == [(0, 1), (2, 2)]
    assert matches(regex.compile("a*"), "baa") == [(0, 0), (1, 3)]
    assert matches(regex.compile("(?=b)"), "abb") == [(1, 1), (2, 2)]
    assert matches(regex.compile("x"), "") == []


SAME = [
    (GPT2, False), (GPT4, False), (LLAMA3, False), ("a*", True), ("a|b*", True), ("(?:a|b*)c", False),
    ("(?=a)", True), ("(?<=a)b+?", False), ("a{0,2}", True), ("a{2}", False), ("", True),
    ("(a|)", True), ("(?>a)++", False),
    ("a?b*c", False), (r"[^\s\p{L}a-z\]\-.]+|.|\p{Han}|\u4e00", False), ("(?i:'s|'T|[ks])", False),
    ("(?!a)(?!b)", True), ("[a-]", False),
]  # fmt: skip
DIFFERENT = [
    "^a", "a$", r"\w", r"\bа", r"\x41", r"\p{Alphabetic}", r"\p{^L}", "(?i)a", "(?m:a)", "(?P<n>a)",
    r"(a)\1", "a**", "a{2}+",
    "a{2}?", "a{,2}", "*a", "(?=a)*", "(?<=a+)b", "[a[b]]", "[a&&b]", "[a--b]", "[]a]", "[^]", "[a",
    "[a-\\s]", "[\\s-a]",
    "(?i:ss)", "(?i:st)", "(?i:é)", r"(?i:\p{Lu})", r"(?i:[\p{L}])", "(?i:[é])", "a)", "(a", "[z-", "a\\",
    "{", "(?#a)", "[[:alpha:]]",
    "(?i:\\u017f)", "(?(1)a|b)", "(|a)*)", "[a||b]",
]  # fmt: skip


@pytest.mark.parametrize("pattern, empty", SAME)
def test_patterns_that_both_engines_read_alike(pattern, empty):
    assert check_same_in_oniguruma(pattern, "p") is empty
    assert empty or not any(
        start == end for start, end in matches(regex.compile(pattern), "ab a 12 ' s \n\n ")
    )


@pytest.mark.parametrize("pattern", DIFFERENT)
def test_patterns_that_may_differ_are_refused(pattern):
    with pytest.raises(UserError, match="regular expression"):
        check_same_in_oniguruma(pattern, "p")


def test_normal_forms_know_no_newer_unicode_than_the_library():
    assert (
        normal_form("NFC", "e\u0301") == "\u00e9"
        and normal_form("NFKD", "ﬃ\u1100\u1161") == "ffi\u1100\u1161"
    )
    assert normal_form("NFC", "a\u0315\u0327") == "a\u0327\u0315"  # marks in order
    # U+0898 is too new to be a mark
    assert normal_form("NFC", "a\u0315\u0898\u0327e\u0301") == "a\u0315\u0898\u0327\u00e9"
    assert normal_form("NFKC", "\u32ff\U0001e030①") == "\u32ff\U0001e0301"


def test_templates_put_ids_around_texts():
    roberta = {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]}
    assert build_template(roberta)([7, 8]) == [0, 7, 8, 2]
    assert build_template(roberta)([7], [8]) == [0, 7, 2, 2, 8, 2]
    bert = build_template({**roberta, "type": "BertProcessing"})
    assert bert([7], [8]) == [0, 7, 2, 8, 2] and bert([]) == [0, 2]
    llama = from_document(change())
    first = llama.special_tokens["<|endoftext|>"]
    assert llama.template([7], [8]) == [first, 7, 8] and BPETokenizer([]).template is None
    assert build_template(byte_level()) is None and build_template(None) is None


def test_loading_changes_nothing_in_the_document():
    made = change()
    before = copy.deepcopy(made)
    from_document(made)
    assert made == before
