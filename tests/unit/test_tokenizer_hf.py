"""Compare with Hugging Face's `tokenizers`: it opens our files, and runs those that we cannot read."""

import copy
import json
import pickle
from contextlib import suppress

import pytest
from helpers import refuses
from hypothesis import given, strategies as st

from tinyllm import UserError, build, load_tokenizer, save_tokenizer
from tinyllm.tokenizer import PATTERNS, BPETokenizer, ByteTokenizer, CharTokenizer
from tinyllm.tokenizer.hf import LibraryTokenizer
from tinyllm.tokenizer.text import TextStream

tokenizers = pytest.importorskip("tokenizers")

TEXT = "The cats sat on the mat's 123 mats; naïve 😀 <|end|> \n\n  end" * 3
SPECIAL = ["<|end|>", "<|user|>"]
SAVED = [
    ByteTokenizer(SPECIAL),
    CharTokenizer.train(TEXT + "".join(SPECIAL), SPECIAL),
    *(BPETokenizer.train(TEXT, 300, pattern, SPECIAL) for pattern in PATTERNS),
    BPETokenizer(BPETokenizer.train(TEXT, 300).vocabulary, "gpt2", {"<|end|>": 999}),
]
texts = st.lists(st.sampled_from([*SPECIAL, *TEXT, "the", " mat", "<|", "é", "\r\n"])).map("".join)


@pytest.mark.parametrize("tokenizer", SAVED, ids=repr)
def test_the_library_opens_what_we_save(tokenizer, tmp_path):
    save_tokenizer(tokenizer, tmp_path)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ours = load_tokenizer(tmp_path)
    @given(texts)
    def same(text):
        if isinstance(tokenizer, CharTokenizer):
            text = "".join(c for c in text if c in tokenizer._characters)
        for allowed in ((), "all"):
            theirs.encode_special_tokens = not allowed
            found = theirs.encode(text)
            assert found.ids == tokenizer.encode(text, allowed) == ours.encode(text, allowed)
            assert theirs.decode(found.ids, skip_special_tokens=False) == text

    same()


def document(model, *names, **parts):
    """Return the content of a tokenizer.json; `names`, from its vocabulary, are special tokens."""
    vocab = model["vocab"] if isinstance(model["vocab"], dict) else [word for word, _ in model["vocab"]]
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [{"id": list(vocab).index(name), "content": name, "special": True, **flags} for name in names]
    return {"version": "1.0", "added_tokens": added, "model": model, **parts}


META = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
BERT = document(
    {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
     "max_input_chars_per_word": 9,
     "vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "the": 3, "cat": 4, "##s": 5}}, "[UNK]", "[CLS]", "[SEP]",
    normalizer={"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                "strip_accents": None, "lowercase": True},
    pre_tokenizer={"type": "WhitespaceSplit"},
    post_processor={"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
    decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
)
T5 = document({"type": "Unigram", "unk_id": 0, "vocab": [
    ["<unk>", 0.0], ["</s>", 0.0], ["▁", -2.0], ["a", -3.0], ["▁a", -2.5]]},
    "</s>", pre_tokenizer=META, decoder=META)
LLAMA = document(
    {"type": "BPE", "unk_token": "<unk>", "byte_fallback": True, "fuse_unk": True,
     "vocab": {"<unk>": 0, "<s>": 1, "▁": 2, "a": 3, "<": 4, "s": 5, ">": 6, "▁a": 7, "s>": 8, "<0x62>": 9},
     "merges": [["▁", "a"], ["s", ">"], ["<", "s>"]]}, "<s>",
    normalizer={"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
    decoder={"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
        {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
)
WORDS = document({"type": "WordLevel", "unk_token": "?", "vocab": {"?": 0, "<s>": 1, "a": 2}}, "<s>",
                 pre_tokenizer={"type": "WhitespaceSplit"})

PREFIXED = document(
    {"type": "BPE", "unk_token": "?", "continuing_subword_prefix": "##",
     "vocab": {"?": 0, "<s>": 1, "<": 2, "##s": 3, "##>": 4, "<s": 5, "a": 6, "##a": 7},
     "merges": [["<", "##s"], ["<s", "##>"]]}, "<s>")


def load(folder, content):
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return load_tokenizer(folder)


@pytest.mark.parametrize("content, text, ids, allowed, back", [
    (BERT, "The cats [SEP] the", [3, 4, 5, 0, 3], [3, 4, 5, 2, 3], "the cats [SEP] the"),
    (T5, "a</s> a", [4, 0, 4], [4, 1, 4], "a</s> a"),
    (LLAMA, "a<s>ab", [7, 4, 8, 3, 9], [7, 1, 7, 9], "a<s> ab"),
    (WORDS, "a <s> a", [2, 0, 2], [2, 1, 2], "a <s> a"),
    (PREFIXED, "<s><s>", [5, 4, 0, 3, 4], [1, 1], "<s> <s>"),
], ids=["bert", "t5", "llama 2", "words", "prefixed"])
def test_no_text_becomes_a_special_token_unless_it_is_allowed(content, text, ids, allowed, back, tmp_path):
    tokenizer = load(tmp_path, content)
    assert isinstance(tokenizer, LibraryTokenizer)
    assert tokenizer._library.to_str() == tokenizers.Tokenizer.from_str(json.dumps(content)).to_str()
    assert tokenizer.encode(text) == tokenizer.encode_batch([text.encode()])[0] == ids
    assert tokenizer.encode(text, "all") == allowed and tokenizer.decode(allowed) == back
    assert tokenizer.decode_bytes(allowed) == back.encode()
    assert pickle.loads(pickle.dumps(tokenizer)).encode(text, "all") == allowed
    save_tokenizer(tokenizer, tmp_path / "again.json")
    assert load_tokenizer(tmp_path / "again.json").fingerprint() == tokenizer.fingerprint()


BY_THE_LIBRARY = [LibraryTokenizer(content) for content in (BERT, T5, LLAMA, WORDS, PREFIXED)]
INSIDE = LLAMA["added_tokens"] + [LLAMA["added_tokens"][0] | {"id": 8, "content": "s>", "special": False}]
FIRST = LLAMA["model"]
THROUGH = {"vocab": FIRST["vocab"] | {"<s>a": 10}, "merges": FIRST["merges"] + [["<s>", "a"]]}
APART = {"model": FIRST | {"merges": FIRST["merges"][:1]}, "added_tokens": INSIDE}
SHARED = [LLAMA | APART, LLAMA | {"model": FIRST | THROUGH},
          LLAMA | {"added_tokens": [token | {"normalized": True} for token in INSIDE]}]


@pytest.mark.parametrize("content, copies", [(BERT, 1), (T5, 0), (LLAMA, 0), (WORDS, 0), (PREFIXED, 0),
                                             (SHARED[0], 0), (SHARED[1], 1), (SHARED[2], 1)])
@given(data=st.data())
def test_a_copy_without_special_tokens_is_made_only_where_it_matters(content, copies, data):
    tokenizer = LibraryTokenizer(content)
    tokenizer.encode("a")  # unknown to BERT
    assert tokenizer._restricted.cache_info().currsize == copies
    parts = st.sampled_from([*tokenizer.special_tokens, *"a<s>be ", "the", "s>"])
    ids = tokenizer.encode(text := "".join(data.draw(st.lists(parts))))
    assert not ({*tokenizer.special_tokens.values()} - {0}) & {*ids}  # unknown text becomes 0
    assert ids == tokenizer._restricted(frozenset()).encode(text, add_special_tokens=False).ids


def streamed(tokenizer, ids, known):
    """Stream the text of ids after the first `known` as `generate` does; compare it with the whole text."""
    stream = TextStream(tokenizer, before=ids[:known])
    shown = "".join(map(stream.push, ids[known:])) + stream.finish()
    whole = tokenizer.decode(ids)
    assert whole.endswith(shown) and (known or whole == shown)
    return whole


@pytest.mark.parametrize("tokenizer", SAVED + BY_THE_LIBRARY, ids=repr)
@given(data=st.data(), known=st.integers(0, 9))
def test_text_streamed_is_the_text_decoded_as_a_whole(tokenizer, data, known):
    """A token may lose its space when it is decoded alone, but `generate` must show it."""
    some = [*range(min(tokenizer.vocab_size, 256)), *tokenizer.special_tokens.values()]
    streamed(tokenizer, data.draw(st.lists(st.sampled_from(some))), known)


def test_a_broken_character_takes_back_no_whole_one_before_it():
    """The library turns a valid character beside an invalid byte into U+FFFD, too."""
    alone = {f"<0x{byte:02X}>": i for i, byte in enumerate("\n你".encode(), 10)}
    model = LLAMA["model"] | {"vocab": LLAMA["model"]["vocab"] | alone}
    tokenizer = LibraryTokenizer(LLAMA | {"model": model})
    for ids, text in ([7, 11, 12, 13], "a你"), ([7, 10, 11, 12, 13, 11], "a�����"), ([10, 7], "\n a"):
        assert [streamed(tokenizer, ids, known) for known in range(3)] == [text] * 3


def test_what_beams_find_keeps_the_space_of_its_first_token(tmp_path, printed):
    model = build({"model_type": "gpt2", "vocab_size": 5, "context": 8, "layers": 1, "heads": 1, "width": 8})
    model.wte.weight.data[:4] = 0  # so that it writes only " a"
    model.save_pretrained(tmp_path)
    load(tmp_path, T5)
    shown = printed("generate", tmp_path, "--prompt", "a", "--tokens", 2, "--beams", 2, "--json")
    assert json.loads(shown)["samples"][0]["text"] == " a a"
    stream = TextStream(LibraryTokenizer(T5), [" a"], before=[3])  # " a" is a stop string
    assert [stream.push(i) for i in (3, 4)] == ["a", ""] and stream.stopped


FIFTY = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 50}
ANYWHERE = {"type": "Replace", "pattern": {"Regex": "x*"}, "content": "a" * 20}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


@pytest.mark.parametrize("part", [
    {"normalizer": {"type": "Sequence", "normalizers": [
        FIFTY, {"type": "Sequence", "normalizers": [ANYWHERE]}]}},
    {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [BYTES] * 40}},
    {"decoder": {"type": "Sequence", "decoders": [FIFTY] * 2}},
])
def test_a_pipeline_that_would_fill_the_memory_is_refused(part, tmp_path):
    refuses(r"makes up to [\d,]+ bytes of one, more than 256", load, tmp_path, BERT | part)
    load(tmp_path, BERT | {"normalizer": {"type": "Sequence", "normalizers": [FIFTY]}})


def test_errors_of_library_tokenizers_are_those_of_users(tmp_path, capfd):
    """Its Rust code panics at some normalizers, and would print that."""
    tokenizer, model = load(tmp_path, BERT), BERT["model"]
    assert tokenizer.encode("[CLS] [SEP]", ["[SEP]"]) == [0, 2]
    for wrong, problem in ((lambda: tokenizer.encode(b"a\xff"), "byte 1 of the text is not UTF-8"),
                           (lambda: tokenizer.decode([6]), "there is no token 6"),
                           (lambda: tokenizer.encode("a", ["<x>"]), "no special token")):
        refuses(problem, wrong)
    missing = [{"SpecialToken": {"id": "<x>", "type_id": 0}}]
    for wrong in ({"model": {"type": "Unigram"}}, {"post_processor": {
                      "type": "TemplateProcessing", "single": missing, "pair": [], "special_tokens": {}}},
                  {"model": model | {"vocab": model["vocab"] | {"x": 2**31}}},
                  *({"model": {"type": "BPE", "vocab": vocab, "merges": merges}} for vocab, merges in (
                      ({"a": 0}, [["a", "b"]]), ({"a": 0, "aa": True}, []), ({"a": 0, "aa": 1}, ["aa"]),
                      ({"a": 0, "aa": 1}, [{"a": 0, "aa": 1}]), ({"a": 0, "aa": 1}, [["a", "a"], "a a"]))),
                  *({"normalizer": {"type": "Precompiled", "precompiled_charsmap": charsmap}}
                    for charsmap in ("", "AAAA", "%%"))):
        refuses("", load, tmp_path, BERT | wrong)
    assert capfd.readouterr().err == ""


def test_dropout_is_left_to_training(tmp_path):
    plain, text = load(tmp_path, LLAMA), "a" + " a" * 9
    dropped = load(tmp_path, LLAMA | {"model": LLAMA["model"] | {"dropout": 0.9}})
    for allowed in ((), "all"):
        assert [dropped.encode(text, allowed) for _ in range(9)] == [plain.encode(text)] * 9


def paths(value, at=()):
    """List the places in a document below its components, each a tuple of names and indices."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inner:
        if name not in ("vocab", "merges", "added_tokens", "truncation", "padding", "version", "tinyllm"):
            yield (*at, name)
            yield from paths(part, (*at, name))


QWEN = json.loads(SAVED[5].to_json())
END = QWEN["added_tokens"][0]["id"]
QWEN |= {"normalizer": {"type": "NFC"}, "post_processor": {"type": "Sequence", "processors": [
    BYTES, BYTES | {"type": "RobertaProcessing", "sep": ["<|end|>", END], "cls": ["<|end|>", END]},
    {"type": "TemplateProcessing", "pair": [{"Sequence": {"id": "B", "type_id": 1}}],
     "single": [{"SpecialToken": {"id": "<|end|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
     "special_tokens": {"<|end|>": {"id": "<|end|>", "ids": [END], "tokens": ["<|end|>"]}}}]}}


@pytest.mark.parametrize("content", [QWEN, json.loads(SAVED[1].to_json()), BERT, T5, LLAMA, WORDS, PREFIXED],
                         ids=["qwen", "char", "bert", "t5", "llama 2", "words", "prefixed"])
def test_what_the_library_refuses_in_a_component_is_refused(content, tmp_path):
    load(tmp_path, content)
    for *steps, last in paths(content):
        for value in ..., "Shout", 5, -1.5, None, [], {}:
            changed = copy.deepcopy(content)
            inside = changed
            for step in steps:
                inside = inside[step]
            inside[last] = value
            if value is ...:
                del inside[last]
            with suppress(UserError):
                load(tmp_path, changed)
                LibraryTokenizer._run(tokenizers.Tokenizer.from_str, json.dumps(changed))
