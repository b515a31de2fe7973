"""From ranks to pairs: tiktoken's files say which strings are tokens, and the merges follow."""

from tinyllm.errors import UserError

MOST_STEPS = 2**22  # through the prefixes and suffixes of all tokens: some for each in a real vocabulary


def pairs_of(ids):
    """Every split of a token into two tokens: {bytes: id} -> {(left, right): token}, smallest token first.

    In sorted order the tokens that begin another token stand before it, each beginning the next, so a stack
    finds them all; backwards the same for ends. Time grows with how many there are. Raises UserError where
    that is out of hand.
    """
    begins, steps = _chains(ids)
    backwards, more = _chains([token[::-1] for token in ids])
    if steps + more > MOST_STEPS:
        raise UserError(f"the tokens overlap {steps + more} times, more than {MOST_STEPS} are not read")
    ends = {token[::-1]: start[::-1] for token, start in backwards.items()}
    pairs = {}
    for token, new in sorted(ids.items(), key=lambda item: item[1]):
        lengths = {}
        left = begins.get(token)
        while left is not None:
            lengths[len(left)] = left
            left = begins.get(left)
        right = ends.get(token)
        while right is not None and lengths:
            left = lengths.get(len(token) - len(right))
            if left is not None:
                pairs[ids[left], ids[right]] = new
            right = ends.get(right)
    return pairs


def _chains(tokens):
    """For every token the longest other one that it starts with, and how many starts there are."""
    longest, stack, total = {}, [], 0
    for token in sorted(tokens):
        while stack and not token.startswith(stack[-1]):
            stack.pop()
        if stack:
            longest[token] = stack[-1]
            total += len(stack)
        stack.append(token)
    return longest, total
