"""`tinyllm tokenizer` as its users type it."""

import gzip
import json
import sys

import numpy as np
import pytest
from foreign_tokenizers import write_ranks
from tokenizer_command import TEXT, run

from tinyllm.cli import main
from tinyllm.data import load_tokens
from tinyllm.errors import UserError
from tinyllm.tokenizer import BPETokenizer, load_tokenizer, strings


def test_train_saves_and_says_so(tmp_path, capsys):
    corpus, out = tmp_path / "c.txt", tmp_path / "t.json"
    corpus.write_text(TEXT)
    assert not run("train", corpus, "--vocab", 270, "--out", out, "--special", "<|end|>", "--pattern", "gpt4")
    tokenizer = load_tokenizer(out)
    assert tokenizer.vocab_size == 270 and tokenizer.pattern == "gpt4"
    assert tokenizer.special_tokens == {"<|end|>": 269}
    said = capsys.readouterr().out
    assert "270 tokens" in said and str(out) in said and f"{len(TEXT)} bytes" in said


def test_train_never_overwrites_unasked(tmp_path, capsys):
    corpus, out = tmp_path / "c.txt", tmp_path / "t.json"
    corpus.write_text(TEXT)
    out.write_text("precious")
    with pytest.raises(UserError, match="--overwrite"):
        run("train", corpus, "--vocab", 270, "--out", out)
    assert out.read_text() == "precious"
    run("train", corpus, "--vocab", 100_000, "--out", out, "--overwrite", "--json")
    said = json.loads(capsys.readouterr().out)
    assert said["vocab_size"] == load_tokenizer(out).vocab_size < 300
    assert said["fingerprint"] == load_tokenizer(out).fingerprint()
    assert said["corpus_tokens"] == len(load_tokenizer(out).encode(TEXT))
    run("train", corpus, "--vocab", 100_000, "--out", out, "--overwrite")
    assert "no more pairs" in capsys.readouterr().out


def test_train_refuses_before_it_works(tmp_path):
    corpus = tmp_path / "c.txt"
    corpus.write_text(TEXT)
    for words, problem in [
        (("--vocab", 10, "--out", tmp_path / "t"), "too small"),
        (("--vocab", 300, "--out", tmp_path / "no" / "t"), "no folder"),
        (("--vocab", 300, "--out", tmp_path / "t", "--pattern", "("), "pattern"),
        (("--vocab", 300, "--out", tmp_path, "--overwrite"), "not a regular file; choose another --out"),
    ]:
        with pytest.raises(UserError, match=problem):
            run("train", corpus, *words)
    with pytest.raises(UserError):
        run("train", tmp_path / "missing.txt", "--vocab", 300, "--out", tmp_path / "t")
    assert [path.name for path in tmp_path.iterdir()] == ["c.txt"]


def test_a_folder_where_one_may_not_write_is_noticed_at_once(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # the superuser may write everywhere
    monkeypatch.setattr(BPETokenizer, "train", lambda *args: pytest.fail("it worked first"))
    with pytest.raises(UserError, match="may not write"):
        run("train", trained, "--vocab", 300, "--out", tmp_path / "new")


def test_encode_from_everywhere(trained, tmp_path, stdin, capsys):
    expected = load_tokenizer(trained).encode("the cat ")
    (tmp_path / "f").write_text("the cat ")
    for words in (["the cat "], ["--file", tmp_path / "f"], ["-"], [], ["--file", "-"]):
        stdin(b"the cat ")
        run("encode", trained, *words)
        assert [int(word) for word in capsys.readouterr().out.split()] == expected
    run("encode", trained, "the cat ", "--json")
    assert json.loads(capsys.readouterr().out) == {"ids": expected, "tokens": len(expected), "bytes": 8}
    with pytest.raises(UserError, match="not both"):
        run("encode", trained, "text", "--file", tmp_path / "f")
    with pytest.raises(UserError, match="cannot read"):
        run("encode", trained, "--file", tmp_path / "missing")


def test_encode_parses_special_tokens_only_when_told(trained, capsys):
    run("encode", trained, "<|end|>")
    assert "269" not in capsys.readouterr().out.split()
    for allowed in ("<|end|>", "all"):
        run("encode", trained, "<|end|>", "--allow-special", allowed)
        assert capsys.readouterr().out == "269\n"
    with pytest.raises(UserError, match="no special token"):
        run("encode", trained, "x", "--allow-special", "<|nobody|>")


def test_a_large_file_becomes_tokens_to_map(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(strings, "BLOCK", 100)
    text, out = tmp_path / "text", tmp_path / "tokens"
    text.write_text(TEXT)
    run("encode", trained, "--file", text, "--out", out, "--json")
    expected = load_tokenizer(trained).encode(TEXT)
    facts = {"path": str(out), "tokens": len(expected), "bytes": len(TEXT)}
    assert json.loads(capsys.readouterr().out) == facts
    tokens = load_tokens(out)
    assert isinstance(tokens, np.memmap) and tokens.dtype == np.uint16 and tokens.tolist() == expected
    with pytest.raises(UserError, match="already there"):
        run("encode", trained, "--file", text, "--out", out)
    packed = tmp_path / "text.gz"  # its bytes were encoded as they are
    packed.write_bytes(gzip.compress(b"the cat"))
    for command in (["encode", trained], ["encode", trained, "--out", tmp_path / "no"], ["show"]):
        with pytest.raises(UserError, match="is packed: unpack it"):
            run(*command, "--file", packed)
    text.write_bytes(bytes(2**20 + 1))  # a table of it would take hundreds of megabytes
    with pytest.raises(UserError, match="more than 1,048,576 bytes"):
        run("show", "--tokenizer", "byte", "--file", text)
    for words in (["x"], ["--file", "-"], ["--file", text, "--allow-special", "all"]):
        with pytest.raises(UserError, match="takes a --file"):
            run("encode", trained, *words, "--out", tmp_path / "no")
    with pytest.raises(UserError, match="No such file"):
        run("encode", trained, "--file", tmp_path / "missing", "--out", tmp_path / "no")
    out.write_bytes(out.read_bytes()[:-1])
    with pytest.raises(UserError, match="damaged, or not a token file"):
        load_tokens(out)
    assert not (tmp_path / "no").exists()


def test_a_file_trains_in_parts_as_the_whole_does(tmp_path, monkeypatch):
    monkeypatch.setattr(strings, "BLOCK", 100)
    text, out = tmp_path / "text", tmp_path / "out"
    text.write_text(TEXT)
    monkeypatch.setattr("tinyllm.data.load_corpus", lambda name: pytest.fail("the whole file was read"))
    run("train", text, "--vocab", 270, "--out", out)
    assert load_tokenizer(out).merges == BPETokenizer.train(TEXT, 270).merges


def test_bytes_that_are_not_utf8_go_through(trained, stdin, capsysbinary):
    data = bytes(range(256)) + b"the cat\r\n\xff\xfe"
    stdin(data)
    run("encode", trained)
    stdin(capsysbinary.readouterr().out)
    run("decode", trained)
    assert capsysbinary.readouterr().out == data
    run("encode", trained, "\udcff\udcfe")  # how Python hands over an argument that is not UTF-8
    assert capsysbinary.readouterr().out == b"255 254\n"


def test_a_closed_output_is_no_error(trained, monkeypatch):
    for words in (["encode", trained, "the"], ["decode", trained, "104"]):
        monkeypatch.setattr(sys, "stdout", None)
        assert main(["tokenizer", *map(str, words)]) == 0
        sys.stdout.close()


def test_decode_takes_ids_in_many_dresses(trained, stdin, capsysbinary):
    for words in (["104", "105"], ["104 105"], ["[104,", "105]"], ["104,105"]):
        run("decode", trained, *words)
        assert capsysbinary.readouterr().out == b"hi"
    for data in (b"104 105\n", b"[104, 105]", b"104\r\n105"):
        for words in ([], ["-"]):
            stdin(data)
            run("decode", trained, *words)
            assert capsysbinary.readouterr().out == b"hi"


@pytest.mark.parametrize("word", ["x", "1.5", "9" * 30, "300", "１", "0x10", "--"])
def test_decode_refuses_what_is_no_id(trained, stdin, word):
    stdin(word.encode())
    with pytest.raises(UserError, match="token"):
        run("decode", trained, "-")


def test_convert_keeps_the_tokens(tmp_path, capsys):
    ranks, back, learnt = tmp_path / "ranks", tmp_path / "back.json", BPETokenizer.train(TEXT, 270)
    write_ranks(ranks, learnt.vocabulary.ids)
    words = ("convert", ranks, "--pattern", "gpt2", "--special", "<|end|>", "--out", back)
    run(*words)
    assert f"271 tokens, written to {back}" in capsys.readouterr().out
    assert load_tokenizer(back).encode(TEXT) == learnt.encode(TEXT)
    assert load_tokenizer(back).encode("<|end|>", "all") == [270]
    with pytest.raises(UserError, match="--overwrite"):
        run(*words)
