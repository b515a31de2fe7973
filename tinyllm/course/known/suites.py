"""Property tests as students write them: right ones, and some that miss the wrong or accuse the right."""

from tinyllm.course.known import Answer, Answers

LIVE, ACCUSES, SILENT = "mutants live", "it accuses", "it never calls"
ENDLESS = "did not come to an end"

REFERENCE = '''import numpy as np

def test_softmax(softmax):
    rng = np.random.default_rng(0)
    for shape in ((3, 5), (7,), (2, 3, 4), (4, 1)):
        x = rng.standard_normal(shape).astype(np.float32)
        y = softmax(x)
        assert y.shape == x.shape and y.dtype == np.float32
        assert np.all(y >= 0) and np.allclose(y.sum(axis=-1), 1, atol=1e-5)
        assert np.allclose(softmax(x + np.float32(1000)), y, atol=1e-3)
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        assert np.allclose(y / y.max(axis=-1, keepdims=True), e, atol=1e-5)
    assert np.allclose(softmax(np.array([[0.0, 1.0], [-500, -500]], np.float32))[1], 0.5)
    assert np.all(softmax(np.full((2, 3), -np.inf, np.float32)) == 0)


def test_attention(attention):
    rng = np.random.default_rng(0)
    for S, T, H, K, D in ((3, 3, 1, 1, 2), (3, 5, 4, 2, 3), (1, 4, 2, 2, 4)):
        shapes = (2, S, H, D), (2, T, K, D), (2, T, K, D)
        q, k, v = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
        for causal in (True, False):
            for lengths in (None, np.array([T - 1, T]), np.array([1, 0])):
                y, lse = attention(q, k, v, causal=causal, lengths=lengths)
                for b, s, h in np.ndindex(2, S, H):
                    n = T if lengths is None else int(lengths[b])
                    seen = max(min(n, n - S + s + 1) if causal else n, 0)
                    scores = k[b, :seen, h // (H // K)] @ q[b, s, h] / D**0.5
                    w = np.exp(scores)
                    want = w @ v[b, :seen, h // (H // K)] / w.sum() if seen else np.zeros(D)
                    assert np.allclose(y[b, s, h], want, atol=1e-4)
                    assert np.allclose(lse[b, h, s], np.log(w.sum()) if seen else -np.inf, atol=1e-4)
    large = np.full((1, 2, 1, 4), 100, np.float32)
    assert np.allclose(attention(large, large, large)[0], large)


def test_bpe_merge(bpe_merge):
    for ids, want in (([5, 5, 5], [9, 5]), ([1, 5, 5, 3, 5, 5], [1, 9, 3, 9]), ([], []), ([5], [5])):
        before = list(ids)
        assert bpe_merge(ids, (5, 5), 9) == want and ids == before
    assert bpe_merge([2, 1, 4], (1, 2), 9) == [2, 1, 4]
    assert bpe_merge([1, 2, 1, 2], (1, 2), 9) == [9, 9]
'''

CALLS = {  # something small and right to call each with, and something too large
    "softmax": ("softmax(np.ones((2, 3), np.float32))", "softmax(np.ones((50, 50), np.float32))"),
    "attention": ("attention(*np.ones((3, 1, 2, 2, 4), np.float32))",
                  "attention(*np.ones((3, 1, 32, 2, 64), np.float32))"),
    "bpe_merge": ("bpe_merge([1, 2, 3], (1, 2), 9)", "bpe_merge([1, 2] * 2000, (1, 2), 9)"),
}  # fmt: skip
# What goes wrong whatever is tested: (what it is, what is said of it, the body). CALL is one of those above.
ALWAYS = [
    ("nothing", SILENT, "pass"),
    ("an assertion that nobody can pass", ACCUSES, "assert CALL is None"),
    ("a call whose result nobody looks at", LIVE, "CALL"),
    ("a comparison that is returned, not asserted", LIVE, "return CALL is None"),
    ("an assertion whose failure is caught again", LIVE,
     "try:\n        assert CALL is None\n    except AssertionError:\n        pass"),
    ("an assertion of a tuple, which is always true", LIVE, 'assert (CALL is None, "it is wrong")'),
    ("an implementation compared with itself", LIVE, "assert str(CALL) == str(CALL)"),
    ("numbers printed, for somebody to look at", LIVE, "print(CALL)"),
    ("a function of its own in place of the one it is given", SILENT,
     "mine = lambda *args: None\n    assert mine(1) is None"),
    ("an input that is too large", ACCUSES, "LARGE"),
    ("a loop without end", ENDLESS, "while True:\n        pass"),
]  # fmt: skip
# And what goes wrong with one op only.
WRONG = {
    "softmax": [
        ("rows that sum to 1, and no more", LIVE, """
    x = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    assert np.allclose(softmax(x).sum(axis=-1), 1, atol=1e-5)
"""),
        ("one example, copied from a run", LIVE, """
    assert np.allclose(softmax(np.array([0.0, 0.0], np.float32)), [0.5, 0.5])
"""),
        ("the same bits as its own formula", ACCUSES, """
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    assert np.array_equal(softmax(x), e / e.sum(axis=-1, keepdims=True))
"""),
        ("sums that are 1 to the last bit", ACCUSES, """
    x = np.random.default_rng(0).standard_normal((20, 50)).astype(np.float32)
    assert np.all(softmax(x).sum(axis=-1) == 1)
"""),
        ("a masked row that is spread evenly", ACCUSES, """
    assert np.allclose(softmax(np.full((1, 4), -np.inf, np.float32)), 0.25)
"""),
    ],
    "attention": [
        ("shapes, and no more", LIVE, """
    y, lse = attention(*np.ones((3, 2, 3, 4, 5), np.float32))
    assert y.shape == (2, 3, 4, 5) and lse.shape == (2, 4, 3) and y.dtype == np.float32
"""),
        ("a single token, which can only read itself", LIVE, """
    q, k, v = np.random.default_rng(0).standard_normal((3, 1, 1, 2, 4)).astype(np.float32)
    assert np.allclose(attention(q, k, v)[0], v, atol=1e-5)
"""),
        ("a text with one head, from its beginning, without padding", LIVE, """
    q, k, v = np.random.default_rng(0).standard_normal((3, 1, 4, 1, 3)).astype(np.float32)
    y = attention(q, k, v)[0]
    for s in range(4):
        w = np.exp(k[0, : s + 1, 0] @ q[0, s, 0] / 3**0.5)
        assert np.allclose(y[0, s, 0], w @ v[0, : s + 1, 0] / w.sum(), atol=1e-4)
"""),
        ("queries taken for the first of the keys", ACCUSES, """
    q = np.ones((1, 2, 1, 2), np.float32)
    k = np.ones((1, 4, 1, 2), np.float32)
    v = np.arange(8, dtype=np.float32).reshape(1, 4, 1, 2)
    assert np.allclose(attention(q, k, v)[0][0, 0], v[0, 0])
"""),
        ("scores without the factor 1 / sqrt(D)", ACCUSES, """
    q, k, v = np.random.default_rng(0).standard_normal((3, 1, 3, 1, 8)).astype(np.float32)
    w = np.exp(k[0, :, 0] @ q[0, 2, 0])
    assert np.allclose(attention(q, k, v)[0][0, 2, 0], w @ v[0, :, 0] / w.sum(), atol=1e-4)
"""),
    ],
    "bpe_merge": [
        ("lengths, and no more", LIVE, """
    assert len(bpe_merge([1, 2, 3, 1, 2], (1, 2), 9)) == 3
"""),
        ("one example, in which nothing overlaps", LIVE, """
    assert bpe_merge([1, 2, 3], (1, 2), 9) == [9, 3]
"""),
        ("a pair that overlaps itself merged from the right", ACCUSES, """
    assert bpe_merge([5, 5, 5], (5, 5), 9) == [5, 9]
"""),
        ("a tuple in place of a list", ACCUSES, """
    assert bpe_merge([1, 2], (1, 2), 9) == (9,)
"""),
        ("a list that is merged where it stands", ACCUSES, """
    ids = [1, 2, 3]
    bpe_merge(ids, (1, 2), 9)
    assert ids == [9, 3]
"""),
    ],
}

RIGHT = {
    "softmax": {
        "a slow twin in plain Python": """
    rng = np.random.default_rng(1)
    rows = [rng.uniform(-3, 3, n).tolist() for n in (1, 2, 5) for _ in range(3)]
    rows += [[-200.0, 100.0, 99.0], [-math.inf, 0.0], [-math.inf] * 3, [-1000.0, -1000.0]]
    for row in rows:
        peak = max(row)
        e = [math.exp(v - peak) if v > -math.inf else 0.0 for v in row]
        want = [v / (sum(e) or 1) for v in e]
        y = softmax(np.array([row, row[::-1]], np.float32))
        assert y.dtype == np.float32
        assert np.allclose(y, [want, want[::-1]], atol=1e-5)
""",
        "relations between two calls": """
    x = np.random.default_rng(2).standard_normal((2, 3, 4)).astype(np.float32)
    y = softmax(x)
    assert y.dtype == x.dtype
    for i in np.ndindex(2, 3):
        assert np.allclose(softmax(x[i]), y[i], atol=1e-6), "a row depends on its neighbours"
    assert np.allclose(softmax(x + np.float32(300)), y, atol=1e-3)
    assert np.allclose(softmax(x[..., ::-1].copy()), y[..., ::-1], atol=1e-6)
    assert np.allclose(np.log(y[..., 1:] / y[..., :1]), x[..., 1:] - x[..., :1], atol=1e-4)
    masked = np.append(x, np.full((2, 3, 1), -np.inf, np.float32), axis=-1)
    assert np.allclose(softmax(masked)[..., :-1], y, atol=1e-6)
""",
        "corners worked out by hand": """
    def right(x, want):
        x = np.array(x, np.float32)
        before = x.copy()
        y = softmax(x)
        assert np.array_equal(x, before) and y.dtype == np.float32
        assert np.allclose(y, want, atol=1e-6)

    right([0, math.log(2), math.log(5)], [1 / 8, 2 / 8, 5 / 8])
    right([[0, math.log(3)], [math.log(4), 0]], [[0.25, 0.75], [0.8, 0.2]])
    right([[1000, 1000], [0, 0]], [[0.5, 0.5], [0.5, 0.5]])
    right([[7.0], [-7.0]], [[1], [1]])
    right([-np.inf, -np.inf], [0, 0])
""",
    },
    "attention": {
        "a slow twin, number by number": """
    rng = np.random.default_rng(3)
    for S, T, H, K, D, causal, lengths in (
        (2, 2, 1, 1, 3, True, None), (2, 4, 4, 2, 2, True, None), (3, 3, 2, 1, 2, False, None),
        (2, 3, 4, 2, 2, True, [3, 1]), (2, 3, 2, 2, 2, False, [2, 0]),
    ):
        q = (2 * rng.standard_normal((2, S, H, D))).astype(np.float32)
        k, v = (rng.standard_normal((2, T, K, D)).astype(np.float32) for _ in "kv")
        y, lse = attention(q, k, v, causal, None if lengths is None else np.array(lengths))
        for b, s, h in np.ndindex(2, S, H):
            n, g = T if lengths is None else lengths[b], h // (H // K)
            keys = [t for t in range(n) if not causal or t <= n - S + s]
            scores = [sum(float(q[b, s, h, d]) * float(k[b, t, g, d]) for d in range(D)) for t in keys]
            scores = [score / math.sqrt(D) for score in scores]
            total = sum(math.exp(score) for score in scores)
            assert np.isclose(lse[b, h, s], math.log(total) if keys else -math.inf, atol=1e-4)
            for d in range(D):
                parts = [math.exp(score) * float(v[b, t, g, d]) for score, t in zip(scores, keys)]
                assert abs(y[b, s, h, d] - (sum(parts) / total if keys else 0)) < 1e-4
""",
        "whole arrays at once, with einsum and a mask": """
    rng = np.random.default_rng(4)
    B, S, T, H, K, D = 2, 3, 5, 4, 2, 4
    for causal in (False, True):
        for lengths in ([5, 5], [4, 2], [3, 0]):
            q = rng.standard_normal((B, S, H, D)).astype(np.float32) * 2
            k, v = rng.standard_normal((2, B, T, K, D)).astype(np.float32)
            y, lse = attention(q, k, v, causal=causal, lengths=np.array(lengths))
            scores = np.einsum("bshd,bthd->bhst", q, np.repeat(k, H // K, axis=2)) / np.sqrt(D)
            n = np.array(lengths)[:, None, None]
            seen = np.arange(T) < n
            if causal:
                seen = seen & (np.arange(T) <= n - S + np.arange(S)[:, None])
            e = np.where(np.broadcast_to(seen[:, None], scores.shape), np.exp(scores), 0)
            total = e.sum(axis=-1)
            w = e / np.where(total > 0, total, 1)[..., None]
            assert np.allclose(y, np.einsum("bhst,bthd->bshd", w, np.repeat(v, H // K, axis=2)), atol=1e-4)
            with np.errstate(divide="ignore"):
                assert np.allclose(lse, np.log(total), atol=1e-4)
""",
        "a simple case worked out, and relations that lead to all others": """
    rng = np.random.default_rng(5)
    q = rng.standard_normal((1, 4, 2, 3)).astype(np.float32)
    k, v = rng.standard_normal((2, 1, 4, 2, 3)).astype(np.float32)
    y, lse = attention(q, k, v)
    for h in range(2):  # the last query sees everything
        e = np.exp(k[0, :, h] @ q[0, 3, h] / 3**0.5)
        assert np.allclose(y[0, 3, h], e @ v[0, :, h] / e.sum(), atol=1e-4)
        assert np.isclose(lse[0, h, 3], np.log(e.sum()), atol=1e-4)
    for t in range(1, 5):  # a shorter text, and a cache, give the same rows
        a, b = attention(q[:, :t], k[:, :t], v[:, :t])
        assert np.allclose(a, y[:, :t], atol=1e-4) and np.allclose(b, lse[:, :, :t], atol=1e-4)
        a, b = attention(q[:, t - 1 : t], k[:, :t], v[:, :t])
        assert np.allclose(a, y[:, t - 1 : t], atol=1e-4)
        a, b = attention(q[:, :t], k, v, lengths=np.array([t]))  # padding after the text
        assert np.allclose(a, y[:, :t], atol=1e-4) and np.allclose(b, lse[:, :, :t], atol=1e-4)
    open_y, _ = attention(q, k, v, causal=False)  # without the mask, order does not matter
    turned, _ = attention(q, k[:, ::-1].copy(), v[:, ::-1].copy(), causal=False)
    assert np.allclose(open_y, turned, atol=1e-4) and np.allclose(open_y[:, 3], y[:, 3], atol=1e-4)
    four = np.concatenate([q, q[:, ::-1]], axis=2)[:, :, [0, 2, 1, 3]]  # two query heads for each of two
    shared, _ = attention(four, k, v)
    plain, _ = attention(four, np.repeat(k, 2, axis=2), np.repeat(v, 2, axis=2))
    assert np.allclose(shared, plain, atol=1e-4)
    none, _ = attention(q, k, v, lengths=np.array([0]))
    assert np.all(none == 0)
""",
    },
    "bpe_merge": {
        "a slow twin": """
    def slow(ids, pair, new):
        if len(ids) < 2:
            return list(ids)
        if tuple(ids[:2]) == pair:
            return [new, *slow(ids[2:], pair, new)]
        return [ids[0], *slow(ids[1:], pair, new)]

    rng = np.random.default_rng(6)
    for n in range(12):
        for pair in ((0, 1), (1, 1), (1, 0)):
            ids = rng.integers(0, 2, n).tolist()
            given = list(ids)
            assert bpe_merge(given, pair, 7) == slow(ids, pair, 7)
            assert given == ids
""",
        "examples, each of which looks into a corner": """
    for ids, pair, want in [
        ([], (1, 2), []), ([1], (1, 2), [1]), ([1, 2], (1, 2), [9]), ([2, 1], (1, 2), [2, 1]),
        ([1, 2, 1, 2], (1, 2), [9, 9]), ([5, 5, 5, 5, 5], (5, 5), [9, 9, 5]), ([3, 1, 2], (1, 2), [3, 9]),
        ([1, 1, 2], (1, 2), [1, 9]), ([1, 2, 2], (1, 2), [9, 2]), ([9, 1, 2], (1, 2), [9, 9]),
    ]:
        kept = tuple(ids)
        got = bpe_merge(ids, pair, 9)
        assert isinstance(got, list) and got == want and tuple(ids) == kept
""",
        "what must be true of every result": """
    rng = np.random.default_rng(7)
    for n in (0, 1, 2, 3, 8, 15, 30):
        for a, b in ((1, 2), (2, 2), (3, 1)):
            ids = rng.integers(1, 4, n).tolist()
            kept = list(ids)
            got = bpe_merge(ids, (a, b), 9)
            assert ids == kept
            assert [x for y in got for x in ((a, b) if y == 9 else (y,))] == ids, "nothing is lost"
            assert all(pair != (a, b) for pair in zip(got, got[1:])), "nothing is left to merge"
            if a == b and 9 in got:
                assert all(x != a for x in got[: got.index(9)][-1:]), "from the left"
""",
    },
}


def answers(task):
    """The answers to a task that is a property test -> Answers."""
    call, large = CALLS[task.op]
    always = [(said, by, body.replace("CALL", call).replace("LARGE", large)) for said, by, body in ALWAYS]
    wrong = tuple(Answer(said, suite(task, body), by) for said, by, body in [*always, *WRONG[task.op]])
    right = tuple(Answer(said, suite(task, body)) for said, body in RIGHT[task.op].items())
    return Answers("exercise.py", REFERENCE, right, wrong)


def suite(task, body):
    """A file with one test that has this body."""
    return f"import math\n\nimport numpy as np\n\n\ndef {task.name}({task.op}):\n    {body.strip()}\n"
