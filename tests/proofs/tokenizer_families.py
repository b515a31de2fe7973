"""The settings of well-known tokenizers, as a `tokenizer.json` has them, around any vocabulary.

For tests/unit/test_huggingface.py and verify_tokenizer.py: the vocabularies themselves are learnt where
they are needed.
"""

LLAMA3 = (
    r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"""
    r"""| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
DEEPSEEK = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"""| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
)


def byte_level(prefix=False, regex=True):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def sequence(*members):
    return {"type": "Sequence", "pretokenizers": [*members, byte_level(regex=False)]}


def template(*names):
    """TemplateProcessing: the first name before a text, the second behind it, where they are."""
    first, *second = names

    def special(name):
        return {"SpecialToken": {"id": name, "type_id": 0}}

    def text(name):
        return {"Sequence": {"id": name, "type_id": 0}}

    end = [special(name) for name in second]
    single = [special(first), text("A"), *end]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, text("B"), *end],
        "special_tokens": list(names),
    }  # the ids are filled in by `document`


NFC = {"type": "NFC"}
RUNS = [{"content": " " * n, "normalized": True, "special": False} for n in range(2, 7)]
SPECIAL = [{"content": name} for name in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")]
ROBERTA = [{"content": name} for name in ("<s>", "<pad>", "</s>", "<unk>")] + [
    {"content": "<mask>", "lstrip": True}
]
MODERN = [{"content": name} for name in ("[CLS]", "[SEP]", "[PAD]")] + [
    {"content": "[MASK]", "lstrip": True},
    {"content": "|||IP_ADDRESS|||", "normalized": True, "special": False},
    *RUNS,
]
ODD = [  # every flag, names inside names, names that normalise
    {"content": "<a>", "rstrip": True},
    {"content": "<a><b>", "special": False, "lstrip": True, "rstrip": True},
    {"content": "<b", "special": False},
    {"content": "word", "special": False, "single_word": True},
    {"content": "Word", "special": False, "single_word": True, "normalized": True, "lstrip": True},
    {"content": "e\u0301t\u00e9", "special": False, "normalized": True},
    {"content": "e\u0301", "special": False, "normalized": False},
    {"content": "\u212b ", "special": True, "normalized": True, "rstrip": True},
]

# name: what differs from the plainest file; `in_vocab`: the names are entries of model.vocab, too
FAMILIES = {
    "gpt2": {
        "pre_tokenizer": byte_level(),
        "added": SPECIAL[:1],
        "in_vocab": True,
        "model": {"continuing_subword_prefix": "", "end_of_word_suffix": ""},
    },
    "roberta": {
        "pre_tokenizer": byte_level(),
        "added": ROBERTA,
        "in_vocab": True,
        "post_processor": {
            "type": "RobertaProcessing",
            "sep": "</s>",
            "cls": "<s>",
            "trim_offsets": True,
            "add_prefix_space": False,
        },
    },
    "roberta with a prefix": {
        "pre_tokenizer": byte_level(prefix=True),
        "added": ROBERTA,
        "post_processor": {"type": "BertProcessing", "sep": "</s>", "cls": "<s>"},
    },
    "gpt-neox": {"normalizer": NFC, "pre_tokenizer": byte_level(), "added": [*SPECIAL[:1], *RUNS]},
    "modernbert": {
        "normalizer": NFC,
        "pre_tokenizer": byte_level(),
        "added": MODERN,
        "post_processor": template("[CLS]", "[SEP]"),
    },
    "llama3": {
        "pre_tokenizer": sequence(split(LLAMA3)),
        "added": SPECIAL,
        "model": {"ignore_merges": True},
        "post_processor": {"type": "Sequence", "processors": [byte_level(), template(SPECIAL[0]["content"])]},
    },
    "qwen2": {
        "normalizer": NFC,
        "pre_tokenizer": sequence(split(QWEN2)),
        "added": SPECIAL,
        "post_processor": byte_level(),
    },
    "starcoder": {
        "added": SPECIAL,
        "in_vocab": True,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level()],
        },
    },
    "deepseek coder": {
        "added": SPECIAL,
        "pre_tokenizer": sequence(
            split(r"[\r\n]"),
            split(r"\s?\p{L}+"),
            split(r"\s?\p{P}+"),
            split("[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"),
            {"type": "Digits", "individual_digits": True},
        ),
    },
    "deepseek v3": {
        "added": SPECIAL,
        "normalizer": {"type": "Sequence", "normalizers": []},
        "pre_tokenizer": sequence(
            split(r"\p{N}{1,3}"), split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"), split(DEEPSEEK)
        ),
    },
    "odd names": {"normalizer": NFC, "pre_tokenizer": sequence(split(QWEN2)), "added": ODD},
    "odd names, no normalizer": {"pre_tokenizer": byte_level(prefix=True), "added": ODD},
    "compatibility": {
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKD"}, {"type": "NFKC"}]},
        "pre_tokenizer": byte_level(),
        "added": ODD,
    },
    "decomposed": {
        "normalizer": {"type": "NFD"},
        "added": ODD,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": False}, byte_level(prefix=True)],
        },
    },
}
for behavior in ("Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext"):
    for invert in (False, True):
        FAMILIES[f"{behavior} {invert}"] = {
            "added": SPECIAL,
            "pre_tokenizer": sequence(
                split(r"\p{N}|\s\s?|[aeiou](?=n)|", behavior, invert),
                split("er", behavior, invert, "String"),
                split(r"\p{Lu}?\p{Ll}+", behavior, invert),
            ),
        }


def document(family, words, merges):
    """A `tokenizer.json` in the settings of a family, with tokens in byte characters and pairs of them."""
    family = {"normalizer": None, "post_processor": None, "model": {}, "in_vocab": False, **FAMILIES[family]}
    vocab = {word: i for i, word in enumerate(words)}
    added, largest = [], -1
    for token in family["added"]:
        i = vocab.get(token["content"], max(len(vocab), largest + 1))  # as Hugging Face's reader numbers them
        largest = max(largest, i)
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False) | {"special": True}
        added.append({"id": i, **flags, **token})
    if family["in_vocab"]:
        vocab |= {token["content"]: token["id"] for token in added}
    ids = {token["content"]: token["id"] for token in added}
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": family["normalizer"],
        "pre_tokenizer": family["pre_tokenizer"],
        "post_processor": _with_ids(family["post_processor"], ids),
        "decoder": byte_level(),
        "model": {**model, **family["model"], "vocab": vocab, "merges": merges},
    }


def _with_ids(processor, ids):
    if processor is None:
        return None
    processor = dict(processor)
    for name in ("sep", "cls"):
        if name in processor:
            processor[name] = [processor[name], ids[processor[name]]]
    if "special_tokens" in processor:
        processor["special_tokens"] = {
            name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in processor["special_tokens"]
        }
    if "processors" in processor:
        processor["processors"] = [_with_ids(each, ids) for each in processor["processors"]]
    return processor
