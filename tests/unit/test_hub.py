"""Check that a name on the Hub is downloaded by huggingface_hub, unless there is such a folder."""

import sys
from fnmatch import fnmatch
from types import ModuleType

import pytest

from tinyllm.errors import UserError
from tinyllm.models import build, from_pretrained, hub, registry

SIZES = {"model_type": "gpt2", "vocab_size": 8, "context": 12, "layers": 1, "heads": 2, "width": 8}


@pytest.fixture
def library(here, monkeypatch):
    """A library in place of huggingface_hub that has one model -> the names that it was asked for."""
    build(SIZES).save_pretrained(here / "cache")
    asked = []

    def snapshot_download(name, allow_patterns, ignore_patterns):
        asked.append(name)
        taken = [name for name in ("config.json", "onnx/config.json", "1_Pooling/config.json")
                 if not any(fnmatch(name, pattern) for pattern in ignore_patterns)]
        assert taken == ["config.json", "1_Pooling/config.json"]
        assert not any(pattern.endswith((".bin", ".py")) for pattern in allow_patterns)
        if name != "ada/tiny":
            raise OSError(f"Repository {name} not found.\nMore lines\nof advice")
        return str(here / "cache")

    fake = ModuleType("huggingface_hub")
    fake.snapshot_download = snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    hub.download.cache_clear()
    yield asked
    hub.download.cache_clear()


def test_a_name_on_the_hub_is_downloaded_once_unless_there_is_a_folder(library):
    assert from_pretrained("ada/tiny").config.width == 8
    assert registry.locate("ada/tiny").name == "cache" and library == ["ada/tiny"]
    build(SIZES | {"layers": 2}).save_pretrained("ada/tiny")
    assert from_pretrained("ada/tiny").config.layers == 2
    others = ("./bob/tiny", "/bob/tiny", "../bob/tiny", "bob/tiny/", "a/b/c", "tiny", "", "a b/c", "runs/a")
    for place in ("ada/tine", *others):
        with pytest.raises(UserError):
            from_pretrained(place)
    assert library == ["ada/tiny"]


def test_errors_of_the_hub_are_one_line(library, monkeypatch, refused):
    line = refused("generate", "bob/none")
    assert "cannot download bob/none from the Hub of Hugging Face: Repository bob/none not found." in line
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "there is no folder bob/tiny; pip install huggingface_hub" in refused("generate", "bob/tiny")
