"""Lesson 18. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 18`.

What you are given must come back as it was.
"""

import math


def split_middle(text, draws):
    """Cut a text of n characters at two random places -> (prefix, middle,
    suffix).

    draws: two numbers from [0, 1), one for each place. A draw u chooses place
    floor(u (n + 1)): place i is before character i, and place n is the end of
    the text. The cut with the smaller place comes first. Each part can be
    empty; joined, they are the text.
    """
    raise NotImplementedError


def move_middle(prefix, middle, suffix, markers, suffix_first):
    """Join the tokens of a text's three parts so that the middle comes last.

    markers: the tokens P, S, M and E -> a list of all tokens and markers in the
    order

        P prefix S suffix M middle E        (PSM), or with suffix_first
        P S suffix M prefix middle E        (SPM).

    SPM writes prefix and middle as one run of text. E ends the middle; without
    it, a model would not know where to stop.
    """
    raise NotImplementedError


def trim_sides(prefix, suffix, room):
    """Shorten the tokens around a gap to `room` tokens in all, keeping the
    tokens next to the gap.

    Returns (the end of the prefix, the beginning of the suffix). Each side
    gets half of the room; if room is odd, the prefix gets one token more. Room
    that one side does not need goes to the other. If everything fits, nothing
    is cut.
    """
    raise NotImplementedError


def pass_at_k(passed, n, k):
    """Estimate, without bias, the chance that at least one of k samples for a
    problem passes its tests.

    passed: for each problem (there is at least one), how many of its n samples
    passed -> the mean over the problems of

        1 - C(n - passed, k) / C(n, k)

    where C(a, b) is the number of ways to choose b of a things, 0 if b > a.
    Of all ways to choose k of the n samples, this is the share in which at
    least one passed.
    """
    raise NotImplementedError
