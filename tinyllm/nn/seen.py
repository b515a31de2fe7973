"""Define Seen, which says what the queries of attention may look at."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Seen:
    """Say which keys each query may see, and what is added to its scores; by default every limit is off.

    A caller makes it once for all layers. A layer adds its own limits: see `Attention.mix`. The fields are
    arguments of `F.attention`, in the same order.

    causal: no query sees a key after its own position.
    lengths (B,): row b has only its first lengths[b] keys; the rest is padding.
    bias: an array or Tensor that broadcasts to (H, S, T) and is added to the scores.
    window: how many keys a query sees, counted back from its own position, which is included.
    starts (B, S): the first key that each query sees, such as the start of its document in a packed row.
    ends (B, S): one more than the last key that each query sees; replaces `causal`.
    """

    causal: bool = True
    lengths: np.ndarray | None = None
    bias: Any = None
    window: int | None = None
    starts: np.ndarray | None = None
    ends: np.ndarray | None = None


EVERYTHING = Seen()  # whatever the layer itself lets a query see
