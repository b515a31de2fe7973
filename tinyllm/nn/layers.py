"""Define the layers of a transformer, each with a few parameters and one op.

Matrices start as normal random numbers of mean 0 and variance 1 / n_in, so that layers keep the size of their
input (LeCun et al., "Efficient BackProp", 1998); biases start as zeros, the weights of norms as ones.
`init_normal(model, seed)` draws other numbers. The numbers depend on the parameter's name in the model, not
on the order in which layers were made; so outside of a model, layers of one class and size start equal.
"""

from collections.abc import Callable
from typing import Any

import tinyllm.functional as F
from tinyllm.arrays import ArrayLike
from tinyllm.errors import instead
from tinyllm.nn.init import Parameter, full, random_parameter
from tinyllm.nn.module import Module
from tinyllm.rng import Random
from tinyllm.tensor import Tensor


def plain(layer: Any, kind: type[Module]) -> bool:
    """Return True if a layer is exactly of this class: not quantised, adapted, tapped or of a subclass."""
    return type(layer) is kind and not layer.hooks


class Matrix(Module):
    """Multiply by a matrix that `quantize` and adapters leave alone: y = x @ weight, (..., m) -> (..., n).

    Use it where a small error has a large effect, such as in the choice of experts.
    """

    bias: Parameter | None = None
    sizes = property(lambda self: self.weight.shape)

    def __init__(self, n_in: int, n_out: int):
        self.weight = random_parameter((n_in, n_out), max(n_in, 1) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class Adaptable(Module):
    """Base of the layers that can get an adapter: y = x W + bias."""

    head = False  # True for an output layer, which gets none


class Linear(Matrix, Adaptable):
    """Multiply by a matrix and add a bias: y = x @ weight + bias.

    x (..., n_in) -> y (..., n_out). The weight is (n_in, n_out), as in GPT-2's file; PyTorch transposes it.
    """

    @instead(in_features="n_in=", out_features="n_out=")
    def __init__(self, n_in: int, n_out: int, bias: bool = True):
        super().__init__(n_in, n_out)
        self.bias = Parameter(full(n_out)) if bias else None


class Embedding(Module):
    """Look up a row of a table for each id.

    ids (...) -> y (..., width). The weight (count, width) starts with variance 1 / width, so that a `Head`
    can share it.
    """

    @instead(num_embeddings="count=", embedding_dim="width=")
    def __init__(self, count: int, width: int):
        self.weight = random_parameter((count, width), max(width, 1) ** -0.5)

    def forward(self, ids: Tensor | ArrayLike) -> Tensor:
        return F.embedding(self.weight, ids)


class Head(Module):
    """Score each token of the vocabulary by the product of its vector and x: (..., C) -> (..., V).

    The weight (V, C) is that of an `Embedding`, which ties the two layers, or a new one of this shape.
    """

    sizes = property(lambda self: self.weight.shape[::-1])

    def __init__(self, weight: Tensor, tied: bool = True):
        self.weight = weight if tied else Parameter(full(weight.shape))

    def forward(self, x: Tensor) -> Tensor:
        return F.matmul(x, self.weight, transpose_b=True)


class LayerNorm(Module):
    """Normalise each row to mean 0 and variance 1, then multiply by learnt weights and add learnt biases.

    x (..., width) -> y (..., width). Source: Ba, Kiros and Hinton, "Layer Normalization", 2016.
    """

    def __init__(self, width: int, eps: float = 1e-5):
        self.weight, self.bias = Parameter(full(width, 1.0)), Parameter(full(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.layernorm(x, self.weight, self.bias, self.eps)


class RMSNorm(Module):
    """Scale each row to a mean square of 1, then multiply by learnt weights.

    x (..., width) -> y (..., width). (Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.)
    """

    def __init__(self, width: int, eps: float = 1e-5):
        self.weight = Parameter(full(width, 1.0))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rmsnorm(x, self.weight, self.eps)


class Dropout(Module):
    """While training, set each number to zero with probability p and divide the others by 1 - p.

    x (...) -> y (...), and y is x itself outside of training. The random stream `self.random` decides which
    numbers are dropped, so no mask is stored. Each layer of a model has its own stream; to make a training
    resumable, call `Module.dropout_stream` before each step. Raises ValueError for a p outside [0, 1).
    Source: Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014.
    """

    def __init__(self, p: float):
        if not 0 <= p < 1:
            raise ValueError(f"dropout needs a probability in [0, 1), got {p}")
        self.p = p
        self.random = Random("dropout")

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        words = -(-x.data.size // 4)  # one random word decides four numbers
        return F.dropout(x, self.random.reserve(words), self.p)


class Sequential(Module):
    """Call layers, Modules or functions of one tensor, in turn: `nn.Sequential(nn.Linear(2, 16), F.relu)`."""

    def __init__(self, *layers: Callable[[Any], Any]):
        self.layers = list(layers)

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x

    def __getitem__(self, index: int) -> Any:
        return self.layers[index]


class MLP(Module):
    """Apply GPT-2's feed-forward block: widen, apply gelu, narrow: y = gelu(x @ c_fc) @ c_proj.

    x (..., width) -> y (..., width). The inner width `hidden` is usually 4 * width.
    """

    def __init__(self, width: int, hidden: int, bias: bool = True):
        self.c_fc = Linear(width, hidden, bias)
        self.c_proj = Linear(hidden, width, bias)

    def forward(self, x: Tensor) -> Tensor:
        if plain(self.c_fc, Linear):  # one kernel for c_fc and gelu gives the same bits
            return self.c_proj(F.linear_gelu(x, self.c_fc.weight, self.c_fc.bias))
        return self.c_proj(F.gelu_tanh(self.c_fc(x)))


class GeluMLP(Module):
    """Apply the feed-forward block of BERT and Falcon: widen, apply the exact gelu, narrow.

    x (..., width) -> y (..., width). The names of the layers are those in Falcon's checkpoint.
    """

    def __init__(self, width: int, hidden: int, bias: bool = True):
        self.dense_h_to_4h = Linear(width, hidden, bias)
        self.dense_4h_to_h = Linear(hidden, width, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense_4h_to_h(F.gelu(self.dense_h_to_4h(x)))


class GatedMLP(Module):
    """Apply LLaMA's feed-forward block, with a gate: y = (silu(x @ gate) * (x @ up)) @ down.

    x (..., width) -> y (..., width). Source: Shazeer, "GLU Variants Improve Transformer", 2020.
    """

    def __init__(self, width: int, hidden: int, bias: bool = False):
        self.gate_proj = Linear(width, hidden, bias)
        self.up_proj = Linear(width, hidden, bias)
        self.down_proj = Linear(hidden, width, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.swiglu(self.gate_proj(x), self.up_proj(x)))
