"""`blame`: which of a student's functions breaks a run of `train --mine`."""

from plugin_run import DIAGONAL, train, write

from tinyllm.cli import main
from tinyllm.course.syllabus import find_lesson
from tinyllm.course.workspace import StudentProgress

SCALE = "q.shape[3] ** (-0.5)"  # as ast.unparse writes the library's
SUMMED = """
first = cross_entropy_backward
def cross_entropy_backward(dloss, logits, targets, *args, **named):
    return first(dloss, logits, targets, *args, **named) * np.float32(targets.size)
"""


def blamed(capsys, code=1):
    assert main(["blame"]) == code
    said = capsys.readouterr().out
    assert all(len(line) <= 80 for line in said.splitlines())
    return [line.split()[3] for line in said.splitlines() if line.startswith("to blame: ")], said


def test_blame_names_the_one_culprit(workspace, capsys):
    write(workspace, 4, DIAGONAL)
    train("--mine", "4")
    capsys.readouterr()
    names, said = blamed(capsys)
    assert names == ["softmax_backward"]
    assert "with the library's in place of it, the loss is right" in said


def test_blame_names_several_culprits(workspace, capsys):
    write(workspace, 4, DIAGONAL)
    write(workspace, 6, change=lambda source: source.replace(SCALE, "1.0"))
    train("--mine", "4,6")
    capsys.readouterr()
    names, said = blamed(capsys)
    assert names == ["softmax_backward", "attention"]
    assert "in place of them" in said


def test_blame_names_a_function_that_fails(workspace, capsys):
    write(workspace, 4)
    train("--mine", "4")
    write(workspace, 4, "def softmax_backward(dy, y):\n    return dy[99]\n")
    capsys.readouterr()
    names, said = blamed(capsys)
    assert names == ["softmax_backward"] and "IndexError" in said and "your files have changed" in said


def test_blame_needs_a_run_with_functions_of_the_students(workspace, capsys):
    assert main(["blame"]) == 2
    assert train("--out", "ours") == 0
    assert main(["blame", "ours"]) == 2
    assert "trained by the library alone" in capsys.readouterr().err


def test_a_factor_that_clipping_hides_from_the_loss_is_seen_in_the_gradient(workspace, capsys):
    write(workspace, 4, SUMMED)
    train("--mine", "4", "--lr", "1e-6")  # so slow that no loss can tell
    capsys.readouterr()
    names, said = blamed(capsys)
    assert names == ["cross_entropy_backward"] and "gradient norm" in said


def test_what_a_check_says_is_added_to_what_blame_can_feel(workspace, capsys):
    write(workspace, 4)
    train("--mine", "4")
    progress = StudentProgress(workspace)
    for task in find_lesson(4).tasks:
        progress.task(find_lesson(4), task.name)["state"] = "passed"
    progress.save()
    capsys.readouterr()
    _, said = blamed(capsys, 0)
    assert "nothing to blame" in said and "`tinyllm check 4`" in said and "has not passed" not in said
    progress.task(find_lesson(4), "log_softmax")["state"] = "failed"
    progress.save()
    _, said = blamed(capsys, 0)
    assert "has not passed these yet: log_softmax (failed)" in said
