"""Check `blame`, which finds the student's function that breaks a run of `train --mine`."""

import pytest
from plugin_run import DIAGONAL, train, write

from tinyllm.cli import main

SCALE = "q.shape[3] ** (-0.5)"  # as ast.unparse writes the library's
SUMMED = """
first = cross_entropy_backward
def cross_entropy_backward(dloss, logits, targets, *args, **named):
    return first(dloss, logits, targets, *args, **named) * np.float32(targets.size)
"""


def blamed(capsys, code=1):
    """Call `tinyllm blame` -> (the functions to blame, what it printed)."""
    capsys.readouterr()
    assert main(["blame"]) == code
    said = capsys.readouterr().out
    assert all(len(line) <= 80 for line in said.splitlines())
    return [line.split()[3] for line in said.splitlines() if line.startswith("to blame: ")], said


@pytest.mark.parametrize("options, extra, culprits, words", [
    (["4"], DIAGONAL, ["softmax_backward"], "`tinyllm check 4` says what is wrong with it"),
    (["4,6"], DIAGONAL, ["softmax_backward", "attention"], "`tinyllm check 6`"),
    (["4", "--lr", "1e-6"], SUMMED, ["cross_entropy_backward"], "gradient norm"),
], ids=["one", "several", "a factor that clipping hides from a loss that hardly moves"])
def test_blame_names_the_culprits(workspace, capsys, options, extra, culprits, words):
    write(workspace, 4, extra)
    write(workspace, 6, change=lambda source: source.replace(SCALE, "1.0"))
    train("--mine", *options)
    names, said = blamed(capsys)
    assert names == culprits and words in said


def test_blame_names_a_function_that_fails_as_it_is_now(workspace, capsys):
    write(workspace, 4)
    train("--mine", "4", "--steps", "3")
    train("--steps", "1")  # of the library alone, and newer
    write(workspace, 4, "def softmax_backward(dy, y):\n    return dy[99]\n")
    names, said = blamed(capsys)
    assert names == ["softmax_backward"] and "IndexError" in said


def test_blame_needs_a_run_with_functions_of_the_students(workspace, refused):
    assert "there is no run of `tinyllm train --mine`" in refused("blame")
    assert train("--out", "ours", "--steps", "1") == 0
    assert "trained by the library alone" in refused("blame", "ours")
