"""Check that a saved tokenizer comes back, and that any other file is read or refused in one line."""

import dataclasses
import json
import sys
from itertools import product

import pytest
from foreign_tokenizers import write_gpt2, write_ranks
from readers import Reader, check_good, check_line, check_mutations, check_no_json, check_obstacles

from tinyllm import config
from tinyllm.errors import UserError
from tinyllm.files import parse_json
from tinyllm.ops import unicode
from tinyllm.ops.registry import _compiled, use
from tinyllm.tokenizer import BPETokenizer, ByteTokenizer, CharTokenizer, huggingface, json_file
from tinyllm.tokenizer.files import load_tokenizer, save_tokenizer
from tinyllm.tokenizer.huggingface import from_dict
from tinyllm.tokenizer.patterns import QWEN2

TEXT = "the cat sat on the mat, naïve 😀 <|end|> " * 4
LEARNT = BPETokenizer.train(TEXT, 270, "gpt4", ["<|end|>"])
BYTES = {bytes([byte]): byte for byte in range(256)}
TOKENIZERS = [
    CharTokenizer.train(TEXT),
    CharTokenizer.train("a\"\\\n\u2028\ud83d\ude00", ["<|end|>"]),  # two lone surrogates, not one emoji
    ByteTokenizer(),
    ByteTokenizer(["<|end|>", "é\n"]),
    BPETokenizer.train(TEXT, 270),
    LEARNT,
    BPETokenizer.train(TEXT, 260, r"[^\s'\"]+|é"),
    BPETokenizer.train(TEXT, 260, QWEN2),
    BPETokenizer.from_ranks(LEARNT.vocabulary.ids, "gpt2", {"<|end|>": 400, "<|user|>": 300}),
    BPETokenizer.from_ranks(BYTES | {b"the": 300}, "gpt2", {"<| end |>": 270}),  # the: as a whole piece only
]


def document(tokenizer=LEARNT):
    return json.loads(json_file.dump(tokenizer.to_dict()))


def load(folder, content, name="tokenizer.json", **options):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return load_tokenizer(path, **options)


def refused(folder, content, match=None, **options):
    with pytest.raises(UserError, match=match) as error:
        load(folder, content, **options)
    message = str(error.value)
    assert message.startswith(str(folder)) and message.isprintable() and len(message) < 400


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=repr)
def test_a_saved_tokenizer_is_loaded_as_it_was(tokenizer, tmp_path):
    path = tmp_path / "t.json"
    save_tokenizer(tokenizer, path)
    loaded = load_tokenizer(path)
    assert type(loaded) is type(tokenizer)
    assert loaded.vocab_size == tokenizer.vocab_size and loaded.special_tokens == tokenizer.special_tokens
    text = TEXT if tokenizer is not TOKENIZERS[1] else "a\n\ud83d\ude00"
    for allowed in ((), "all"):
        assert loaded.encode(text, allowed) == tokenizer.encode(text, allowed)
    assert not set(loaded.encode(text)) & set(loaded.special_tokens.values())
    save_tokenizer(loaded, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert loaded.fingerprint() == tokenizer.fingerprint()


@pytest.mark.parametrize("tokenizer", [
    CharTokenizer.train(TEXT, ["t"]), BPETokenizer.train(TEXT, 270, special_tokens=["the"]),
    ByteTokenizer(["é"]),  # as GPT-2 spells the byte 0xe9
], ids=repr)
def test_a_special_token_with_the_name_of_an_ordinary_one_is_not_saved(tokenizer, tmp_path):
    with pytest.raises(UserError, match=r"cannot hold the special token .*choose a name with a space"):
        save_tokenizer(tokenizer, tmp_path / "t.json")
    assert not any(tmp_path.iterdir())


def test_different_tokenizers_have_different_fingerprints():
    assert len({tokenizer.fingerprint() for tokenizer in TOKENIZERS}) == len(TOKENIZERS)


def test_a_vocabulary_that_no_file_can_hold_is_not_saved(tmp_path, monkeypatch):
    twice = BPETokenizer([(97, 97), (256, 97), (97, 256)])  # "aaa" has two ids
    for path in (tmp_path / "nowhere" / "t.json", tmp_path / "t"):
        with pytest.raises(UserError, match=r"cannot write|257 and 258 have the same bytes"):
            save_tokenizer(twice if path.name == "t" else LEARNT, path)
    with pytest.raises(TypeError, match=r"tinyllm writes tokenizer\.json"):
        save_tokenizer(LEARNT, tmp_path / "t", format="gpt2")
    monkeypatch.setattr(json_file, "MOST", 10)
    with pytest.raises(UserError, match="10 values"):
        save_tokenizer(TOKENIZERS[5], tmp_path / "t")
    assert not any(tmp_path.iterdir())


def test_a_folder_is_a_place_for_tokenizer_json(tmp_path):
    save_tokenizer(LEARNT, tmp_path)
    assert load_tokenizer(tmp_path).fingerprint() == LEARNT.fingerprint()
    for path in (tmp_path / "nothing.json", "a\0b"):
        with pytest.raises(UserError, match="cannot read"):
            load_tokenizer(path)
    for extra in ({"pattern": "gpt2"}, {"special_tokens": []}):
        with pytest.raises(UserError, match="of its own"):
            load_tokenizer(tmp_path, **extra)


def change(made=None, /, **fields):
    """A good document with fields changed: model__vocab reaches into model, ... takes a field away."""
    made = made or document()
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
    return [{"id": 269, "content": "<x>", "special": True} | fields]


# Every reader

STRANGE_TEXT = "  \u2581<s> [CLS] e\u0301\u0300ﬁ\u00a0\x00½ 中文 don't <unk>"
TEXTS = [TEXT, "", STRANGE_TEXT, "ab" * 100, "the " * 60, "\U0001f468"]


def try_out(tokenizer):
    """Encode and decode texts by a tokenizer, and save it."""
    for text, allowed in product(TEXTS, ((), "all")):
        try:
            ids = tokenizer.encode(text, allowed)
            assert all(type(i) is int and 0 <= i < tokenizer.vocab_size for i in ids)
            assert isinstance(tokenizer.decode(ids), str)
        except UserError as error:  # such as a character that a char tokenizer does not know
            check_line(error)
            continue
        if tokenizer.kind != "huggingface":
            assert tokenizer.normalizer or tokenizer.decode_bytes(ids) == text.encode()
            assert allowed or not set(ids) & set(tokenizer.special_tokens.values())
    again = from_dict(parse_json(json_file.dump(tokenizer.to_dict()), halves=True))
    assert again.fingerprint() == tokenizer.fingerprint()


def saved(tokenizer, **fields):
    """Return a function that writes a tokenizer.json with these fields changed."""

    def write(folder):
        (folder / "tokenizer.json").write_bytes(json_file.dump(change(document(tokenizer), **fields)))
        return [folder / "tokenizer.json"]

    return write


def ranks(folder):
    write_ranks(folder / "ranks", LEARNT.vocabulary.ids)
    return [folder / "ranks"]


def gpt2(folder):
    write_gpt2(folder, LEARNT)
    return [folder / "vocab.json", folder / "merges.txt"]


READERS = {
    "bpe": Reader(saved(LEARNT), load_tokenizer, try_out),
    "byte": Reader(saved(TOKENIZERS[3]), load_tokenizer, try_out),
    "char": Reader(saved(TOKENIZERS[1]), load_tokenizer, try_out),
    "own pattern": Reader(saved(TOKENIZERS[6]), load_tokenizer, try_out),
    "qwen": Reader(saved(LEARNT, normalizer={"type": "NFC"}, added_tokens=token(special=False)),
                   load_tokenizer, try_out),
    "ranks": Reader(ranks, lambda folder: load_tokenizer(folder / "ranks", "gpt2"), try_out),
    "gpt2": Reader(gpt2, load_tokenizer, try_out),
}
EVERY_READER = pytest.mark.parametrize("reader", READERS.values(), ids=READERS)


@EVERY_READER
def test_good_files_are_read_and_others_in_their_place_refused(reader, tmp_path):
    check_good(reader, tmp_path)
    check_obstacles(reader, tmp_path)
    check_no_json(reader, tmp_path)


@EVERY_READER
@pytest.mark.parametrize("seed", range(4))
def test_mutated_files_work_or_are_refused_in_one_line(reader, seed, tmp_path):
    check_mutations(reader, tmp_path, seed)


def stop(said):
    raise UserError(said)


@pytest.mark.parametrize("read, seen", [
    (lambda folder: [][1], IndexError), (lambda folder: stop(""), AssertionError),
    (lambda folder: stop("x"), AssertionError),
    (lambda folder: ByteTokenizer(), AssertionError),
])
def test_a_reader_that_accepts_or_says_the_wrong_thing_is_noticed(read, seen, tmp_path):
    with pytest.raises(seen):
        check_obstacles(Reader(saved(LEARNT), read), tmp_path)


# Files of others

LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def sequence(*members):
    return {"type": "Sequence", "pretokenizers": [*members, LEVEL]}


def test_llama_and_qwen_files_are_read_natively(tmp_path):
    always = [*token(special=False), {"id": 270, "content": "<|end|>", "special": True}]
    processor = {"type": "Sequence", "processors": [LEVEL, {"type": "TemplateProcessing"}]}
    spelt = [" ".join(pair) for pair in document()["model"]["merges"]]
    made = change(added_tokens=always, normalizer={"type": "NFC"}, post_processor=processor,
                  model__merges=["#version: 0.2", *spelt], model__type=...)
    tokenizer = load(tmp_path, made)
    assert type(tokenizer) is BPETokenizer and tokenizer.pattern == "gpt4"
    assert tokenizer.special_tokens == {"<|end|>": 270}
    assert tokenizer.to_dict()["post_processor"] == processor and LEARNT.to_dict()["post_processor"] is None
    assert tokenizer.encode("a<x><|end|>") == [97, 269, *LEARNT.encode("<|end|>")]
    assert tokenizer.encode("e\u0301") == LEARNT.encode("é") and tokenizer.decode([269, 270]) == "<x><|end|>"
    assert list(tokenizer.pieces("e\u0301 a")) == ["é".encode(), b" a"]
    with pytest.raises(UserError, match="no places"):
        tokenizer.offsets("e\u0301")
    again = load(tmp_path, document(tokenizer))
    assert again.fingerprint() == tokenizer.fingerprint() and again.encode("<x>e\u0301") == [269, 195, 169]
    assert load(tmp_path, change(post_processor=LEVEL)).fingerprint() == LEARNT.fingerprint()
    shared = change(added_tokens=token(id=256, content="at", special=False))
    assert load(tmp_path, shared).encode("at") == [256]


def test_whole_pieces_go_first_where_the_file_says_so(tmp_path):
    made = change(model__ignore_merges=True, model__merges=[], added_tokens=[])
    word = next(word for word, i in made["model"]["vocab"].items() if i == 257)
    assert load(tmp_path, made).encode(word) == [257] and len(load(tmp_path, change()).encode(word)) == 1


DECLARED = {"version": str, "model__tinyllm": dict} | huggingface.PARTS  # what the reader asks of a field
DECLARED |= {f"model__{name}": kind for name, kind in huggingface.MODEL.items()}
DECLARED |= {f"model__tinyllm__{name}": kind for name, kind in huggingface.EXTRA.items()}
DECLARED |= {f"added_tokens__0__{name}": kind for name, kind in huggingface.TOKEN.items()}


@pytest.mark.parametrize("name", DECLARED)
def test_a_value_that_is_not_of_the_declared_type_is_refused_by_its_name(name, tmp_path):
    kind = DECLARED[name]
    declared = kind if isinstance(kind, dataclasses.Field) else config.bounded(kind)
    for value in (None, True, 7, -1, 2**40, 1.5, "7", [], [7], {}):
        if not config.allowed(declared, value):
            made = change(model__tinyllm={}) if "tinyllm__" in name else document()
            refused(tmp_path, change(made, **{name: value}), name.split("__")[-1])


VOCAB = document()["model"]["vocab"]
MERGES = document()["model"]["merges"]
WRONG = [  # values of the right types that do not fit, and what the message says
    ({"version": "2.0"}, "2.0"),
    ({"version": ...}, "version"),
    ({"model": ...}, "not a tokenizer file"),
    ({"model": []}, "not a tokenizer file"),
    ({"extra": 1}, "extra"),
    ({"model__tinyllm": {"novelty": 1}}, "novelty"),
    ({"model__vocab": VOCAB | {"zzz": 5}, "added_tokens": []}, "same id 5"),
    ({"model__vocab": VOCAB | {"zzz": 2**40}, "added_tokens": []}, "'zzz'"),
    ({"model__vocab": VOCAB | {"zzz": True}, "added_tokens": []}, "'zzz'"),
    ({"model__vocab": {"the": 0}, "model__merges": [], "added_tokens": []}, "no token for any single byte"),
    ({"model__vocab": VOCAB | {"a b": 7000}, "added_tokens": []}, "'a b'.*byte characters"),
    ({"model__vocab": VOCAB | {"": 7000}, "added_tokens": []}, "''"),
    ({"model__merges": [["h", "e"], "t h"]}, r"merges\[1\]"),
    ({"model__merges": ["h e r"]}, r"merges\[0\]"),
    ({"model__merges": [["h", 3]]}, r"merges\[0\]"),
    ({"model__merges": [["", "e"]]}, "merges|empty"),
    ({"model__merges": [["q", "q"]]}, r"merges\[0\].*'qq'"),
    ({"model__merges": [MERGES[0], MERGES[0]]}, r"merges\[1\].*twice"),
    ({"added_tokens": token(content="")}, "at least one"),
    ({"added_tokens": token(content="\ud800")}, "surrogate"),
    ({"added_tokens": token(content="a" * 513)}, "513 characters"),
    ({"added_tokens": token() + token()}, "twice"),
    ({"added_tokens": token(content=MERGES[0][0] + MERGES[0][1], id=256)}, "ordinary text"),
    ({"added_tokens": token(content="ð", id=VOCAB["ð"], special=False)}, "ordinary text"),
    ({"model__tinyllm": {"pattern": "("}, "pre_tokenizer": sequence(
        {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": False})}, "pattern"),
]


@pytest.mark.parametrize("fields, match", WRONG, ids=range(len(WRONG)))
def test_wrong_fields_of_a_tokenizer_file_are_named(fields, match, tmp_path):
    refused(tmp_path, change(**fields), match)


@pytest.mark.parametrize("fields", [
    {"normalizer": {"type": "Sequence", "normalizers": []}},
    {"pre_tokenizer__pretokenizers__0__behavior": "Removed", "pre_tokenizer__pretokenizers__0__invert": True},
])
def test_other_ways_to_say_the_same_are_read(fields, tmp_path):
    assert load(tmp_path, change(**fields)).fingerprint() == LEARNT.fingerprint()


def test_a_vocabulary_may_lack_bytes_but_then_no_text_has_them(tmp_path):
    lacking = {word: i for word, i in (VOCAB | LEARNT.special_tokens).items() if word not in "qħ"}
    tokenizer = load(tmp_path, change(model__vocab=lacking))
    save_tokenizer(tokenizer, tmp_path / "again.json")
    for each in (tokenizer, load_tokenizer(tmp_path / "again.json")):
        assert each.fingerprint() == tokenizer.fingerprint() and each.decode(each.encode(TEXT)) == TEXT
        for backend in ("numpy", "compiled") if _compiled else ("numpy",):
            with use(backend):
                assert each.encode(TEXT) == LEARNT.encode(TEXT)
                for encode in (each.encode, each.encode_to_numpy, each.offsets):
                    for text, byte in (("the q", "71"), ("the cat\x85" * 1000, "85"), ("\u2045", "85")):
                        with pytest.raises(UserError, match=f"the byte 0x{byte}, for which this vocabulary"):
                            encode(text)


FOREIGN = [
    {"model__type": "Unigram"}, {"model__type": 7}, {"model__dropout": 0.1}, {"model__byte_fallback": True},
    {"model__novelty": 1}, {"normalizer": {"type": "NFKC"}}, {"decoder": None}, {"pre_tokenizer": None},
    {"pre_tokenizer": LEVEL}, {"pre_tokenizer": LEVEL | {"add_prefix_space": True}},
    {"pre_tokenizer__pretokenizers__0__invert": True}, {"added_tokens": token(lstrip=True)},
    *({"pre_tokenizer__pretokenizers__0__pattern": {"Regex": wrong}} for wrong in (r"\w+", [], {"a": "b"})),
    {"added_tokens": token(id=300)}, {"added_tokens": token(normalized=True), "normalizer": {"type": "NFC"}},
]


@pytest.mark.parametrize("fields", FOREIGN, ids=range(len(FOREIGN)))
def test_what_only_the_library_reads_says_how_to_get_it(fields, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    refused(tmp_path, change(**fields), r"needs the tokenizers library: pip install tokenizers$")


def test_sizes_have_limits(tmp_path):
    doubling = [[97, 97], *([256 + i] * 2 for i in range(40))]
    for merges, match in (doubling, "64 MB"), ([[97, 256]], "0 to 255"):
        with pytest.raises(UserError, match=match):
            BPETokenizer(merges)
    (tmp_path / "vocab.json").write_text("{}")
    refused(tmp_path, b"a b\n" * (2**20 + 1), "1048576 lines", name="merges.txt")
    for names in ({"9" * 500: 65}, {"9" * 500: -1}, ["9" * 500, "9" * 500], ["\ud800" * 500], {"a": 2**22}):
        with pytest.raises(UserError) as error:
            BPETokenizer([], special_tokens=names)
        assert len(str(error.value)) < 400


def test_the_fingerprint_tells_the_version_of_unicode(monkeypatch):
    before = LEARNT.fingerprint()
    monkeypatch.setattr(unicode, "VERSION", "17.0")
    assert LEARNT.fingerprint() != before
