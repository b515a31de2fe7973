"""WordPiece: write a word in the longest tokens that fit, from left to right.

Schuster and Nakajima, "Japanese and Korean voice search", ICASSP 2012; as BERT does it: Devlin et al., "BERT:
Pre-training of deep bidirectional transformers", 2018. Nothing but the vocabulary is kept of the training:
there is no list of merges, so encoding cannot retrace them and is greedy instead.
"""

from tinyllm.ops.registry import op


@op
def wordpiece_encode(word, vocab, prefix, unknown, max_chars):
    """Take the longest token that the word begins with, then the longest that continues it, and so on.

    word: n characters, vocab: {token: id} -> list of ids. A token that continues a word stands in the
    vocabulary with `prefix` before it ("##ing"). Where no token fits, the whole word is [unknown], and so is
    a word of more than max_chars characters.
    """
    if len(word) > max_chars:
        return [unknown]
    ids, start = [], 0
    while start < len(word):
        before = prefix if start else ""
        end = len(word)
        while end > start and before + word[start:end] not in vocab:
            end -= 1
        if end == start:
            return [unknown]
        ids.append(vocab[before + word[start:end]])
        start = end
    return ids
