"""The layers that a transformer is made of, each a few parameters and one op.

A new layer holds zeros (norms hold ones): `init_normal(model, seed)` gives a whole model its initial
weights by name.
"""

import tinyllm.functional as F
from tinyllm.nn.module import Module, Parameter, full
from tinyllm.rng import Random
from tinyllm.tensor import Tensor


class Linear(Module):
    """Multiply by a matrix and add a bias: y = x @ weight + bias.

    x (..., n_in) -> y (..., n_out). The weight is (n_in, n_out), as in GPT-2's checkpoint; PyTorch stores
    it transposed.
    """

    def __init__(self, n_in, n_out, bias=True):
        self.weight = Parameter(full((n_in, n_out)))
        self.bias = Parameter(full(n_out)) if bias else None

    def __call__(self, x):
        return F.linear(x, self.weight, self.bias)

    def flops(self, batch, context):
        n_in, n_out = self.weight.shape
        return {"": 2 * batch * context * n_in * n_out}


class Embedding(Module):
    """Look up a row of a table for each id.

    ids (...) -> y (..., width); the weight is (count, width).
    """

    def __init__(self, count, width):
        self.weight = Parameter(full((count, width)))

    def __call__(self, ids):
        return F.embedding(self.weight, ids)


class Head(Module):
    """Score every token of the vocabulary by its vector: x (..., C), weight (V, C) -> x @ weight^T (..., V).

    The weight is a Parameter of its own, or that of an `Embedding`, with which it is then tied.
    """

    def __init__(self, weight):
        self.weight = weight

    def __call__(self, x):
        return F.matmul(x, self.weight, transpose_b=True)

    def flops(self, batch, context):
        return {"": 2 * batch * context * self.weight.data.size}


class LayerNorm(Module):
    """Shift and scale each row to mean 0 and variance 1, then stretch it by weights that are learnt.

    x (..., width) -> y (..., width). Source: Ba, Kiros and Hinton, "Layer Normalization", 2016.
    """

    def __init__(self, width, bias=True, eps=1e-5):
        self.weight = Parameter(full(width, 1.0))
        zeros = full(width)
        self.bias = Parameter(zeros) if bias else Tensor(zeros)  # a plain Tensor is not trained
        self.eps = eps

    def __call__(self, x):
        return F.layernorm(x, self.weight, self.bias, self.eps)


class RMSNorm(Module):
    """Scale each row to a mean square of 1, then stretch it by weights that are learnt.

    x (..., width) -> y (..., width). Source: Zhang and Sennrich, "Root Mean Square Layer Normalization",
    2019.
    """

    def __init__(self, width, eps=1e-5):
        self.weight = Parameter(full(width, 1.0))
        self.eps = eps

    def __call__(self, x):
        return F.rmsnorm(x, self.weight, self.eps)


class Dropout(Module):
    """While training, set each number to zero with probability p and divide the others by 1 - p.

    x (...) -> y (...), and y is x itself outside of training. What is dropped is decided by the next words of
    `self.random`, which `Module.dropout_stream` renews at every training step; no mask is stored.
    Source: Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014.
    """

    def __init__(self, p):
        if not 0 <= p < 1:
            raise ValueError(f"dropout needs a probability in [0, 1), got {p}")
        self.p = p
        self.random = Random("dropout")

    def __call__(self, x):
        if not self.training or self.p == 0:
            return x
        words = -(-x.data.size // 4)  # each decides four numbers
        return F.dropout(x, self.random.reserve(words), self.p)


class MLP(Module):
    """Widen, apply an activation, narrow: y = gelu(x @ c_fc) @ c_proj, for every position by itself.

    x (..., width) -> y (..., width), through `hidden` numbers, by convention four times the width. The names
    are GPT-2's.
    """

    def __init__(self, width, hidden, bias=True):
        self.c_fc = Linear(width, hidden, bias)
        self.c_proj = Linear(hidden, width, bias)

    def __call__(self, x):
        return self.c_proj(F.gelu_tanh(self.c_fc(x)))


class GatedMLP(Module):
    """Widen twice, let one half gate the other, narrow: y = (silu(x @ gate) * (x @ up)) @ down.

    x (..., width) -> y (..., width). The names are LLaMA's. Source: Shazeer, "GLU Variants Improve
    Transformer", 2020.
    """

    same_input = ("gate_proj", "up_proj")

    def __init__(self, width, hidden, bias=False):
        self.gate_proj = Linear(width, hidden, bias)
        self.up_proj = Linear(width, hidden, bias)
        self.down_proj = Linear(hidden, width, bias)

    def __call__(self, x):
        return self.down_proj(F.swiglu(self.gate_proj(x), self.up_proj(x)))
