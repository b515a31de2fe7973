"""Initial weights: they depend on seed and parameter name only, and are the same on every machine."""

from collections.abc import Callable

from tinyllm.nn.module import Module
from tinyllm.rng import Random


def init_normal(module: Module, seed: int, std: float | Callable[[str], float] = 0.02) -> None:
    """Fill every matrix of a model with normal random numbers of mean 0.

    Vectors, which are biases and the weights of norms, are left as they are. `std` is the standard deviation,
    or a function from a parameter's name to it. The numbers come from `Random(seed, "init", name)`, so adding
    a layer does not change the others.
    """
    for name, p in module.named_parameters():
        if p.data.ndim >= 2:
            scale = std(name) if callable(std) else std
            p.data[...] = Random(seed, "init", name).normal(p.shape) * scale
