"""Names in a text: the leftmost, and of those the longest, in time that grows with the text.

A trie answers for thousands of names at once: a text is followed from one character to the next for as
long as some name begins so.
"""

import re

from tinyllm.errors import UserError

END = ""  # the key under which a node keeps the value of the name that ends there
# A file must not be able to fill the memory, nor to make every step through a text a long one.
LONGEST = 512  # characters or bytes of a name
MOST = 2**22  # of all together: 250,000 of 16, the most that sentencepiece learns unless told to


def check_sizes(names):
    """Raise UserError where names are too long to look for."""
    longest, total = max(names, key=len, default=""), sum(map(len, names))
    if len(longest) > LONGEST:
        start = longest[:20]
        raise UserError(f"the token {start!r}... has {len(longest)} characters; at most {LONGEST} are read")
    if total > MOST:
        raise UserError(f"the tokens have {total} characters together; at most {MOST} are read")


def make_trie(values):
    """Turn {name: value} into {character: {character: ... {END: value}}}.

    Names are str or bytes. Raises UserError as `check_sizes` does.
    """
    check_sizes(values)
    root: dict = {}
    for name, value in values.items():
        node = root
        for character in name:
            node = node.setdefault(character, {})
        node[END] = value
    return root


def finder(names):
    """A function from a text to the places of names, none overlapping: an iterator of (start, end).

    names: str, or bytes to be found in bytes; none of them empty. Raises UserError as `make_trie` does.
    """
    trie = make_trie(dict.fromkeys(names, True))
    if not trie:
        return lambda text: iter(())
    firsts = {name[:1] for name in names}
    some = next(iter(firsts))[:0]
    pattern = some.join(map(re.escape, sorted(firsts)))
    first = re.compile(b"[%b]" % pattern if isinstance(some, bytes) else f"[{pattern}]")

    def find(text):
        done, n = 0, len(text)
        for match in first.finditer(text):
            start = at = match.start()
            if start < done:
                continue
            node, end = trie, 0
            while at < n and (node := node.get(text[at])) is not None:
                at += 1
                if END in node:
                    end = at
            if end:
                yield start, end
                done = end

    return find
