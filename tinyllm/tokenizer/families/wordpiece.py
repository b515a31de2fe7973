"""WordPiece with a vocabulary from a file: the tokenizer of BERT."""

from tinyllm.ops.wordpiece import wordpiece_encode
from tinyllm.tokenizer import incremental
from tinyllm.tokenizer.names import check_sizes


class WordPiece:
    """Words to ids by `wordpiece_encode`, looking only for tokens of lengths that the vocabulary has.

    A word of n characters takes at most n times the length of the longest token, not n squared.
    """

    def __init__(self, ids, unknown, prefix, max_chars):
        """ids: {token: id}; unknown: the id of what no token fits; prefix: marks what continues a word."""
        check_sizes(ids)
        self.ids, self.unknown, self.prefix, self.max_chars = ids, unknown, prefix, max_chars
        lengths = {len(token) for token in ids}
        inside = {len(token) - len(prefix) for token in ids if token.startswith(prefix)}
        self._first, self._inside = (sorted(each - {0}, reverse=True) for each in (lengths, inside))

    def without(self, banned):
        """The same model for a text that may not become any of these tokens."""
        left = {token: i for token, i in self.ids.items() if i not in banned}
        return WordPiece(left, self.unknown, self.prefix, self.max_chars)

    def cut(self, piece):
        """The parts of a piece that may be encoded one by one: the piece."""
        return [piece]

    def encode(self, word):
        """Write a word in tokens: str -> list of ids. A `wordpiece_encode` of your own runs instead."""
        if incremental.plugged_in(wordpiece_encode):
            return wordpiece_encode(word, self.ids, self.prefix, self.unknown, self.max_chars)
        if len(word) > self.max_chars:
            return [self.unknown]
        found, start = [], 0
        while start < len(word):
            before, lengths = (self.prefix, self._inside) if start else ("", self._first)
            for length in lengths:
                token = self.ids.get(before + word[start : start + length])
                if token is not None and start + length <= len(word):
                    break
            else:
                return [self.unknown]
            found.append(token)
            start += length
        return found
