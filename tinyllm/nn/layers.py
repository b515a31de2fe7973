"""The layers that a transformer is made of, each a few parameters and one op.

A new layer holds zeros (norms hold ones): `init_normal(model, seed)` gives a whole model its initial
weights by name.
"""

import tinyllm.functional as F
from tinyllm import ops
from tinyllm.nn.module import Module, Parameter, full
from tinyllm.rng import Random
from tinyllm.tensor import Tensor

LARGE = 2 << 20  # bytes of an input from which on memory is worth more than the time that it costs to save it


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

    def gelu_tanh(self, x):
        """Apply the layer and gelu_tanh after it, in one pass: x (..., n_in) -> (..., n_out)."""
        return F.linear_gelu(x, self.weight, self.bias)

    def after(self, first, x, modules=()):
        """Apply the layer to first(x), which large inputs do not keep but make again in the backward pass.

        x (..., width) -> (..., n_out). first has to treat each row by itself; modules are those whose
        parameters it uses. With products in bf16 all is kept: they leave no time to make things twice.
        """
        if x.data.nbytes < LARGE or not x.requires_grad or ops.linear.backend == "bf16":
            return self(first(x))
        params = [p for module in modules for p in module.parameters()]
        return F.linear_after(first, x, self.weight, self.bias, params)

    def flops(self, batch, context):
        n_in, n_out = self.weight.shape
        return {"": 2 * batch * context * n_in * n_out}


def side_by_side(x, *layers):
    """Apply several layers to one input: x (..., n_in) -> [layer(x), ...].

    It is one product where `quantize` has joined the layers, as it does where a module lists their names in
    its attribute `same_input`.
    """
    joint = getattr(layers[0], "joint", None)
    return joint(x) if joint and joint.serves(x, layers) else [layer(x) for layer in layers]


class Identity(Module):
    """Change nothing, where a layer expects a norm before it: x (...) -> x."""

    def __call__(self, x):
        return x


IDENTITY = Identity()


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
    """Widen, bend, narrow: y = gelu(norm(x) @ c_fc) @ c_proj, applied to every position by itself.

    x (..., width) -> y (..., width), through `hidden` numbers, by convention four times the width. The names
    are GPT-2's.
    """

    def __init__(self, width, hidden, bias=True):
        self.c_fc = Linear(width, hidden, bias)
        self.c_proj = Linear(hidden, width, bias)

    def __call__(self, x, norm=IDENTITY):
        return self.c_proj.after(lambda x: self.c_fc.gelu_tanh(norm(x)), x, (norm, self.c_fc))
