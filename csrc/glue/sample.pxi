def top_k(logits, k):
    if k < 1 or k % 1:
        raise ValueError(f"top_k needs a whole number k >= 1, got {k}")
    logits = f32(logits, "logits", 1)
    y = empty(logits.shape)
    run_top_k(y, logits, min(k, 1 << 62), rows_of(logits), logits.shape[-1])
    return y


def top_p(logits, p):
    if not 0 < p <= 1:
        raise ValueError(f"top_p needs 0 < p <= 1, got {p}")
    logits = f32(logits, "logits", 1)
    y = empty(logits.shape)
    run_top_p(y, logits, p, rows_of(logits), logits.shape[-1])
    return y


def min_p(logits, p):
    if not 0 <= p <= 1:
        raise ValueError(f"min_p needs 0 <= p <= 1, got {p}")
    logits = f32(logits, "logits", 1)
    y = empty(logits.shape)
    run_min_p(y, logits, p, rows_of(logits), logits.shape[-1])
    return y


def repetition_penalty(logits, ids, penalty):
    if not penalty > 0:
        raise ValueError(f"repetition_penalty needs penalty > 0, got {penalty}")
    logits = f32(logits, "logits", 1)
    ids = ids_below("repetition_penalty", ids, logits.shape[-1])
    if ids.ndim < 1:
        raise ValueError("repetition_penalty needs ids (..., n), got a single number; pass ids[None]")
    ids = contiguous(np.broadcast_to(ids, logits.shape[:-1] + ids.shape[-1:]))
    y = empty(logits.shape)
    run_repetition_penalty(y, logits, ids, penalty, rows_of(logits), logits.shape[-1], ids.shape[-1])
    return y


def sample(probs, u):
    probs = f32(probs, "probs", 1)
    u = np.asarray(u).astype(F64, casting="same_kind", copy=False)  # refuses complex numbers
    u = contiguous(np.broadcast_to(u, probs.shape[:-1]))
    ids = empty(probs.shape[:-1], I64)
    run_sample(ids, probs, u, rows_of(probs), probs.shape[-1])
    if ids.size and ids.min() < 0:
        raise ValueError("sample needs a positive, finite sum of probabilities in every row; are logits NaN?")
    return ids
