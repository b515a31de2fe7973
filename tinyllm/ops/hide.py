"""Hide parts of a text that a model then guesses: single tokens for BERT, or spans for T5.

Random numbers are arguments, so that the functions are pure.
"""

import numpy as np

from tinyllm.ops.loss import IGNORED
from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


@op(outputs=("seen", "targets"), grads=(), shapes="tokens (...), draws (...), how (...), other (...)")
def mask_tokens(tokens: Array, draws: Array, how: Array, other: Array, mask: int, rate: float,
                ) -> tuple[Array, Array]:
    """Hide the tokens whose draw is below rate: 80 % become mask, 10 % another token, 10 % stay as they are.

    tokens (...) int64; draws and how (...), random numbers from 0 up to 1; other (...), random tokens ->
    seen (...), targets (...) int64. A hidden token becomes mask where how < 0.8, else `other` where how <
    0.9. Targets are the original tokens at all places where a token is hidden, and -100 elsewhere. (Devlin et
    al., "BERT", 2019, section 3.1.)
    """
    chosen = draws < rate
    changed = np.where(how < 0.8, mask, np.where(how < 0.9, other, tokens))
    return np.where(chosen, changed, tokens), np.where(chosen, tokens, IGNORED)


@op(outputs=("read", "written"), grads=(), shapes="tokens (n), kept (s), hidden (s), sentinels (m)")
def corrupt_spans(tokens: Array, kept: Array, hidden: Array, sentinels: Array) -> tuple[Array, Array]:
    """Take spans out of a text, so that the encoder reads the rest and the decoder writes the spans.

    tokens (n,), kept (s,), hidden (s,), sentinels (s + 1,), int64 -> what is read and what is written, int64.
    The first kept[0] tokens stay, the next hidden[0] go, kept[1] stay, and so on; s is 1 or more. In what is
    read, sentinels[i] replaces span i. In what is written, sentinels[i] stands before span i, and the last
    sentinel ends the text: [1, 2, 3, 4] with kept [1, 1], hidden [1, 1] and sentinels [99, 98, 97] gives
    [1, 99, 3, 98] and [99, 2, 98, 4, 97]. Raises ValueError when the spans do not divide the text. (Raffel et
    al., "T5", 2020, section 3.1.4.)
    """
    if (total := int(np.sum(kept) + np.sum(hidden))) != len(tokens):
        raise ValueError(f"corrupt_spans: {total} tokens in spans, but {len(tokens)} in the text")
    if not len(hidden) or len(sentinels) != len(hidden) + 1:
        raise ValueError(f"corrupt_spans: {len(hidden)} spans need one sentinel more, got {len(sentinels)}")
    edges = np.cumsum(np.stack([kept, hidden], axis=1).reshape(-1))
    pieces = np.split(tokens, edges[:-1])  # kept, hidden, kept, hidden, ...
    marks, read, written = np.split(sentinels, len(sentinels)), [], []
    for mark, stays, goes in zip(marks[:-1], pieces[0::2], pieces[1::2], strict=True):
        read += [stays, mark]
        written += [mark, goes]
    return np.concatenate(read), np.concatenate([*written, marks[-1]])
