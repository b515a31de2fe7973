"""The mistakes that people really make in WordPiece."""

from tinyllm.ops.wordpiece import wordpiece_encode
from tinyllm.testing.mistake import mistake

right = wordpiece_encode.reference


@mistake("wordpiece_encode", "the shortest token that fits, not the longest")
def takes_the_shortest(word, vocab, prefix, unknown, max_chars):
    if len(word) > max_chars:
        return [unknown]
    ids, start = [], 0
    while start < len(word):
        before = prefix if start else ""
        ends = [end for end in range(start + 1, len(word) + 1) if before + word[start:end] in vocab]
        if not ends:
            return [unknown]
        ids.append(vocab[before + word[start : ends[0]]])
        start = ends[0]
    return ids


@mistake("wordpiece_encode", "tokens inside the word looked up without the prefix")
def forgets_the_prefix(word, vocab, prefix, unknown, max_chars):
    return right(word, vocab, "", unknown, max_chars)


@mistake("wordpiece_encode", "the prefix before the first token too")
def prefixes_the_first(word, vocab, prefix, unknown, max_chars):
    inside = {token.removeprefix(prefix): i for token, i in vocab.items() if token.startswith(prefix)}
    return right(word, inside, "", unknown, max_chars)


@mistake("wordpiece_encode", "the tokens found so far, and the unknown token only for the rest")
def keeps_the_beginning(word, vocab, prefix, unknown, max_chars):
    if len(word) > max_chars:
        return [unknown]
    for end in range(len(word), 0, -1):
        ids = right(word[:end], vocab, prefix, None, max_chars)
        if ids != [None]:
            return ids + [unknown] * (end < len(word))
    return [unknown] if word else []


@mistake("wordpiece_encode", "a word that is too long written in tokens all the same")
def ignores_the_limit(word, vocab, prefix, unknown, max_chars):
    return right(word, vocab, prefix, unknown, len(word))
