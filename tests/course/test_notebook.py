"""Check lessons as notebooks: the JSON that Jupyter asks for, with the cells of the script."""

import json
import re

import pytest

from tinyllm.course.notebook import to_notebook
from tinyllm.course.stepping import cells
from tinyllm.course.syllabus import syllabus


@pytest.mark.parametrize("lesson", syllabus(), ids=lambda lesson: lesson.folder)
def test_a_notebook_has_the_cells_of_the_script(lesson):
    """Check what nbformat 4.5 demands of each cell, see https://nbformat.readthedocs.io."""
    script = (lesson.path / "lesson.py").read_text("utf-8")
    book = json.loads(to_notebook(script))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert book["metadata"]["kernelspec"]["name"] == "python3"
    for cell, written in zip(cells(script), book["cells"], strict=True):
        assert "".join(written["source"]) == cell.text
        assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", written["id"])
        code = {"execution_count", "outputs"} if not cell.prose else set()
        assert set(written) == {"cell_type", "id", "metadata", "source"} | code
        assert written["cell_type"] == ("markdown" if cell.prose else "code")
    assert len({cell["id"] for cell in book["cells"]}) == len(book["cells"])


def test_a_notebook_runs_like_the_script(capsys, here):
    """Its code, one cell after the other, in one set of names without `__file__`."""
    names = {}
    script = next(lesson for lesson in syllabus() if lesson.number == 4).path / "lesson.py"
    for cell in json.loads(to_notebook(script.read_text("utf-8")))["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert "it is 2.718" in capsys.readouterr().out and (here / "softmax.html").is_file()
