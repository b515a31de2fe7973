"""The same bits everywhere: over threads, instruction sets, the batch a row sits in, chunks and a cache.

The levels are those of this CPU; test_kernels.py compares every kernel at two more that only tests build.
"""

import numpy as np
import pytest
from verify_bits import digest, logits_in_every_way

import tinyllm.functional as F
from tinyllm import ops
from tinyllm.models import GPT, GPTConfig
from tinyllm.ops.attention import key_ranges
from tinyllm.ops.registry import _compiled
from tinyllm.rng import Random
from tinyllm.tensor import Tensor
from tinyllm.train import AdamW, clip_grad_norm

LEVELS = _compiled.levels() if _compiled else []
pytestmark = pytest.mark.skipif(not LEVELS, reason="a promise of the kernels, and they are not built")

CONFIG = GPTConfig(vocab_size=61, context=40, layers=2, heads=3, width=48, dropout=0.1)  # odd on purpose


@pytest.fixture(autouse=True)
def compiled_and_restored():
    threads = _compiled.threads()
    with ops.use("compiled"):
        yield
    _compiled.threads(threads)
    _compiled.use_level(None)


def trained(steps=12):
    """The digest of logits, gradients and weights after some steps of training."""
    model, random = GPT(CONFIG, seed=1), Random("bits")
    optimizer = AdamW(model.parameters(), lr=1e-2)
    for _ in range(steps):
        tokens = random.integers(61, (3, 41)).astype(np.int32)
        optimizer.zero_grad()
        model.loss(tokens[:, :-1], tokens[:, 1:]).backward()
        clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
    logits = model(tokens[:, :-1]).data
    return digest([logits, *(p.grad for p in model.parameters()), *model.state_dict().values()])


@pytest.fixture(scope="module")
def expected():
    _compiled.threads(1)
    with ops.use("compiled"):
        return trained()


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_training_gives_the_same_bits_on_any_number_of_threads(threads, expected):
    _compiled.threads(threads)
    assert trained() == expected


@pytest.mark.parametrize("level", LEVELS)
def test_training_gives_the_same_bits_at_every_cpu_level(level, expected):
    _compiled.use_level(level)
    assert trained() == expected


@pytest.mark.parametrize("threads", [1, 3])
def test_logits_do_not_depend_on_batch_chunks_or_cache(threads):
    _compiled.threads(threads)
    found = dict(logits_in_every_way(GPT(CONFIG, seed=1).eval()))
    assert len(found) > 20 and len(set(found.values())) == 1, found


@pytest.mark.parametrize("offence", ["batch", "length"])
def test_logits_that_depend_on_their_neighbours_are_noticed(offence):
    def linear(x, w, b=None):
        y = ops.linear.compiled(x, w, b)
        return y if x.shape[0 if offence == "batch" else 1] < 5 else np.nextafter(y, np.float32(9))

    with ops.override(linear=linear):
        assert len(set(dict(logits_in_every_way(GPT(CONFIG, seed=1).eval())).values())) > 1


def test_one_changed_bit_is_another_digest():
    model = GPT(CONFIG, seed=1)
    before = digest(model.state_dict().values())
    w = model.parameters()[0].data
    w.flat[7] = np.nextafter(w.flat[7], np.float32(9))
    assert digest(model.state_dict().values()) != before


SIZES = [1, 2, 5, 6, 7, 12, 13, 16, 31, 33, 64, 100, 257]


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_a_row_of_a_product_does_not_depend_on_the_rows_beside_it(transpose_a, transpose_b):
    random = Random("rows", int(transpose_a), int(transpose_b))
    for depth in (1, 3, 255, 383, 384, 385, 800):  # one block of k, its edges, three blocks
        a, b = random.normal((70, depth)), random.normal((depth, 37))
        left = np.ascontiguousarray(a.T) if transpose_a else a
        right = np.ascontiguousarray(b.T) if transpose_b else b
        whole = ops.matmul(left, right, transpose_a, transpose_b)
        for rows in SIZES:
            part = np.ascontiguousarray(left[:, :rows]) if transpose_a else left[:rows]
            assert digest([ops.matmul(part, right, transpose_a, transpose_b)]) == digest([whole[:rows]])


@pytest.mark.parametrize("rows, vocab", [(1000, 30_011), (768, 20_000), (385, 30_011), (5, 40_000)])
def test_the_loss_in_chunks_of_rows_has_the_bits_of_whole_logits(rows, vocab):
    """With 30,011 tokens a chunk holds 384 rows, matmul's block: three chunks, the last one uneven."""
    random = Random("chunks", rows, vocab)
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


@pytest.mark.parametrize("bits", [8, 4])
def test_a_row_of_a_quantised_product_does_not_depend_on_the_rows_beside_it(bits):
    random = Random("quantised rows", bits)
    linear, quantize = (getattr(ops, f"{name}_int{bits}") for name in ("linear", "quantize"))
    for n_in in (1, 32, 100, 800):
        x, (q, scales) = random.normal((70, n_in)), quantize(random.normal((n_in, 37)))
        whole = linear(x, q, scales, 37)
        for rows in SIZES:
            assert digest([linear(x[:rows], q, scales, 37)]) == digest([whole[:rows]])
            assert digest([linear(x[rows - 1 : rows], q, scales, 37)]) == digest([whole[rows - 1 : rows]])


ODD = ("linear", "linear_gelu", "linear_int8", "linear_int4", "attention", "softmax", "layernorm",
       "gelu_tanh", "cross_entropy", "dropout", "attention_ranges")


def test_every_level_agrees_on_values_that_are_no_numbers():
    """A hidden key's weight is 0, and 0 times NaN is NaN: it may reach a query, at every level alike."""
    random = Random("broken values")
    q, k, v = (random.normal((1, 70, 2, 20)) for _ in range(3))
    v[0, 7], v[0, 65] = np.nan, np.inf
    found = set()
    for level in LEVELS:
        _compiled.use_level(level)
        found.add(digest(np.where(np.isnan(y), 0, y) for y in ops.attention(q, k, v)))
    assert len(found) == 1


@pytest.mark.parametrize("name", ODD)
def test_every_level_and_thread_count_agrees_on_odd_shapes(name):
    def results():
        random = Random("odd", name)
        for n in SIZES:
            if name == "linear":
                yield ops.linear(random.normal((n, 500)), random.normal((500, n)), random.normal((n,)))
            elif name == "linear_gelu":
                x, w, b = random.normal((n, 500)), random.normal((500, n)), random.normal((n,))
                yield from (*ops.linear_gelu(x, w, b), ops.gelu_tanh(ops.linear(x, w, b)))
            elif name in ("linear_int8", "linear_int4"):
                q, scales = getattr(ops, name.replace("linear", "quantize"))(random.normal((500, n)))
                q.view(np.uint8).flat[: q.size // 4] = 128  # also numbers that no rounding makes: -128
                yield from (q, scales, *ops.quantize_rows(random.normal((n, 500))))
                yield getattr(ops, name)(random.normal((n, 500)), q, scales, n, random.normal((n,)))
            elif name == "attention":
                q, k, v = (random.normal((2, n, heads, 33)) for heads in (4, 2, 2))
                y, lse = ops.attention(q, k, v)
                yield from (y, lse, *ops.attention_backward(random.normal(y.shape), q, k, v, y, lse))
            elif name == "attention_ranges":
                q, k, v = (random.normal((2, n, heads, 33)) for heads in (4, 2, 2))
                ranges, bias = key_ranges((2, n), n, window=70), random.normal((4, 1, n))
                y, lse = ops.attention_ranges(q, k, v, *ranges, bias)
                dy = random.normal(y.shape)
                yield from (y, lse, *ops.attention_ranges_backward(dy, q, k, v, *ranges, bias, y, lse))
            elif name == "layernorm":
                x, w = random.normal((700, n)), random.normal((n,))
                y, mean, rstd = ops.layernorm(x, w, w)
                yield from (y, mean, rstd, *ops.layernorm_backward(y, x, w, mean, rstd))
            elif name == "cross_entropy":
                yield from ops.cross_entropy(random.normal((700, n)), random.integers(n, (700,)))
            elif name == "dropout":
                yield ops.dropout(random.normal((700, n)), random.reserve(0), 0.1)
            else:
                yield getattr(ops, name)(random.normal((700, n)))

    digests = set()
    for level in LEVELS:
        for threads in (1, 3):
            _compiled.use_level(level)
            _compiled.threads(threads)
            digests.add(digest(results()))
    assert len(digests) == 1


@pytest.mark.parametrize("width", [1, 8, 33, 64])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_one_query_reads_what_it_reads_among_others(width, kv_heads):
    """Decoding runs loops of its own, over all heads of a stretch of keys."""
    random = Random("decode", width, kv_heads)
    lengths = np.array([300, 64, 0, 129, 1])
    k, v = (random.normal((5, 310, kv_heads, width)) for _ in range(2))
    q = random.normal((5, 1, 4, width))
    among = np.concatenate([random.normal((5, 9, 4, width)), q], axis=1)
    expected, lse = ops.attention(among, k, v, lengths=lengths)
    for level in LEVELS:
        for threads in (1, 3):
            _compiled.use_level(level)
            _compiled.threads(threads)
            for causal in (True, False):
                found = ops.attention(q, k, v, causal, lengths)
                assert digest(found) == digest([expected[:, -1:].copy(), lse[..., -1:].copy()])


def queries_keys_values(*shape):
    return [Tensor(Random(name).normal(shape)) for name in "qkv"]


def test_a_prefix_is_seen_by_all_and_the_rest_is_causal():
    """ends = max(own token + 1, prefix): the same as both kinds of attention where these agree."""
    q, k, v = queries_keys_values(1, 6, 2, 8)
    y = F.attention(q, k, v, ends=np.maximum(np.arange(1, 7), 3)[None]).data
    inside = F.attention(q[:, :3], k[:, :3], v[:, :3], causal=False).data
    assert y[:, :3].tobytes() == inside.tobytes()
    assert y[:, 3:].tobytes() == F.attention(q, k, v).data[:, 3:].tobytes()


def test_packed_documents_do_not_see_each_other():
    q, k, v = queries_keys_values(1, 70, 2, 8)
    y = F.attention(q, k, v, starts=np.repeat([0, 64], [64, 6])[None]).data
    alone = F.attention(*(x[:, 64:] for x in (q, k, v))).data
    assert y[:, 64:].tobytes() == alone.tobytes()
    assert y[:, :64].tobytes() == F.attention(q, k, v).data[:, :64].tobytes()


def test_a_window_that_decodes_sees_what_it_saw_in_training():
    q, k, v = queries_keys_values(2, 150, 2, 8)
    whole = F.attention(q, k, v, window=70).data
    assert F.attention(q[:, -1:], k, v, window=70).data.tobytes() == whole[:, -1:].tobytes()
