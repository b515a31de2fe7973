"""Lesson 43. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 43`.

What you are given must come back as it was. Counts are ints, and seconds a
float.
"""


def count_token_flops(vocab_size, position, layers, width):
    """Count the operations that a GPT-2 takes to read one token, after
    `position` tokens in its cache -> int.

    As in `count_flops`, only matrix products, the output layer's too, and
    attention count. The token's query meets the keys of the cache and its own.
    """
    raise NotImplementedError


def roof_seconds(rows, flops, row_bytes, shared_bytes, flop_rate, byte_rate):
    """Compute the least time that a machine takes to read one token in each of
    many rows -> float.

    Each row takes `flops` operations, and reads row_bytes of its own, such as
    its KV cache. All rows together read shared_bytes once, the weights. The
    machine computes flop_rate operations in a second, and reads byte_rate bytes
    meanwhile: the slower of the two decides.
    """
    raise NotImplementedError
