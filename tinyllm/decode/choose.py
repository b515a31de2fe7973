"""Draw the next tokens of many sequences at once, by the settings of each request, and score them."""

import numpy as np

from tinyllm import ops
from tinyllm.decode.sampling import Sampling
from tinyllm.decode.sequence import Sequence
from tinyllm.errors import UserError
from tinyllm.rng import uniforms

NAN = "the model's logits are not numbers (NaN): its weights are broken; take an earlier checkpoint"


def choose(sequences: list[Sequence], logits: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
    """Draw the next token of every sequence by its request's settings: logits (B, V) -> ids (B,), errors.

    errors: {row: message}, for a mask that allows no token or an id outside the vocabulary, and for logits
    that are NaN.
    """
    logits, errors = adjust(sequences, logits)
    u = uniforms([s.key for s in sequences], [len(s.ids) - s.prompt_length for s in sequences])
    alike: dict[Sampling, list[int]] = {}  # rows with equal settings are drawn together
    last, rows = None, []
    for row, s in enumerate(sequences):
        if s.request.sampling is not last:  # to hash the settings takes time
            last = s.request.sampling
            rows = alike.setdefault(last, [])
        rows.append(row)
    tokens = np.empty(len(logits), np.int64)
    for sampling, rows in alike.items():
        part = slice(None) if len(rows) == len(tokens) else rows  # a slice copies nothing
        ids = [sequences[row].ids for row in rows]
        tokens[part] = sampling.choose(logits[part], ids, u[part])
    return tokens, errors


def adjust(sequences: list[Sequence], logits: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
    """Add biases, forbid what masks forbid: logits (B, V) -> (B, V), 0 in rows with errors; {row: error}."""
    errors = {}
    changed = [row for row, s in enumerate(sequences) if s.request.adjusts]
    if changed:
        logits = logits.copy()
    for row in changed:
        s = sequences[row]
        if s.request.penalised:
            drawn, counts = np.unique(np.array(s.tokens, np.int64), return_counts=True)
            penalty = s.request.presence_penalty + s.request.frequency_penalty * counts
            logits[row, drawn] -= penalty.astype(logits.dtype)
        if bias := s.request.bias:
            logits[row, list(bias)] += np.array(list(bias.values()), logits.dtype)
        if s.request.mask:
            try:
                logits[row, ~_as_booleans(s.request.mask(s.ids), logits.shape[-1])] = -np.inf
            except UserError as error:
                errors[row] = str(error)
    broken = np.isnan(logits.max(axis=-1))  # the maximum of a row with a NaN is NaN
    errors |= dict.fromkeys(np.flatnonzero(broken).tolist(), NAN)
    if errors:
        logits = logits.copy()
        logits[list(errors)] = 0
    return logits, errors


def _as_booleans(may_come, vocab_size):
    """Return what a mask allows, token ids or booleans, as booleans (V,)."""
    allowed = may_come if isinstance(may_come, np.ndarray) else np.asarray(list(may_come))
    if allowed.dtype != bool:
        if len(allowed) and not 0 <= allowed.min() <= allowed.max() < vocab_size:
            raise UserError(f"a mask allows {allowed.min()} to {allowed.max()}: tokens are 0 to "
                            f"{vocab_size - 1}")
        ids, allowed = allowed, np.zeros(vocab_size, bool)
        allowed[ids.astype(np.int64)] = True
    if allowed.shape != (vocab_size,):
        raise UserError(f"a mask has {allowed.size} booleans for a vocabulary of {vocab_size}: give all")
    if not allowed.any():
        raise UserError("the mask allows no token: let it allow one that ends the text")
    return allowed


def score(sequences: list[Sequence], logits: np.ndarray, tokens: np.ndarray, errors: dict) -> None:
    """Store log-probabilities of the new tokens, for requests that ask: logits (B, V), tokens (B,)."""
    rows = [row for row, s in enumerate(sequences) if s.request.logprobs and row not in errors]
    if not rows:
        return
    table = log_probs(logits if len(rows) == len(logits) else logits[rows])
    for row, logprobs in zip(rows, table, strict=True):
        s = sequences[row]
        at = len(s.ids) - (0 if s.request.echo else s.prompt_length)
        s.score(at, logprobs[None], tokens[row : row + 1])


def log_probs(logits: np.ndarray) -> np.ndarray:
    """Return the log-probabilities of all tokens, with the bits of `LanguageModel.log_probs`.

    logits (..., V) -> (..., V). `log_softmax` rounds differently from the loss, which is lse - logit, and who
    learns from drawn tokens needs the very numbers of a training step.
    """
    _, lse = ops.token_losses(logits, np.zeros(logits.shape[:-1], np.int64))
    return logits - lse[..., None]
