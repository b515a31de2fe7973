"""Tokenizers are measured on the same text, and only when all give the same ids."""

import json

import pytest

from tinyllm.bench import peers
from tinyllm.cli import bench as cli
from tinyllm.cli import main
from tinyllm.errors import UserError
from tinyllm.ops.runtime import threads
from tinyllm.tokenizer import BPETokenizer

TEXT = "def naïve(self, x):\n    return 12345 + x  # 😀 don't\n\n" * 40
bench = peers.load("tokenizer")
TINY = bench.Scale(None, 300, 400)


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "c.py"
    path.write_text(TEXT)
    return str(path)


def test_every_task_is_measured(corpus):
    before = threads()
    records = list(bench.measure_tokenizer(corpus, TINY, 0, least=1))
    assert threads() == before
    every = list(dict.fromkeys((1, before)))
    tasks = [(r["task"], r["engine"], r["threads"]) for r in records if "mb_per_second" in r]
    expected = [("train", "tinyllm", before)]
    expected += [("encode", name, n) for n in every for name in ("tinyllm", "tinyllm array")]
    expected += [("decode", "tinyllm", 1), ("decode", "tinyllm array", 1)]
    assert tasks == [*expected, ("split", "tinyllm", 1), ("split", "regex", 1)]
    assert {r["text"] for r in records if "twice" in r} == set(bench.hostile_texts(b"", 4))
    assert all(r["bytes"] == len(TEXT.encode()) for r in records if "twice" not in r)
    assert records[-1]["task"] == "memory" and records[-1]["peak_rss_mb"] >= records[-1]["text_mb"]
    assert all(max(map(len, cli.line(r).splitlines())) <= 80 for r in records)


class Echo:
    """An engine that works as ours does."""

    name = "echo"

    def __init__(self, tokenizer):
        self.ours = tokenizer

    def encode(self, texts, threads):
        return self.ours.encode_batch(texts)

    def decode(self, ids):
        return self.ours.decode_bytes(ids)


class Other(Echo):
    def encode(self, texts, threads):
        return [[*ids[:-1], 0] for ids in super().encode(texts, threads)]


class Forgetful(Echo):
    def decode(self, ids):
        return super().decode(ids)[:-1]


def not_installed(tokenizer):
    raise ImportError("No module named 'absent'")


def test_others_take_turns_and_who_is_missing_is_said(corpus, monkeypatch):
    trained = []
    monkeypatch.setattr(bench, "ENGINES", {"echo": Echo, "absent": not_installed})
    trainers = {"echo": lambda tokenizer: lambda texts, size: trained.append((len(texts), size))}
    monkeypatch.setattr(bench, "TRAINERS", trainers)
    records = list(bench.measure_tokenizer(corpus, TINY, 0, least=1, peers=True))
    assert {r["task"] for r in records if r["engine"] == "echo"} == {"train", "encode", "decode"}
    assert all(r["times"] > 0 for r in records if r["engine"] == "echo")
    (skipped,) = (r for r in records if "skipped" in r)
    assert skipped["engine"] == "absent" and "left out, No module" in cli.line(skipped)
    assert set(trained) == {(1, 300)}


@pytest.mark.parametrize("engine, problem", [(Other, "other ids"), (Forgetful, "does not decode its ids")])
def test_tokenizers_that_do_other_work_are_not_timed(engine, problem, corpus, monkeypatch):
    monkeypatch.setattr(bench, "ENGINES", {"echo": engine})
    monkeypatch.setattr(bench, "TRAINERS", {})
    with pytest.raises(UserError, match=problem):
        next(bench.measure_tokenizer(corpus, TINY, 0, least=1, peers=True))


def test_hostile_texts_are_as_long_as_asked():
    for kind, text in bench.hostile_texts(TEXT.encode(), 1000).items():
        assert kind == "natural" or 997 <= len(text) <= 1000
        text.decode()
    assert bench.hostile_texts(b"a b", 8)["no spaces"] == b"abababab"


@pytest.mark.parametrize("pattern", ["gpt2", "gpt4"])
@pytest.mark.parametrize("name, package", [("tiktoken", "tiktoken"), ("huggingface", "tokenizers")])
def test_others_run_our_vocabulary(name, package, pattern):
    pytest.importorskip(package)
    tokenizer = BPETokenizer.train(TEXT, 400, pattern)
    peer = bench.ENGINES[name](tokenizer)
    texts = [TEXT, "", "new words 😀\n", "  \t"]
    for threads_ in (1, 2):
        assert peer.encode(texts, threads_) == tokenizer.encode_batch(texts)
    assert peer.decode(tokenizer.encode(TEXT)) == TEXT.encode()


@pytest.mark.parametrize("name, package", [("rustbpe", "rustbpe"), ("huggingface", "tokenizers")])
def test_others_train_to_the_same_size(name, package):
    pytest.importorskip(package)
    tokenizer = BPETokenizer.train(TEXT, 300, "gpt4")
    assert bench.TRAINERS[name](tokenizer)([TEXT], 280) == 280


def test_the_command_measures_a_file_and_refuses_what_is_none(corpus, capsys, monkeypatch):
    monkeypatch.setattr(bench, "QUICK", TINY)
    monkeypatch.setattr(cli, "EFFORTS", {"quick": (0, 1)})
    assert main(["bench", "tokenizer", "--quick", "--data", corpus, "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {r["bench"] for r in records} == {"machine", "tokenizer"}
    assert main(["bench", "tokenizer", "--quick", "--data", corpus + "nothing"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
