"""Say how the loss falls with parameters and tokens: L = E + A / N^alpha + B / D^beta."""

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


@op(outputs=("error",), grads=(), shapes="law (5), params (R), tokens (R), losses (R)")
def scaling_error(law: Array, params: Array, tokens: Array, losses: Array, delta: float = 1e-3) -> float:
    """Return how badly a scaling law predicts the losses of R runs.

    law (5,): E, A, alpha, B, beta; params, tokens and losses (R,), N, D and L of each run -> a number:

        r = ln P - ln L    P = E + A / N^alpha + B / D^beta
        sum of (r^2 / 2 if |r| <= delta, else delta (|r| - delta / 2))

    With logarithms, one percent is as bad at every loss; with Huber's function, a run that went wrong does
    not bend the law. (Hoffmann et al., "Training compute-optimal large language models", 2022, appendix D.3.)
    """
    E, A, alpha, B, beta = law
    r = np.abs(np.log(E + A * params**-alpha + B * tokens**-beta) - np.log(losses))
    return np.where(r <= delta, r * r / 2, delta * (r - delta / 2)).sum()


@op(outputs=("params", "tokens"), grads=(), shapes="law (5), flops (R)")
def compute_optimal(law: Array, flops: Array) -> tuple[Array, Array]:
    """Divide FLOPs between parameters and tokens, so that a scaling law predicts the lowest loss.

    law (5,): E, A, alpha, B, beta; flops C (R,) -> N and D (R,), with 6 N D = C:

        N = (alpha A / (beta B))^(1 / (alpha + beta)) M^(beta / (alpha + beta))    M = C / 6

    There, more parameters and more tokens buy the same. (Hoffmann et al., 2022, equation 4.)
    """
    _, A, alpha, B, beta = law
    product = flops / 6  # N D
    params = (alpha * A / (beta * B)) ** (1 / (alpha + beta)) * product ** (beta / (alpha + beta))
    return params, product / params
