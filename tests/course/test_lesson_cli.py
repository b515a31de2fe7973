"""Check the student's commands beyond tests/sessions: all hints and solutions, and a missing package."""

import ast
import subprocess
import sys

from plugin_run import write

from tinyllm.cli import main
from tinyllm.cli.verdict import shortened
from tinyllm.course.answer_keys import answers
from tinyllm.course.syllabus import find_lesson, syllabus


def test_every_start_and_every_hint_fits_the_terminal(here, printed):
    for lesson in syllabus():
        said = printed("lesson", "start", lesson.number)
        assert lesson.folder in said
        for task in lesson.tasks:
            hints = [printed("hint", lesson.number, task.name) for _ in range(3)]
            assert all(hint.startswith(f"{task.name}, hint ") for hint in hints)
            said += "".join(hints)
        assert all(len(line) <= 80 for line in said.splitlines())


def test_a_lesson_that_training_calls_is_followed_by_training(here, printed):
    write(here, 3)
    said = printed("check", 3)
    assert "`tinyllm train --mine 3 --steps 50`" in said and "next: `tinyllm lesson start 4`" in said


def test_a_line_on_isolation_follows_what_is_refused(here, capsys, refused, monkeypatch):
    """A message once said that the sandbox had refused, at the level "plain", which has no sandbox."""
    monkeypatch.setattr("tinyllm.cli.lesson.best_level", lambda: "plain")
    (here / "00_setup").mkdir()
    for text, count in ("raise PermissionError('no')", 1), ("return x + y", 0), ("return abs(x) + y", 0):
        (here / "00_setup" / "exercise.py").write_text(f"def add(x, y):\n    {text}\n")
        main(["check", "0"])
        shown = capsys.readouterr().out
        assert shown.count("isolation: plain") == count and not shown.endswith("\n\n\n")
        assert "use no network" not in " ".join(shown.split())
    assert "did you mean exercise.py" in refused("check", "0", "00_setup/exercize.py")


def test_an_input_leaves_its_failure_on_the_screen():
    shown = [f"{name} = {' 0.25,' * count}" for name, count in zip("abcde", (60, 3, 60, 60, 60), strict=True)]
    lines = "\n".join(shortened(shown)).split("\n")
    assert len(lines) <= 12 and "        b =  0.25, 0.25, 0.25," in lines
    assert sum(line.endswith(" ...") for line in lines) == 4


def test_a_solution_shows_its_helpers_too(printed):
    """The solution of attention once called three functions that were not shown, with scale and mask."""
    for lesson in syllabus():
        for task in (task for task in lesson.tasks if task.kind == "op"):
            shown = printed("solution", lesson.number, task.name)
            defined = [node.name for node in ast.parse(shown).body if isinstance(node, ast.FunctionDef)]
            assert defined[0] == task.op and len(set(defined)) == len(defined)
    assert answers(find_lesson(10).tasks[0]).reference in printed("solution", 10, "softmax_c")
    shown = printed("solution", 6, "attention")
    assert "q.shape[3] ** -0.5" in shown and "key <= token" in shown and "def rows" not in shown
    at = [shown.index(f"def {name}(") for name in ("attention", "masked_scores", "attention_mask")]
    assert at == sorted(at) and shown.count("def row_max") == 1


def test_without_the_extra_there_is_one_line(here):
    (here / "x.py").write_text("def add(x, y):\n    return x + y\n")
    without = "import sys\nsys.modules['hypothesis'] = None\nfrom tinyllm.cli import main\n"
    command = [sys.executable, "-c", f"{without}sys.exit(main(['check', '0', 'x.py']))"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "pip install hypothesis" in done.stderr
