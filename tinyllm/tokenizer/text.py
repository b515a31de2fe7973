"""Read prompts into token ids, mark their gaps, and turn generated tokens into text as they come."""

import codecs
from collections.abc import Collection, Sequence
from contextlib import suppress
from numbers import Integral
from typing import Any

from tinyllm.errors import UserError

START = "<|endoftext|>"  # becomes an empty prompt's first token; without it, a newline does
SPAN = "<extra_id_"  # the beginning of the names of sentinels, which stand for hidden parts of a text
# These precede the prefix, suffix and middle of a text with a gap, and end it, as in Qwen2.5-Coder.
MARKERS = "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", START


def is_one_prompt(prompts: Any) -> bool:
    """Return True for one text or one list of ids, False for a list of texts or of lists of ids."""
    return isinstance(prompts, (str, bytes)) or (len(prompts) > 0 and isinstance(prompts[0], Integral))


def read_prompt(config: Any, b: int, prompt: Any, tokenizer: Any, end: Sequence[int] = ()) -> list[int]:
    """Return the ids of prompt number b. If the prompt is a text, `end` is added to its ids.

    Tokens for hidden parts (`<extra_id_0>`) are found by name. Raises UserError for an invalid prompt.
    """
    if isinstance(prompt, (str, bytes)):
        if tokenizer is None:
            raise UserError(f"prompt {b} is text, which needs a tokenizer: pass tokenizer=, or token ids")
        spans = {name for name in tokenizer.special_tokens if name.startswith(SPAN)}
        prompt = [*(tokenizer.encode(prompt, spans) if spans else tokenizer.encode(prompt)), *end]
    ids = [int(i) for i in prompt] or [_start_token(tokenizer)]
    for i in (min(ids), max(ids)):
        if not 0 <= i < config.vocab_size:
            vocabulary = f"the model's vocabulary of {config.vocab_size}"
            raise UserError(f"prompt {b} holds token {i}, outside of {vocabulary}")
    if (n := len(ids)) > config.context:
        raise UserError(f"prompt {b} has {n} tokens and the model's context is {config.context}: shorten it")
    return ids


def _start_token(tokenizer: Any) -> int:
    if tokenizer is not None and START in tokenizer.special_tokens:
        return tokenizer.special_tokens[START]
    with suppress(UserError):
        if tokenizer is not None:
            return tokenizer.encode("\n")[0]
    raise UserError(f"an empty prompt has neither {START} nor a newline to start from: give a prompt")


def add_markers(tokenizer: Any) -> None:
    """Add the markers of prefix, suffix, middle and end to a tokenizer that lacks them."""
    if not (tokenizer.special_tokens | tokenizer.added_tokens).keys() >= {*MARKERS}:
        tokenizer.add_special_tokens(MARKERS)


def markers_of(tokenizer: Any) -> tuple[int, ...]:
    """Return the ids of the markers of prefix, suffix, middle and end. Raises UserError without markers."""
    known = tokenizer.special_tokens | tokenizer.added_tokens
    if not known.keys() >= {*MARKERS}:
        raise UserError(f"this tokenizer has no markers for a gap ({', '.join(MARKERS)}): train a model with "
                        "`--set pretrain.middle=0.5`, or take one that was trained to fill in the middle")
    return tuple(known[name] for name in MARKERS)


class ByteStream:
    """Decode tokens one by one from their bytes: hold back incomplete characters, replace invalid bytes."""

    def __init__(self, tokenizer: Any):
        self._bytes = tokenizer.decode_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, ids: Sequence[int]) -> str:
        """Add tokens, and return the text that is complete now."""
        return self._decoder.decode(self._bytes(ids))

    def finish(self) -> str:
        """Return the text that was held back, with U+FFFD for an incomplete character."""
        return self._decoder.decode(b"", final=True)


class WholeStream:
    """Decode all tokens so far at every step, and return the new text.

    This is for decoders in which a token's text depends on other tokens, such as WordPiece or SentencePiece.
    U+FFFD at the end is held back, because it may become a character. The last tokens are held back if they
    are in `single_bytes`, because an invalid byte after them would turn all of them into U+FFFD.
    """

    def __init__(self, tokenizer: Any, single_bytes: Collection[int | None] = ()):
        self._decode, self._single_bytes = tokenizer.decode, single_bytes
        self._ids: list[int] = []
        self._shown = ""

    def push(self, ids: Sequence[int]) -> str:
        """Add tokens, and return the text that is complete now."""
        self._ids += ids
        end = len(self._ids)
        while end and self._ids[end - 1] in self._single_bytes:
            end -= 1
        return self._new(self._decode(self._ids[:end]).rstrip("\ufffd"))

    def finish(self) -> str:
        """Return the text that was held back."""
        return self._new(self._decode(self._ids))

    def _new(self, text):
        if not text.startswith(self._shown):
            return ""
        new, self._shown = text[len(self._shown) :], text
        return new


class TextStream:
    """Turn tokens into text as they come, never showing half a character or a part of a stop string.

    The text ends before the first complete stop string; then `stopped` is True. `before`: earlier tokens,
    which the pushed ones continue, even within a character; their text is not returned.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str] = (), before: Sequence[int] = ()):
        self.stop = stop
        self.stopped = False
        self._stream = tokenizer.decode_stream()
        self._stream.push(before)
        self._held = ""  # text that may be the beginning of a stop string

    def push(self, token: int) -> str:
        """Add one token and return the text that can be shown now, which may be empty."""
        self._held += self._stream.push([token])
        return self._release()

    def finish(self) -> str:
        """Return the text that is still held back after the last token."""
        if self.stopped:
            return ""
        self._held += self._stream.finish()
        text, self._held = self._release() + self._held, ""
        return text

    def _release(self):
        found = [(self._held.find(s) + len(s), -len(s)) for s in self.stop if s in self._held]
        if found:
            end, minus_length = min(found)  # the one that ends first; of two that end together, the longer
            text, self._held, self.stopped = self._held[: end + minus_length], "", True
            return text
        keep = max((n for s in self.stop for n in range(1, len(s)) if self._held.endswith(s[:n])), default=0)
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text
