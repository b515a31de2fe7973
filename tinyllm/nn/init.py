"""Initial weights: the same numbers on every machine, for every parameter by its name."""

from tinyllm.rng import Random


def init_normal(module, seed, std=0.02):
    """Fill every matrix of a model with normal random numbers of mean 0.

    Vectors, which are biases and the weights of norms, are left as they are.
    `std` is a number, or a function from a parameter's name to one. The numbers come from `Random(seed,
    "init", name)`, so they depend on nothing but seed and name: adding a layer does not change the
    others.
    """
    for name, p in module.named_parameters():
        if p.data.ndim >= 2:
            scale = std(name) if callable(std) else std
            p.data[...] = Random(seed, "init", name).normal(p.shape) * scale
