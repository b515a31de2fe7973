"""Our own tokenizer file: version 1 for what was learnt here, version 2 for what came from elsewhere.

Version 1 numbers tokens by the order of its merges. Version 2 lists the tokens in GPT-2's byte characters,
in the order of their ids, and the merges in theirs; `merges` is null where every split of a token merges,
as with ranks. What came from a `tokenizer.json` keeps that file's form inside.
"""

from tinyllm.errors import UserError
from tinyllm.tokenizer import files
from tinyllm.tokenizer.bpe import BPETokenizer
from tinyllm.tokenizer.byte import ByteTokenizer
from tinyllm.tokenizer.char import CharTokenizer
from tinyllm.tokenizer.chat import ChatTemplate
from tinyllm.tokenizer.fields import one_of
from tinyllm.tokenizer.formats import huggingface
from tinyllm.tokenizer.formats.bytelevel import characters, read_vocabulary, token_bytes
from tinyllm.tokenizer.vocabulary import Vocabulary


def _version_1(cls):
    def build(fields):
        special = one_of(fields["special_tokens"], "special_tokens", dict)
        tokenizer = cls._from_fields(fields, list(special))
        for name, given in special.items():
            wanted = tokenizer.special_tokens[name]
            if type(given) is not int or given != wanted:
                raise UserError(
                    f"the special token {name!r} must have the id {wanted}, not {str(given)[:20]}"
                )
        return tokenizer

    return build


def version_2(tokenizer):
    """The file of a BPE vocabulary that was not learnt here, as bytes."""
    vocabulary = tokenizer.vocabulary
    if len(vocabulary.ids) < sum(token is not None for token in vocabulary.tokens):
        raise UserError("the vocabulary has two ids for the same bytes, which no file can say")
    fields = {
        "kind": "bpe",
        "pattern": tokenizer.pattern,
        "tokens": [token and characters(token) for token in vocabulary.tokens],
        "merges": None if vocabulary.ranked else vocabulary.in_order(),
        "whole_first": vocabulary.whole_first,
        "special_tokens": tokenizer.special_tokens,
    }
    return tokenizer._dump(fields, version=2)


def _foreign_bpe(fields):
    words = one_of(fields["tokens"], "tokens", list)
    merges = one_of(fields["merges"], "merges", list, type(None))
    whole_first = one_of(fields["whole_first"], "whole_first", bool)
    special = one_of(fields["special_tokens"], "special_tokens", dict)
    vocab = {}
    for i, word in enumerate(words):
        if one_of(word, f"tokens[{i}]", str, type(None)) is not None and vocab.setdefault(word, i) != i:
            raise UserError(f"tokens[{i}], {word[:40]!r}, is there twice")
    if merges is None:
        vocabulary = _ranked(vocab, whole_first)
    else:
        pairs = [_words(pair, words, f"merges[{i}]") for i, pair in enumerate(merges)]
        vocabulary = read_vocabulary(vocab, pairs, whole_first)
    return BPETokenizer.from_vocabulary(vocabulary, fields["pattern"], special)


def _ranked(vocab, whole_first):
    if not whole_first:
        raise UserError("whole_first must be true where merges are null")
    ranks = {token_bytes(word): i for word, i in vocab.items()}
    if None in ranks:
        raise UserError(f"tokens[{ranks[None]}] is not in GPT-2's byte characters")
    return Vocabulary.from_ranks(ranks)


def _words(pair, words, where):
    """The two tokens of a merge, as the file spells them."""
    if type(pair) is not list or [type(side) for side in pair] != [int, int]:
        raise UserError(f"{where} is not a pair of token ids")
    for side in pair:
        if not 0 <= side < len(words) or words[side] is None:
            raise UserError(f"{where} uses the token {str(side)[:20]}, which is not there")
    return words[pair[0]], words[pair[1]]


def _from_huggingface(fields):
    return huggingface.from_document(fields["tokenizer"])


KINDS = {  # (version, kind) -> what builds it, and the fields that it must have, no more and no fewer
    (1, "char"): (_version_1(CharTokenizer), {"characters", "special_tokens"}),
    (1, "byte"): (_version_1(ByteTokenizer), {"special_tokens"}),
    (1, "bpe"): (_version_1(BPETokenizer), {"pattern", "merges", "special_tokens"}),
    (2, "bpe"): (_foreign_bpe, {"pattern", "tokens", "merges", "whole_first", "special_tokens"}),
    (2, "huggingface"): (_from_huggingface, {"tokenizer"}),
}


def build(fields):
    """Make a tokenizer of the fields of a file, or raise UserError."""
    version = files.check_version(fields)
    kind = fields.pop("kind", None)
    if not isinstance(kind, str) or (version, kind) not in KINDS:
        known = ", ".join(name for v, name in KINDS if v == version)
        raise UserError(f"unknown kind of tokenizer {str(kind)[:20]!r}: it must be {known}")
    make, wanted = KINDS[version, kind]
    chat = fields.pop("chat", None)
    different = sorted(wanted ^ fields.keys())
    if different:
        problem = "unknown" if different[0] in fields else "missing"
        raise UserError(f"the field {different[0][:40]!r} is {problem}")
    tokenizer = make(fields)
    if chat is not None:
        tokenizer.chat = ChatTemplate.from_fields(chat)
        tokenizer.chat.check(tokenizer)
    return tokenizer
