"""Define losses of pairs: a chosen answer should get a larger score than a rejected answer."""

from tinyllm.ops.elementwise import sigmoid, softplus
from tinyllm.ops.policy import check_kind
from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array

KINDS = "sigmoid", "ipo"
PAIRS = "chosen (N), rejected (N), reference_chosen (N), reference_rejected (N)"


@op(outputs=("loss",), grads=("chosen", "rejected"), shapes="chosen (N), rejected (N)")
def bradley_terry_loss(chosen: Array, rejected: Array) -> Array:
    """Compute -log sigmoid(chosen - rejected); the sigmoid is the probability that people agree.

    chosen, rejected (N,), scores -> (N,). (Ouyang et al., "InstructGPT", 2022, equation 1.)
    """
    return softplus(rejected - chosen)


@op(shapes="dloss (N), chosen (N), rejected (N)")
def bradley_terry_loss_backward(dloss: Array, chosen: Array, rejected: Array) -> tuple[Array, Array]:
    """Compute drejected = dloss sigmoid(rejected - chosen) and dchosen = -drejected, all (N,)."""
    drejected = dloss * sigmoid(rejected - chosen)
    return -drejected, drejected


@op(outputs=("loss", "margins"), grads=("chosen", "rejected"), shapes=PAIRS)
def dpo_loss(chosen: Array, rejected: Array, reference_chosen: Array, reference_rejected: Array,
             beta: float = 0.1, kind: str = "sigmoid") -> tuple[Array, Array]:
    """Compute the loss of direct preference optimization, which needs no reward model.

    The arrays (N,) are log-probabilities of whole answers, sums over their tokens, by the model that is
    trained and by the reference -> loss (N,), margins (N,) = beta h, where
    h = (chosen - reference_chosen) - (rejected - reference_rejected). The loss is -log sigmoid(beta h) for
    "sigmoid" (Rafailov et al., "DPO", 2023, equation 7) and (h - 1 / (2 beta))^2 for "ipo" (Azar et al.,
    "IPO", 2023, equation 17). Raises ValueError on other kinds.
    """
    check_kind(kind, *KINDS)
    h = (chosen - reference_chosen) - (rejected - reference_rejected)
    margins = float(beta) * h
    return softplus(-margins) if kind == "sigmoid" else (h - 0.5 / float(beta)) ** 2, margins


@op(shapes=f"dloss (N), {PAIRS}")
def dpo_loss_backward(dloss: Array, chosen: Array, rejected: Array, reference_chosen: Array,
                      reference_rejected: Array, beta: float = 0.1, kind: str = "sigmoid",
                      ) -> tuple[Array, Array]:
    """Compute dchosen = dloss times the slope in h, and drejected = -dchosen, all (N,).

    The slope is -beta sigmoid(-beta h) for "sigmoid" and 2 (h - 1 / (2 beta)) for "ipo".
    """
    check_kind(kind, *KINDS)
    h = (chosen - reference_chosen) - (rejected - reference_rejected)
    slope = -float(beta) * sigmoid(-float(beta) * h) if kind == "sigmoid" else 2 * (h - 0.5 / float(beta))
    return dloss * slope, -dloss * slope
