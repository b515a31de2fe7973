"""Hide parts of a text that a model then guesses: tokens for BERT, spans for T5, the middle for a decoder.

Random numbers are arguments, so that the functions are pure. Bavarian et al., "Efficient Training of Language
Models to Fill in the Middle", 2022, section 3 and appendix D, move the middle to the end, where a decoder can
write it. They cut the text before they tokenize it, so that the middle may begin or end inside a word.
"""

from collections.abc import Sequence

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
    The first kept[0] tokens stay, the next hidden[0] go, kept[1] stay, and so on; kept and hidden add up to
    n, and s is 1 or more. In what is read, sentinels[i] replaces span i. In what is written, sentinels[i]
    stands before span i, and the last sentinel ends the text: [1, 2, 3, 4] with kept [1, 1], hidden [1, 1]
    and sentinels [99, 98, 97] gives [1, 99, 3, 98] and [99, 2, 98, 4, 97]. Raises ValueError when the spans
    do not divide the text. (Raffel et al., "T5", 2020, section 3.1.4.)
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


@op(outputs=("prefix", "middle", "suffix"))
def split_middle(text: str, draws: Sequence[float]) -> tuple[str, str, str]:
    """Cut a text of n characters at two random places -> (prefix, middle, suffix).

    draws: two numbers from [0, 1), one for each place. A draw u chooses place floor(u (n + 1)): place i is
    before character i, and place n is the end of the text. The cut with the smaller place comes first. Each
    part can be empty; joined, they are the text. Raises ValueError for other draws.
    """
    if len(draws) != 2 or not all(0 <= u < 1 for u in draws):
        raise ValueError(f"split_middle needs two draws in [0, 1), got {draws}")
    begin, end = sorted(int(u * (len(text) + 1)) for u in draws)
    return text[:begin], text[begin:end], text[end:]


@op
def move_middle(prefix: Sequence[int], middle: Sequence[int], suffix: Sequence[int], markers: Sequence[int],
                suffix_first: bool) -> list[int]:
    """Join the tokens of a text's three parts so that the middle comes last.

    markers: the tokens P, S, M and E -> a list of all tokens and markers in the order

        P prefix S suffix M middle E        (PSM), or with suffix_first
        P S suffix M prefix middle E        (SPM).

    SPM writes prefix and middle as one run of text. E ends the middle; without it, a model would not know
    where to stop. Raises ValueError unless there are four markers.
    """
    if len(markers) != 4:
        raise ValueError(f"move_middle needs markers of prefix, suffix, middle and end, got {markers}")
    begin, between, last, end = markers
    if suffix_first:
        return [begin, between, *suffix, last, *prefix, *middle, end]
    return [begin, *prefix, between, *suffix, last, *middle, end]


@op(outputs=("prefix", "suffix"))
def trim_sides(prefix: Sequence[int], suffix: Sequence[int],
               room: int) -> tuple[Sequence[int], Sequence[int]]:
    """Shorten the tokens around a gap to `room` tokens in all, keeping the tokens next to the gap.

    Returns (the end of the prefix, the beginning of the suffix). Each side gets half of the room; if room is
    odd, the prefix gets one token more. Room that one side does not need goes to the other. If everything
    fits, nothing is cut. Raises ValueError when room < 0.
    """
    if room < 0:
        raise ValueError(f"trim_sides needs room for at least 0 tokens, got {room}")
    after = max(room // 2, room - len(prefix))
    suffix = suffix[:after]
    before = room - len(suffix)
    return prefix[max(len(prefix) - before, 0) :], suffix
