"""Train with LoRA: freeze each weight matrix W, and train a small product A B added to it (Hu et al. 2021).

nn.adapt(model, rank=8)                        # freezes all but the adapters
tl.fit(model, ...)
tl.save_weights(nn.adapter_state(model), path)  # the adapters alone
nn.merge(model)                                # adds each adapter to its matrix
"""

import re
from typing import cast

import numpy as np

import tinyllm.functional as F
from tinyllm.errors import UserError
from tinyllm.nn.layers import Linear
from tinyllm.nn.module import Module, Parameter, full, replace
from tinyllm.rng import Random
from tinyllm.tensor import Tensor


class LoRALinear(Module):
    """Apply a frozen linear layer with an adapter: y = x W + bias + (alpha / rank) (x A) B.

    x (..., n_in) -> y (..., n_out). A (n_in, rank) starts with random numbers, B (rank, n_out) with zeros, so
    a new adapter changes nothing.
    """

    def __init__(self, linear: Linear, rank: int = 8, alpha: float = 16.0, random: Random | None = None):
        n_in, n_out = linear.weight.shape
        self.weight, self.bias = linear.weight, linear.bias
        start = (random or Random("lora")).normal((n_in, rank)) * n_in**-0.5
        self.lora_a = Parameter(start.astype(np.float32))
        self.lora_b = Parameter(full((rank, n_out)))
        self.scale = alpha / rank
        for p in (self.weight, self.bias):
            if p is not None:
                p.requires_grad = False

    def __call__(self, x: Tensor) -> Tensor:
        low = F.linear(x, self.lora_a) * self.scale
        return F.linear(x, self.weight, self.bias) + F.linear(low, self.lora_b)

    def merged(self) -> Linear:
        """Return a plain linear layer with the adapter added to its weight."""
        n_in, n_out = self.weight.shape
        linear = Linear(n_in, n_out, bias=self.bias is not None)
        linear.weight = Parameter(self.weight.data + self.scale * (self.lora_a.data @ self.lora_b.data))
        if self.bias is not None:
            linear.bias = Parameter(self.bias.data)
        return linear

    def flops(self, batch: int, context: int) -> dict[str, int]:
        sizes = (p.data.size for p in (self.weight, self.lora_a, self.lora_b))
        return {"": 2 * batch * context * sum(sizes)}


def adapt(model: Module, rank: int = 8, alpha: float = 16.0, where: str = "", seed: int = 0) -> Module:
    """Freeze a model, and add a trainable adapter to every linear layer whose name matches `where`.

    `where` is a regular expression such as `attn`. Adapters from an earlier call stay trainable. The model is
    changed in place and returned. Raises UserError, and changes nothing, when no layer matches.
    """
    linears = [name for name, module in model.named_modules() if isinstance(module, Linear)]
    if not any(re.search(where, name) for name in linears):
        known = f"there is {linears[0]}, for example" if linears else "there are none to adapt"
        raise UserError(f"no linear layer has a name with {where!r}: {known}")

    def adapter(name, linear):
        chosen = re.search(where, name)
        return LoRALinear(linear, rank, alpha, Random(seed, "lora", name)) if chosen else linear

    for name, p in model.named_parameters():
        p.requires_grad = p.requires_grad and ".lora_" in name  # earlier adapters stay trainable
    return replace(model, Linear, adapter)


def adapter_state(model: Module) -> dict[str, np.ndarray]:
    """Return {name: array} of the adapters only, without the frozen weights."""
    return {name: p.data for name, p in model.named_parameters() if ".lora_" in name}


def load_adapter(model: Module, state: dict[str, np.ndarray]) -> None:
    """Copy {name: array} into the adapters of a model. Raises UserError if names or shapes differ."""
    rest = {name: array for name, array in model.state_dict().items() if ".lora_" not in name}
    model.load_state_dict(rest | state)


def merge(model: Module) -> Module:
    """Add every adapter to the weight of its layer and remove the adapter, in place; return the model."""
    return replace(model, LoRALinear, lambda name, layer: cast(LoRALinear, layer).merged())
