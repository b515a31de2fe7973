"""Turn a lesson's script into a Jupyter notebook. Jupyter is not needed: a notebook is a JSON file."""

import json

from tinyllm.course.stepping import cells


def to_notebook(source: str) -> str:
    """Convert a script in percent format (cells begin with `# %%`) to the text of an .ipynb file.

    The file's format is nbformat 4.5 (https://nbformat.readthedocs.io): a list of cells, each with an id.
    """
    found = [_cell(number, cell) for number, cell in enumerate(cells(source))]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    book = {"cells": found, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(book, indent=1, ensure_ascii=False) + "\n"


def _cell(number, cell):
    """Return a cell as a dict of nbformat 4; "source" is a list of its lines, each with its line end."""
    common = {"id": f"cell-{number}", "metadata": {}, "source": cell.text.splitlines(keepends=True)}
    if cell.prose:
        return {"cell_type": "markdown", **common}
    return {"cell_type": "code", "execution_count": None, "outputs": [], **common}
