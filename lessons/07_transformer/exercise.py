"""Lesson 7. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 7`.

What you are given must come back as it was. Numbers with a fraction are
float32, and so are results of them.

Functions that you wrote in earlier lessons may be copied in here.
"""

import numpy as np


def transformer_block(x, heads, norm_1, qkv, project, norm_2, widen, narrow):
    """Apply GPT-2's transformer block: x = x + attention(norm(x)), then
    x + mlp(norm(x)).

    x (B, T, C) -> (B, T, C). The six arguments after heads are pairs [weight,
    bias], with the weights norm_1 and norm_2 (C,), qkv (C, 3 C), project (C,
    C), widen (C, 4 C) and narrow (4 C, C). The outputs of qkv are all of q,
    then all of k, then all of v. Channels are cut into heads of C / heads each;
    attention is causal; the activation is gelu_tanh. The eps of the norms is
    1e-5.
    """
    raise NotImplementedError


def count_parameters(vocab_size, context, layers, width):
    """Count the parameters of a GPT-2 of these sizes -> int.

    There are two tables of embeddings, for tokens and for positions; in each
    layer two norms and the matrices of `transformer_block`, all with biases;
    and a last norm. The output layer shares the table of tokens and adds no
    parameters.
    """
    raise NotImplementedError


def count_flops(vocab_size, context, layers, width):
    """Count the operations of a GPT-2's forward pass over `context` tokens ->
    int.

    A multiplication and an addition are two operations. Only matrix products,
    the output layer's too, and attention count; in attention, each query is
    multiplied with the keys up to and including its own token, and as many
    values are weighted and summed. Norms, activations and sums are left out:
    about one percent.
    """
    raise NotImplementedError
