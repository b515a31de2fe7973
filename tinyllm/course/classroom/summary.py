"""Where a class is stuck: the states of tasks, the bugs that are common, and who asked for solutions."""

from collections import Counter


def summary(results):
    """What a grading says of the class as a whole -> dict of plain values."""
    graded = [record for record in results["submissions"] if not record["problem"]]
    tasks, bugs = {}, Counter()
    for record in graded:
        for lesson in record["lessons"]:
            for task in lesson["tasks"]:
                states = tasks.setdefault((lesson["lesson"], task["task"]), Counter())
                states[task["state"]] += 1
                if task["mistake"]:
                    bugs[lesson["lesson"], task["task"], task["mistake"]] += 1
    return {
        "isolation": results["isolation"],
        "submissions": len(results["submissions"]),
        "refused": [(r["student"], r["problem"]) for r in results["submissions"] if r["problem"]],
        "left_out": results.get("left_out", []),
        "tasks": [{"lesson": n, "task": name, **states} for (n, name), states in sorted(tasks.items())],
        "bugs": [
            {"lesson": n, "task": name, "mistake": said, "students": count}
            for (n, name, said), count in sorted(bugs.items(), key=lambda pair: (-pair[1], pair[0]))
        ],
        "solutions": [
            {"student": r["student"], "lesson": lesson["lesson"], "task": task["task"]}
            for r in graded for lesson in r["lessons"] for task in lesson["tasks"] if task["solution_seen"]
        ],
    }  # fmt: skip
