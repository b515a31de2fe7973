cdef object class_ids(object targets, object v, object ignore_index):
    """Check targets -> contiguous int64 targets, the int64 to ignore, the number of targets that count."""
    targets = ints(targets, "targets")
    if ignore_index != int(ignore_index):
        raise TypeError(f"cross_entropy needs a whole number as ignore_index, got {ignore_index}")
    cdef bint beyond = not -(1 << 63) <= ignore_index < 1 << 63  # then no target equals it
    cdef const int64_t *t = <const int64_t *>address(targets)
    cdef int64_t i, n = targets.size, size = v, ignore = -1 if beyond else ignore_index, kept = 0
    for i in range(n):
        if beyond or t[i] != ignore:
            kept += 1
            if t[i] < 0 or t[i] >= size:
                raise ValueError(f"cross_entropy: target {t[i]} is outside 0..{v - 1} and is not ignore_index "
                                 f"({ignore_index})")
    return targets, ignore, kept


def token_losses(logits, targets, ignore_index=-100):
    logits = f32(logits, "logits", 1)
    targets, ignore_index, _ = class_ids(targets, logits.shape[-1], ignore_index)
    losses, lse = empty(targets.shape), empty(targets.shape)
    run_token_losses(losses, lse, logits, targets, ignore_index, targets.size, logits.shape[-1])
    return losses, lse


def token_losses_backward(dlosses, logits, targets, lse, ignore_index=-100):
    dlosses, logits, lse = f32(dlosses, "dlosses"), f32(logits, "logits", 1), f32(lse, "lse")
    targets, ignore_index, _ = class_ids(targets, logits.shape[-1], ignore_index)
    dlogits = empty(logits.shape)
    run_token_losses_backward(dlogits, dlosses, 1, logits, targets, lse, ignore_index, targets.size, logits.shape[-1])
    return dlogits


def cross_entropy(logits, targets, ignore_index=-100):
    logits = f32(logits, "logits", 1)
    targets, ignore_index, kept = class_ids(targets, logits.shape[-1], ignore_index)
    loss, losses, lse = empty(()), empty(targets.shape), empty(targets.shape)
    run_token_losses(losses, lse, logits, targets, ignore_index, targets.size, logits.shape[-1])
    (<float *>address(loss))[0] = run_double_sum(losses, targets.size) / max(kept, 1)
    return loss, lse


def cross_entropy_backward(dloss, logits, targets, lse, ignore_index=-100):
    logits, lse = f32(logits, "logits", 1), f32(lse, "lse")
    targets, ignore_index, kept = class_ids(targets, logits.shape[-1], ignore_index)
    dlogits, each = empty(logits.shape), empty(())
    (<float *>address(each))[0] = float(dloss) / max(kept, 1)
    run_token_losses_backward(dlogits, each, 0, logits, targets, lse, ignore_index, targets.size, logits.shape[-1])
    return dlogits


def linear_token_losses(x, w, targets, ignore_index=-100):
    x, w = f32(x, "x", 1), f32(w, "w", 2)
    targets, ignore_index, _ = class_ids(targets, w.shape[0], ignore_index)
    losses, lse = empty(targets.shape), empty(targets.shape)
    run_linear_token_losses(losses, lse, x, w, targets, ignore_index, targets.size, w.shape[0], w.shape[1])
    return losses, lse


def linear_token_losses_backward(dlosses, x, w, targets, lse, ignore_index=-100):
    dlosses, x, w, lse = f32(dlosses, "dlosses"), f32(x, "x", 1), f32(w, "w", 2), f32(lse, "lse")
    targets, ignore_index, _ = class_ids(targets, w.shape[0], ignore_index)
    dx, dw = empty(x.shape), empty(w.shape)
    run_linear_token_losses_backward(dx, dw, dlosses, x, w, targets, lse, ignore_index, targets.size, w.shape[0],
                                     w.shape[1])
    return dx, dw
