"""Fill in the middle: cut a text in three, and move the middle to the end, where a decoder can write it.

Bavarian et al., "Efficient Training of Language Models to Fill in the Middle", 2022, section 3 and appendix
D. The text is cut before it is encoded, so that a model also learns gaps that begin or end inside a token.
"""

from collections.abc import Sequence

from tinyllm.ops.registry import op


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
