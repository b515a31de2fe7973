"""`tinyllm data`, as a user and as a program would call it."""

import json
import math

from tinyllm.cli import main
from tinyllm.data import sources
from tinyllm.errors import UserError
from tinyllm.world import stories


def test_list_names_sizes_hashes_and_what_is_missing(monkeypatch, printed):
    def missing():
        raise UserError("install it")

    few = {"stories": sources.SOURCES["stories"], "gone": sources.Source("nothing", missing)}
    monkeypatch.setattr("tinyllm.cli.data.SOURCES", few)
    monkeypatch.setattr(sources, "SOURCES", few)
    rows = json.loads(printed("data", "list", "--json"))
    assert rows[0]["name"] == "stories" and rows[0]["bytes"] > 10**6 and len(rows[0]["sha256"]) == 64
    assert rows[1] == {"name": "gone", "error": "install it"}
    out = printed("data", "list")
    assert rows[0]["sha256"][:12] in out and "install it" in out and f"{rows[0]['bytes']:,}" in out


def test_show_prints_the_text_and_says_where_it_is_from(tmp_path, capsys):
    path = tmp_path / "x.txt"
    path.write_text("".join(f"line {i}\n" for i in range(1000)))
    assert main(["data", "show", str(path), "--n", "13"]) == 0
    out, err = capsys.readouterr()
    assert out == "line 0\nline 1\n" and "8,890 bytes, SHA-256 " in err and "character 0" in err
    passages = set()
    for seed in ("1", "2", "1"):
        assert main(["data", "show", str(path), "--n", "50", "--seed", seed]) == 0
        passages.add(capsys.readouterr().out)
    assert len(passages) == 2


def test_show_stories_of_another_seed(capsys):
    main(["data", "show", "stories", "--seed", "9", "--n", "300"])
    assert capsys.readouterr().out == stories.generate(9, 1)[:300] + "\n"


def test_stats_measure(tmp_path, printed):
    path = tmp_path / "x.txt"
    path.write_text("aébb\n" * 4 + "aébb", encoding="utf-8")
    facts = json.loads(printed("data", "stats", path, "--json"))
    assert (facts["bytes"], facts["characters"], facts["lines"]) == (29, 24, 5)
    assert facts["distinct_characters"] == 4 and facts["utf8_text"] and facts["entropy_per_char"] is None
    counts = (5, 5, 10, 4)
    assert math.isclose(facts["unigram_entropy_per_char"], -sum(n / 24 * math.log(n / 24) for n in counts))
    assert 0 < facts["gzip_per_char"] < 12
    assert "distinct characters" in printed("data", "stats", path)


def test_stats_of_stories_know_the_entropy(printed):
    facts = json.loads(printed("data", "stats", "stories", "--json"))
    assert 0 < facts["entropy_per_char"] < facts["gzip_per_char"] < facts["unigram_entropy_per_char"]


def test_stats_of_binary_data_say_so(tmp_path, capsys):
    path = tmp_path / "x.bin"
    path.write_bytes(b"\xff\0")
    assert main(["data", "stats", str(path)]) == 0
    assert "--tokenizer byte" in " ".join(capsys.readouterr().out.split())


def test_a_long_dial_has_its_help_below(capsys):
    assert main(["data", "show", "world:mix", "--n", "1"]) == 0
    assert "\n    kinds of text, each with its weight\n" in capsys.readouterr().err
