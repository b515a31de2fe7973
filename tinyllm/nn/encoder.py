"""Define EncoderLM, the base of models in which each position sees the whole text, in both directions."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

import tinyllm.functional as F
from tinyllm.errors import UserError
from tinyllm.nn.language_model import LanguageModel
from tinyllm.nn.module import inference
from tinyllm.nn.seen import Seen
from tinyllm.padding import pad_right
from tinyllm.tensor import Tensor


class EncoderLM(LanguageModel):
    """Base of models that read whole texts, to predict masked tokens or to turn a text into a vector.

    tokens (B, T) -> logits (B, T, V). A subclass makes the modules and defines `hidden`, which takes:

    segments (B, T): 0 for tokens of the first text of a pair, 1 for tokens of the second.
    seen: a `Seen`; its `lengths` (B,) say how many tokens of each row are not padding.
    """

    objective = "masked"
    special_tokens: ClassVar[dict[str, str]]  # {role: name}, with the roles begin and end
    separators = 1  # how many end tokens stand between two texts
    pooling: str | None = None  # "cls": a text gets the vector of its first token; else the mean of all

    def framed(self, ids: dict[str, int], first: Sequence[int], second: Sequence[int] | None = None,
               ) -> tuple[list[int], list[int]]:
        """Add the special tokens of BERT: [CLS] first [SEP], or [CLS] first [SEP] second [SEP].

        Returns (ids, segments), where segments is 0 for tokens of the first text, 1 for the second. `ids`
        maps the names of special tokens to ids. The longer text is cut until both fit into the context.
        """
        begin, end = (ids[self.special_tokens[role]] for role in ("begin", "end"))
        texts = [list(text) for text in (first, second) if text is not None]
        between = [end] * self.separators if second is not None else []
        while sum(map(len, texts)) > self.config.context - 2 - len(between):
            max(texts, key=len).pop()
        tokens = [begin, *texts[0], *between]
        behind = [*texts[-1], end] if second is not None else [end]
        other = int(second is not None and self.config.segments > 1)
        return tokens + behind, [0] * len(tokens) + [other] * len(behind)

    def sentence_vectors(self, tokens: ArrayLike, lengths: ArrayLike) -> Tensor:
        """Return the mean vector of each text, scaled to length 1: tokens (B, T), lengths (B,) -> (B, C).

        The pooling "cls" takes the vector of the first position instead of the mean. Source: Reimers and
        Gurevych, "Sentence-BERT", 2019.
        """
        lengths = np.asarray(lengths)
        x = self.hidden(tokens, seen=Seen(lengths=lengths))
        pooled = x[:, 0] if self.pooling == "cls" else F.mean_pool(x, lengths)
        return pooled / (pooled * pooled).sum(axis=-1, keepdims=True).sqrt()

    def embed_sentences(self, rows: Sequence[Sequence[int]], room: int = 2048) -> np.ndarray:
        """Return a vector of length 1 for each text: N lists of ids -> (N, C).

        The dot product of two vectors is their similarity. The pooling is the same as in `sentence_vectors`.
        To need less padding, texts are packed into rows of about `room` tokens, in which each text sees only
        itself. Raises UserError when a text is empty or too long.
        """
        lengths = check_texts(rows)
        found = np.empty((len(rows), self.config.width), np.float32)
        row_of = np.cumsum(lengths) // room
        with inference(self):
            for row in np.unique(row_of):
                chosen = np.flatnonzero(row_of == row)
                ends = np.cumsum(lengths[chosen])
                starts = ends - lengths[chosen]
                seen = Seen(starts=np.repeat(starts, lengths[chosen])[None],
                            ends=np.repeat(ends, lengths[chosen])[None])
                x = self.hidden(np.concatenate([rows[i] for i in chosen.tolist()]), seen=seen).data[0]
                if self.pooling == "cls":
                    found[chosen] = x[starts]
                else:
                    found[chosen] = np.add.reduceat(x, starts, axis=0) / lengths[chosen, None]
        return found / np.sqrt((found * found).sum(axis=-1, keepdims=True))


def check_texts(rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the lengths of lists of ids as ints (N,). Raises UserError if a list is empty."""
    lengths = np.array([len(row) for row in rows], np.int64)
    if not lengths.all():
        raise UserError(f"text {int(np.argmin(lengths))} has no tokens: leave it out")
    return lengths


def padded(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Pad lists of ids with zeros -> tokens (N, T), lengths (N,). Raises UserError if a list is empty."""
    lengths = check_texts(rows)
    return pad_right(rows), lengths
