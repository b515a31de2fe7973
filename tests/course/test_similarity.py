"""Shared code is found behind other names and another order; what everybody has, or chance gives, is not."""

import ast
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tinyllm.cli import main
from tinyllm.course.classroom import similarity
from tinyllm.course.classroom.collect import Submission
from tinyllm.course.classroom.config import whole_course
from tinyllm.course.classroom.similarity import beyond_chance, fingerprint, fingerprints, similar
from tinyllm.course.reference_solution import solved
from tinyllm.course.syllabus import find_lesson

LESSON = find_lesson(4)
COURSE = replace(whole_course(), parts=whole_course().parts[4:6])
WAYS = ["({})", "0 + {}", "np.asarray({})", "({}) * 1", "np.array({}, copy=True)", "abs({})", "max({}, {})"]
COPY = '''

def second(mine):  # in another order
    """Something else."""
    for_all = np.exp(mine - 7).max(initial=3)
    return [abs(each) for each in for_all]


def first(one: int, two):
    total: float = one @ two
    if total.sum() > 5:
        total[0] = 2
    return total
'''
ORIGINAL = '''
def first(a, b):
    c = a @ b
    if c.sum() > 0:
        c[1] = 1
    return c
def second(x):
    y = np.exp(x - 1).max(initial=0)
    return [abs(z) for z in y]
'''


def shapes(text, name="exercise.py"):
    return {said for _, said in fingerprint("f", name, text)}


def test_names_constants_comments_and_order_do_not_count_but_what_is_called_does():
    assert shapes(ORIGINAL) == shapes(COPY.replace("total: float = one", "total = one")) != set()
    assert shapes(ORIGINAL) != shapes(ORIGINAL.replace("np.exp", "np.log"))
    assert shapes("x = 1  # a\n/* b */\n".replace("/* b */", "")) == shapes("y=2")
    c = "// a\nvoid f(int n) {\n  /* b\n */ for (int i = 0; i < n; i++) x[i] += 1.5f;\n}\n"
    other = "void f(int m) {\nfor (int j=1;j<m;j++) y[j]+=2;\n}"
    assert shapes(c, "exercise.c") == shapes(other, "exercise.c")


@pytest.mark.parametrize("name, text", [("exercise.c", "/* " * 60_000), ("exercise.py", "x = 1; " * 25_000)])
def test_a_long_file_takes_no_longer_than_its_length(name, text):
    """Quadratic time would be minutes: nothing here is measured, but nobody would wait for it."""
    assert len(shapes(text, name)) <= 1


def varied(rng):
    """Right answers to two lessons, each statement in one of several styles: students who never met."""
    tasks = [*LESSON.tasks, *find_lesson(5).tasks]
    tree = ast.parse("".join(solved(task) for task in tasks))
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.Return) and node.value:
            node.value = ast.parse(rng.choice(WAYS).format(*2 * [ast.unparse(node.value)]), mode="eval").body
    return ast.unparse(tree)


def handed_in(*texts):
    name = (LESSON.folder, "exercise.py")
    return [Submission(f"s{i}", Path(), {name: text.encode()}) for i, text in enumerate(texts)]


def renamed(text):
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in similarity.KEPT and node.id != "np":
            node.id += "_of_my_own"
    tree.body.reverse()
    return ast.unparse(tree)


@pytest.mark.parametrize("seed", range(3))
def test_one_renamed_copy_is_found_and_nobody_else_is_named(seed):
    rng = random.Random(seed)
    texts = [varied(rng) for _ in range(10)]
    found, left = fingerprints(handed_in(*texts, renamed(texts[3])), COURSE)
    (pair,) = similar(found)
    assert similar({name: mine for name, mine in found.items() if name != "s10"}) == [] == left
    assert (pair.one, pair.other) == ("s3", "s10")
    assert all(one.text != two.text for _, one, two in pair.shared)


def test_text_of_starter_and_library_is_not_compared():
    starter = (LESSON.path / "exercise.py").read_text("utf-8")
    library = starter + "".join(map(solved, LESSON.tasks))
    bad = ["def f(:", "x = " + 5000 * "-" + "1"]
    found, left = fingerprints(handed_in(library, library, *bad), COURSE)
    assert not any(found.values()) and similar(found) == []
    assert len(left) == 2 and left[0].startswith("s2, 04_softmax_and_loss/exercise.py: ")


def test_a_class_without_copies_stays_below_the_limit_in_nearly_all_gradings():
    """With sums of bits that fall off exponentially, one page in twenty names a pair."""
    rng = np.random.default_rng(0)
    above = [(sums > beyond_chance(sums, 0.05)).sum() for sums in rng.exponential(20, (400, 1225))]
    assert 0.02 < np.mean(above) < 0.12
    assert beyond_chance(np.zeros(1), 1) == similarity.LEAST_BITS


def test_the_page_shows_lines_side_by_side_and_accuses_nobody(here, printed):
    text = varied(random.Random(1))
    for name, code in (("Ada", text), ("<b>", renamed(text)), ("Eve", "x = 1")):
        Path("subs", name, LESSON.folder).mkdir(parents=True)
        Path("subs", name, LESSON.folder, "exercise.py").write_text(code)
    told, page = printed("course", "similar", "subs"), Path("similar.html").read_text("utf-8")
    assert "1 pair of 3 submissions" in told and "&lt;b&gt;" in page and "<b>" not in page
    assert "_of_my_own" in page and "a reason to look" in page
    assert not any(word in (told + page).lower() for word in ("plagiar", "cheat", "copied", "fraud"))
    assert main(["course", "similar", "nowhere"]) == 2


def test_a_file_that_cannot_be_compared_has_a_reason():
    files = {(LESSON.folder, "exercise.py"): b"-" * 100_000}
    _, left = fingerprints([replace(Submission("s", Path()), files=files)], COURSE)
    assert len(left) == 1 and left[0].split(": ")[1], left
