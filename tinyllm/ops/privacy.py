"""Train with differential privacy: limit what one example can change, and count what is given away."""

import math

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array
from tinyllm.ops.softmax import logsumexp


@op(outputs=("factors",), grads=(), shapes="norms (B)")
def clip_factors(norms: Array, limit: float = 1.0) -> Array:
    """Return the factor of each example's gradient that makes it no longer than `limit`.

    norms (B,), the length of the gradient of each of B examples -> (B,), min(1, limit / norm); 1 for a norm
    of 0. So no example moves the sum of the gradients by more than the limit. Raises ValueError unless
    limit > 0. (Abadi et al., "Deep learning with differential privacy", 2016, algorithm 1.)
    """
    if not limit > 0:
        raise ValueError(f"clip_factors needs a limit above 0, got {limit}")
    return np.minimum(1, limit / np.maximum(norms, limit))


@op(outputs=("rdp",), grads=())
def sampled_gaussian_rdp(order: float, share: float, noise: float) -> float:
    """Return how much privacy one step costs: its Renyi divergence of an order a.

    A step takes each example with probability q = `share`, and adds to the sum of their clipped gradients
    normal numbers whose standard deviation is `noise` times the limit of a gradient. It costs

        log(E[ratio(z)^a]) / (a - 1)    with    ratio(z) = 1 - q + q exp((2 z - 1) / (2 s^2))

    where z is normal with mean 0 and standard deviation s = `noise`. The ratio says how much likelier z is
    with the example than without it. The costs of steps add up. The mean is a sum over points that lie so
    close that float64 sees no difference. Raises ValueError unless 0 < share <= 1, noise > 0, order > 1.
    (Mironov, Talwar and Zhang, "Renyi differential privacy of the sampled Gaussian mechanism", 2019.)
    """
    if not (0 < share <= 1 and noise > 0 and order > 1):
        raise ValueError(f"sampled_gaussian_rdp needs 0 < share <= 1, noise > 0 and order > 1, got "
                         f"{share}, {noise}, {order}")
    rest, gap = math.log1p(-share) if share < 1 else -math.inf, min(noise / 4, noise**2 / 2)
    z = np.arange(-12 * noise, order + 12 * noise, gap)
    log_ratio = np.logaddexp(rest, math.log(share) + (2 * z - 1) / (2 * noise**2))
    terms = order * log_ratio - z**2 / (2 * noise**2)
    log_mean = float(logsumexp(terms)) + math.log(gap / (noise * math.sqrt(2 * math.pi)))
    return max(log_mean, 0.0) / (order - 1)


@op(outputs=("epsilon",), grads=(), shapes="rdp (n), orders (n)")
def rdp_epsilon(rdp: Array, orders: Array, delta: float) -> float:
    """Return the epsilon of (epsilon, delta)-differential privacy after steps of known Renyi divergence.

    rdp (n,), the sum over all steps for each order a, orders (n,), above 1 -> the smallest over the orders of

        rdp + log((a - 1) / a) - (log(delta) + log(a)) / (a - 1)

    or 0 if that is negative: whatever one example is, it makes no result likelier than exp(epsilon) times,
    except with probability delta. Raises ValueError unless there are orders, all above 1, and 0 < delta < 1.
    (Canonne, Kamath and Steinke, "The discrete Gaussian for differential privacy", 2020, proposition 12.)
    """
    if not orders.size or np.any(orders <= 1) or not 0 < delta < 1:
        raise ValueError(f"rdp_epsilon needs orders above 1 and 0 < delta < 1, got {orders}, {delta}")
    epsilons = rdp + np.log1p(-1 / orders) - (math.log(delta) + np.log(orders)) / (orders - 1)
    return float(np.maximum(epsilons.min(), 0))
