"""The command line: one clear line for every mistake, with nothing written, and runs that can be stopped."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import verify_kills
from terminal import at_terminal
from tiny_run import SETTINGS, outcome, resumed_training, write_text

import tinyllm
from tinyllm.cli import main, progress
from tinyllm.runs import pace, prepare
from tinyllm.runs.config import known_settings, make_config
from tinyllm.runs.log import read_log
from tinyllm.train.events import MEASURED

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The words that make a tiny run; flags win over them."""
    folder = tmp_path_factory.mktemp("text")
    lines = [f"{name} = {json.dumps(value)}" for name, value in SETTINGS.items()]
    (folder / "tiny.toml").write_text("\n".join(lines))
    return ["--data", str(write_text(folder / "text.txt")), "--config", str(folder / "tiny.toml")]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def start(*words, **options):
    """Start `tinyllm` in another process."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen([sys.executable, "-m", "tinyllm", *map(str, words)], env=environment, **pipes)


BAD = {
    "missing data": (["--data", "nowhere.txt"], "nowhere.txt"),
    "empty data": (["--data", "EMPTY"], "empty"),
    "binary data": (["--data", "BINARY"], "byte"),
    "invalid UTF-8": (["--data", "LATIN1"], "--tokenizer byte"),
    "invalid UTF-8, bytes merged": (["--data", "LATIN1", "--tokenizer", "bpe:300"], "--tokenizer byte"),
    "too short": (["--data", "SHORT"], "SHORT is too short"),
    "context larger than the data": (["--set", "model.context=100000"], "context"),
    "unknown tokenizer": (["--tokenizer", "words"], "words"),
    "unknown characters": (["--tokenizer", "ABC"], "unknown"),
    "zero threads": (["--threads", "0"], "threads"),
    "missing config": (["--config", "nowhere.toml"], "nowhere.toml"),
    "bad set": (["--set", "x"], "NAME=VALUE"),
    "unknown flag": (["--stepps", "3"], "--stepps"),
    "resume without out": (["--resume"], "--out"),
    "resume of nothing": (["--resume", "--out", "nothing"], "no run"),
    "minutes and steps": (["--minutes", "3"], "--minutes is not allowed with --steps"),
    "minutes and resume": (["--minutes", "3", "--resume", "--out", "x"], "not allowed with --resume"),
    "no minutes": (["--minutes", "0"], "--minutes must be a positive number"),
    "endless minutes": (["--minutes", "inf"], "--minutes must be a positive number"),
    "resume and overwrite": (["--resume", "--overwrite", "--out", "x"], "not allowed"),
    "out is a file": (["--out", "EMPTY"], "not a folder"),
    "out in a file": (["--out", "EMPTY/run"], "not a folder"),
    "out cannot be written": (["--out", "/proc/tinyllm/run"], "/proc/tinyllm"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_one_line_and_nothing_is_written(here, tiny, refused, monkeypatch, case):
    monkeypatch.setenv("TINYLLM_CACHE", str(here.parent / "cache"))
    (here / "EMPTY").write_bytes(b"")
    (here / "BINARY").write_bytes(bytes(range(256)) * 40)
    (here / "LATIN1").write_bytes("Käse für Ödön. ".encode("latin-1") * 200)
    (here / "SHORT").write_bytes(b"abc")
    tinyllm.save_tokenizer(tinyllm.CharTokenizer.train("abc"), here / "ABC")
    before = sorted(os.listdir(here))
    words, message = BAD[case]
    assert message in refused("train", *tiny, *words)
    assert sorted(os.listdir(here)) == before


def test_a_whole_session(here, tiny, capsys, refused, monkeypatch, printed):
    """Train, see everything, be refused, resume, see what is new, overwrite."""
    monkeypatch.setattr(progress, "FEWEST", 1)  # as of fewer than 50 steps there is no chart
    command = ["train", "--out", "run", *tiny]
    shown = printed(*command)
    order = ["Train a GPT of ", " 12 steps on", "SHA-256", "before training it writes", "this takes about ",
             "step 12/12", "● validation", "nats per character, or", "perplexity", "\nit writes",
             "tinyllm generate run --prompt"]
    places = [shown.index(word) for word in order]
    assert places == sorted(places)
    assert max(len(line) for line in shown.splitlines() if tiny[1] not in line) <= 80
    assert (here / "run" / "report.html").stat().st_size > 5000
    first = outcome(here / "run")

    resume = ["train", "--out", "run", "--resume"]
    assert "--resume" in refused(*command)
    assert "train.lr" in refused(*resume, "--lr", "7")
    assert "other settings (model.type: gpt2 -> llama)" in refused(*resume, "--model", "llama")
    assert "other settings (recipe: pretrain -> sft)" in refused("train", "sft", *resume[1:])
    assert outcome(here / "run") == first
    assert main(resume) == 0  # finished: shows the end again
    assert outcome(here / "run") == first
    assert "learning rate" not in capsys.readouterr().err
    assert main([*resume, "--steps", "14"]) == 0
    out, err = capsys.readouterr()
    assert "going on after step 12" in out
    assert "note: the learning rate now falls until step 14 in place of 12" in err
    assert main([*command, "--overwrite"]) == 0
    assert outcome(here / "run") == first


def test_without_out_a_free_name_is_chosen(here, tiny):
    for name in ("text-nano", "text-nano-2"):
        assert main(["train", *tiny, "--steps", "1"]) == 0
        assert (here / "runs" / name / "run.json").exists()
    assert main(["train", *tiny, "--steps", "1", "--overwrite"]) == 0
    assert sorted(os.listdir(here / "runs")) == ["text-nano", "text-nano-2"]


def test_overwriting_leaves_other_files_alone(here, tiny):
    (here / "run").mkdir()
    (here / "run" / "notes.txt").write_text("mine")
    assert main(["train", *tiny, "--steps", "1", "--out", "run"]) == 0
    assert main(["train", *tiny, "--steps", "1", "--out", "run", "--overwrite"]) == 0
    assert (here / "run" / "notes.txt").read_text() == "mine"


def test_settings_come_in_layers(here, tiny):
    text = Path(tiny[-1]).read_text() + "\nseed = 3\ntrain.lr = 0.5\nmodel.bias = false\n"
    (here / "s.toml").write_text(text)
    words = "--config s.toml --steps 2 --batch 3 --set train.batch=4 --seed 5 --out run"
    assert main(["train", "--data", tiny[1], *words.split()]) == 0
    config = tinyllm.Run("run").read().config
    assert (config.seed, config.train.batch, config.model.bias) == (5, 4, False)
    assert config.train.lr == 0.5


def test_minutes_become_steps_with_the_same_bits(here, tiny, printed, monkeypatch, refused):
    """Measuring changes nothing: not the model, its optimizer, its batches, nor the schedule."""
    measured = pace.seconds_per_step
    monkeypatch.setattr(pace, "seconds_per_step", lambda setup: 0.01 if measured(setup) > 0 else 0)
    monkeypatch.setattr(pace, "seconds_of", lambda action: 0.02 if action() else 0)
    free = re.sub("train.steps.*", "", Path(tiny[-1]).read_text())
    Path("free.toml").write_text(free)
    words = ["train", *tiny[:-1], "free.toml", "--out", "run"]
    # 0.306 s: two evaluations and two samples of 0.02, then steps of 0.01 + 0.02 / 4 + 0.02 / 6
    assert "0.0051 minutes: 12 steps. With --steps 12" in printed(*words, "--minutes", "0.0051")
    found = outcome(here / "run")
    assert tinyllm.Run("run").read().config.train.warmup == 0  # a twentieth of 12, not of 2,000
    assert main([*words, "--steps", "12", "--overwrite"]) == 0
    assert outcome(here / "run") == found
    said = refused(*words, "--minutes", "0.0001", "--overwrite", "--json")
    assert "are too short: evaluations and samples take 0.1 s and a step 0.0 s" in said


def test_steps_are_counted_with_all_that_they_cost(here, tiny, monkeypatch):
    """A second more allows for more steps; two digits of their number are kept."""
    config = make_config(SETTINGS | {"data": tiny[1]})
    setup = prepare(config)
    monkeypatch.setattr(pace, "seconds_per_step", lambda setup: 0.1)
    monkeypatch.setattr(pace, "seconds_of", lambda action: 0.0)
    assert [pace.count_steps(setup, seconds) for seconds in (0.11, 1, 9.99, 12.59, 129, 1290)] == \
        [1, 10, 99, 120, 1200, 12000]
    monkeypatch.setattr(pace, "seconds_of", lambda action: 4.0)  # an evaluation each 4 steps, a sample each 6
    assert pace.count_steps(setup, 4 * 4.0 + 12 * (0.1 + 4 / 4 + 4 / 6) + 0.01) == 12
    monkeypatch.undo()
    assert 0 < pace.seconds_per_step(setup) < 10


def test_the_bar_fits_into_a_narrow_terminal_also_when_the_text_goes_elsewhere(here, tiny):
    """A22: the width is that of the terminal that the bar is in, not of standard output."""
    command = f"{shlex.quote(sys.executable)} -m tinyllm train {shlex.join(tiny)} --out run > text"
    path = {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    shown, code = at_terminal(["sh", "-c", command], cwd=here, env=path, columns=60)
    bars = re.split(r"[\r\n]", shown)
    assert code == 0 and any("12/12" in bar and "val" in bar for bar in bars), shown
    assert max(map(len, bars)) <= 60
    assert "step " not in (here / "text").read_text().split("it writes")[1]  # the bar shows the steps


def test_progress_is_per_character_and_never_silent_for_long(here, tiny, printed, monkeypatch):
    words = ["train", *tiny, "--tokenizer", "bpe:270", "--overwrite", "--out", "run"]
    assert "step  3/12" not in printed(*words)  # only evaluations, as little time is between them
    monkeypatch.setattr(progress, "QUIET", -1)
    shown = printed(*words)
    records = {r["step"]: r for r in read_log(here / "run" / "log.jsonl") if r["kind"] == "step"}
    size = records[12]["val_loss"] / records[12]["val_loss_per_char"]
    for number in (3, 4, 12):
        train, val = records[number]["train_loss"] / size, records[number]["val_loss_per_char"]
        line = f"step {number:>2}/12  loss {train:.3f}" + (f"  val {val:.3f}" if val else "")
        assert size > 1.5 and line in shown
    assert f"validation loss {val:.3f} nats per character" in shown


def test_json_is_the_log(here, tiny, capsys):
    assert main(["train", "--out", "run", *tiny, "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert records[-1]["step"] == 12
    assert {"train_loss", "val_loss", *MEASURED} <= records[-1].keys()
    logged = [json.loads(line) for line in (here / "run" / "log.jsonl").read_text().splitlines()]
    assert records == [record for record in logged if record["kind"] == "step"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(here, tiny, number):
    process = start("train", "--out", here / "run", *tiny, "--steps", "100000",
                    "--set", "train.warmup=0", "--set", "train.schedule=constant")
    for line in process.stdout:
        if line.startswith("step      8/"):
            break
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "--resume" in out and "stopped" in out and "Traceback" not in err
    stopped = resumed_training(here / "run").loop.progress.step
    assert stopped >= 8
    last = json.loads((here / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert last["step"] <= stopped


def test_a_second_signal_stops_at_once(here, tiny):
    """The step at hand takes minutes; the second Ctrl-C does not wait for it."""
    slow = f"""
import sys, time
sys.path[:0] = [{str(ROOT)!r}]
from tinyllm.cli import main
from tinyllm.train.loop import Loop
def step(self):
    print("in the step", flush=True)
    for _ in range(6000): time.sleep(0.01)
Loop.train_step = step
sys.exit(main({["train", "--out", str(here / "run"), *tiny]!r}))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", slow], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if line.startswith("in the step"):
            break
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in err


def test_killed_and_resumed_a_few_times(capsys):
    """The short form of tests/proofs/verify_kills.py: SIGKILL at random moments, then the same bits."""
    assert verify_kills.main(["--kills", "3", "--steps", "30"]) == 0
    assert "3 kills" in capsys.readouterr().out


def test_a_broken_pipe_is_quiet():
    reader, writer = os.pipe()
    os.close(reader)  # before anything is written, also what is written at the very end
    process = start("train", "--help", stdout=writer)
    os.close(writer)
    assert process.stderr.read() == ""
    process.wait(timeout=30)


def test_a_text_in_place_of_a_recipe_is_told_its_flag(here, refused):
    Path("book.txt").write_text("a book")
    assert "`tinyllm train --data book.txt` trains on it" in refused("train", "book.txt")


def test_every_setting_is_listed(capsys):
    """Where they are asked for: `train --help` once had 183 lines."""
    with pytest.raises(SystemExit):
        main(["train", "--settings"])
    out = "\n" + capsys.readouterr().out
    assert not [name for name in known_settings() if f"\n  {name} " not in out]
    assert max(map(len, out.splitlines())) <= 80


def test_an_empty_folder_and_too_large_a_vocabulary_are_said(here, tiny, capsys, refused):
    assert "empty name" in refused("train", *tiny, "--out", "")
    Path("few.txt").write_text("ab " * 300)
    assert main(["train", *tiny, "--data", "few.txt", "--tokenizer", "bpe:9999", "--out", "run"]) == 0
    assert "not 9,999: there are no more pairs to merge" in " ".join(capsys.readouterr().out.split())


def test_sft_reads_any_character_and_passes_over_what_is_cut_off_whole(here, tiny):
    cut, odd = {"prompt": "x" * 30, "answer": "y"}, {"prompt": "1\u2028", "answer": "2\x85"}
    Path("odd.jsonl").write_text("\n".join(json.dumps(pair, ensure_ascii=False) for pair in [cut, odd] * 10))
    words = ["train", "sft", *tiny, "--data", "odd.jsonl", "--out", "run"]
    assert main([*words, "--set", "train.batch=1", "--set", "train.eval_windows=1"]) == 0
    assert json.loads(Path("run/log.jsonl").read_text().splitlines()[-1])["truncated"] == 0.5
