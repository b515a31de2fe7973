"""What several files of tests start from: a text to train on, and a run that nobody interrupted."""

import pytest
from tiny_run import new_training, write_text

from tinyllm.cli import main


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    return write_text(tmp_path_factory.mktemp("text") / "text.txt")


@pytest.fixture(scope="session")
def whole(tmp_path_factory, text):
    """The folder of a whole run; tests only read it."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    list(new_training(folder, text))
    return folder


@pytest.fixture
def refused(capsys):
    """A function that runs a command line that is refused -> its one line; nothing else is printed."""

    def run(*words):
        capsys.readouterr()
        assert main([*map(str, words)]) == 2
        out, line = capsys.readouterr()
        assert not out and line.startswith("tinyllm: error: ") and line.count("\n") == 1
        return line

    return run


@pytest.fixture
def transformers():
    pytest.importorskip("torch")
    return pytest.importorskip("transformers")
