"""Define the losses of policy gradients: PPO's clipped losses, estimates of KL, and weights of tokens.

`new`, `old` and `reference` are the log-probabilities of the same tokens by the model that is trained, by the
model that wrote the tokens, and by the model that training began with.
"""

import numpy as np

from tinyllm.ops.advantage import before_end
from tinyllm.ops.elementwise import exp, expm1
from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


@op(outputs=("loss", "clipped"), grads=("new",), shapes="new (...), old (...), advantages (...)")
def clipped_loss(new: Array, old: Array, advantages: Array, low: float = 0.2, high: float = 0.2,
                 ) -> tuple[Array, Array]:
    """Compute the loss of PPO: -min(r A, clip(r, 1 - low, 1 + high) A) with the ratio r = exp(new - old).

    new, old, advantages A (...) -> loss (...), clipped (...) bool, True where the clipped term is the
    smaller one; the loss has no slope there. With low = high = inf nothing is clipped. (Schulman et al.,
    "PPO", 2017, equation 7; Yu et al., "DAPO", 2025, section 3.1, take a larger high than low.)
    """
    ratio = exp(new - old)
    free, bounded = ratio * advantages, np.clip(ratio, 1 - float(low), 1 + float(high)) * advantages
    return -np.minimum(free, bounded), bounded < free


@op(shapes="dloss (...), new (...), old (...), advantages (...)")
def clipped_loss_backward(dloss: Array, new: Array, old: Array, advantages: Array, low: float = 0.2,
                          high: float = 0.2) -> Array:
    """Compute dnew = dloss times the loss, -r A, and 0 where it is clipped: all (...) -> (...)."""
    loss, clipped = clipped_loss(new, old, advantages, low, high)
    return np.where(clipped, 0, dloss * loss)


@op(outputs=("loss",), grads=("values",), shapes="values (...), old (...), returns (...)")
def value_loss(values: Array, old: Array, returns: Array, clip: float = 0.2) -> Array:
    """Compute the loss of a value model: 0.5 max((v - R)^2, (clip(v, old - c, old + c) - R)^2).

    values v, their old values before the update, returns R (...), c = clip -> (...). A value that has moved
    by more than c towards R has no slope. With clip = inf the loss is half the square of v - R. (Dhariwal et
    al., "OpenAI Baselines", 2017, ppo2; Huang et al., "37 implementation details of PPO", 2022, detail 9.)
    """
    near = np.clip(values, old - float(clip), old + float(clip))
    return 0.5 * np.maximum((values - returns) ** 2, (near - returns) ** 2)


@op(shapes="dloss (...), values (...), old (...), returns (...)")
def value_loss_backward(dloss: Array, values: Array, old: Array, returns: Array, clip: float = 0.2) -> Array:
    """Compute dvalues = dloss (v - R), and 0 where the clipped square is larger: all (...) -> (...)."""
    bounded = value_loss(values, old, returns, clip) > 0.5 * (values - returns) ** 2
    return np.where(bounded, 0, dloss * (values - returns))


def check_kind(kind: str, *kinds: str) -> None:
    """Raise ValueError unless `kind` is one of `kinds`."""
    if kind not in kinds:
        raise ValueError(f"needs one of {', '.join(kinds)}, got {kind!r}")


@op(outputs=("kl",), grads=("new",), shapes="new (...), reference (...)")
def kl_estimate(new: Array, reference: Array, kind: str = "k3") -> Array:
    """Estimate the KL divergence of two models from tokens that the first one wrote.

    new, reference (...) -> (...), whose mean is the estimate. With d = new - reference, "k1" is d, "k2" is
    d^2 / 2, and "k3" is exp(-d) - 1 + d, which is never negative. Raises ValueError on other kinds.
    (Schulman, "Approximating KL Divergence", 2020.)
    """
    check_kind(kind, "k1", "k2", "k3")
    d = new - reference
    if kind == "k1":
        return d
    return 0.5 * d * d if kind == "k2" else np.maximum(expm1(-d) + d, 0)  # not below 0 by rounding


@op(shapes="dkl (...), new (...), reference (...)")
def kl_estimate_backward(dkl: Array, new: Array, reference: Array, kind: str = "k3") -> Array:
    """Compute dnew = dkl for "k1", dkl d for "k2", dkl (1 - exp(-d)) for "k3": all (...) -> (...)."""
    check_kind(kind, "k1", "k2", "k3")
    if kind == "k1":
        return np.array(dkl)
    return dkl * (new - reference if kind == "k2" else -expm1(reference - new))


@op(outputs=("weights", "counts"), grads=(), shapes="lengths (B)")
def answer_weights(lengths: Array, T: int, how: str, most: int) -> tuple[Array, Array]:
    """Return weights of tokens and counts of answers: a loss is the weighted sum, divided by all counts.

    lengths (B,) ints from 0 to T -> weights (B, T), counts (B,), float32. Weights are 0 from lengths[b] on.

        how         weight      count   the loss is
        "sequence"  1 / length  1       a mean over answers of means over their tokens (Shao et al. 2024)
        "token"     1           length  a mean over all tokens (Yu et al., "DAPO", 2025, section 3.3)
        "constant"  1           most    a sum: length makes no difference (Liu et al., "Dr. GRPO", 2025)

    Raises ValueError on other lengths and another `how`.
    """
    check_kind(how, "sequence", "token", "constant")
    weights = before_end(lengths, T).astype(np.float32)
    if how == "sequence":
        weights /= np.maximum(lengths, 1)[:, None]
    counts = {"sequence": 1, "token": lengths, "constant": most}[how]
    return weights, np.full(len(lengths), counts, np.float32)
