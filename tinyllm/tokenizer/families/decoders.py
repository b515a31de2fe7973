"""Decoders: what makes text of tokens again, as functions from a list of tokens to a list of texts.

They are those of Hugging Face's tokenizer.json, to the character. What a normalizer took away does not come
back.
"""

import re

from tinyllm.errors import UserError
from tinyllm.tokenizer.families.parts import flatten, literal, one_of, replace_all, run_all, take
from tinyllm.tokenizer.families.pretokenize import metaspace_options

BYTE = re.compile(r"<0x(\+[0-9a-fA-F]|[0-9a-fA-F]{2})>")  # "+" because Rust reads a number so
# English written without the blanks that BERT's pre-tokenizer makes, in this order.
TIDY = ((" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
        (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"))  # fmt: skip


def wordpiece(tokens, prefix, cleanup):
    """A blank before every token but the first, unless it continues a word; `cleanup` then tidies each."""
    texts = []
    for i, token in enumerate(tokens):
        if i:
            token = token[len(prefix) :] if token.startswith(prefix) else " " + token
        for old, new in TIDY if cleanup else ():
            token = token.replace(old, new)
        texts.append(token)
    return texts


def bytes_again(tokens):
    """Bytes for tokens such as <0x0A>, read as UTF-8; each byte of a run that is not becomes U+FFFD."""
    texts, run = [], bytearray()
    for token in [*tokens, None]:
        match = token is not None and BYTE.fullmatch(token)
        if match:
            run.append(int(match[1], 16))
            continue
        if run:
            try:
                texts.append(run.decode())
            except UnicodeDecodeError:
                texts.append("\ufffd" * len(run))
            run.clear()
        if token is not None:
            texts.append(token)
    return texts


def strip(tokens, content, start, stop):
    """Take a character at most `start` times from the left of each token, and `stop` times from the right.

    content: the character.
    """
    texts = []
    for token in tokens:
        left = len(token) - len(token.lstrip(content))
        token = token[min(left, start) :]
        right = len(token) - len(token.rstrip(content))
        texts.append(token[: len(token) - min(right, stop)])
    return texts


def metaspace(tokens, replacement, prepend_scheme, split):
    """Blanks for the visible character; in the first token it goes, as it may have been put there.

    prepend_scheme: it stays a blank where this is "never".
    """
    first = "" if prepend_scheme != "never" else " "
    return [token.replace(replacement, " " if i else first) for i, token in enumerate(tokens)]


def _make_wordpiece(part):
    prefix, cleanup = take(part, "decoder", prefix=str, cleanup=bool)
    return lambda tokens: wordpiece(tokens, prefix, cleanup)


def _make_suffix(part):
    suffix = take(part, "decoder", suffix=str)
    if not suffix:
        raise UserError("the decoder BPEDecoder has an empty suffix")

    def decode(tokens):
        return [token.replace(suffix, " " if i < len(tokens) else "") for i, token in enumerate(tokens, 1)]

    return decode


def _make_replace(part):
    pattern, content = take(part, "decoder", pattern=dict, content=str)
    old = literal(pattern, "decoder Replace")
    return lambda tokens: replace_all(tokens, old, content)


def _make_bytes(part):
    take(part, "decoder")
    return bytes_again


def _make_fuse(part):
    take(part, "decoder")
    return lambda tokens: ["".join(tokens)]


def _make_strip(part):
    content, start, stop = take(part, "decoder", content=str, start=int, stop=int)
    if len(content) != 1 or start < 0 or stop < 0:
        raise UserError("the decoder Strip wants one character and how often to take it from each end")
    return lambda tokens: strip(tokens, content, start, stop)


def _make_metaspace(part):
    options = metaspace_options(part, "decoder")
    return lambda tokens: metaspace(tokens, *options)


DECODERS = {
    "BPEDecoder": _make_suffix,
    "ByteFallback": _make_bytes,
    "Fuse": _make_fuse,
    "Metaspace": _make_metaspace,
    "Replace": _make_replace,
    "Strip": _make_strip,
    "WordPiece": _make_wordpiece,
}


def make_decoder(part):
    """The decoder of a tokenizer.json, as one function from tokens to text. Raises UserError.

    Without one, blanks go between the tokens.
    """
    if part is None:
        return " ".join
    steps = [one_of(DECODERS, each, "decoder")(each) for each in flatten(part, "decoder", "decoders")]

    def size(tokens):
        return sum(map(len, tokens)) + len(tokens)

    return lambda tokens: "".join(run_all(steps, tokens, size, "decoder"))
