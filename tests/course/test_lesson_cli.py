"""`tinyllm lesson | check | hint | solution | progress`: what a student reads at 80 columns, step by step."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from terminal import CTRL_C, at_terminal

from tinyllm.cli import main
from tinyllm.cli.lesson import next_lesson
from tinyllm.cli.verdict import VerdictPrinter
from tinyllm.course.answer_keys import answers
from tinyllm.course.reference_solution import source
from tinyllm.course.syllabus import find_lesson, syllabus
from tinyllm.course.workspace import start_lesson
from tinyllm.ops import OPS

ADD = "def add(x, y):\n    return x + y\n"


@pytest.fixture
def say(here, capsys):
    """Run a command -> what it printed, in lines of at most 80 columns."""

    def run(words, code=0):
        assert main(words.split()) == code
        said = capsys.readouterr()
        if code != 2:
            assert all(len(line) <= 80 for line in said.out.splitlines())
            assert not said.err
        return said.err if code == 2 else said.out

    return run


def write(number, text, name="exercise.py"):
    lesson = find_lesson(number)
    folder = os.path.join(os.getcwd(), lesson.folder)
    start_lesson(lesson, type(lesson.path)(os.getcwd()))
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        f.write(text)


def test_the_way_from_lesson_to_lesson_is_said(say, here):
    assert "next: `tinyllm lesson start 0`" in say("lesson")
    said = say("lesson start 0")
    assert "python 00_setup/lesson.py" in said and "tinyllm check 0" in said
    assert "next: `python 00_setup/lesson.py`" in say("progress")
    assert "write it in 00_setup/exercise.py; `tinyllm hint 0` helps" in say("check 0", 1)
    write(0, ADD)
    said = say("check 0")
    assert "next: `tinyllm lesson start 1`" in said and "in tinyllm/ops/elementwise.py: compare" in said
    assert "next: `tinyllm lesson start 1`" in say("lesson")
    assert "nothing was changed" in say("lesson start 0")
    assert "`tinyllm lesson start N`" in say("lesson begin", 2)
    assert "`tinyllm lesson start N`" in say("lesson --notebook", 2)
    assert "python 04_softmax_and_loss/lesson.py" in say("lesson 4")
    assert "jupyter lab 04_softmax_and_loss/lesson.ipynb" in say("lesson start 4 --notebook")
    assert (here / "04_softmax_and_loss/lesson.ipynb").read_text("utf-8").startswith("{")


@pytest.mark.parametrize(
    ("states", "expected"),
    [(["", "", ""], 0), (["done", "", ""], 1), (["", "started", ""], 1), (["", "done", ""], 2),
     (["", "done", "done"], 0), (["started", "done", ""], 0), (["done", "done", "done"], None), ([], None)],
)
def test_next_lesson_follows_where_a_student_began(states, expected):
    assert next_lesson(list(enumerate(states))) == expected


def test_a_lesson_that_training_calls_is_followed_by_training(say):
    write(5, source(OPS[task.op].reference for task in find_lesson(5).tasks))
    said = say("check 5")
    assert "`tinyllm train --mine 5 --steps 50`" in said and "next: `tinyllm lesson start 6`" in said


def test_every_start_and_every_hint_fits_the_terminal(say):
    for lesson in syllabus():
        assert lesson.folder in say(f"lesson start {lesson.number}")
        for task in lesson.tasks:
            for _ in range(3):
                said = say(f"hint {lesson.number} {task.name}")
                assert said.startswith(f"{task.name}, hint ")


@pytest.mark.parametrize("text, word, why", [
    ("def add(x, y)\n    return x\n", "blocked", "does not run: SyntaxError: expected ':' (line 1)\n"),
    ("raise AssertionError\n", "blocked", "does not run: AssertionError (line 1)\n"),
])
def test_a_file_that_does_not_run_is_said_once(say, capsys, text, word, why):
    """It once blamed ordinary numbers for it, for each exercise again."""
    for number in (0, 4, 11):
        write(number, text)
        said = " ".join(say(f"check {number}", 1).split()) + "\n"
        assert said.count(why) == 1 and "fails:" not in said and "properties" not in said
        assert said.count(f" {word}") == len(find_lesson(number).tasks)
    assert main(["check", "4", "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert all(task["state"] == "blocked" and task["message"] for task in record["tasks"])


def test_what_was_reached_is_not_taken_back_by_a_slip_of_the_pen_or_another_file(say, here):
    write(0, ADD)
    say("check 0")
    (here / "other.py").write_text("def add(x, y):\n    return x\n")
    assert "before" not in say("check 0 other.py", 1)
    write(0, "def add(\n")
    say("check 0", 1)
    assert "done" in say("lesson").splitlines()[0]
    write(0, ADD)
    assert "before" not in say("check 0")


def test_writing_into_an_input_is_the_property_that_breaks(say):
    write(0, "def add(x, y):\n    x += y\n    return x\n")
    said = say("check 0", 1)
    assert "fails: inputs are left as they were" in said and "work on a copy" in said


def test_programs_get_the_first_different_step_too(here, capsys):
    write(4, "import numpy as np\ndef log_softmax(x):\n"
             "    m = x.max(axis=-1, keepdims=True, initial=-np.inf)\n"
             "    m = np.where(m == -np.inf, 0, m)\n    return np.sin(x - m) + 7\n")
    assert main(["check", "4", "--json"]) == 1
    tasks = {task["task"]: task["step"] for task in json.loads(capsys.readouterr().out)["tasks"]}
    assert "total = np.float32(" in tasks.pop("log_softmax") and not any(tasks.values())


def test_prints_and_warnings_of_the_student_are_shown_and_those_of_numpy_are_not(say):
    """Wrong numbers overflow, and the verdict says so in better words."""
    write(0, "import warnings\nimport numpy as np\ndef add(x, y):\n    print('x is', x.shape, '\\033[2J')\n"
             "    warnings.warn('I am here')\n    np.log(np.zeros(1))\n    return x\n")
    said = say("check 0", 1)
    assert "the first lines that your code printed:" in said and "x is (" in said and "\033" not in said
    assert "I am here" in said and "divide by zero" not in said
    write(4, "import numpy as np\ndef softmax(x):\n    return np.exp(1000 + x * x)\n")
    said = say("check 4", 1)
    assert "Warning" not in said and "printed" not in said
    assert said.count("not attempted, for the file lacks it") == 4  # once two lines each


def test_what_is_shown_of_the_output_belongs_to_the_smallest_input(say):
    """It was once that of the first case, which nobody sees."""
    write(0, "def add(x, y):\n    print('sum of', x.tolist())\n    return x\n")
    said = " ".join(say("check 0", 1).split())
    smallest = re.search(r"x = np.float32\((.*?)\) y = ", said)[1]
    assert f"sum of {smallest} `tinyllm hint" in said
    assert "right: the result = np.float32(" in said and "yours: the result = np.float32(" in said
    write(0, "def add(x, y):\n    print('I pass')\n    return x + y\n")
    assert "I pass" in say("check 0")


@pytest.mark.parametrize("settings, colours, marks, erased", [
    ({"TERM": "xterm"}, True, True, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False, True, True),
    ({"TERM": "dumb"}, False, True, False), (None, False, False, False),
])
def test_marks_and_colours_are_for_terminals(monkeypatch, capsys, settings, colours, marks, erased):
    """And a first answer is replaced by the whole one; without a terminal the words stay as they are."""
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (settings or {}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: settings is not None, raising=False)
    monkeypatch.setattr("tinyllm.cli.verdict.can_print", lambda text: True)
    screen = VerdictPrinter()
    screen.first_answer("add", "the result should be 2, got 1")
    screen.show("failed", [f"  {'add':<24} failed", "      your output equals x"])
    screen.show("passed", [f"  {'softmax':<24} passed"])
    said = capsys.readouterr().out
    assert ("\033[31m" in said and "\033[32m" in said and "\033[1m" in said) == colours
    assert ("\N{BALLOT X} add" in said and "\N{CHECK MARK} softmax" in said) == marks
    assert said.count("\033[3A\033[J") == erased
    assert marks or said.startswith("  add  ")


def test_the_line_on_isolation_is_for_those_who_ask_and_for_what_is_refused(say, monkeypatch):
    """It once promised fences where the system's own rights had refused, and there were none."""
    write(0, "def add(x, y):\n    raise PermissionError('no')\n")
    monkeypatch.setattr("tinyllm.course.workers.best_level", lambda: "plain")
    said = " ".join(say("check 0", 1).split())
    assert said.count("isolation: plain") == 1 and "blocked" in said
    assert said.index("isolation: plain") > said.index("blocked")
    assert " ".join(say("check 0 --verbose", 1).split()).count("isolation: plain") == 1
    write(0, ADD)
    assert "isolation" not in say("check 0") and "isolation: plain" in say("check 0 --verbose")
    assert "use no network" not in said


CURIOUS = """import os
from helper import told
def add(a, b):
    here = os.path.dirname(os.path.abspath(__file__))
    raise told(here, sorted(os.listdir(here)), @)
"""


def test_a_check_shows_an_exercise_the_code_beside_it_and_no_other_file(here, capsys):
    """A worker reads all that lies below the folder of its file."""
    (here / "sub").mkdir()
    for path in (here / "notes.txt", here / "sub" / "secret.py"):
        path.write_text("the answer is this")
    (here / "helper.py").write_text("def told(*what):\n    return ValueError(f'{what[1]} {what[2]}')\n")
    for secret in ("notes.txt", "sub/secret.py"):
        (here / "alice.py").write_text(CURIOUS.replace("@", f"open({str(here / secret)!r}).read()"))
        assert main(["check", "0", "alice.py"]) == 1
        said = capsys.readouterr().out
        assert "the answer is" not in said and "blocked" in said
    (here / "alice.py").write_text(CURIOUS.replace("@", "'nothing'"))
    assert main(["check", "0", "alice.py"]) == 1
    said = capsys.readouterr().out
    assert "['alice.py', 'helper.py'] nothing (line 5)" in said
    assert "tinyllm-" not in said  # no name of ours


def test_an_exercise_that_cannot_be_read_is_one_line(say, here):
    (here / "alice.py").write_bytes(b"#" * (2**21 + 1))
    said = say("check 0 alice.py", 2)
    assert said == "tinyllm: error: cannot read alice.py: it has more than 2,097,152 bytes\n"


def test_nothing_is_left_where_there_is_no_workspace(say, here):
    say("hint 4")
    assert main(["solution", "4", "softmax"]) == 0
    assert "there is no 04_softmax_and_loss" in say("check 4", 2)
    assert not list(here.iterdir())


def test_a_workspace_that_cannot_be_written_is_one_line(say, here):
    (here / ".tinyllm").write_text("")
    assert say("lesson start 0", 2) == "tinyllm: error: cannot write .tinyllm: File exists\n"


@pytest.mark.parametrize("words", ["solution 0 add", "check 0"])
def test_commands_answer_when_progress_cannot_be_kept(here, capsys, words):
    write(0, ADD)
    shutil.rmtree(".tinyllm")
    (here / ".tinyllm").write_text("")
    assert main(words.split()) == 0
    said = capsys.readouterr()
    assert all(words in " ".join(said.err.split()) for words in ("cannot keep your progress", "not recorded"))
    assert "add" in said.out


@pytest.mark.parametrize("damaged", ["{", '{"tasks": 3}'])
def test_damaged_progress_is_said_and_kept_aside(here, capsys, damaged):
    write(0, ADD)
    path = here / ".tinyllm" / "progress.json"
    path.write_text(damaged)
    assert main(["progress"]) == 0 and "is damaged" in capsys.readouterr().err and path.read_text() == damaged
    assert main(["check", "0"]) == 0 and "is damaged" in capsys.readouterr().err
    assert path.with_name("progress.damaged").read_text() == damaged
    assert main(["progress"]) == 0 and not capsys.readouterr().err


def test_a_file_is_called_by_its_name_and_only_that_of_the_workspace_counts(say, here):
    write(0, ADD)
    (here / "mine.py").write_text(ADD)
    said = say("check 0 mine.py")
    assert "Set-up: mine.py\n" in said and "not recorded" in said and "00_setup/exercise.py" in said
    assert "0 of 1 done" in say("progress")
    assert "not recorded" not in say("check 0 00_setup/exercise.py")
    assert say("progress").splitlines() == [
        " 0  Set-up                       15 min  done", "next: `tinyllm lesson start 1`"]  # not all
    assert "add" in say("solution 0")
    assert "not recorded" not in say("check 0 00_setup")


def test_a_lesson_in_c_takes_its_file_or_its_folder(say, here):
    said = say("lesson start 10")
    assert "10_kernels/exercise.c" in said and "exercise.py" not in said
    (here / "other.c").write_text("")
    for words in ("check 10 10_kernels/exercise.c", "check 10 10_kernels"):
        assert "10_kernels/exercise.c" in say(words, 1)
    for name in ("other.c", "10_kernels/exercise.py", "10_kernels/lesson.py"):
        assert f"{name} is no exercise.c" in say(f"check 10 {name}", 2)
    assert "there is no nowhere.py; give your exercise.py, or its folder" in say("check 0 nowhere.py", 2)
    assert "other.c is no exercise.py" in say("check 0 other.c", 2)


@pytest.mark.parametrize("words, why", [
    ("solution 11 test_softmax", "no solution"),
    ("solution 12 gpt", "lessons 4 to 9"),
    ("solution 4", "Type for example `tinyllm solution 4 softmax`"),
    ("solution softmax", "give the lesson, too: `tinyllm solution 4 softmax`"),
])
def test_where_there_is_no_solution_none_is_shown(say, words, why):
    assert why in say(words, 2)


def test_a_solution_shows_its_helpers_too(say, here, capsys, printed):
    """That of attention once called three functions, and neither the scale nor the mask was to be seen."""
    for lesson in syllabus():
        for task in lesson.tasks:
            if task.kind not in ("op", "c"):
                continue
            shown = printed("solution", lesson.number, task.name)
            if task.kind == "c":
                assert answers(task).reference in shown and f"csrc/{task.op}.c in its sources" in shown
                continue
            defined = [node.name for node in ast.parse(shown).body if isinstance(node, ast.FunctionDef)]
            assert defined[0] == task.op and len(set(defined)) == len(defined)
    main(["solution", "6", "attention"])
    shown = capsys.readouterr().out
    assert "q.shape[3] ** -0.5" in shown and "key <= token" in shown and "def rows" not in shown
    at = [shown.index(f"def {name}(") for name in ("attention", "attention_mask", "masked_scores")]
    assert at == sorted(at)
    assert shown.count("def row_max") == 1


@pytest.mark.signals
def test_watch_checks_again_after_a_save_and_ends_with_ctrl_c(here):
    folder, _ = start_lesson(find_lesson(0), here)
    script = "import sys\nfrom tinyllm.cli import main\nsys.exit(main(['check', '0', '--watch']))"

    def save():
        (folder / "exercise.py").write_text(ADD)
        return ""

    keys = [("waiting for you to save exercise.py", key) for key in (save, CTRL_C)]
    shown, code = at_terminal([sys.executable, "-c", script], keys, cwd=here)
    assert code == 130 and shown.count("lesson 0, ") == 2 and "passed" in shown and "Traceback" not in shown


WITHOUT = """
import sys
sys.modules["hypothesis"] = None
from tinyllm.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("command", [["check", "0", "x.py"], ["course", "init"]])
def test_without_the_extra_there_is_one_line(tmp_path, command):
    (tmp_path / "x.py").write_text(ADD)
    command = [sys.executable, "-c", WITHOUT, *command]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "pip install hypothesis" in done.stderr
