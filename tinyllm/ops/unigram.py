"""The unigram language model: of all ways to write a text in tokens, take the most probable one.

Kudo, "Subword regularization: Improving neural network translation models with multiple subword candidates",
ACL 2018, section 3.2. Every token has a probability of its own, whatever stands beside it, so the probability
of a text is a product and its logarithm a sum. Viterbi's algorithm (1967) finds the largest sum without
looking at all 2**(n - 1) ways: the best way to write the first n characters ends in some token, and what is
before that token is written in the best way too.
"""

from tinyllm.ops.registry import op


@op
def unigram_encode(text, scores, unknown):
    """Write a text in the tokens whose log probabilities have the largest sum.

    text: n characters, scores: {token: log probability}, unknown: the score of a character that is no token
    -> list of tokens; joined, they are the text. Sums run from the left. Of equal sums the one whose last
    token is longer wins, at every place where two ways meet.
    """
    longest = max(map(len, scores), default=1)
    best = [0.0]  # best[end]: the largest sum for text[:end], and last[end] is the token that it ends in
    last = [""]
    for end in range(1, len(text) + 1):
        ways = []
        for start in range(max(0, end - longest), end):  # the longest first: max takes the first of equals
            token = text[start:end]
            if token in scores:
                ways.append((best[start] + scores[token], token))
            elif len(token) == 1:
                ways.append((best[start] + unknown, token))
        score, token = max(ways, key=lambda way: way[0])
        best.append(score)
        last.append(token)
    tokens, end = [], len(text)
    while end:
        tokens.append(last[end])
        end -= len(last[end])
    return tokens[::-1]
