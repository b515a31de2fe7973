"""Check the laws of metrics, intervals and rankings, and compare them with other libraries and the papers."""

import re
from collections import Counter
from string import punctuation

import numpy as np
import pytest

from tinyllm import Random, ops
from tinyllm.testing.catalog import draw_cases


def test_answers_are_compared_as_by_the_script_of_squad():
    strange = [("«The» cat—a cat", "cat—a « » cat"), ("a-the", "athe"), ("e.g. the_cat", "eg thecat")]
    for pair in strange + draw_cases("token_f1", 200):
        said, wanted = (re.sub(r"\b(a|an|the)\b", " ", "".join(
            letter for letter in text.lower() if letter not in set(punctuation))).split() for text in pair)
        assert ops.exact_match(*pair) == (said == wanted)
        same = sum((Counter(said) & Counter(wanted)).values())
        precision, recall = same / max(len(said), 1), same / max(len(wanted), 1)
        f1 = 2 * precision * recall / (precision + recall) if same else float(said == wanted)
        assert ops.token_f1(*pair) == ops.token_f1(*pair[::-1]) == pytest.approx(f1)


def test_confidences_are_scored_as_by_hand_and_finer_bins_find_no_smaller_error():
    confidences, right = np.float32([0.0, 0.5, 1.0, 1.0]), np.array([True, True, True, False])
    assert ops.expected_calibration_error(confidences, right, 2) == (2 - 0.5) / 4 + (2 - 1) / 4
    assert ops.brier_score(confidences, right) == (1 + 0.25 + 0 + 1) / 4
    p = Random("finer").uniform(300).astype(np.float32)
    errors = [ops.expected_calibration_error(p, p > 0.4, bins) for bins in (1, 2, 4, 8, 16)]
    assert errors == sorted(errors) and errors[0] < errors[-1]


def test_the_order_of_scores_decides_and_chance_is_one_half():
    scores, labels = Random("auroc").normal(400), Random("labels").uniform(400) < 0.3
    area = ops.auroc(scores, labels)
    assert ops.auroc(np.exp(scores), labels.astype(int)) == area and abs(area - 0.5) < 0.1
    assert ops.auroc(-scores, labels) == pytest.approx(1 - area)
    assert ops.auroc(0 * scores, labels) == 0.5 and ops.auroc(labels + scores / 100, labels) == 1
    assert np.isnan(ops.auroc(scores, labels | True))
    metrics, p = pytest.importorskip("sklearn.metrics"), np.round(Random("peer").uniform(400), 1)
    assert ops.auroc(p, labels) == pytest.approx(metrics.roc_auc_score(labels, p))
    assert ops.brier_score(p, labels) == pytest.approx(metrics.brier_score_loss(labels, p))


def test_an_interval_of_wilson_holds_its_own_score():
    for n in range(1, 300):
        for right in (0, n // 3, n):
            low, high = ops.wilson_interval(right, n)
            assert low <= right / n <= high


def test_the_bootstrap_takes_the_quantiles_of_the_means():
    draws = np.repeat(np.arange(101)[:, None], 101, axis=1)  # the mean of row i is i
    scores = np.arange(101, dtype=np.float32)
    assert ops.bootstrap_interval(scores, draws) == pytest.approx((2.5, 97.5))
    assert ops.bootstrap_interval(scores, draws, 0.8) == pytest.approx((10, 90))


def test_intervals_hold_the_truth_in_95_of_100_evaluations():
    """Each evaluation draws a true share; for one fixed share it is 93 to 98. The tolerance is 3 sigma."""
    held = []
    for rng in (Random("trial", i) for i in range(1000)):
        truth, scores = rng.uniform(), rng.uniform(200)
        low, high = ops.wilson_interval(int((scores < truth).sum()), 200)
        least, most = ops.bootstrap_interval(scores, rng.integers(200, (400, 200)))
        held.append([low <= truth <= high, least <= 0.5 <= most])
    assert np.mean(held, axis=0) == pytest.approx([0.95] * 2, abs=3 * (0.95 * 0.05 / 1000) ** 0.5)


def test_bm25_is_that_of_bm25s():
    bm25s = pytest.importorskip("bm25s")
    documents = [[f"w{i}" for i in Random("bm25", n).integers(30, 1 + n)] for n in range(40)]
    for k1, b in ((1.5, 0.75), (0.9, 0.4)):
        peer = bm25s.BM25(method="lucene", k1=k1, b=b)
        peer.index(documents, show_progress=False)
        for query in (["w3"], ["w1", "w2", "w1"], ["w5", "unknown", "w29"], documents[9]):
            np.testing.assert_allclose(ops.bm25_scores(documents, query, k1, b), peer.get_scores(query), 1e-5)


def test_a_canary_like_all_others_has_an_exposure_of_log2_e_bits():
    losses, canaries = np.split(Random("canaries").normal(2000), 2)
    assert ops.exposure(losses, canaries).mean() == pytest.approx(np.log2(np.e), abs=0.15)
    assert ops.exposure(losses, np.float32([-99, 99])) == pytest.approx([np.log2(1001), 0])
    assert not ops.exposure(0 * losses, 0 * canaries).any()  # a model that cannot tell them apart
