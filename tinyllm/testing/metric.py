"""Provide test cases, common mistakes and correct variants for metrics of answers, and for intervals."""

import itertools

import numpy as np
from hypothesis import strategies as st

from tinyllm.rng import Random
from tinyllm.testing.arrays import ANY_LAYOUT, BITS, CASES, MODEST, arrange, axis, cases, floats, ints, seeds
from tinyllm.testing.bounds import BOUNDS, EPS, largest
from tinyllm.testing.edits import mistake, variant
from tinyllm.testing.relations import declared_cases

counts = axis(2, 1, 5, 17, 40, 100)
levels = st.sampled_from((0.95, 0.9, 0.5, 0.99))
WORDS = ("cat", "mat", "x-ray", "theatre", "banana", "to-day", "3.5", "é", "an", "the", "...")
DRESSED = ("{}", "{}", "{}.", " {} ", "({})", "the {}", "A\t{}", "{} an")


@cases("exact_match", "token_f1")
def answers(draw):
    """Draw two answers; the second often has words of the first in another order or another dress."""
    rng = Random(draw(seeds), "answers")
    said = [WORDS[i] for i in rng.integers(len(WORDS), draw(st.sampled_from((2, 1, 3, 0, 5))))]
    parts = " ".join(said).replace("-", " ").split()
    other = draw(st.sampled_from((said, said[::-1], parts, said[1:], said * 2, ["cat"])))
    pair = [" ".join(DRESSED[rng.integers(len(DRESSED))].format(word) for word in words)
            for words in draw(st.permutations((said, other)))]
    return pair[0].upper() if draw(st.booleans()) else pair[0], pair[1]


@st.composite
def confident(draw, *settings):
    """Draw confidences, multiples of 1/16, often on edges of bins; what was right; settings."""
    rng, n = Random(draw(seeds), "confident"), draw(counts)
    confidences = (rng.integers(17, n) / 16).astype(np.float32)
    right = rng.uniform(n) < draw(st.sampled_from((0.5, 0.9, 0.0, 1.0)))
    layout = draw(st.sampled_from(ANY_LAYOUT))
    return arrange(confidences, layout), arrange(right, layout), *map(draw, settings)


@cases("auroc")
def labelled_scores(draw):
    """Draw scores, many of which are equal, and labels: at least one of each kind."""
    rng, n = Random(draw(seeds), "labelled"), draw(counts) + 1
    labels = np.roll(np.r_[True, False, rng.uniform(n - 2) < 0.5], rng.integers(n))
    return floats(draw, (n,), ("whole", "normal", "equal")), labels


CASES |= {"bootstrap_interval": declared_cases(
              "bootstrap_interval", {"N": counts, "B": axis(2, 1, 3, 20, 200)}, level=levels,
              scores=(*MODEST, *BITS), draws=lambda draw, n: ints(draw, (n["B"], n["N"]), n["N"])),
          "majority_vote": declared_cases(  # many answers are equal; -1 stands for a text without one
              "majority_vote", {"N": counts, "K": axis(5, 1, 2, 3, 8)},
              answers=lambda draw, n: ints(draw, (n["N"], n["K"]), draw(st.integers(1, 5))) - 1),
          "brier_score": confident(),
          "expected_calibration_error": confident(st.sampled_from((15, 1, 2, 4, 8, 10, 16))),
          "wilson_interval": st.tuples(st.sampled_from((0, 3, 10)), st.sampled_from((10, 17, 1000)), levels)}
BOUNDS |= {  # of sums of numbers from 0 to 1, divided by how many there are
    name: lambda args, results: (EPS * (8 + len(args[0])),)
    for name in ("brier_score", "expected_calibration_error", "auroc")}
BOUNDS |= {
    "token_f1": lambda args, results: (1e-6,), "wilson_interval": lambda args, results: (1e-6, 1e-6),
    "majority_vote": lambda args, results: (0, EPS),
    "bootstrap_interval": lambda args, results: 2 * (EPS * (8 + len(args[0])) * largest(args[0])[0],)}

ECE, TEXTS = "expected_calibration_error", ("exact_match", "token_f1")
SAME, SHARED = "words_of(answer) == words_of(truth)", "(Counter(said) & Counter(wanted)).total()"
KEPT = "''.join(letter for letter in text.lower() if letter not in string.punctuation)"
WHICH = "np.maximum(np.ceil(confidences.astype(np.float64) * bins) - 1, 0).astype(np.int64)"
GAPS, SUM = "np.bincount(which, right - confidences)", "np.abs(gaps).sum() / len(confidences)"
OF_BINS = "abs(gaps[i]) / np.sum(which == i) for i in {*which.tolist()}"
AREA = "(below + upto).sum() / (2 * pairs)"
Z, SPREAD = "NormalDist().inv_cdf((1 + level) / 2)", "z * (p * (1 - p) / n) ** 0.5"
ENDS = "max(0.0, min(p, (centre - half) / shrink)), min(1.0, max(p, (centre + half) / shrink))"
MEANS, TAILS = "scores[draws].mean(axis=1)", "[(1 - level) / 2, (1 + level) / 2]"

for names, old, wrong in (  # old: the code that is replaced, by the code after each sentence
    (TEXTS, KEPT, {
        "capital letters that make another word": KEPT.replace(".lower()", ""),
        "punctuation that counts: `cat.` and `cat` are one word": "text.lower()",
        "punctuation replaced by a space: `x-ray` must become one word, xray":
            "''.join(' ' if letter in string.punctuation else letter for letter in text.lower())"}),
    (TEXTS, r're.sub(r"\b(a|an|the)\b", " ", kept)', {
        "articles that count: a, an and the must be left out": "kept",
        "articles cut out of other words, such as the `the` of theatre": 're.sub("a|an|the", " ", kept)'}),
    (TEXTS[:1], SAME, {
        "a match wherever the answer contains the truth":
            "' '.join(words_of(truth)) in ' '.join(words_of(answer))",
        "the same words in any order": "sorted(words_of(answer)) == sorted(words_of(truth))"}),
    (TEXTS[1:], SHARED, {
        "shared words counted once, however often both answers have them": "len({*said} & {*wanted})",
        "each word of the answer counted that the truth has, too, however often":
            "sum(word in wanted for word in said)"}),
    (TEXTS[1:], "2 * shared / (len(said) + len(wanted))", {
        "the precision: shared words / words of the answer": "shared / max(len(said), 1)",
        "the recall: shared words / words of the truth": "shared / max(len(wanted), 1)",
        "shared words / all different words, the Jaccard index":
            "len({*said} & {*wanted}) / len({*said, *wanted})"}),
    (["brier_score"], "((confidences - right) ** 2).mean()", {
        "the mean distance, without a square": "np.abs(confidences - right).mean()"}),
    ([ECE], SUM, {
        "the mean over bins, which weighs a bin of one answer like one of many": f"np.mean([{OF_BINS}])",
        "the worst bin: that is the maximum calibration error": f"max({OF_BINS})"}),
    ([ECE], GAPS, {
        "a distance for each answer, without bins": "right - confidences",
        "answers with confidence 0 left out, which belong to the first bin":
            "np.bincount(which, (right - confidences) * (confidences > 0))",
        "the middle of the bin in place of its mean confidence":
            "np.bincount(which, right - (which + 0.5) / bins)"}),
    ([ECE], WHICH, {
        "edges put into the bin above, not into the bin below":
            "np.minimum(confidences.astype(np.float64) * bins, bins - 1).astype(np.int64)",
        "bins with equally many answers, not bins of equal width":
            "np.argsort(np.argsort(confidences, kind='stable')) * bins // len(confidences)"}),
    (["auroc"], AREA, {
        "equal scores counted as 1, not 1 / 2": "upto.sum() / pairs",
        "equal scores counted as 0, not 1 / 2": "below.sum() / pairs",
        "a value of at least 0.5, the labels exchanged if need be": f"max({AREA}, 1 - {AREA})",
        "the share of right decisions at the threshold 0, an accuracy": "np.mean((scores > 0) == labels)"}),
    (["wilson_interval"], Z, {
        "the z of one side: (1 - level) / 2 must lie on each side": "NormalDist().inv_cdf(level)"}),
    (["wilson_interval"], ENDS, {
        "the normal interval, whose width is 0 if all answers are right":
            f"max(0.0, p - {SPREAD}), min(1.0, p + {SPREAD})"}),
    (["bootstrap_interval"], MEANS, {
        "the spread of single scores, not of their means": "scores[draws].reshape(-1)"}),
    (["bootstrap_interval"], f"np.quantile({MEANS}, {TAILS})", {
        "1 - level cut off on each side, in place of half of it": f"np.quantile({MEANS}, [1 - level, level])",
        "z standard deviations of the means on each side, as if they were normal":
            f"{MEANS}.mean() + {Z} * {MEANS}.std() * np.array([-1, 1])",
        "the basic bootstrap: quantiles mirrored at the mean":
            f"2 * scores.mean() - np.quantile({MEANS}, {TAILS})[::-1]"}),
    (["majority_vote"], "votes.argmax(axis=1)", {
        "the last of the answers that were given equally often":
            "votes.shape[1] - 1 - votes[:, ::-1].argmax(axis=1)",
        "the smallest of the answers that were given equally often":
            "np.where(votes == votes.max(axis=1, keepdims=True), answers, 99).argmin(axis=1)",
        "the first answer, without a vote": "0 * votes.argmax(axis=1)",
        "the rarest answer": "votes.argmin(axis=1)"}),
):
    for name, sentence in itertools.product(names, wrong):
        mistake(name, sentence, old, wrong[sentence])


@variant(ECE)
def error_bin_by_bin(confidences, right, bins=15):
    error, edges = 0.0, np.linspace(0, 1, bins + 1)
    for low, high in itertools.pairwise(edges):
        here = (confidences > low) & (confidences <= high) | (low == 0) & (confidences == 0)
        if here.any():
            error += here.mean() * abs(right[here].mean() - confidences[here].mean())
    return error


variant("auroc")(lambda scores, labels: (np.sign(scores[labels][:, None] - scores[~labels]).mean() + 1) / 2)
