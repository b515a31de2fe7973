"""Check that results have the same bits with any threads, instruction set, batch, chunks and cache.

test_kernels.py compares every kernel over the instruction sets (levels) of this CPU.
"""

import hashlib

import numpy as np
import pytest

import tinyllm as tl
import tinyllm.functional as F
from tinyllm import ops
from tinyllm.ops.registry import _compiled

LEVELS = _compiled.levels() if _compiled else []
pytestmark = pytest.mark.skipif(not LEVELS, reason="a promise of the kernels, and they are not built")

CONFIG = tl.GPTConfig(vocab_size=61, context=40, layers=2, heads=3, width=48, dropout=0.1)  # uneven sizes


def digest(arrays):
    """Return the SHA-256 of arrays, one after the other."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


def digest_of_training(steps=12):
    """Train a GPT on random ids; return the SHA-256 of logits, gradients and weights after some steps."""
    model, random = tl.GPT(CONFIG, seed=1), tl.Random("bits")
    optimizer = tl.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    for step in range(steps):
        tokens = random.integers(CONFIG.vocab_size, (3, CONFIG.context + 1)).astype(np.int32)
        model.train().dropout_stream(0, step)
        optimizer.zero_grad()
        model.loss(tokens[:, :-1], tokens[:, 1:]).backward()
        tl.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
    with tl.no_grad():
        logits = model.eval()(tokens[:, :-1]).data
    return digest([logits, *(p.grad for p in model.parameters()), *model.state_dict().values()])


@pytest.fixture(autouse=True)
def compiled_and_restored():
    with ops.use("compiled"):
        yield
    _compiled.use_level(None)


@pytest.fixture(scope="module")
def expected():
    _compiled.threads(1)
    with ops.use("compiled"):
        return digest_of_training()


@pytest.mark.parametrize("level, threads", [*((level, 3) for level in LEVELS), (None, 2), (None, 8)])
def test_training_gives_the_same_bits_at_every_level_and_on_any_number_of_threads(level, threads, expected):
    _compiled.use_level(level)
    _compiled.threads(threads)
    assert digest_of_training() == expected


@pytest.mark.parametrize("threads", [1, 3])
def test_logits_do_not_depend_on_batch_chunks_or_cache(threads):
    _compiled.threads(threads)
    model, random, found = tl.GPT(CONFIG, seed=1).eval(), tl.Random("row"), set()
    row = random.integers(CONFIG.vocab_size, (1, CONFIG.context))
    with tl.no_grad():
        for size in (1, 2, 3, 5, 8, 16):
            others = random.integers(CONFIG.vocab_size, (size, CONFIG.context))
            for place in {0, size // 2, size - 1}:
                others[place] = row[0]
                found.add(digest([model(others).data[place]]))
        for chunk in (1, 2, 3, 7, 16, 31):
            cache = model.new_cache()
            parts = [model(row[:, i : i + chunk], cache).data for i in range(0, row.shape[1], chunk)]
            found.add(digest([np.concatenate(parts, 1)[0]]))
    assert len(found) == 1


def products(name, random, depth):
    """Return (a function that multiplies rows (N, depth) by a fixed matrix (depth, 515), some rows)."""
    x, w = random.normal((70, depth)), random.normal((depth, 515))  # a task has 512 columns
    if name.startswith("int"):
        packed = getattr(ops, f"quantize_{name}")(w)
        return (lambda x: getattr(ops, f"linear_{name}")(x, *packed, 515)), x
    left, right = "left" in name, "right" in name
    w = np.ascontiguousarray(w.T) if right else w
    return (lambda x: ops.matmul(np.ascontiguousarray(x.T) if left else x, w, left, right)), x


@pytest.mark.parametrize("name", ["plain", "left", "right", "left and right", "bf16", "int8", "int4"])
def test_a_row_of_a_product_does_not_depend_on_the_rows_beside_it(name):
    for depth in (1, 3, 32, 100, 383, 384, 385, 800):  # less than a block of 384 terms, about one, three
        product, x = products(name, tl.Random("rows", name), depth)
        with ops.use(matmul="bf16" if name == "bf16" else "compiled"):
            whole = product(x)
            for rows in (1, 2, 5, 6, 7, 12, 13, 16, 31, 33, 64):
                assert digest([product(x[:rows])]) == digest([whole[:rows]])
                assert digest([product(x[rows - 1 : rows])]) == digest([whole[rows - 1 : rows]])


@pytest.mark.parametrize("rows, vocab", [(800, 30_011), (385, 30_011), (5, 40_000)])
def test_the_loss_in_chunks_of_rows_has_the_bits_of_whole_logits(rows, vocab):
    """With 30,011 tokens a chunk holds 384 rows, matmul's block: three chunks, the last one uneven."""
    random = tl.Random("chunks", rows, vocab)
    x, w = random.normal((rows, 9)), random.normal((vocab, 9))
    targets = np.where(random.uniform((rows,)) < 0.2, -100, random.integers(vocab, (rows,)))
    logits = ops.matmul(x, w, transpose_b=True)
    losses, lse = ops.token_losses(logits, targets)
    dlosses = random.normal((rows,))
    dlogits = ops.token_losses_backward(dlosses, logits, targets, lse)
    whole = losses, lse, *ops.matmul_backward(dlogits, x, w, transpose_b=True)
    for threads in (1, 3):
        _compiled.threads(threads)
        chunked = ops.linear_token_losses(x, w, targets)
        chunked += ops.linear_token_losses_backward(dlosses, x, w, targets, lse)
        assert digest(chunked) == digest(whole)


@pytest.mark.parametrize("width", [1, 8, 33, 64])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_one_query_reads_what_it_reads_among_others(width, kv_heads):
    """A single query runs other loops in the kernel than several: over all heads of a block of keys."""
    random = tl.Random("decode", width, kv_heads)
    lengths = np.array([300, 64, 0, 129, 1])
    k, v = (random.normal((5, 310, kv_heads, width)) for _ in range(2))
    q = random.normal((5, 1, 4, width))
    among = np.concatenate([random.normal((5, 9, 4, width)), q], axis=1)
    expected, lse = ops.attention(among, k, v, lengths=lengths)
    for causal in (True, False):
        found = ops.attention(q, k, v, causal, lengths)
        assert digest(found) == digest([expected[:, -1:].copy(), lse[..., -1:].copy()])


def test_a_range_of_keys_gives_the_bits_of_plain_attention_where_they_agree():
    """Try a prefix of 70 that all tokens see, ends = max(own position + 1, 70); and a window in decoding."""
    q, k, v = (tl.Tensor(tl.Random(name).normal((2, 150, 2, 8))) for name in "qkv")
    y = F.attention(q, k, v, ends=np.maximum(np.arange(1, 151), 70)[None]).data
    inside = F.attention(q[:, :70], k[:, :70], v[:, :70], causal=False).data
    assert digest([y[:, :70], y[:, 70:]]) == digest([inside, F.attention(q, k, v).data[:, 70:]])
    whole = F.attention(q, k, v, window=70).data
    assert digest([F.attention(q[:, -1:], k, v, window=70).data]) == digest([whole[:, -1:]])
