"""The unigram model with a vocabulary from a file: the tokenizer of T5, ALBERT and XLM-R."""

from itertools import groupby

from tinyllm.errors import UserError
from tinyllm.ops.unigram import unigram_encode
from tinyllm.tokenizer import incremental
from tinyllm.tokenizer.names import END, make_trie

UNKNOWN_PENALTY = 10.0  # as in sentencepiece: an unknown character is that much worse than the worst token


class Unigram:
    """Text to ids by `unigram_encode`, with a trie instead of a lookup for every start and end.

    Neighbouring unknown characters become one unknown token, or the tokens of their bytes.
    """

    def __init__(self, vocab, unknown, byte_ids=None):
        """vocab: (token, log probability) of every id; unknown: an id or None; byte_ids: those of 256 bytes.

        Of a token that is there twice, the last counts. Without an unknown id, a text that needs one raises
        UserError.
        """
        self.ids = {token: i for i, (token, _) in enumerate(vocab)}
        self.scores = {token: vocab[i][1] for token, i in self.ids.items()}
        self.unknown, self.byte_ids = unknown, byte_ids
        self.unknown_score = min((score for _, score in vocab), default=0.0) - UNKNOWN_PENALTY
        self._trie = make_trie(self.scores)

    def without(self, banned):
        """The same model for a text that may not become any of these tokens."""
        model = Unigram.__new__(Unigram)
        model.__dict__.update(self.__dict__)
        model.ids = {token: i for token, i in self.ids.items() if i not in banned}
        model.scores = {token: self.scores[token] for token in model.ids}
        model._trie = make_trie(model.scores)
        return model

    def cut(self, piece):
        """The parts of a piece that may be encoded one by one: the piece."""
        return [piece]

    def encode(self, text):
        """Write a text in tokens: str -> list of ids. A `unigram_encode` of your own runs instead."""
        if incremental.plugged_in(unigram_encode):
            tokens = unigram_encode(text, self.scores, self.unknown_score)
        else:
            tokens = self._best(text)
        found = []
        for is_unknown, group in groupby(tokens, lambda token: self._id(token) == self.unknown):
            pieces = list(group)
            found += self._unknown_ids("".join(pieces)) if is_unknown else [self.ids[each] for each in pieces]
        return found

    def _id(self, token):
        return self.ids.get(token, self.unknown)

    def _unknown_ids(self, text):
        """The ids of neighbouring unknown characters: once more looked up together, as theirs are."""
        if text in self.ids:
            return [self.ids[text]]
        if self.byte_ids is not None:
            found = [self.byte_ids.get(byte) for byte in text.encode()]
            if None not in found:
                return found
        if self.unknown is None:
            raise UserError(f"the text holds {text[:20]!r}, and this vocabulary has no unknown token")
        return [self.unknown]

    def _best(self, text):
        """The same list as `unigram_encode`, in time that grows with the text times its longest token."""
        best, length = [None] * (len(text) + 1), [0] * (len(text) + 1)
        best[0] = 0.0
        n, unknown, trie = len(text), self.unknown_score, self._trie
        for start in range(n):
            here, node, end = best[start], trie, start
            known = False
            while end < n and (node := node.get(text[end])) is not None:
                end += 1
                score = node.get(END)
                if score is not None:
                    known = known or end == start + 1
                    score += here
                    if best[end] is None or score > best[end]:  # of equals the first, which is the longest
                        best[end], length[end] = score, end - start
            if not known and (best[start + 1] is None or here + unknown > best[start + 1]):
                best[start + 1], length[start + 1] = here + unknown, 1
        tokens, end = [], n
        while end:
            tokens.append(text[end - length[end] : end])
            end -= length[end]
        return tokens[::-1]
