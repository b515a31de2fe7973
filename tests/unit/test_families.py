"""Tokenizers of BERT's, T5's and LLaMA's kind: known answers, what is refused, and files that mean harm.

That ids and texts are Hugging Face's is the matter of verify_families.py; the answers below were theirs.
"""

import base64
import copy
import json
import re
import unicodedata

import pytest
from charsmaps import charsmap
from hypothesis import given
from hypothesis import strategies as st

from tinyllm.errors import UserError
from tinyllm.tokenizer import load_tokenizer
from tinyllm.tokenizer.families import PipelineTokenizer, from_huggingface
from tinyllm.tokenizer.families.charsmap import Charsmap, graphemes
from tinyllm.tokenizer.families.decoders import make_decoder
from tinyllm.tokenizer.families.normalize import make_normalizer
from tinyllm.tokenizer.families.pretokenize import make_pre_tokenizer
from tinyllm.tokenizer.numbers import exact_number
from tinyllm.tokenizer.unicode import TABLES, normal_form, ranges


def special(i, content, **flags):
    ordinary = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": i, "content": content, **ordinary, "special": True, **flags}


def document(model, **parts):
    names = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    empty = dict.fromkeys(names)
    return {"version": "1.0", "added_tokens": [], **empty, "model": model, **parts}


CLEAN = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
         "strip_accents": None, "lowercase": True}  # fmt: skip
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "##s", "sat", "mat", "un", "##aff", "##able", "中",
         ".", ",", "[", "]", "cls", "##k"]  # fmt: skip
BERT = document(
    {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
     "max_input_chars_per_word": 20, "vocab": {word: i for i, word in enumerate(WORDS)}},
    normalizer=CLEAN, pre_tokenizer={"type": "BertPreTokenizer"},
    decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
    added_tokens=[special(i, WORDS[i]) for i in range(4)],
)  # fmt: skip
META = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
T5 = document(
    {"type": "Unigram", "unk_id": 2, "byte_fallback": False,
     "vocab": [["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], ["▁", -2.0], ["▁the", -2.5], ["▁cat", -3.25],
               ["s", -3.0], ["▁s", -4.5], ["at", -4.0], ["a", -4.5], ["t", -4.5], ["</", -3.0], [">", -3.0]]},
    normalizer={"type": "Precompiled", "precompiled_charsmap": base64.b64encode(
        charsmap({"\t": " ", "ﬁ": "fi", "e\u0301": "é", "½": "1/2"})).decode()},
    pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, META]}, decoder=META,
    added_tokens=[special(0, "<pad>"), special(1, "</s>"), special(2, "<unk>"), special(13, "<extra>")],
)  # fmt: skip
SPELT = {f"<0x{byte:02X}>": 20 + byte for byte in range(256)}
LLAMA = document(
    {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
     "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
     "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2, "▁": 3, "t": 4, "h": 5, "e": 6, "▁t": 7, "he": 8, "▁the": 9,
               "<": 10, "s": 11, ">": 12, "<s": 13, **SPELT},
     "merges": [["h", "e"], ["▁", "t"], ["▁t", "he"], ["<", "s"], ["<s", ">"]]},
    normalizer={"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
    decoder={"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
        {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
    added_tokens=[special(0, "<unk>"), special(1, "<s>"), special(2, "</s>", rstrip=True)],
)  # fmt: skip
DOCUMENTS = {"bert": BERT, "t5": T5, "llama": LLAMA}


@pytest.mark.parametrize("fields, text, ids, back", [
    (BERT, "The CATS,\u00a0s\u00e4t \u4e2d\u4e2d.", [4, 5, 6, 14, 7, 12, 12, 13], "the cats, sat 中 中."),
    (BERT, "unaffable unaffably", [9, 10, 11, 1], "unaffable [UNK]"),
    (BERT, "[CLS]", [15, 17, 16], "[ cls ]"),
    (BERT, "cat" * 7, [1], "[UNK]"),
    (BERT, "", [], ""),
    (T5, "the cats sat", [4, 5, 6, 7, 8], "the cats sat"),
    (T5, "xx  s\ta", [3, 2, 7, 3, 9], "<unk> s a"),
    (T5, "</s>", [3, 11, 6, 12], "</s>"),
    (LLAMA, "the the", [9, 9], "the the"),
    (LLAMA, "the €", [9, 3, 20 + 0xE2, 20 + 0x82, 20 + 0xAC], "the €"),
    (LLAMA, "<s>", [3, 13, 12], "<s>"),
])  # fmt: skip
def test_known_answers(fields, text, ids, back):
    tokenizer = from_huggingface(fields)
    assert tokenizer.encode(text) == ids == tokenizer.encode(text.encode())
    assert tokenizer.decode(ids) == back and tokenizer.decode_bytes(ids) == back.encode()


def test_special_tokens_come_only_where_they_are_allowed():
    bert, t5, llama = map(from_huggingface, DOCUMENTS.values())
    assert bert.encode("[CLS] the[SEP]", "all") == [2, 4, 3]
    assert bert.encode("[CLS] the[SEP]", ["[CLS]"]) == [2, 4, 15, 1, 16]
    assert t5.encode("s</s>", "all") == [7, 1] and t5.vocab_size == 14
    assert llama.encode("<s>the</s>  the", "all") == [1, 9, 2, 9]
    assert llama.decode([1, 9, 2, 9]) == "<s> the</s> the"
    for tokenizer, name in ((bert, "[SEP]"), (t5, "</s>"), (t5, "<extra>"), (llama, "<s>"), (llama, "</s>")):
        for text in (name, f"a {name} b", name * 3, f" {name}"):
            assert tokenizer.special_tokens[name] not in tokenizer.encode(text)
            assert tokenizer.special_tokens[name] in tokenizer.encode(text, [name])


def test_whole_words_of_the_vocabulary_are_no_way_in():
    """Where the vocabulary itself has the special token, and the pre-tokenizer leaves it whole."""
    plain = from_huggingface({**BERT, "normalizer": None, "pre_tokenizer": {"type": "WhitespaceSplit"}})
    assert plain.encode("[CLS] the") == [1, 4] and plain.encode("[CLS] the", "all") == [2, 4]
    whole = copy.deepcopy(LLAMA)
    whole["model"]["ignore_merges"] = True
    whole["normalizer"] = None
    assert from_huggingface(whole).encode("<s>") == [13, 12]
    assert from_huggingface({**T5, "pre_tokenizer": None, "normalizer": None}).encode("</s>") == [11, 6, 12]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_is_saved_is_the_file_again(name, tmp_path):
    tokenizer = from_huggingface(copy.deepcopy(DOCUMENTS[name]))
    tokenizer.save(tmp_path / "tokenizer.json")
    tokenizer.save(tmp_path / "theirs.json", format="huggingface")
    for path in (tmp_path / "tokenizer.json", tmp_path / "theirs.json"):
        assert json.loads(path.read_text()) == DOCUMENTS[name]
    again = load_tokenizer(tmp_path)
    for loaded in (again, load_tokenizer(tmp_path / "theirs.json")):
        assert isinstance(loaded, PipelineTokenizer)
    assert again.fingerprint() == tokenizer.fingerprint()
    assert again.encode("the cats sat <s>", "all") == tokenizer.encode("the cats sat <s>", "all")


def test_the_template_is_data():
    between = {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}
    tokenizer = from_huggingface({**BERT, "post_processor": between})
    assert tokenizer.encode("the cat") == [4, 5] and tokenizer.template([4, 5]) == [2, 4, 5, 3]
    with pytest.raises(UserError, match="id 77"):
        from_huggingface({**BERT, "post_processor": {**between, "cls": ["[CLS]", 77]}})


@pytest.mark.parametrize("name, text", [("bert", "the cat"), ("t5", "the s"), ("t5", "s"), ("llama", "the")])
def test_no_token_has_a_place_in_a_text_that_is_not_made_of_tokens(name, text):
    """A blank that stands in no token, or a sign for one: to decode right is not to have places."""
    tokenizer = from_huggingface(DOCUMENTS[name])
    assert tokenizer.decode(tokenizer.encode(text)) == text
    for same in (text, text.encode()):
        with pytest.raises(UserError, match="no places"):
            tokenizer.offsets(same)


def test_text_that_is_not_utf8_is_refused():
    tokenizer = from_huggingface(BERT)
    for text in (b"the \xff", "the \ud800"):
        with pytest.raises(UserError, match="byte 4 of the text"):
            tokenizer.encode(text)
    with pytest.raises(UserError, match="no token 99"):
        tokenizer.decode([99])


REFUSED = [  # a file, the path to what is changed, the new value, what the message names
    (BERT, ("model", "type"), "WordLevel", "WordLevel"),
    (BERT, ("model", "unk_token"), "[X]", r"\[X\]"),
    (BERT, ("model", "extra"), 1, "extra"),
    (BERT, ("model", "vocab", "the"), 5, "same id 5"),
    (BERT, ("model", "vocab", "the"), 2**40, "the id"),
    (BERT, ("model", "vocab", "\ud800"), 19, "half a character"),
    (BERT, ("normalizer", "type"), "ByteLevel", "ByteLevel"),
    (BERT, ("normalizer", "lowercase"), 1, "lowercase"),
    (BERT, ("pre_tokenizer", "type"), "UnicodeScripts", "UnicodeScripts"),
    (BERT, ("decoder", "type"), "CTC", "CTC"),
    (BERT, ("added_tokens", 0, "id"), 7, "makes it 0"),
    (BERT, ("added_tokens", 0, "content"), "[CLS]", "twice"),
    (BERT, ("added_tokens", 0, "content"), "", "no content"),
    (BERT, ("version",), "2.0", "version"),
    (BERT, ("extra",), "2.0", "extra"),
    (BERT, ("added_tokens", 0, "lstrip"), 0, "lstrip"),
    (T5, ("added_tokens", 3, "id"), 14, "makes it 13"),
    (T5, ("model", "unk_id"), 13, "unk_id"),
    (T5, ("model", "vocab", 3), ["▁"], r"vocab\[3\]"),
    (T5, ("model", "vocab", 3), ["▁", float("inf")], r"vocab\[3\]"),
    (T5, ("pre_tokenizer", "pretokenizers", 1, "prepend_scheme"), "first", "first"),
    (T5, ("normalizer", "precompiled_charsmap"), "?", "base64"),
    (T5, ("normalizer", "precompiled_charsmap"), "AAAA", "trie"),
    (LLAMA, ("model", "dropout"), 0.1, "dropout"),
    (LLAMA, ("model", "merges", 0), ["h", "x"], "'x'"),
    (LLAMA, ("model", "merges", 0), "h e x", "pair"),
    (LLAMA, ("normalizer", "normalizers", 1, "pattern"), {"Regex": "(a|b)*c"}, "regex"),
    (LLAMA, ("normalizer", "normalizers", 1, "content"), "x" * 65, "too long"),
    (LLAMA, ("decoder", "decoders", 0, "pattern"), {"Regex": "a"}, "plain text"),
    (LLAMA, ("decoder", "decoders", 3, "start"), -1, "Strip"),
]


@pytest.mark.parametrize("fields, path, value, match", REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_honoured_is_refused_by_name(fields, path, value, match):
    fields = copy.deepcopy(fields)
    inner = fields
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    with pytest.raises(UserError, match=match) as error:
        from_huggingface(fields)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_a_normalizer_cannot_fill_the_memory():
    grow = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 64}
    normalize = make_normalizer({"type": "Sequence", "normalizers": [grow] * 60})
    with pytest.raises(UserError, match="times longer"):
        normalize("a" * 100)
    deep = grow
    for _ in range(500):
        deep = {"type": "Sequence", "normalizers": [deep]}
    assert make_normalizer(deep)("ab") == "a" * 64 + "b"  # opened up without recursion
    with pytest.raises(UserError, match="64 parts"):
        make_normalizer({"type": "Sequence", "normalizers": [grow] * 65})


def test_a_decoder_cannot_fill_the_memory():
    grow = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 64}
    assert make_decoder(grow)(["a" * 1000, "b"]) == "a" * 64_000 + "b"
    decode = make_decoder({"type": "Sequence", "decoders": [grow] * 60})
    with pytest.raises(UserError, match="times longer"):
        decode(["a" * 100])


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
)


def replace_one(draw, value, new):
    if isinstance(value, dict | list) and value and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(list(value) if isinstance(value, dict) else range(len(value))))
        value[key] = replace_one(draw, value[key], new)
        return value
    return new


@given(st.data(), st.sampled_from(list(DOCUMENTS)), junk)
def test_junk_anywhere_loads_or_gets_one_line(data, name, new):
    fields = replace_one(data.draw, copy.deepcopy(DOCUMENTS[name]), new)
    try:
        tokenizer = from_huggingface(fields)
        tokenizer.decode(tokenizer.encode("The cats </s> sat, €é½\ufb01.", "all"))
    except UserError as error:
        assert "\n" not in str(error)


# Parts.


@pytest.mark.parametrize("part, text, expected", [
    (CLEAN, "\x00A\tÉ\u200b中½\u0301", "a e 中 ½"),
    (CLEAN, "a\u0903\u0300", "a\u0903"),
    ({"type": "Lowercase"}, "ΑΣ İ ẞ", "ασ i\u0307 ß"),
    ({"type": "StripAccents"}, "e\u0301\u0903", "e"),
    ({"type": "Strip", "strip_left": True, "strip_right": False}, "\x1c \u3000a ", "\x1c \u3000a "),
    ({"type": "Strip", "strip_left": True, "strip_right": True}, " \u3000a\x85", "a"),
    ({"type": "Nmt"}, "a\x01\u200bb\n", "a b "),
    ({"type": "NFKC"}, "ﬁ① e\u0301 \U0001fbf3", "fi1 é \U0001fbf3"),
    ({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}, "a  b c   ", "a▁b c▁"),
])  # fmt: skip
def test_normalizers(part, text, expected):
    assert make_normalizer(part)(text) == expected


@pytest.mark.parametrize("part, text, expected", [
    ({"type": "Whitespace"}, "don't €5!? x", ["don", "'", "t", "€", "5", "!?", "x"]),
    ({"type": "BertPreTokenizer"}, "a$b c!!", ["a", "$", "b", "c", "!", "!"]),
    ({"type": "Digits", "individual_digits": False}, "ab12½c", ["ab", "12½", "c"]),
    ({**META, "split": False}, "a b", ["▁a▁b"]),
    (META, " a  b", ["▁a", "▁", "▁b"]),
    *[({"type": "Split", "pattern": {"String": " "}, "behavior": behavior}, "a  b ", expected)
      for behavior, expected in (
          ("Removed", ["a", "b"]), ("Isolated", ["a", " ", " ", "b", " "]),
          ("Contiguous", ["a", "  ", "b", " "]), ("MergedWithPrevious", ["a ", " ", "b "]),
          ("MergedWithNext", ["a", " ", " b", " "]))],
])  # fmt: skip
def test_pre_tokenizers(part, text, expected):
    assert make_pre_tokenizer(part, True)(text, True) == expected


def test_metaspace_can_mark_the_first_piece_only():
    cut = make_pre_tokenizer({**META, "prepend_scheme": "first"}, True)
    assert cut("a b", True) == ["▁a", "▁b"] and cut("a b", False) == ["a", "▁b"]


@pytest.mark.parametrize("part, tokens, expected", [
    (None, ["a", "b"], "a b"),
    ({"type": "WordPiece", "prefix": "##", "cleanup": True}, ["do", "not", "##s", ".", "x"], "do nots. x"),
    ({"type": "ByteFallback"}, ["<0xE2>", "<0x82>", "<0xAC>", "a", "<0xE2>", "<0xg0>"], "€a\ufffd<0xg0>"),
    ({"type": "ByteFallback"}, ["<0xE2>", "<0x82>", "b", "<0x+f>"], "\ufffd\ufffdb\x0f"),
    ({"type": "BPEDecoder", "suffix": "</w>"}, ["a", "b</w>", "c</w>"], "ab c"),
    ({"type": "Strip", "content": " ", "start": 1, "stop": 1}, ["  a ", " "], " a"),
    (META, ["▁▁a", "▁b"], "a b"),
])  # fmt: skip
def test_decoders(part, tokens, expected):
    assert make_decoder(part)(tokens) == expected


# Unicode.


def test_the_tables_are_ranges_in_order():
    for name, table in TABLES.items():
        ends = [int(end, 16) for span in table.split() for end in ((span.split("-") * 2)[:2])]
        assert ends == sorted(ends) and len(set(ends)) > 10 and ends[-1] < 0x110000, name


@given(st.text(st.characters(max_codepoint=0x2FFF, exclude_categories=["Cs", "Cn"]), max_size=6),
       st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))  # fmt: skip
def test_old_characters_are_normalized_as_python_does(text, form):
    if not re.search(f"[{ranges('inert')}]", text):
        assert normal_form(form, text) == unicodedata.normalize(form, text)
    assert normal_form("NFC", "e\u0301\u0898\u0323") == "é\u0898\u0323"  # U+0898 came with Unicode 14


@given(st.text(st.sampled_from("ab\r\n\u0301\u200d©क\u094dन가ᄀ\u1161\u0600😀\U0001f1eb\u00ad"), max_size=12))
def test_graphemes_are_the_whole_text(text):
    pieces = [match.group() for match in graphemes().finditer(text)]
    assert "".join(pieces) == text and all(pieces)


@pytest.mark.parametrize("text, expected", [
    ("ab\u0301c", ["a", "b\u0301", "c"]),
    ("\r\na\r", ["\r\n", "a", "\r"]),
    ("👩\u200d👧©\u0301", ["👩\u200d👧", "©\u0301"]),
    ("🇫🇷🇩", ["🇫🇷", "🇩"]),
    ("क\u094dत\u093fन", ["क\u094dत\u093f", "न"]),
    ("\u0600a\u0600", ["\u0600a", "\u0600"]),
    ("ᄀ\u1161\u11a8가\u11a8각\u1161", ["ᄀ\u1161\u11a8", "가\u11a8", "각", "\u1161"]),
])  # fmt: skip
def test_graphemes(text, expected):
    assert [match.group() for match in graphemes().finditer(text)] == expected


RULES = {"ﬁ": "fi", "e\u0301": "é", "\r\n": "\n", "½": "1/2", "日": "sun", "日本": "Japan", "\x01": ""}
DATA = charsmap(RULES)


@given(st.text(st.sampled_from("ﬁe\u0301\r\n½日本\x01x"), max_size=8))
def test_a_charsmap_replaces_graphemes(text):
    expected = ""
    for match in graphemes().finditer(text):
        grapheme = match.group()
        several = grapheme.isascii() and grapheme != "\r\n"
        key = next((key for key in sorted(RULES, key=len) if grapheme.startswith(key)), None)
        if key is not None and len(grapheme.encode()) < 6 and not several:
            expected += RULES[key]
        else:
            expected += "".join(RULES.get(c, c) for c in grapheme)
    assert Charsmap(base64.b64encode(DATA).decode()).normalize(text) == expected


def test_only_a_short_grapheme_is_looked_up_whole():
    table = Charsmap(base64.b64encode(DATA).decode())
    assert table.normalize("ﬁ\u0301 ﬁ\u0301\u0301 日\u0301") == "fi fi\u0301\u0301 sun"


@given(st.data())
def test_a_spoilt_charsmap_replaces_or_gets_one_line(data):
    spoilt = bytearray(DATA)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.one_of(st.integers(0, 12), st.integers(0, len(DATA) - 1)))
        spoilt[at] = data.draw(st.integers(0, 255))
    spoilt = spoilt[: data.draw(st.one_of(st.just(len(DATA)), st.integers(0, len(DATA))))]
    try:
        table = Charsmap(base64.b64encode(spoilt).decode())
        for key in [*RULES, *map(chr, range(1, 256)), "日本語"]:
            table.normalize(key)
    except UserError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("text", ["-3.25", "0.1", "1e-7", "-3.1533627510070800", "12345678901234567890.5"])
def test_numbers_keep_their_meaning(text):
    assert exact_number(text) == float(text)


def test_numbers_that_would_change_are_refused():
    for text in ("1e999", "-5.781565938778408016097535"):
        with pytest.raises(UserError):
            exact_number(text)
