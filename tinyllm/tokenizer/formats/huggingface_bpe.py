"""Byte-level BPE in a `tokenizer.json`: GPT-2, RoBERTa, GPT-NeoX, StarCoder, Llama 3, Qwen, DeepSeek."""

from tinyllm.errors import UserError
from tinyllm.tokenizer.added import AddedTokens, check_numbers
from tinyllm.tokenizer.bpe import BPETokenizer
from tinyllm.tokenizer.families.normalize import FORMS, make_normalizer
from tinyllm.tokenizer.fields import take
from tinyllm.tokenizer.formats.bytelevel import characters, read_vocabulary, token_bytes
from tinyllm.tokenizer.formats.express import check_distinct, merges_in_order, needs_whole_first
from tinyllm.tokenizer.patterns import PATTERNS
from tinyllm.tokenizer.pipeline import Pipeline
from tinyllm.tokenizer.pretokenizers import build_pretokenizer, flat, pattern_of
from tinyllm.tokenizer.regexes import check_same_in_oniguruma
from tinyllm.tokenizer.template import build_template

_NO_TEXT = ([str, type(None)], None)
_SWITCH = ([bool, type(None)], None)


def build(fields, added):
    """Make a tokenizer of a checked document with a BPE model. Raises UserError."""
    model = take(
        fields["model"],
        "model",
        vocab=dict,
        merges=list,
        dropout=([int, float, type(None)], None),
        unk_token=_NO_TEXT,
        continuing_subword_prefix=_NO_TEXT,
        end_of_word_suffix=_NO_TEXT,
        fuse_unk=_SWITCH,
        byte_fallback=_SWITCH,
        ignore_merges=_SWITCH,
    )
    _check_model(model)
    _check_byte_level(fields)
    vocab, whole_first = model.pop("vocab"), bool(model["ignore_merges"])
    names = {
        token.content
        for token in added
        if token.special or not whole_first or token_bytes(token.content) is None
    }
    vocabulary = read_vocabulary(vocab, _merges(model.pop("merges")), whole_first, names)
    check_numbers(added, vocab)
    _check_shared(added, vocabulary)
    steps = build_pretokenizer(fields["pre_tokenizer"])
    pattern = pattern_of(fields["pre_tokenizer"])
    names = {
        token.content: token.id
        for token in added
        if token.content in vocab
        and (token.id >= len(vocabulary.tokens) or vocabulary.tokens[token.id] is None)
    }
    model, normalizer = {"type": "BPE", **model, "vocab": names}, fields["normalizer"]
    pipeline = Pipeline(
        AddedTokens(tuple(added), None if normalizer is None else make_normalizer(normalizer, FORMS)),
        None if pattern else steps,
        _template(fields["post_processor"], len(vocabulary.tokens), added),
        {**fields, "model": model},
        write,
    )
    special = {token.content: token.id for token in added if token.special}
    return BPETokenizer.from_vocabulary(vocabulary, pattern or "", special, pipeline)


def _check_model(model):
    if model["dropout"]:
        raise UserError("model.dropout is not 0: merges at random are not supported")
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model[name]:
            raise UserError(f"model.{name} is {model[name][:20]!r}, which is not supported in byte-level BPE")


def _check_byte_level(fields):
    """The last pre-tokenizer and the only decoder turn bytes into characters and back, or UserError."""
    kinds = [isinstance(part, dict) and part.get("type") for part in flat(fields["pre_tokenizer"])]
    if kinds.count("ByteLevel") != 1 or kinds[-1] != "ByteLevel":
        raise UserError("pre_tokenizer must have ByteLevel once and last: other BPE is not supported")
    decoders = [fields["decoder"]]
    if decoders[0] and decoders[0].get("type") == "Sequence":
        decoders = take(decoders[0], "decoder", decoders=list)["decoders"]
    kinds = [part.get("type") if isinstance(part, dict) else part for part in decoders]
    if kinds != ["ByteLevel"]:
        raise UserError(f"decoder is {str(kinds)[1:40]}, which is not supported in byte-level BPE")


def _check_shared(added, vocabulary):
    """A name may share its id with a token that merges make, if it is the same text and not special."""
    for i, token in enumerate(added):
        data = vocabulary.tokens[token.id] if token.id < len(vocabulary.tokens) else None
        if data is not None and (token.special or data != token.content.encode()):
            raise UserError(
                f"added_tokens[{i}], {token.content[:40]!r}, is a token that ordinary text can give"
            )


def _merges(merges):
    """Both spellings, "a b" and ["a", "b"], as [(left, right)]."""
    pairs = []
    for i, merge in enumerate(merges):
        if isinstance(merge, str) and isinstance(merges[0], str):
            if merge.startswith("#version"):  # the library leaves such lines out, wherever they are
                continue
            merge = merge.split(" ", 2)
        elif isinstance(merge, str):
            raise UserError(f"merges[{i}] is spelled in another way than the first one")
        if not isinstance(merge, list) or [type(side) for side in merge] != [str, str]:
            raise UserError(f"merges[{i}] is not two tokens")
        pairs.append(tuple(merge))
    return pairs


def _template(part, n_tokens, added):
    template = build_template(part)
    ids = {*range(n_tokens), *(token.id for token in added)} if template else ()
    for item in (*template.single, *template.pair) if template else ():
        if isinstance(item, int) and item not in ids:
            raise UserError(f"post_processor has the id {str(item)[:20]}, which is no token")
    return template


def write(tokenizer):
    """The document that `build` made a tokenizer of, with its vocabulary and merges in their new spelling."""
    document, vocabulary = tokenizer.pipeline.document, tokenizer.vocabulary
    vocab = _vocab(vocabulary, document["model"]["vocab"])
    merges = [[characters(vocabulary.tokens[side]) for side in pair] for pair in vocabulary.in_order()]
    return {
        "version": document["version"],
        **document,
        "model": {**document["model"], "vocab": vocab, "merges": merges},
    }


def _vocab(vocabulary, names):
    words = {characters(token): i for i, token in enumerate(vocabulary.tokens) if token is not None}
    return dict(sorted({**words, **names}.items(), key=lambda item: item[1]))


def document_of(tokenizer):
    """The document of a tokenizer that came from no such file. Raises UserError for what it cannot say."""
    vocabulary = tokenizer.vocabulary
    check_distinct(vocabulary)
    whole_first = needs_whole_first(vocabulary)
    words = _vocab(vocabulary, {})
    special = dict(sorted(tokenizer.special_tokens.items(), key=lambda item: item[1]))
    for name in special:
        if name in words:
            raise UserError(f"in a tokenizer.json the special token {name!r} would be an ordinary one")
    names = {} if list(special.values()) == list(range(len(words), len(words) + len(special))) else special
    if whole_first and any(token_bytes(name) for name in names):
        raise UserError("a tokenizer.json cannot number these special tokens where whole pieces go first")
    merges = [[characters(vocabulary.tokens[side]) for side in pair] for pair in merges_in_order(vocabulary)]
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": name, **flags, "special": True} for name, i in special.items()],
        "normalizer": None,
        "pre_tokenizer": _pre_tokenizer(tokenizer.pattern, byte_level),
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": whole_first,
            "vocab": _vocab(vocabulary, names),
            "merges": merges,
        },
    }


def _pre_tokenizer(pattern, byte_level):
    if pattern == "gpt2":
        return byte_level
    source = PATTERNS.get(pattern, pattern)
    if check_same_in_oniguruma(source, "the split pattern"):
        raise UserError(
            "the split pattern may match nothing, where Hugging Face's engine walks in another way"
        )
    split = {"type": "Split", "pattern": {"Regex": source}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, {**byte_level, "use_regex": False}]}
