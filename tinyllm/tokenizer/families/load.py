"""Load WordPiece, unigram and character-level BPE from the fields of a tokenizer.json."""

import json

from tinyllm.errors import UserError
from tinyllm.tokenizer.added import check_numbers, read_added
from tinyllm.tokenizer.base import LARGEST_ID
from tinyllm.tokenizer.families.charbpe import CharBPE
from tinyllm.tokenizer.families.decoders import make_decoder
from tinyllm.tokenizer.families.normalize import REMOVES, make_normalizer
from tinyllm.tokenizer.families.parts import flatten, take
from tinyllm.tokenizer.families.pipeline import PipelineTokenizer
from tinyllm.tokenizer.families.pretokenize import make_pre_tokenizer
from tinyllm.tokenizer.families.unigram import Unigram
from tinyllm.tokenizer.families.wordpiece import WordPiece
from tinyllm.tokenizer.fields import one_of
from tinyllm.tokenizer.numbers import their_number
from tinyllm.tokenizer.template import build_template

FIELDS = {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor",
          "decoder", "model"}  # fmt: skip


def reads(document):
    """Whether a tokenizer.json is for this package: whatever has no ByteLevel in it."""
    model = document.get("model")
    kind = model.get("type", "BPE") if isinstance(model, dict) else None
    around = json.dumps([document.get(name) for name in ("normalizer", "pre_tokenizer", "decoder")])
    return kind in ("WordPiece", "Unigram") or (kind == "BPE" and '"ByteLevel"' not in around)


def from_huggingface(fields):
    """Make a tokenizer of the parsed JSON of a tokenizer.json -> PipelineTokenizer.

    Raises UserError that names the part which is not known here or is not sound.
    """
    if not isinstance(fields, dict) or "model" not in fields:
        raise UserError("this is no tokenizer.json: it has no model")
    unknown = sorted(fields.keys() - FIELDS)
    if unknown:
        raise UserError(f"the field {unknown[0][:40]!r} is unknown")
    fields = {"version": "1.0", "added_tokens": [], **fields}
    fields |= dict.fromkeys(FIELDS - fields.keys())
    if fields["version"] != "1.0":
        raise UserError(f"the version of this tokenizer.json is {str(fields['version'])[:20]}, not 1.0")
    model = fields["model"]
    kind = model.get("type", "BPE" if "merges" in model else None) if isinstance(model, dict) else model
    if not isinstance(kind, str) or kind not in MODELS:
        raise UserError(f"the model {str(kind)[:40]!r} is not supported; {', '.join(MODELS)} are")
    encoder, tokens, ids = MODELS[kind]({**model, "type": kind})
    normalize = make_normalizer(fields["normalizer"])
    kinds = {part["type"] for part in flatten(fields["normalizer"], "normalizer", "normalizers")}
    pre_tokenize = make_pre_tokenizer(fields["pre_tokenizer"], not kinds & REMOVES)
    added = read_added(one_of(fields["added_tokens"], "added_tokens", list))
    check_numbers(added, ids)
    decode = make_decoder(fields["decoder"])
    tokenizer = PipelineTokenizer(fields, encoder, tokens, added, normalize, pre_tokenize, decode)
    tokenizer.template = _template(fields["post_processor"], tokenizer)
    return tokenizer


def _template(part, tokenizer):
    """What the model wants around a text, its ids checked, or None."""
    template = build_template(part)
    for item in (*template.single, *template.pair) if template else ():
        if isinstance(item, int):
            try:
                tokenizer.decode_bytes([item])
            except (UserError, TypeError):
                raise UserError(f"post_processor has the id {str(item)[:20]}, which is no token") from None
    return template


def _wordpiece(part):
    vocab, unknown, prefix, longest = take(
        part, "model", vocab=dict, unk_token=str, continuing_subword_prefix=str, max_input_chars_per_word=int
    )
    tokens = _tokens_of(vocab)
    return WordPiece(vocab, _id_of(unknown, vocab), prefix, longest), tokens, vocab


def _unigram(part):
    vocab, unknown, fallback = take(
        part, "model", vocab=list, unk_id=(int, None), byte_fallback=(bool, False)
    )
    pairs = []
    for i, pair in enumerate(vocab):
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str) or not pair[0]:
            raise UserError(f"vocab[{i}] is not a token and its score")
        if type(pair[1]) not in (int, float) or not abs(pair[1]) < 2**53:
            raise UserError(f"the score of vocab[{i}] is not a number of reasonable size")
        _check_text(pair[0])
        pairs.append((pair[0], their_number(repr(pair[1]))))
    if unknown is not None and not 0 <= unknown < len(pairs):
        raise UserError(f"unk_id is {unknown}, and there are {len(pairs)} tokens")
    ids = {token: i for i, (token, _) in enumerate(pairs)}
    tokens = [token for token, _ in pairs]
    return Unigram(pairs, unknown, _byte_ids(ids) if fallback else None), tokens, ids


def _bpe(part):
    text = (str, None)
    vocab, merges, dropout, unknown, prefix, suffix, fuse, fallback, whole = take(
        part, "model", vocab=dict, merges=list, dropout=(float, None), unk_token=text,
        continuing_subword_prefix=text, end_of_word_suffix=text, fuse_unk=(bool, False),
        byte_fallback=(bool, False), ignore_merges=(bool, False),
    )  # fmt: skip
    if dropout:
        raise UserError(f"the BPE model has a dropout of {dropout}: its tokens are drawn by chance")
    tokens, prefix = _tokens_of(vocab), prefix or ""
    made, order = {}, {}
    for rank, pair in enumerate(merges):
        left, right = _pair(pair, rank)
        if right[: len(prefix)] != prefix:
            raise UserError(f"merges[{rank}] continues a piece without {prefix!r} before it")
        missing = [token for token in (left, right, left + right[len(prefix) :]) if token not in vocab]
        if missing:
            raise UserError(f"merges[{rank}] needs the token {missing[0][:40]!r}, which vocab does not have")
        made[vocab[left], vocab[right]] = vocab[left + right[len(prefix) :]]
        order[vocab[left], vocab[right]] = rank
    unk_id = None if unknown is None else _id_of(unknown, vocab)
    bytes_ = _byte_ids(vocab) if fallback else None
    return CharBPE(vocab, made, order, unk_id, fuse, bytes_, prefix, suffix or "", whole), tokens, vocab


MODELS = {"BPE": _bpe, "Unigram": _unigram, "WordPiece": _wordpiece}


def _pair(pair, rank):
    """The two tokens of a merge, which older files write in one text with a blank between them."""
    parts = pair.split(" ") if isinstance(pair, str) else pair
    if not isinstance(parts, list) or [type(side) for side in parts] != [str, str]:
        raise UserError(f"merges[{rank}] is not a pair of tokens")
    return parts


def _tokens_of(vocab):
    """The text of each id of a vocabulary {token: id}, None where an id is free. Raises UserError."""
    for token, i in vocab.items():
        if type(i) is not int or not 0 <= i < LARGEST_ID:
            wrong = f"the id of the token {token[:40]!r} is {str(i)[:20]}"
            raise UserError(f"{wrong}; ids are 0 to {LARGEST_ID - 1}")
        _check_text(token)
    tokens: list = [None] * (max(vocab.values(), default=-1) + 1)
    for token, i in vocab.items():
        if tokens[i] is not None:
            raise UserError(f"the tokens {tokens[i][:40]!r} and {token[:40]!r} have the same id {i}")
        tokens[i] = token
    return tokens


def _check_text(token):
    if any("\ud800" <= character <= "\udfff" for character in token):
        raise UserError(f"the token {token[:40]!r} holds half a character (a lone surrogate)")


def _id_of(token, vocab):
    if token not in vocab:
        raise UserError(f"the unk_token {token[:40]!r} is not in the vocabulary")
    return vocab[token]


def _byte_ids(vocab):
    """{byte: id} of the tokens <0x00> to <0xFF> that a vocabulary has."""
    return {byte: vocab[name] for byte in range(256) if (name := f"<0x{byte:02X}>") in vocab}
