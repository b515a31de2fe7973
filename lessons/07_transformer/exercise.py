"""Lesson 7. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 7`.

Functions that you wrote in earlier lessons may be copied in here.
"""

import numpy as np


def transformer_block(x, heads, norm_1, qkv, project, norm_2, widen, narrow):
    """Add attention, then an MLP, to the residual stream:
    x + attention(norm(x)), then x + mlp(norm(x)).

    x (B, T, C) -> (B, T, C). Each of the six others is a pair [weight, bias]:
    norm_1 and norm_2 (C,), qkv (C, 3 C), whose outputs are all of q, then all
    of k, then all of v, project (C, C), widen (C, 4 C), narrow (4 C, C).
    Channels are cut into heads of C / heads each; attention is causal; the
    activation is gelu_tanh. The eps of the norms is 1e-5.
    """
    raise NotImplementedError


def count_parameters(vocab_size, context, layers, width):
    """Count the numbers that a GPT-2 of these sizes learns -> int.

    Two tables of embeddings, tokens and positions; in each layer two norms and
    the matrices of `transformer_block`, all with biases; a last norm. The
    output layer is the table of tokens once more and adds none.
    """
    raise NotImplementedError


def count_flops(vocab_size, context, layers, width):
    """Count the operations of a forward pass of a GPT-2 over `context` tokens
    -> int.

    A multiplication and the addition that follows it are two. Matrix products
    count, and attention, where each query meets the keys up to its own token,
    once for its score and once for its value. Norms, activations and sums are
    left out: about one percent. The output layer is a matrix product too.
    """
    raise NotImplementedError
