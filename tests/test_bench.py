"""The measurements: what takes part, in what order, in what units. How fast anything is, no test asks."""

import inspect
import json
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm.bench import memory, timing
from tinyllm.bench import ops as bench_ops
from tinyllm.bench.generation import measure_generation
from tinyllm.bench.memory import measure_memory, peak_memory
from tinyllm.bench.ops import Case, cases, measure_ops, shape, traffic
from tinyllm.bench.setting import SETTINGS, Setting
from tinyllm.bench.timing import Contender, race, ratio
from tinyllm.bench.train import measure_training, training_step
from tinyllm.cli import bench as cli
from tinyllm.cli import main
from tinyllm.errors import UserError
from tinyllm.ops.registry import OPS, use

TINY = Setting("tiny", layers=1, heads=2, width=8, context=8, batch=2, vocab_size=11)


@pytest.fixture
def bare_clock(monkeypatch):
    """No waiting and no warming up between turns, so that every call can be counted."""
    monkeypatch.setattr(timing, "settle", lambda: None)
    monkeypatch.setattr(timing, "WARM_UP", 0)


def test_a_turn_begins_with_calls_off_the_clock(monkeypatch):
    clock = iter(range(10**6))  # every look at the clock takes a second
    waits, calls = [], []
    monkeypatch.setattr(timing, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(timing, "SHORTEST", 1)  # one call per sample
    monkeypatch.setattr(timing, "WARM_UP", 10)
    monkeypatch.setattr(timing, "settle", lambda: waits.append(len(calls)))
    race({"a": Contender(lambda: calls.append(1))}, 0, least=3)
    assert np.diff([*waits, len(calls)]).tolist() == [1, 10, 10, 10, 10]  # nine to warm up, one that counts


def test_settling_waits_until_no_thread_uses_time(monkeypatch):
    used, naps = iter([0, 1, 1, 2, 2, 2]), []  # before and after each nap
    monkeypatch.setattr(timing, "process_time", lambda: next(used))
    monkeypatch.setattr(timing, "sleep", naps.append)
    timing.settle()
    assert len(naps) == 3


def test_settling_does_not_wait_for_ever(monkeypatch):
    used, clock, naps = iter(range(1000)), iter(range(1000)), []
    monkeypatch.setattr(timing, "process_time", lambda: next(used))
    monkeypatch.setattr(timing, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(timing, "sleep", naps.append)
    timing.settle(patience=5)
    assert len(naps) == 4


def test_contenders_take_turns_as_often_as_asked(monkeypatch, bare_clock):
    monkeypatch.setattr(timing, "SHORTEST", 0)  # one call per sample
    log = []
    times = race({name: Contender(lambda name=name: log.append(name)) for name in "ab"}, 0, least=4)
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 4, "b": 4}
    assert log[-8:] == list("abababab")
    assert all(seconds >= 0 for both in times.values() for seconds in both)


def test_short_calls_are_repeated_and_counted(monkeypatch, bare_clock):
    clock = iter(range(10**6))  # every look at the clock takes a second
    monkeypatch.setattr(timing, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(timing, "SHORTEST", 5)  # so each sample has five calls
    calls = []
    times = race({"a": Contender(lambda: calls.append(1))}, 0, least=2)
    assert times == {"a": [1 / 5, 1 / 5]} and len(calls) == 1 + 1 + 2 * 5


def test_what_is_prepared_is_used_once_and_the_context_holds(bare_clock):
    log = []

    @contextmanager
    def around():
        log.append("enter")
        yield
        log.append("exit")

    def prepare():
        log.append("prepare")
        return (len(log),)

    race({"a": Contender(log.append, prepare, around)}, 0, least=3)
    assert len(log) == 5 * 4
    for enter, prepared, number, left in np.array(log, object).reshape(5, 4):
        assert (enter, prepared, left) == ("enter", "prepare", "exit") and isinstance(number, int)


rounds = st.lists(st.tuples(st.floats(1e-6, 10), st.floats(0.1, 10)), min_size=1)


@given(rounds, st.floats(0.01, 100))
def test_the_ratio_does_not_mind_slow_phases(rounds, factor):
    """Each phase slows both contenders: of two that differ by a factor, the ratio is that factor."""
    times = {
        "fast": [seconds * phase for seconds, phase in rounds],
        "slow": [seconds * phase * factor for seconds, phase in rounds],
    }
    assert np.isclose(ratio(times, "slow", "fast"), factor)


KINDS = (np.float32, np.int64, bool, np.int8, np.uint8, np.uint16)


def test_every_op_but_those_of_tokenizers_has_a_case_that_it_accepts():
    measured = set()
    for case in cases(TINY):
        inspect.signature(OPS[case.op].reference).bind(*case.args)
        arrays = [a for a in case.args if isinstance(a, np.ndarray) and a.ndim]
        assert {a.dtype for a in arrays} <= {np.dtype(t) for t in KINDS}
        with use("numpy"):
            OPS[case.op](*case.args)
        measured.add(case.op)
    assert {name for name in OPS if not name.startswith("bpe_")} == measured


def test_work_is_counted():
    x = np.zeros((3, 5), np.float32)
    assert traffic(Case("add", (x, x))) == 3 * 60
    assert traffic(Case("adamw_step", (x, x, x, x, 1, 0.0))) == (4 + 3) * 60  # reads four, writes three
    assert traffic(Case("grad_norm", ([x, x],))) >= 2 * 60
    by_name = {case.op: case for case in cases(TINY)}  # of the linear ones, the last: 32 to 8
    assert by_name["linear"].flops == 2 * (2 * 8) * 32 * 8
    assert by_name["linear_backward"].flops == 2 * by_name["linear"].flops
    assert by_name["attention"].flops == 2 * (2 * 2 * 2 * 4 * 36)  # 36 pairs of 8 positions, two products
    assert shape((x, x, np.zeros((5, 2)), 0.5)) == "3x5, 5x2" and shape(([x, x],)) == "2 arrays"


@pytest.mark.parametrize("compiled, slower", [([2.0, 2.0], True), ([0.5, 0.5], False)])
def test_a_twin_slower_than_its_spec_is_flagged(monkeypatch, compiled, slower):
    monkeypatch.setitem(OPS["add"].variants, "compiled", OPS["add"].reference)
    monkeypatch.setattr(bench_ops, "race", lambda *_: {"compiled": compiled, "spec": [1.0, 1.0]})
    monkeypatch.setattr(bench_ops, "cases", lambda s: [Case("add", (np.ones(3, np.float32),) * 2)])
    (record,) = measure_ops(TINY, 0)
    assert record["slower_than_spec"] is slower and record["times_spec"] == 1 / compiled[0]
    assert record["gb_per_second"] == 36 / compiled[0] / 1e9
    assert cli._ops_line(record).endswith("!") is slower
    assert ("slower" in cli._ops_verdict([record]) and "add (tiny" in cli._ops_verdict([record])) is slower


def test_ops_with_kernels_are_measured_and_no_others():
    records = list(measure_ops(TINY, 0, least=1))
    assert {r["op"] for r in records} == {case.op for case in cases(TINY) if OPS[case.op].compiled}
    for r in records:
        assert r["seconds"] > 0 and r["spec_seconds"] > 0 and ("gflops" in r) != ("gb_per_second" in r)


def test_a_training_step_trains():
    step = training_step(TINY)
    losses = [step() for _ in range(30)]
    assert losses[-1] < losses[0] - 0.1
    assert losses[:3] == [training_step(TINY)(), *losses[1:3]]  # always the same weights and batch


def test_training_is_measured():
    (record,) = measure_training(TINY, 0, least=2)
    assert (record["engine"], record["rounds"]) == ("tinyllm", 2)
    assert np.isclose(record["tokens_per_second"] * record["seconds"], 2 * 8)


def test_without_torch_peers_say_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "tinyllm.bench.peers", raising=False)
    with pytest.raises(UserError, match=r"pip install 'tinyllm\[peers\]'"):
        list(measure_training(TINY, 0, peers=True))
    with pytest.raises(UserError, match="pip install"):
        list(measure_memory(TINY, peers=True))
    assert main(["bench", "train", "--peers", "--quick"]) == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith("tinyllm: error: --peers needs PyTorch")


def test_generation_is_measured():
    records = {r["task"]: r for r in measure_generation(TINY, 0, least=1)}
    assert {task: r["tokens"] for task, r in records.items()} == {
        "prefill": 8, "decode": 4, "decode without cache": 4,
    }  # fmt: skip
    assert all(np.isclose(r["tokens_per_second"] * r["seconds"], r["tokens"]) for r in records.values())
    assert records["decode"]["times_without_cache"] > 0


def test_memory_is_that_of_a_fresh_process(monkeypatch):
    (record,) = measure_memory(TINY)
    assert record["engine"] == "tinyllm" and record["steps"] == 3
    assert record["peak_rss_mb"] is None or 10 < record["libraries_mb"] <= record["peak_rss_mb"] < 1000
    monkeypatch.setattr(memory, "CHILD", "raise MemoryError('all is full')")
    assert peak_memory(TINY, "tinyllm") | record == record  # asked again, no process is needed
    with pytest.raises(UserError, match="all is full"):
        peak_memory(TINY, "tinyllm", steps=1)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(cli, "SETTINGS", {"tiny": TINY})
    for effort in ("BRIEF", "CAREFUL", "QUICK"):
        monkeypatch.setattr(cli, effort, cli.Effort(0, 0, 0, 1))
    monkeypatch.setattr(cli, "peak_memory", lambda setting, engine: {"peak_rss_mb": 12.5})
    monkeypatch.setenv("OPENBLAS_EXAMPLE", "Haswell")


def test_the_command_prints_one_json_object_per_line(tiny, capsys):
    assert main(["bench", "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    about = records[0]
    assert about["bench"] == "machine" and about["cpu"] and about["threads"] >= 1
    assert about["environment"]["OPENBLAS_EXAMPLE"] == "Haswell"
    kinds = ["train", "generate", "generate", "generate", "memory"]
    assert [r["bench"] for r in records[1:] if r["bench"] != "ops"] == kinds
    assert all(r["setting"] == "tiny" for r in records[1:])


@pytest.mark.parametrize("work", ["ops", "train", "generate", "memory"])
def test_the_command_prints_tables_of_80_columns(tiny, capsys, work):
    assert main(["bench", work, "--quick"]) == 0
    out = capsys.readouterr().out
    assert "OPENBLAS_EXAMPLE=Haswell" in out and f"\n\n{work}" in out
    assert max(map(len, out.splitlines())) <= 80


def test_the_widest_lines_fit():
    torch = {"setting": "mini", "engine": "torch", "seconds": 1.234, "tokens_per_second": 123456,
             "peak_rss_mb": 1234.5, "torch": "2.13.0+cpu", "adamw": "foreach"}  # fmt: skip
    op = {"setting": "mini", "op": max(OPS, key=len), "shape": "16x256x1536, 16x256x384", "seconds": 0.123,
          "gflops": 1234.5, "times_spec": 123.4, "slower_than_spec": True}  # fmt: skip
    decode = {"setting": "mini", "task": "decode without cache", "tokens": 256, "seconds": 1.234,
              "tokens_per_second": 12345.6}  # fmt: skip
    used = {"setting": "mini", "engine": "tinyllm", "peak_rss_mb": 1234.5, "libraries_mb": 432.1,
            "share_of_torch": 0.45}  # fmt: skip
    lines = [cli._train_line(torch), cli._ops_line(op), cli._generate_line(decode), cli._memory_line(used)]
    lines.append(cli._generate_line(decode | {"task": "decode", "times_without_cache": 123.4}))
    assert max(map(len, lines)) <= 80 and all("  " in line for line in lines)
    assert list(SETTINGS) == ["nano", "mini"]


def test_times_have_three_digits():
    assert [cli._time(t) for t in (12.3456, 1.0, 0.9999, 0.0123456, 1e-3, 9.999e-4, 1.2e-6, 6.462e-7)] == [
        "12.3 s", "1 s", "1 s", "12.3 ms", "1 ms", "1 ms", "1.2 us", "646 ns",
    ]  # fmt: skip


MISTAKES = ("ops --peers", "generate --peers", "everything", "train --threads 0", "--threads many")


@pytest.mark.parametrize("argv", [words.split() for words in MISTAKES])
def test_mistakes_cost_one_line(argv, tiny, capsys):
    assert main(["bench", *argv]) == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith("tinyllm: error: ") and err.count("\n") == 1
