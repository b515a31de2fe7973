"""Train with LoRA: freeze each weight matrix W, and train a small product A B added to it (Hu et al. 2021).

nn.adapt(model, rank=8)        # freezes all but the adapters
tl.fit(model, ...)
model.save_pretrained(folder)  # the adapters alone, as peft writes them
nn.merge(model)                # adds each adapter to its matrix

The frozen layers may be quantised (Dettmers et al., "QLoRA", 2023). Then adapters cannot be merged.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

import tinyllm.functional as F
from tinyllm import ops
from tinyllm.errors import UserError
from tinyllm.nn.init import full
from tinyllm.nn.layers import Adaptable, Matrix
from tinyllm.nn.module import Module, fitting, replace
from tinyllm.rng import Random
from tinyllm.tensor import Tensor


class LoRALinear(Module):
    """Apply a frozen linear layer with an adapter: y = x W + bias + (alpha / rank) (x A) B.

    x (..., n_in) -> y (..., n_out). A (n_in, rank) starts with random numbers, B (rank, n_out) with zeros, so
    a new adapter changes nothing. Without `random` A is zero, to be loaded from a file. The attributes have
    the same names as in peft.
    """

    def __init__(self, layer: Any, rank: int = 8, alpha: float = 16.0, random: Random | None = None):
        n_in, n_out = layer.sizes
        self.base_layer = layer
        self.lora_A, self.lora_B = Matrix(n_in, rank), Matrix(rank, n_out)
        self.lora_A.reached = self.lora_B.reached = layer.reached
        start = random.normal((n_in, rank)) * n_in**-0.5 if random else full((n_in, rank))
        self.lora_A.weight.data = start.astype(np.float32, copy=False)
        self.lora_B.weight.data = full((rank, n_out))
        self.rank, self.alpha = rank, alpha

    def forward(self, x: Tensor) -> Tensor:
        factors = self.lora_A.weight, self.lora_B.weight
        return self.base_layer(x) + F.low_rank(x, *factors, self.alpha / self.rank)


def adapt(model: Module, rank: int = 8, alpha: float = 16.0, where: str | Sequence[str] = (),
          seed: int | None = 0, new: Collection[str] = ()) -> Module:
    """Freeze a model, and add a trainable adapter to every linear layer whose name ends with `where`.

    `where` is one suffix or a list of them, each made of whole parts of a name: both `c_proj` and
    `mlp.c_proj` choose the layer `h.0.mlp.c_proj`. Without `where` all linear layers are chosen. Parameters
    named in `new` are not frozen and get no adapter, because they have learnt nothing yet. The model is
    changed in place and returned. Raises UserError, and changes nothing, when a suffix fits no layer, the
    rank is below 1, or the model has adapters already.
    """
    if rank < 1:
        raise UserError(f"the rank of an adapter is at least 1, got {rank}")
    if adapters(model):
        raise UserError("this model has adapters already: nn.merge(model) before it gets others")
    layers = model.of_kind(Adaptable).items()
    linears = [name for name, layer in layers if not layer.head and f"{name}.weight" not in new]
    if not linears:
        raise UserError("this model has no linear layer to adapt")
    chosen = set() if where else {*linears}
    for end in [where] if isinstance(where, str) else where:
        found = {name for name in linears if f".{name}".endswith(f".{end}")}
        if not found:
            known = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in linears))
            raise UserError(f"no linear layer has a name that ends in {end!r}; there are {known}")
        chosen |= found

    def adapter(name, layer):
        random = None if seed is None else Random(seed, "lora", name)
        return LoRALinear(layer, rank, alpha, random) if name in chosen else layer

    for name, p in model.named_parameters():
        p.requires_grad = name in new
    return replace(model, Adaptable, adapter)


def adapters(model: Module) -> dict[str, LoRALinear]:
    """Return {name: layer} of all layers that have an adapter."""
    return model.of_kind(LoRALinear)


def adapter_state(model: Module) -> dict[str, np.ndarray]:
    """Return {name: array} of the adapters, and of new layers, without the frozen weights."""
    return {name: p.data for name, p in model.named_parameters() if p.requires_grad}


def load_adapter(model: Module, state: dict[str, Any]) -> None:
    """Copy {name: array} into the adapters and new layers of a model.

    Raises UserError, and changes nothing, if names or shapes differ, or a number is not finite.
    """
    tensors = dict(model.named_tensors())
    frozen = {name: tensor.shape for name, tensor in tensors.items() if not tensor.requires_grad}
    model.check_state(frozen | {name: array.shape for name, array in state.items()})
    arrays = {name: fitting(name, array, tensors[name]) for name, array in state.items()}
    for name, array in arrays.items():
        tensors[name].data = np.array(array)


def merge(model: Module) -> Module:
    """Add every adapter to the weight of its layer, and remove it, in place; return the model.

    Afterwards all weights are trainable, and the model has no `origin`, because no folder has its weights.
    Raises UserError, and changes nothing, when the layers under the adapters are quantised.
    """
    if found := adapters(model):
        for name, layer in found.items():
            if layer.base_layer.packed:
                raise UserError(f"{name} has quantised weights, which cannot take in an adapter: use both as "
                                "they are, or train an adapter of the weights before they were quantised")
        vars(model).pop("origin", None)
        for p in model.parameters():
            p.requires_grad = True

    def merged(name, adapted):
        layer, factors = adapted.base_layer, (adapted.lora_A.weight.data, adapted.lora_B.weight.data)
        layer.weight.data = ops.merge_lora(layer.weight.data, *factors, adapted.alpha / adapted.rank)
        return layer

    return replace(model, LoRALinear, merged)
