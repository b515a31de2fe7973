"""Check that a name on the Hub is downloaded by huggingface_hub, unless there is such a folder."""

import sys
from fnmatch import fnmatch
from types import ModuleType

import pytest

from tinyllm.cli import main
from tinyllm.errors import UserError
from tinyllm.models import build, from_pretrained, hub, registry

SIZES = {"vocab_size": 8, "context": 12, "layers": 1, "heads": 2, "width": 8}


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A library in place of huggingface_hub that has one model -> the names that it was asked for."""
    build({"model_type": "gpt2", **SIZES}).save_pretrained(tmp_path / "cache")
    asked = []

    def snapshot_download(name, allow_patterns, ignore_patterns):
        asked.append(name)
        taken = [name for name in ("config.json", "onnx/config.json", "1_Pooling/config.json")
                 if not any(fnmatch(name, pattern) for pattern in ignore_patterns)]
        assert taken == ["config.json", "1_Pooling/config.json"]
        assert not any(pattern.endswith((".bin", ".py")) for pattern in allow_patterns)
        if name != "ada/tiny":
            raise OSError(f"Repository {name} not found.\nMore lines\nof advice")
        return str(tmp_path / "cache")

    fake = ModuleType("huggingface_hub")
    fake.snapshot_download = snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    hub.download.cache_clear()
    yield asked
    hub.download.cache_clear()


def test_a_name_on_the_hub_is_downloaded_once(library):
    assert from_pretrained("ada/tiny").config.width == 8
    assert registry.locate("ada/tiny").name == "cache" and library == ["ada/tiny"]


def test_a_folder_comes_first_and_paths_are_never_asked_for(library, tmp_path):
    build({"model_type": "gpt2", **SIZES, "layers": 2}).save_pretrained("ada/tiny")
    assert from_pretrained("ada/tiny").config.layers == 2
    others = ("./bob/tiny", "/bob/tiny", "../bob/tiny", "bob/tiny/", "a/b/c", "tiny", "", "a b/c", "runs/a")
    for place in ("ada/tine", *others):
        with pytest.raises(UserError):
            from_pretrained(place)
    assert library == []


def test_errors_of_the_hub_are_one_line(library, monkeypatch, refused):
    line = refused("generate", "bob/none")
    assert "cannot download bob/none from the Hub of Hugging Face: Repository bob/none not found." in line
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    line = refused("generate", "bob/tiny")
    assert "there is no folder bob/tiny; pip install huggingface_hub" in line
    assert main(["generate", "bob"]) == 2
