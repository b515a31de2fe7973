"""Provide test cases, common mistakes and correct variants for the targets of answers."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.rng import Random
from tinyllm.testing.arrays import cases, few, ints, seeds, sizes
from tinyllm.testing.edits import mistake, variant


@cases("answer_targets")
def answer_targets(draw):
    """Draw rows of token ids, and where answers begin and end; prompts, answers and padding may be empty."""
    B, n, rng = draw(few), 1 + draw(sizes), Random(draw(seeds), "answers")
    begins, ends = np.sort(rng.integers(n + 1, (2, B)), axis=0)
    return ints(draw, (B, n), 50), begins * draw(st.sampled_from((1, 1, 0))), ends


INSIDE = "(begins[:, None] <= place) & (place < ends[:, None])"

mistake("answer_targets", "every token as its own target: a model should write the next one", "rows[:, 1:]",
        "rows[:, :-1]")
mistake("answer_targets", "targets in the prompt, too", INSIDE, "place < ends[:, None]")
mistake("answer_targets", "targets in the padding, too", INSIDE, "begins[:, None] <= place")


@variant("answer_targets")
def answer_targets_row_by_row(rows, begins, ends):
    targets = np.full_like(rows[:, 1:], -100)
    for row, target, begin, end in zip(rows, targets, begins.tolist(), ends.tolist(), strict=True):
        target[max(begin - 1, 0) : max(end - 1, 0)] = row[max(begin, 1) : end]
    return targets
