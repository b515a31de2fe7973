"""Check the arena: duels of models, votes of judges and people, and the ranking that follows from them."""

import json
import sys
from signal import SIGINT
from unittest.mock import Mock

import numpy as np
import pytest
from terminal import CTRL_C, at_terminal
from test_eval import ANSWERS, opened

from tinyllm.cli import main
from tinyllm.cli.arena import _ask
from tinyllm.eval import find_task
from tinyllm.eval.arena import Duel, Preferred, duels, judged, rank, strengths
from tinyllm.files import locked
from tinyllm.rng import Random

MODELS = {name: opened(ANSWERS, width=width) for name, width in (("a", 8), ("b", 12), ("c", 16))}
BETTER = Duel("Why?", ["a", "b"], ["one two", "one"], [0.0, 1.0])


def turns(n, names=("a", "b", "c")):
    return [BETTER._replace(models=[names[i % len(names)], names[(i + 1) % len(names)]]) for i in range(n)]


def test_strengths_are_the_likeliest_ones_and_those_of_choix():
    wins = Random("wins").integers(9, (5, 5)) / 2 * (1 - np.eye(5))
    for ties in (0.0, 1.0):
        s, all_wins = strengths(wins, ties), wins + ties / 2 * (1 - np.eye(5))
        due = (all_wins + all_wins.T) * s[:, None] / (s[:, None] + s)
        assert np.allclose(due.sum(axis=1), all_wins.sum(axis=1), atol=1e-6) and s.sum() == pytest.approx(1)
    assert strengths(np.float64([[0, 9], [0, 0]]), ties=1) == pytest.approx([0.95, 0.05])
    choix = pytest.importorskip("choix")
    games = [(i, j) for i in range(5) for j in range(5) for _ in range(int(2 * wins[i, j]))]
    peer = np.exp(choix.mm_pairwise(5, games, tol=1e-12))
    assert np.abs(strengths(wins) - peer / peer.sum()).max() < 1e-6


def test_a_ranking_finds_the_order_and_says_which_votes_are_missing():
    truth, n = dict(zip("abc", (200.0, 0.0, -200.0), strict=True)), 240
    contests, held = turns(n), []
    leads = np.array([truth[x] - truth[y] for x, y in (duel.models for duel in contests)])
    for trial in range(200):
        first = Random("votes", trial).uniform(n) < 1 / (1 + 10 ** (-leads / 400))
        rows = rank("abc", contests, ["1" if won else "2" for won in first])
        assert [row["model"] for row in rows] == ["a", "b", "c"] and sum(row["wins"] for row in rows) == n
        assert rows[0]["missing"] == rows[1]["missing"] == 0 and rows[2]["missing"] is None
        held += [row["low"] < truth[row["model"]] < row["high"] for row in rows]
    assert 0.93 < np.mean(held) < 0.98  # 0.95 is promised; 600 intervals, three of which share their votes
    assert [row["missing"] for row in rank("ab", turns(10, "ab"), ["tie"] * 10)] == [None, None]
    two, said = turns(100, "ab"), ["1", "tie"] * 2 + ["1"] * 96  # a wins 51 of 100
    assert 6000 < rank("ab", two, said)[0]["missing"] < 14_000  # 9,604 votes, by the formula for shares
    assert rank("ab", two * 150, said * 150)[0]["missing"] == 0
    few = rank("ab", [BETTER] * 4, ["1"] * 4)
    assert few[0]["missing"] > 0 and few[0]["low"] <= 0  # unanimous, but only four


def test_judges_follow_the_reward_length_or_place_and_their_biases():
    equal = BETTER._replace(rewards=[1.0, 1.0])
    for duel, judge, vote in (BETTER, "reward", "2"), (equal, "reward", "tie"), (BETTER, "length", "1"):
        assert judged(duel, judge, {}, Random(0)) == vote
    biased = [judged(BETTER, "reward", {"first": 0.3}, Random("bias", i)) == "1" for i in range(1000)]
    assert np.mean(biased) == pytest.approx(0.3, abs=0.05)


def test_duels_take_turns_hide_who_is_who_and_begin_with_the_same_ones():
    task = Preferred("world:preference,people=30")
    found = duels(MODELS, task, 12, 1)
    assert [{*x.models} for x in found] == [{*"ab"}, {*"ac"}, {*"bc"}] * 4
    assert 1 < sum(x.models[0] < x.models[1] for x in found) < 11
    assert found[:5] == duels(MODELS, task, 5, 1) and found != duels(MODELS, task, 12, 2)
    assert task.score(next(iter(task.items("test"))), "Gladly. Thank you.") == 1
    right = duels(MODELS, find_task("world:parity,size=4"), 2)
    assert {score for x in right for score in x.rewards} <= {0.0, 1.0}


@pytest.fixture
def call(monkeypatch, capsys, here):
    """Return a function that calls `tinyllm arena a b` with keys -> its exit code, output and error."""
    monkeypatch.setattr("tinyllm.runs.open_model", lambda run: MODELS[run])

    def run(*arguments, keys=(), names=("a", "b")):
        monkeypatch.setattr("builtins.input", Mock(side_effect=[*keys, EOFError]))
        return main(["arena", *names, *map(str, arguments)]), *capsys.readouterr()
    return run


def test_a_person_votes_leaves_and_goes_on(call, here):
    code, shown, _ = call("--items", 5, keys=["1", "what", "=", KeyboardInterrupt])
    assert code == 130 and "3 of 5" in shown and "there is no answer 'what'" in shown
    assert "1 of 5" in shown and "a\n" not in shown.partition("votes of")[0]
    code, shown, _ = call("--items", 5, "--json", keys=[" 2 ", "2", "q"])
    said = json.loads(shown.splitlines()[-1])
    assert code == 0 and "1 of 5" not in shown and "3 of 5" in shown and said["votes"] == 4
    votes = [json.loads(line)["vote"] for line in (here / "votes.jsonl").read_text().splitlines()]
    assert votes == ["1", "tie", "2", "2"] and sum(row["wins"] for row in said["ranking"]) == 4
    assert call("--out", "none.jsonl")[:1] == (0,) and not (here / "none.jsonl").exists()
    whole = (here / "votes.jsonl").read_text()
    for old, new, why in (('"a"', '"nobody"', "has the models"), ('{"q', '{q', "is not JSON"),
                          ('"tie"', '"both"', "holds 'both' as vote"), ("person", "length", "has the judge")):
        (here / "votes.jsonl").write_text(whole.replace(old, new))
        code, _, error = call("--items", 5)
        assert code == 2 and error.count("\n") == 1 and "votes.jsonl line" in error and why in error
    (here / "votes.jsonl").write_text(whole[:-5])  # killed while it wrote the last line
    assert "3 votes" in call("--items", 5)[1] and whole.startswith((here / "votes.jsonl").read_text())
    with locked(here / "votes.jsonl"):
        code, _, error = call("--items", 5)
    assert code == 2 and error.count("\n") == 1 and "another process is writing to votes.jsonl" in error


def test_one_key_is_a_vote_and_an_interrupt_leaves_the_terminal_as_it_was():
    program = """if True:
        import sys, termios
        from tinyllm.cli import arena
        from tinyllm.eval.arena import Duel
        before = termios.tcgetattr(0)
        try:
            for i in range(4):
                print("vote", arena._ask(Duel("Why?", ["a", "b"], ["x", "y"], [0, 0]), "1 of 4"))
        finally:
            print("restored" if termios.tcgetattr(0) == before else "changed")"""
    keys = [("leave): ", key) for key in ("1", "é", "\n", "=", "\x04", CTRL_C)]
    shown, code = at_terminal([sys.executable, "-c", program], keys)
    assert [line for line in shown.splitlines() if line.startswith(("vote", "there"))] == [
        "vote 1", "there is no answer 'é'", "there is no answer ''", "vote tie", "vote "]
    assert "leave): restored" in shown and code == -SIGINT


def test_wrong_arguments_are_one_line_and_judges_write_no_file_unasked(call, here):
    for arguments, names in ((("--items", 0), "ab"), ((), "a"), ((), "aa"), (("--bias", "length=2"), "ab"),
                             (("--judge", "length", "--bias", "age=0.1"), "ab"), (("--data", "no"), "ab")):
        code, _, error = call(*arguments, names=names)
        assert code == 2 and error.count("\n") == 1
    code, shown, _ = call("--judge", "reward", "--bias", "length=0.5", "--items", 3, names="abc")
    assert code == 0 and "3 votes of reward length=0.5" in shown and not [*here.iterdir()]
    assert max(map(len, shown.splitlines())) <= 80


def test_a_long_pair_of_answers_fits_a_terminal_of_24_lines(monkeypatch, capsys):
    monkeypatch.setattr("builtins.input", lambda prompt: "1")
    for answers in (["word " * 400] * 2, ["", "x"]):
        assert _ask(Duel("Why? " * 400, ["a", "b"], answers, [0, 0]), "1 of 2") == "1"
        shown = capsys.readouterr().out
        assert shown.count("\n") <= 22 and max(map(len, shown.splitlines())) <= 80
        assert shown.count(" ...\n") + 2 * shown.count("(nothing)") == 3
