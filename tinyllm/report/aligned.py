"""Draw what post-training did: the reward that training saw beside the true one, and the signs of trouble."""

from tinyllm.report.page import Html, tag
from tinyllm.report.svg import Series, chart

SEEN, TRUE = "what training sees", "the true reward"
CHARTS = [  # title, what the axes show, column of the x axis, {name of a curve: column of the log}
    ("Reward", "mean of an answer, by step", "step", {SEEN: "objective/scores", TRUE: "true_reward"}),
    ("Reward and distance", "validation, by nats from the start", "val_objective/kl",
     {SEEN: "val_objective/scores", TRUE: "val_true_reward"}),
    ("Rewards of pairs", "nats from the start, times beta", "step",
     {"chosen": "rewards/chosen", "rejected": "rewards/rejected"}),
    ("Pairs in the right order", "share, by step", "step",
     {"training": "rewards/accuracies", "validation": "val_rewards/accuracies"}),
    ("Distance", "KL divergence from the start, nats", "step", {"": "objective/kl"}),
    ("Length", "tokens of an answer", "step", {"": "completions/mean_length"}),
    ("Entropy", "nats of an answer", "step", {"": "objective/entropy"}),
    ("Cut off", "share of answers without an end", "step", {"": "completions/clipped_ratio"}),
    ("No contrast", "share of prompts whose answers earn the same", "step", {"": "frac_reward_zero_std"}),
]


def aligned(records: list[dict]) -> Html:
    """Return charts of the columns of a log that post-training writes, or empty HTML if there are none."""
    drawn = []
    for title, unit, across, curves in CHARTS:
        series = []
        for (name, column), style in zip(curves.items(), ("train", "val"), strict=False):
            points = sorted((each[across], each[column]) for each in records
                            if each.get(across) is not None and each.get(column) is not None)
            series.append(Series(name, points, style if len(curves) > 1 else "other"))
        words = [f"{s.name} from {s.points[0][1]:.3g} to {s.points[-1][1]:.3g}" for s in series if s.points]
        drawn.append(chart(title, "; ".join(words), series, unit))
    return tag("div", drawn, class_="trio") if any(drawn) else Html()
