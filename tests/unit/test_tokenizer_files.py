"""Check that a saved tokenizer loads unchanged; any other file loads, or gets an error of one line."""

import base64
import dataclasses
import gc
import itertools
import json
import sys
from contextlib import suppress

import pytest
from helpers import refuses
from hypothesis import given, strategies as st
from readers import Reader, check_all
from sample_texts import BYTES, drawn_ranks

from tinyllm import UserError, config, load_tokenizer, save_tokenizer
from tinyllm.files import parse_json
from tinyllm.ops import unicode
from tinyllm.ops.registry import _compiled, use
from tinyllm.tokenizer import PATTERNS, BPETokenizer, ByteTokenizer, CharTokenizer, base, huggingface
from tinyllm.tokenizer.huggingface import from_dict
from tinyllm.tokenizer.vocabulary import CHARACTERS, Vocabulary, characters, token_bytes

TEXT = "the cat sat on the mat, naïve 😀 <|end|> " * 4
LEARNT = BPETokenizer.train(TEXT, 270, "gpt4", ["<|end|>"])
TOKENIZERS = [
    CharTokenizer.train(TEXT),
    CharTokenizer.train("a\"\\\n\u2028", ["<|end|>"]),
    ByteTokenizer(["<|end|>", "é\n"]),
    LEARNT,
]


def load(folder, content, name="tokenizer.json", **options):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return load_tokenizer(path, **options)


def refused(folder, content, match, name="tokenizer.json", **options):
    line = refuses(match, load, folder, content, name, **options)
    assert gc.isenabled() and line.startswith(str(folder))


names = st.text("<|abĠé ", min_size=1, max_size=4).filter(lambda name: len(name.encode()) > 1)


@st.composite
def drawn_tokenizers(draw):
    """Draw ranks, or a vocabulary that lacks bytes; special tokens get the next ids, or free ones."""
    vocabulary = Vocabulary.from_ranks(draw(drawn_ranks()))
    if draw(st.booleans()):
        words, pairs = vocabulary.words()
        gone = draw(st.sets(st.sampled_from([CHARACTERS[byte] for byte in range(128, 256)])))
        words = {word: i for word, i in words.items() if word not in gone}
        vocabulary = Vocabulary.from_words(words, pairs, draw(st.booleans()))
    special = draw(st.lists(names, max_size=4, unique=True))
    if draw(st.booleans()):
        free = [i for i in range(max(vocabulary.tokens) + 9) if i not in vocabulary.tokens]
        special = dict(zip(special, draw(st.permutations([*free, 1000, 5000])), strict=False))
    tokenizer = BPETokenizer(vocabulary, draw(st.sampled_from([*PATTERNS])), special)
    tokenizer.normalizer = draw(st.sampled_from([None, "NFC"]))
    return tokenizer


@given(drawn_tokenizers() | st.sampled_from(TOKENIZERS), st.text("abcé <|Ġ"))
def test_a_saved_tokenizer_is_loaded_as_it_was(tmp_path_factory, tokenizer, text):
    folder = tmp_path_factory.mktemp("law")
    try:
        save_tokenizer(tokenizer, folder)
    except UserError as error:
        assert "a file cannot hold the special token" in str(error) and not any(folder.iterdir())
        return
    loaded = load_tokenizer(folder)
    assert type(loaded) is type(tokenizer) and loaded.fingerprint() == tokenizer.fingerprint()
    assert loaded.vocab_size == tokenizer.vocab_size and loaded.special_tokens == tokenizer.special_tokens
    for allowed in ((), "all"):
        with suppress(UserError):  # if the vocabulary lacks a byte
            assert tokenizer.encode(text, allowed) == loaded.encode(text, allowed)


def test_a_later_version_of_unicode_gives_other_fingerprints(monkeypatch):
    before = LEARNT.fingerprint()
    monkeypatch.setattr(unicode, "VERSION", "17.0")
    assert LEARNT.fingerprint() != before


@pytest.mark.parametrize("tokenizer, problem", [
    (BPETokenizer([(97, 97), (256, 97), (97, 256)]), "257 and 258 have the same bytes"),
    (CharTokenizer.train(TEXT, ["t"]), "choose a name with a space"),
    (ByteTokenizer(["é"]), "cannot hold the special token"),  # GPT-2's sign for byte 0xe9
])
def test_a_vocabulary_that_no_file_can_hold_is_not_saved(tokenizer, problem, tmp_path, monkeypatch):
    refuses(problem, save_tokenizer, tokenizer, tmp_path / "t.json")
    refuses(r"writes tokenizer\.json", save_tokenizer, LEARNT, tmp_path / "t", format="gpt2", error=TypeError)
    monkeypatch.setattr(base, "MOST", 10)
    refuses("10 values", save_tokenizer, LEARNT, tmp_path / "t")
    assert not any(tmp_path.iterdir())


TEXTS = [TEXT, "", "  \u2581<s> [CLS] e\u0301\u0300ﬁ\u00a0\x00½ 中文 don't <unk>", "ab" * 100]


def try_out(tokenizer):
    """Encode and decode texts with a tokenizer, and check that it can be saved and loaded."""
    for text, allowed in itertools.product(TEXTS, ((), "all")):
        with suppress(UserError):  # such as an unknown character
            ids = tokenizer.encode(text, allowed)
            assert all(type(i) is int and 0 <= i < tokenizer.vocab_size for i in ids)
            assert isinstance(tokenizer.decode(ids), str)
            if tokenizer.kind != "huggingface":
                assert tokenizer.normalizer or tokenizer.decode_bytes(ids) == text.encode()
                assert allowed or not set(ids) & set(tokenizer.special_tokens.values())
    again = from_dict(parse_json(tokenizer.to_json()))
    assert again.fingerprint() == tokenizer.fingerprint()


def change(made=LEARNT, /, **fields):
    """Return a tokenizer's JSON with fields changed; a__b is the field b of a, and `...` removes a field."""
    made = json.loads(made.to_json())
    for path, value in fields.items():
        *steps, last = (int(step) if step.isdigit() else step for step in path.split("__"))
        inside = made
        for step in steps:
            inside = inside.setdefault(step, {}) if isinstance(inside, dict) else inside[step]
        if value is ...:
            del inside[last]
        else:
            inside[last] = value
    return made


def token(**fields):
    return [{"id": 269, "content": "<x>", "special": True} | fields]


def around(name, number, kind="TemplateProcessing"):
    """Return a post_processor that puts a special token before each text."""
    pieces = [{"SpecialToken": {"id": name, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    special = {name: {"id": name, "ids": [number], "tokens": [name]}}
    template = {"type": kind, "single": pieces, "pair": pieces, "special_tokens": special}
    return {"type": "Sequence", "processors": [LEVEL, template]}


def rank_file(ranks):
    lines = (base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items())
    return b"".join(lines)


GPT2_VOCAB = {CHARACTERS[byte]: i for i, byte in enumerate(CHARACTERS)}
GPT2_VOCAB |= {"th": 256, "he": 257, "Ġthe": 258, "never": 259, "<|endoftext|>": 260, "Ġnever": 261}
GPT2_VOCAB |= {"一": 262, "Ġt": 263}
GPT2_MERGES = "#version: 0.2\nĠ t\nh e\nĠt he\nt h\n"  # in another order than the ids
GPT2 = {"vocab.json": json.dumps(GPT2_VOCAB), "merges.txt": GPT2_MERGES}
QWEN = change(normalizer={"type": "NFC"}, added_tokens=token(special=False))
FILES = {  # a kind of tokenizer -> {name of a file: content}
    **{made.kind: {"tokenizer.json": made.to_json().decode()} for made in TOKENIZERS[1:]},
    "qwen": {"tokenizer.json": json.dumps(QWEN)}, "gpt2": GPT2,
    "ranks": {"ranks": rank_file(LEARNT.vocabulary.ids).decode()},
}


def write(folder, files=GPT2):
    for name, content in files.items():
        (folder / name).write_text(content)
    return [folder / name for name in files]


@pytest.mark.parametrize("files", FILES.values(), ids=FILES)
def test_damaged_files_work_or_are_refused_in_one_line(files, tmp_path):
    def read(folder):
        return load_tokenizer(folder / "ranks", "gpt2") if "ranks" in files else load_tokenizer(folder)

    check_all(Reader(lambda folder: write(folder, files), read, try_out), tmp_path, times=80)


# tokenizer.json

LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def test_llama_and_qwen_files_are_read_natively(tmp_path):
    always = [*token(special=False), {"id": 270, "content": "<|end|>", "special": True}]
    processor = around("<|end|>", 270)
    spelt = [" ".join(pair) for pair in change()["model"]["merges"]]
    made = change(added_tokens=always, normalizer={"type": "NFC"}, post_processor=processor,
                  model__merges=spelt, model__type=...)
    tokenizer = load(tmp_path, made)
    assert type(tokenizer) is BPETokenizer and tokenizer.pattern == "gpt4"
    assert tokenizer.special_tokens == {"<|end|>": 270}
    assert tokenizer.to_dict()["post_processor"] == processor and LEARNT.to_dict()["post_processor"] is None
    assert tokenizer.encode("a<x><|end|>") == [97, 269, *LEARNT.encode("<|end|>")]
    assert tokenizer.encode("e\u0301") == LEARNT.encode("é") and tokenizer.decode([269, 270]) == "<x><|end|>"
    assert list(tokenizer.pieces("e\u0301 a")) == ["é".encode(), b" a"]
    again = load(tmp_path, change(tokenizer))
    assert again.fingerprint() == tokenizer.fingerprint() and again.encode("<x>e\u0301") == [269, 195, 169]
    shared = change(added_tokens=token(id=256, content="at", special=False))
    assert load(tmp_path, shared).encode("at") == [256]
    whole = change(model__ignore_merges=True, model__merges=[], added_tokens=[])
    word = next(word for word, i in whole["model"]["vocab"].items() if i == 257)
    assert load(tmp_path, whole).encode(word) == [257]


@pytest.mark.parametrize("fields", [
    {"post_processor": LEVEL}, {"truncation": {"max_length": 3}, "padding": {}},
    {"model__dropout": 0.5},  # all these are ignored
    {"pre_tokenizer__pretokenizers__0__behavior": "Removed", "pre_tokenizer__pretokenizers__0__invert": True},
])
def test_other_ways_to_say_the_same_are_read(fields, tmp_path):
    assert load(tmp_path, change(**fields)).fingerprint() == LEARNT.fingerprint()


DECLARED = dict(huggingface.DOCUMENT, model__tinyllm=dict)  # field -> what it must hold
DECLARED |= {f"model__{name}": kind for name, kind in huggingface.MODEL.items()}
DECLARED |= {f"model__tinyllm__{name}": kind for name, kind in huggingface.EXTRA.items()}
DECLARED |= {f"added_tokens__0__{name}": kind for name, kind in huggingface.TOKEN.items()}


@pytest.mark.parametrize("name", DECLARED)
def test_a_value_that_is_not_of_the_declared_type_is_refused_by_its_name(name, tmp_path):
    kind = list if isinstance(DECLARED[name], list) else DECLARED[name]
    declared = kind if isinstance(kind, dataclasses.Field) else config.bounded(kind)
    for value in (None, True, 7, -1, 2**40, 1.5, "7", [], [7], {}):
        if not config.allowed(declared, value):
            refused(tmp_path, change(**{name: value}), name.split("__")[-1])


VOCAB, MERGES = change()["model"]["vocab"], change()["model"]["merges"]
WRONG = [  # values of the right types that do not fit; a part of the message
    ({"version": "2.0"}, "2.0"), ({"version": ...}, "version"), ({"extra": 1}, "extra"),
    ({"model": ...}, "not a tokenizer file"), ({"model": []}, "not a tokenizer file"),
    ({"model__tinyllm": {"novelty": 1}}, "novelty"),
    *(({"model__vocab": VOCAB | new, "added_tokens": []}, problem) for new, problem in (
        ({"zzz": 5}, "same id 5"), ({"zzz": 2**40}, "'zzz'"), ({"zzz": -1}, "'zzz'"), ({"a b": 700}, "'a b'"),
        ({"": 9}, "''"))),
    *(({"model__merges": [wrong]}, r"merges\[0\]") for wrong in ("h e r", ["h", 3], 7, ["q", "q"])),
    ({"model__merges": [MERGES[0], MERGES[0]]}, r"merges\[0\].*twice"),
    *(({"added_tokens": token(content=wrong)}, "1 to 512 characters|half a character")
      for wrong in ("", "\ud800", "a" * 513)),
    ({"added_tokens": token() + token()}, "twice"),
    ({"added_tokens": token(content=MERGES[0][0] + MERGES[0][1], id=256)}, "ordinary text"),
    ({"added_tokens": token(content="ð", id=VOCAB["ð"], special=False)}, "ordinary text"),
    ({"post_processor": around("<|end|>", 269, "Shout")}, r"processors\[1\]\.type, where one of ByteLevel"),
    *(({"post_processor": around(name, i)}, f"'{name}', {i}") for name, i in (("<|end|>", 7), ("<x>", 269))),
    ({"post_processor": around("<|end|>", 269),
      "post_processor__processors__1__single__0__SpecialToken__id": "<x>"}, "lacks .*special_tokens.<x>"),
    ({"post_processor": {"type": "BertProcessing", "sep": ["a", VOCAB["a"]], "cls": ["<x>", 1]}}, "<x>"),
]
FOREIGN = [
    {"model__type": "Unigram"}, {"model__type": 7}, {"model__byte_fallback": True},
    {"model__novelty": 1}, {"normalizer": {"type": "NFKC"}}, {"decoder": None}, {"pre_tokenizer": None},
    *({"pre_tokenizer": part} for part in (LEVEL, LEVEL | {"add_prefix_space": True}, {"type": "ByteLevel"})),
    {"pre_tokenizer__pretokenizers__0__invert": True}, {"pre_tokenizer__pretokenizers__1__use_regex": True},
    {"added_tokens": token(lstrip=True)},
    *({"pre_tokenizer__pretokenizers__0__pattern": {"Regex": wrong}} for wrong in (r"\w+", [], {"a": "b"})),
    {"added_tokens": token(id=300)}, {"added_tokens": token(normalized=True), "normalizer": {"type": "NFC"}},
]
WRONG += [(fields, r"needs the tokenizers library: pip install tokenizers$") for fields in FOREIGN]


@pytest.mark.parametrize("fields, match", WRONG, ids=range(len(WRONG)))
def test_wrong_fields_of_a_tokenizer_file_are_named(fields, match, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    refused(tmp_path, change(**fields), match)


def test_a_vocabulary_may_lack_bytes_but_then_no_text_has_them(tmp_path):
    lacking = {word: i for word, i in (VOCAB | LEARNT.special_tokens).items() if word not in "qħ"}
    tokenizer = load(tmp_path, change(model__vocab=lacking))
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
    for backend in ("numpy", "compiled") if _compiled else ("numpy",):
        with use(backend):
            assert tokenizer.encode(TEXT) == LEARNT.encode(TEXT)
            for encode in (tokenizer.encode, tokenizer.encode_to_numpy):
                for text, byte in (("the q", "71"), ("the cat\x85" * 1000, "85"), ("\u2045", "85")):
                    refuses(f"the byte 0x{byte}, for which this vocabulary", encode, text)


# The files of tiktoken and GPT-2.


def test_a_rank_file_is_read_with_its_pattern(tmp_path):
    good = b"\n" + rank_file({b"ab": 256, **BYTES}).replace(b"\n", b"\r\n")
    tokenizer = load(tmp_path, good, "some.txt", pattern="gpt4", special_tokens={"<|end|>": 999})
    assert tokenizer.encode("ab<|end|>", "all") == [256, 999] and tokenizer.pattern == "gpt4"
    options = {"pattern": "gpt4", "special_tokens": ["<|end|>"]}
    assert load(tmp_path, good, "some.txt", **options).special_tokens == {"<|end|>": 257}
    refused(tmp_path, good, "taken", "r", pattern="gpt2", special_tokens={"<|end|>": 97})
    refused(tmp_path, good, "pattern", "r")
    for line in (b"YQ== 300", b"YWI 300", b"YW= 3", b"YWI= -3", b"YWI= 9999999999", b"YWI=  3", b" 3"):
        refused(tmp_path, good + line, "line 259", "r", pattern="gpt2")
    for line, problem in ((b"YWM= 97", "same id 97"), (b"YWM= 99999999", "id of the token")):
        refused(tmp_path, good + line, problem, "r", pattern="gpt2")


def test_gpt2_files_are_read_and_write_bytes_as_characters(tmp_path):
    assert characters(b" a\n\x00\xff~\x7f\xad") == "ĠaĊĀÿ~ġŃ"
    assert token_bytes(characters(bytes(range(256)))) == bytes(range(256))
    assert [token_bytes(word) for word in (" ", "\xad", "a\x7f", "\u4e00", "Ġ\ud800")] == [None] * 5
    for path in (tmp_path, *write(tmp_path)[:1]):
        tokenizer = load_tokenizer(path)
        for backend in ("numpy", "compiled") if _compiled else ("numpy",):
            with use(backend):
                assert tokenizer.encode(" the!the") == [258, 0, 83, 257]
        assert tokenizer.special_tokens == {"never": 259, "<|endoftext|>": 260, "一": 262}
        assert tokenizer.encode("<|endoftext|> never一", "all") == [260, 220, 259, 262]
        assert tokenizer.decode([258, 261, 262]) == " the never一" and 259 not in tokenizer.encode("never")
    write(tmp_path, GPT2 | {"merges.txt": GPT2_MERGES.replace("h e\n", "")})
    tokenizer = load_tokenizer(tmp_path)  # no merge makes "he", but another one needs it
    assert "he" not in tokenizer.special_tokens
    save_tokenizer(tokenizer, tmp_path)
    (tmp_path / "merges.txt").unlink()  # tokenizer.json is complete, so it wins
    assert load_tokenizer(tmp_path).fingerprint() == tokenizer.fingerprint()


@pytest.mark.parametrize("name, content, options, problem", [
    ("merges.txt", "#version: 0.2\n", {}, "without merges nothing makes the token 'th'"),  # no special token
    ("merges.txt", "a b\n" * (2**20 + 1), {}, "1048576 lines"), ("merges.txt", None, {}, r"merges\.txt"),
    ("merges.txt", GPT2_MERGES + "h e e", {}, r"with merges\.txt beside it: merges\[4\]"),
    ("vocab.json", "[]", {}, "no model"),
    ("vocab.json", json.dumps(GPT2_VOCAB | {"a": "64"}), {}, "id of the token 'a'"),
    ("added_tokens.json", "{}", {}, "added_tokens"),
    *(("merges.txt", GPT2_MERGES, {name: ["gpt2"]}, "of its own") for name in ("pattern", "special_tokens")),
])
def test_folders_that_cannot_be_read(name, content, options, problem, tmp_path):
    write(tmp_path)
    (tmp_path / name).write_text(content) if content is not None else (tmp_path / name).unlink()
    refuses(problem, load_tokenizer, tmp_path, **options)
    for nothing in (tmp_path / "nothing.json", "a\0b"):
        refuses("cannot read", load_tokenizer, nothing)
