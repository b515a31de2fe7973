"""The mistakes that people really make in the unigram model."""

from itertools import pairwise

from tinyllm.ops.unigram import unigram_encode
from tinyllm.testing.mistake import mistake

right = unigram_encode.reference


@mistake("unigram_encode", "the longest token first, without looking at the scores")
def is_greedy(text, scores, unknown):
    tokens = []
    while text:
        size = max((n for n in range(1, len(text) + 1) if text[:n] in scores), default=1)
        tokens.append(text[:size])
        text = text[size:]
    return tokens


@mistake("unigram_encode", "the likeliest next token every time, not the likeliest whole text")
def looks_one_token_ahead(text, scores, unknown):
    tokens = []
    while text:
        sizes = [n for n in range(1, len(text) + 1) if text[:n] in scores]
        size = max(sizes, key=lambda n: scores[text[:n]], default=1)
        tokens.append(text[:size])
        text = text[size:]
    return tokens


@mistake("unigram_encode", "the worst way of writing the text: a minimum for the maximum")
def minimizes(text, scores, unknown):
    return right(text, {token: -score for token, score in scores.items()}, -unknown)


@mistake("unigram_encode", "the shorter last token where two ways are equally good")
def breaks_ties_the_other_way(text, scores, unknown):
    best: list = [(0.0, 0)]
    for end in range(1, len(text) + 1):
        ways = [(best[start][0] + scores.get(text[start:end], unknown), start) for start in range(end)
                if text[start:end] in scores or end - start == 1]  # fmt: skip
        best.append(max(ways))
    cuts = [len(text)]
    while cuts[-1]:
        cuts.append(best[cuts[-1]][1])
    return [text[a:b] for a, b in pairwise(reversed(cuts))]


@mistake("unigram_encode", "unknown characters that cost nothing")
def forgets_the_penalty(text, scores, unknown):
    return right(text, scores, 0.0)
