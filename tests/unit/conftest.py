"""Share a text to train on, and a run without interruptions, among the unit tests."""

import io
import sys

import pytest
from tiny_run import new_training, write_text


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    return write_text(tmp_path_factory.mktemp("text") / "text.txt")


@pytest.fixture(scope="session")
def whole(tmp_path_factory, text):
    """Train a run to its end and return its folder; tests only read it."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    list(new_training(folder, text))
    return folder


@pytest.fixture
def transformers():
    pytest.importorskip("torch")
    return pytest.importorskip("transformers")


@pytest.fixture
def stdin(monkeypatch):
    def feed(data):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return feed
